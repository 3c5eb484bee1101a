#include "log/nats_object_bucket.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

namespace litecluster::log {
namespace {

// Answers what a server says about the stream, and nothing else.
class OnlyStatus final : public nats::ObjectStore {
 public:
  explicit OnlyStatus(Result<nats::StreamInfo> info) : info_(std::move(info)) {}

  const std::string& bucket() const override { return bucket_; }
  Result<nats::StreamInfo> status(const Context& /*context*/) override { return info_; }

  Result<nats::ObjectInfo> put(const Context& /*context*/, std::string_view /*name*/, base::ByteView /*data*/,
                               const nats::PutOptions& /*options*/) override {
    return nothing();
  }
  Result<nats::ObjectInfo> put(const Context& /*context*/, std::string_view /*name*/,
                               nats::ByteSource /*source*/, const nats::PutOptions& /*options*/) override {
    return nothing();
  }
  Result<nats::ObjectInfo> info(const Context& /*context*/, std::string_view /*name*/) override {
    return nothing();
  }
  Result<nats::ObjectInfo> newest_info(const Context& /*context*/, std::string_view /*name*/) override {
    return nothing();
  }
  Result<base::Bytes> get(const Context& /*context*/, const nats::ObjectInfo& /*info*/,
                          std::uint64_t /*size_max*/) override {
    return nothing();
  }
  Status get(const Context& /*context*/, const nats::ObjectInfo& /*info*/,
             const nats::ByteSink& /*sink*/) override {
    return nothing();
  }
  Status get_range(const Context& /*context*/, const nats::ObjectInfo& /*info*/, std::uint64_t /*offset*/,
                   std::uint64_t /*length*/, const nats::ByteSink& /*sink*/) override {
    return nothing();
  }
  Status get_many(const Context& /*context*/, std::span<const nats::ObjectInfo> /*infos*/,
                  std::uint64_t /*in_flight_max*/, const EachObject& /*each*/) override {
    return nothing();
  }
  Result<std::vector<nats::ObjectInfo>> list(const Context& /*context*/, std::size_t /*count_max*/) override {
    return nothing();
  }
  Result<std::unique_ptr<nats::ObjectWatch>> watch(const Context& /*context*/,
                                                   std::uint64_t /*from_sequence*/) override {
    return nothing();
  }
  Status remove(const Context& /*context*/, std::string_view /*name*/) override { return nothing(); }
  Status remove(const Context& /*context*/, const nats::ObjectInfo& /*info*/) override { return nothing(); }
  Result<std::uint64_t> remove_orphans(const Context& /*context*/,
                                       std::chrono::nanoseconds /*grace*/) override {
    return nothing();
  }

 private:
  static std::unexpected<Error> nothing() { return failure(ErrorCode::unsupported, "use", "bucket", "no"); }

  std::string bucket_ = "bucket";
  Result<nats::StreamInfo> info_;
};

Result<BucketState> state_told_by(const nats::StreamInfo& info) {
  return make_nats_object_bucket(std::make_shared<OnlyStatus>(info))->state(Context::background());
}

TEST(NatsObjectBucket, TellsAStateOnlyOnTheWordOfWhoLeadsTheStream) {
  nats::StreamInfo info;
  info.last_sequence = 7;
  EXPECT_EQ(state_told_by(info)->last_sequence, 7U) << "a server alone has no cluster";
  info.cluster = "c";
  const auto leaderless = state_told_by(info);
  ASSERT_FALSE(leaderless);
  EXPECT_EQ(leaderless.error().code(), ErrorCode::unavailable);
  info.leader = "n1";
  EXPECT_EQ(state_told_by(info)->last_sequence, 7U);
}

}  // namespace
}  // namespace litecluster::log
