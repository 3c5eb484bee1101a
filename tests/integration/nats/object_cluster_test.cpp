// The object store with three replicas on three servers.
#include <gtest/gtest.h>

#include <barrier>
#include <thread>
#include <vector>

#include "nats/object_store.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using base::as_bytes;
using test::soon;

class ObjectClusterTest : public test::NatsClusterTest {
 protected:
  std::unique_ptr<ObjectStore> create() {
    auto created = create_object_store(soon(), JetStream(connect()), "b");
    if (!created) {
      ADD_FAILURE() << created.error().message();
      std::abort();
    }
    return std::move(*created);
  }
};

TEST_F(ObjectClusterTest, MakesThreeReplicasAndOneWinnerPerName) {
  const auto store = create();
  EXPECT_EQ(store->status(soon())->config.replicas, 3);
  constexpr std::size_t count = 200;
  std::vector<std::string> nuids[2];
  std::barrier both(2);  // before each name, or the one that is ahead would win all
  const auto write = [&](int writer) {
    const auto own = create();
    PutOptions only;
    only.create_only = true;
    nuids[writer].resize(count);
    for (std::size_t number = 0; number < count; ++number) {
      both.arrive_and_wait();
      const auto put = own->put(soon(), std::to_string(number), as_bytes("same"), only);
      if (put) {
        nuids[writer][number] = put->nuid;
      } else {
        EXPECT_EQ(put.error().code(), ErrorCode::already_exists) << put.error().message();
      }
    }
  };
  {
    const std::jthread first(write, 0);
    const std::jthread second(write, 1);
  }
  const auto all = store->list(soon(), count);
  ASSERT_OK(all);
  ASSERT_EQ(all->size(), count);
  for (const ObjectInfo& info : *all) {
    const std::size_t number = std::stoul(info.name);
    const bool first = nuids[0][number] == info.nuid;
    EXPECT_TRUE(first != (nuids[1][number] == info.nuid));
    EXPECT_TRUE(nuids[first ? 1 : 0][number].empty()) << "the loser believes that it won";
    const auto bytes = store->get(soon(), info, 100);
    ASSERT_OK(bytes);
    EXPECT_EQ(base::as_text(*bytes), "same");
  }
}

TEST_F(ObjectClusterTest, WithoutQuorumAPutFailsInTimeAndTheNextSucceeds) {
  const auto store = create();
  ASSERT_OK(store->put(soon(), "before", as_bytes("x")));
  cluster_->server(1).kill();
  cluster_->server(2).kill();
  const auto began = std::chrono::steady_clock::now();
  const auto put =
      store->put(Context::background().with_timeout(std::chrono::seconds(2)), "during", as_bytes("x"));
  EXPECT_ERROR(put, ErrorCode::deadline_exceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
  ASSERT_OK(cluster_->server(1).start_again(soon()));
  ASSERT_OK(cluster_->server(2).start_again(soon()));
  ASSERT_OK(store->put(soon(std::chrono::seconds(60)), "after", as_bytes("y")));
}

}  // namespace
}  // namespace litecluster::nats
