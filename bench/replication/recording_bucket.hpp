// A bucket that notes when each object was acknowledged, and what was in it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "log/object_bucket.hpp"
#include "support/application.hpp"

namespace litecluster::bench {

struct Acknowledged {
  std::int64_t at = 0;
  base::Bytes bytes;
};

class RecordingBucket final : public log::ObjectBucket {
 public:
  explicit RecordingBucket(log::ObjectBucket& bucket) : bucket_(bucket) {}

  /// What was acknowledged since the last call.
  std::vector<Acknowledged> take() {
    const base::MutexLock lock(mutex_);
    return std::exchange(acknowledged_, {});
  }
  [[nodiscard]] std::size_t size() const {
    const base::MutexLock lock(mutex_);
    return acknowledged_.size();
  }

  const std::string& name() const override { return bucket_.name(); }
  Result<log::Object> put(const Context& context, const log::NewObject& object,
                          base::ByteView bytes) override {
    auto stored = bucket_.put(context, object, bytes);
    const std::int64_t now = now_nanoseconds();
    if (stored && object.name.level == log::raw_level) {
      const base::MutexLock lock(mutex_);
      acknowledged_.push_back({now, base::Bytes(bytes.begin(), bytes.end())});
    }
    return stored;
  }
  Result<log::Object> put(const Context& context, const log::NewObject& object,
                          const log::ByteSource& source) override {
    return bucket_.put(context, object, source);
  }
  Result<log::Object> info(const Context& context, const log::ObjectName& name) override {
    return bucket_.info(context, name);
  }
  Result<log::Object> newest_info(const Context& context, const log::ObjectName& name) override {
    return bucket_.newest_info(context, name);
  }
  Status get(const Context& context, const log::Object& object, const log::ByteSink& sink) override {
    return bucket_.get(context, object, sink);
  }
  Status get_many(const Context& context, std::span<const log::Object> objects, std::uint64_t in_flight_max,
                  const EachObject& each) override {
    return bucket_.get_many(context, objects, in_flight_max, each);
  }
  Result<std::vector<log::Object>> list(const Context& context, std::size_t count_max) override {
    return bucket_.list(context, count_max);
  }
  Result<std::unique_ptr<log::BucketWatch>> watch(const Context& context) override {
    return bucket_.watch(context);
  }
  Status remove(const Context& context, const log::Object& object) override {
    return bucket_.remove(context, object);
  }
  Result<std::uint64_t> remove_orphans(const Context& context, std::chrono::nanoseconds grace) override {
    return bucket_.remove_orphans(context, grace);
  }
  Result<log::BucketState> state(const Context& context) override { return bucket_.state(context); }

 private:
  log::ObjectBucket& bucket_;
  mutable base::Mutex mutex_;
  std::vector<Acknowledged> acknowledged_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::bench
