// A bucket with three replicas on three servers.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <string>
#include <thread>

#include "nats/kv_bucket.hpp"
#include "support/nats_fixture.hpp"

namespace litecluster::nats {
namespace {

using test::soon;

class KvCluster : public test::NatsClusterTest {
 protected:
  KeyValue bucket() {
    auto opened = KeyValue::open_or_create(soon(), JetStream(connect()), {.bucket = "b", .replicas = 3});
    if (!opened) {
      ADD_FAILURE() << opened.error().message();
      std::abort();
    }
    return std::move(*opened);
  }
};

TEST_F(KvCluster, OneOfTwoUpdatesOfTheSameRevisionWins) {
  constexpr int rounds = 300;
  auto revision = bucket().create(soon(), "key", "begin");
  ASSERT_OK(revision);
  std::array<Result<Revision>, 2> answers;
  int both = 0;
  std::barrier start(2);
  // The last to arrive judges the round.
  std::barrier done(2, [&]() noexcept {
    both += answers[0] && answers[1] ? 1 : 0;
    for (const auto& answer : answers) {
      if (answer) revision = answer;
      EXPECT_TRUE(answer || answer.error().code() == ErrorCode::conflict) << answer.error().message();
    }
  });
  std::atomic<bool> stop = false;
  // Others change other keys all the time.
  std::jthread noise([&] {
    const KeyValue own = bucket();
    for (int number = 0; !stop; ++number) {
      EXPECT_TRUE(own.put(soon(), "other", std::to_string(number)));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  const auto write = [&](std::size_t writer) {
    const KeyValue own = bucket();
    for (int round = 0; round < rounds; ++round) {
      start.arrive_and_wait();
      answers.at(writer) = own.update(soon(), "key", std::to_string(writer), *revision);
      done.arrive_and_wait();
    }
  };
  {
    const std::jthread first(write, 0);
    const std::jthread second(write, 1);
  }
  stop = true;
  EXPECT_EQ(both, 0) << "two writers believe that they changed the same revision";
  const auto last = bucket().get(soon(), "key", KvRead::leader);
  ASSERT_OK(last);
  EXPECT_EQ(last->revision, *revision);
}

}  // namespace
}  // namespace litecluster::nats
