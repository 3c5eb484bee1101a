// ObjectStore on JetStream; the parts are in object_put.cpp, object_get.cpp, object_orphans.cpp and
// jetstream_object_store.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.hpp"
#include "nats/object_metadata.hpp"
#include "nats/object_store.hpp"

namespace litecluster::nats {

/// Who reads what was there, and hears nothing for so long, looks whether there is anything left to hear.
inline constexpr std::chrono::seconds reading_silence{2};

/// What counted as pending when a consumer was made may have been removed meanwhile, and then nothing more
/// comes: whether that is so.
[[nodiscard]] bool nothing_follows(const Context& context, const JetStream& jetstream,
                                   const OrderedConsumerOptions& options, std::uint64_t from_sequence);

/// Thread-safe.
class JetStreamObjectStore final : public ObjectStore {
 public:
  JetStreamObjectStore(JetStream jetstream, std::string bucket, const StreamInfo& info)
      : jetstream_(std::move(jetstream)),
        bucket_(std::move(bucket)),
        stream_(object_stream(bucket_)),
        direct_(info.config.allow_direct),
        replicated_(info.config.replicas > 1) {}

  [[nodiscard]] const std::string& bucket() const override { return bucket_; }
  [[nodiscard]] Result<ObjectInfo> put(const Context& context, std::string_view name, base::ByteView data,
                                       const PutOptions& options) override;
  [[nodiscard]] Result<ObjectInfo> put(const Context& context, std::string_view name, ByteSource source,
                                       const PutOptions& options) override;
  [[nodiscard]] Result<ObjectInfo> info(const Context& context, std::string_view name) override;
  [[nodiscard]] Result<ObjectInfo> newest_info(const Context& context, std::string_view name) override;
  [[nodiscard]] Result<base::Bytes> get(const Context& context, const ObjectInfo& info,
                                        std::uint64_t size_max) override;
  [[nodiscard]] Status get(const Context& context, const ObjectInfo& info, const ByteSink& sink) override;
  [[nodiscard]] Status get_range(const Context& context, const ObjectInfo& info, std::uint64_t offset,
                                 std::uint64_t length, const ByteSink& sink) override;
  [[nodiscard]] Status get_many(const Context& context, std::span<const ObjectInfo> infos,
                                std::uint64_t in_flight_max, const EachObject& each) override;
  [[nodiscard]] Result<std::vector<ObjectInfo>> list(const Context& context, std::size_t count_max) override;
  [[nodiscard]] Result<std::unique_ptr<ObjectWatch>> watch(const Context& context,
                                                           std::uint64_t from_sequence) override;
  [[nodiscard]] Status remove(const Context& context, std::string_view name) override;
  [[nodiscard]] Status remove(const Context& context, const ObjectInfo& info) override;
  [[nodiscard]] Result<std::uint64_t> remove_orphans(const Context& context,
                                                     std::chrono::nanoseconds grace) override;
  [[nodiscard]] Result<StreamInfo> status(const Context& context) override;

  [[nodiscard]] const JetStream& jetstream() const { return jetstream_; }
  [[nodiscard]] const std::string& stream() const { return stream_; }
  /// Direct reads are allowed.
  [[nodiscard]] bool direct() const { return direct_; }

  /// As lookup(), but for tombstones: not_found.
  [[nodiscard]] Result<ObjectInfo> lookup_existing(const Context& context, std::string_view name,
                                                   bool from_leader) const;
  /// The metadata message as it is now, tombstones included, read from the leader when asked to. Error
  /// not_found when there is none.
  [[nodiscard]] Result<ObjectInfo> lookup(const Context& context, std::string_view name,
                                          bool from_leader) const;
  /// Metadata messages that exist, tombstones included.
  [[nodiscard]] Result<std::vector<ObjectInfo>> all_metadata(const Context& context, std::size_t count_max,
                                                             bool tombstones) const;
  /// Purges without waiting for the answer: for chunks that are of no use any more.
  void purge_later(std::string_view nuid) const;
  /// Whether the stream has several replicas. Asks the server now and then, since that can be changed.
  [[nodiscard]] bool is_replicated(const Context& context) const;
  /// `unavailable` becomes `not_found` when the reason is that the bucket is gone.
  [[nodiscard]] Error explain(const Context& context, Error error) const;

 private:
  Status erase(const Context& context, const ObjectInfo& info, bool has_metadata);

  struct Candidate {
    std::uint64_t messages = 0;
    std::chrono::steady_clock::time_point since;
  };

  const JetStream jetstream_;
  const std::string bucket_;
  const std::string stream_;
  const bool direct_;
  mutable base::Mutex mutex_;
  mutable bool replicated_ LITECLUSTER_GUARDED_BY(mutex_);
  mutable std::chrono::steady_clock::time_point replicas_asked_ LITECLUSTER_GUARDED_BY(mutex_) =
      std::chrono::steady_clock::now();
  /// What looked like an orphan, by chunk or tombstone subject.
  std::map<std::string, Candidate> candidates_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::nats
