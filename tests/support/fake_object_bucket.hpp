// A bucket in memory that misbehaves on demand: names can be created once, acknowledgements get lost, puts
// arrive late, listings are old, objects vanish. Several writers may share it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::test {

/// Thread-safe.
class FakeObjectBucket : public log::ObjectBucket {
 public:
  static constexpr std::size_t chunk_size = std::size_t{128} << 10U;

  /// The next puts are stored, but their acknowledgement is lost.
  void lose_acknowledgements(int count) {
    const base::MutexLock lock(mutex_);
    lost_acknowledgements_ = count;
  }
  /// The next puts fail with this code and are not stored.
  void refuse_puts(int count, ErrorCode code) {
    const base::MutexLock lock(mutex_);
    refused_puts_ = count;
    refusal_ = code;
  }
  /// The next put fails as unavailable, and is stored when deliver_late() is called, if its name is still
  /// free.
  void delay_next_put() {
    const base::MutexLock lock(mutex_);
    delay_next_ = true;
  }
  [[nodiscard]] bool has_late_put() const {
    const base::MutexLock lock(mutex_);
    return !late_.empty();
  }
  void deliver_late() {
    const base::MutexLock lock(mutex_);
    for (auto& [object, bytes] : std::exchange(late_, {})) {
      if (!objects_.contains(object.name)) store(object, std::move(bytes));
    }
  }
  /// Listings miss the newest objects.
  void hide_newest_from_listings(std::size_t count) {
    const base::MutexLock lock(mutex_);
    hidden_ = count;
  }
  /// Runs before each put, without a lock: another writer may come in between.
  void before_put(std::function<void(const log::NewObject&)> hook) {
    const base::MutexLock lock(mutex_);
    before_put_ = shared(std::move(hook));
  }
  /// Runs before each object is read, without a lock: it may be removed in between.
  void before_get(std::function<void(const log::Object&)> hook) {
    const base::MutexLock lock(mutex_);
    before_get_ = shared(std::move(hook));
  }
  /// Changes one byte of a stored object, so that its digest no longer matches.
  void damage(const log::ObjectName& name, std::size_t offset) {
    const base::MutexLock lock(mutex_);
    objects_.at(name).bytes.at(offset) ^= std::byte{1};
  }
  /// The newest objects are lost, and the sequence goes back with them, as on a server whose disk lied.
  void lose_end(std::size_t count) {
    const base::MutexLock lock(mutex_);
    for (; count > 0 && !objects_.empty(); --count) {
      const auto newest = std::ranges::max_element(
          objects_, {}, [](const auto& entry) { return entry.second.object.sequence; });
      sequence_ = newest->second.object.sequence.value() - newest->second.object.chunks - 1;
      objects_.erase(newest);
    }
  }
  /// Messages that others put into the stream.
  void advance_sequence(std::uint64_t count) {
    const base::MutexLock lock(mutex_);
    sequence_ += count;
  }
  /// Removals are seen by watches only when asked for.
  void announce_removals(bool announce) {
    const base::MutexLock lock(mutex_);
    announce_removals_ = announce;
  }
  [[nodiscard]] std::size_t listings() const {
    const base::MutexLock lock(mutex_);
    return listings_;
  }
  [[nodiscard]] bool contains(const log::ObjectName& name) const {
    const base::MutexLock lock(mutex_);
    return objects_.contains(name);
  }

  [[nodiscard]] const std::string& name() const override { return name_; }

  [[nodiscard]] Result<log::Object> put(const Context& context, const log::NewObject& object,
                                        base::ByteView bytes) override {
    if (auto status = context.status("put"); !status) return std::unexpected(status.error());
    if (const auto hook = current(&FakeObjectBucket::before_put_)) (*hook)(object);
    const base::MutexLock lock(mutex_);
    if (refused_puts_ > 0) {
      --refused_puts_;
      return failure(refusal_, "put", to_string(object.name), "refused by the test");
    }
    base::Bytes copy(bytes.begin(), bytes.end());
    if (std::exchange(delay_next_, false)) {
      late_.emplace_back(object, std::move(copy));
      return failure(ErrorCode::unavailable, "put", to_string(object.name), "no answer");
    }
    if (objects_.contains(object.name)) {
      return failure(ErrorCode::already_exists, "put", to_string(object.name), "the name is taken");
    }
    const log::Object stored = store(object, std::move(copy));
    if (lost_acknowledgements_ > 0) {
      --lost_acknowledgements_;
      return failure(ErrorCode::unavailable, "put", to_string(object.name), "no answer");
    }
    return stored;
  }

  [[nodiscard]] Result<log::Object> put(const Context& context, const log::NewObject& object,
                                        const log::ByteSource& source) override {
    base::Bytes all;
    base::Bytes buffer(chunk_size);
    while (true) {
      const auto count = source(buffer);
      if (!count) return std::unexpected(count.error());
      if (*count == 0) return put(context, object, base::ByteView(all));
      base::append_bytes(all, base::ByteView(buffer).first(*count));
    }
  }

  [[nodiscard]] Result<log::Object> info(const Context& context, const log::ObjectName& name) override {
    if (auto status = context.status("info"); !status) return std::unexpected(status.error());
    const base::MutexLock lock(mutex_);
    const auto found = objects_.find(name);
    if (found == objects_.end()) return failure(ErrorCode::not_found, "info", to_string(name), "no object");
    return found->second.object;
  }
  [[nodiscard]] Result<log::Object> newest_info(const Context& context,
                                                const log::ObjectName& name) override {
    return info(context, name);
  }

  [[nodiscard]] Status get(const Context& context, const log::Object& object,
                           const log::ByteSink& sink) override {
    const auto bytes = read(context, object);
    if (!bytes) return std::unexpected(bytes.error());
    for (std::size_t offset = 0; offset < bytes->size(); offset += chunk_size) {
      const auto chunk = base::ByteView(*bytes).subspan(offset, std::min(chunk_size, bytes->size() - offset));
      if (auto taken = sink(chunk); !taken) return taken;
    }
    return check_digest(object, *bytes);
  }

  [[nodiscard]] Status get_many(const Context& context, std::span<const log::Object> objects, std::uint64_t,
                                const EachObject& each) override {
    for (std::size_t index = 0; index < objects.size(); ++index) {
      auto bytes = read(context, objects[index]);
      if (bytes) {
        if (auto good = check_digest(objects[index], *bytes); !good) bytes = std::unexpected(good.error());
      }
      if (auto taken = each(index, std::move(bytes)); !taken) return taken;
    }
    return {};
  }

  [[nodiscard]] Result<std::vector<log::Object>> list(const Context& context, std::size_t) override {
    if (auto status = context.status("list"); !status) return std::unexpected(status.error());
    const base::MutexLock lock(mutex_);
    ++listings_;
    std::vector<log::Object> all;
    for (const auto& [name, stored] : objects_) all.push_back(stored.object);
    std::ranges::sort(all, {}, &log::Object::sequence);
    all.resize(all.size() - std::min(all.size(), hidden_));
    return all;
  }

  [[nodiscard]] Result<std::unique_ptr<log::BucketWatch>> watch(const Context&) override {
    const base::MutexLock lock(mutex_);
    std::vector<log::BucketEvent> initial;
    for (const auto& [name, stored] : objects_) initial.push_back({stored.object, false});
    std::ranges::sort(initial, {}, [](const log::BucketEvent& event) { return event.object.sequence; });
    return std::make_unique<Watch>(*this, std::move(initial), history_.size());
  }

  [[nodiscard]] Status remove(const Context& context, const log::Object& object) override {
    if (auto status = context.status("remove"); !status) return status;
    const base::MutexLock lock(mutex_);
    const auto found = objects_.find(object.name);
    if (found == objects_.end() || found->second.object.sequence != object.sequence) return {};
    log::Object removed = found->second.object;
    objects_.erase(found);
    removed.sequence = Revision(++sequence_);
    if (announce_removals_) history_.push_back({removed, true});
    changed_.notify_all();
    return {};
  }

  [[nodiscard]] Result<std::uint64_t> remove_orphans(const Context&, std::chrono::nanoseconds) override {
    return 0;
  }

  [[nodiscard]] Result<log::BucketState> state(const Context&) override {
    const base::MutexLock lock(mutex_);
    return log::BucketState{1, sequence_};
  }

 private:
  struct Stored {
    log::Object object;
    base::Bytes bytes;
  };

  class Watch final : public log::BucketWatch {
   public:
    Watch(FakeObjectBucket& bucket, std::vector<log::BucketEvent> initial, std::size_t next)
        : bucket_(bucket), initial_(std::move(initial)), next_(next) {}

    [[nodiscard]] Result<std::optional<log::BucketEvent>> next(const Context& context) override {
      if (delivered_ < initial_.size()) return initial_[delivered_++];
      base::MutexLock lock(bucket_.mutex_);
      while (next_ == bucket_.history_.size()) {
        if (auto status = context.status("watch"); !status) return std::unexpected(status.error());
        bucket_.changed_.wait_for(lock, context.remaining(std::chrono::milliseconds(5)));
      }
      return bucket_.history_[next_++];
    }
    [[nodiscard]] bool initial_done() const override { return delivered_ == initial_.size(); }

   private:
    FakeObjectBucket& bucket_;
    std::vector<log::BucketEvent> initial_;
    std::size_t delivered_ = 0;
    std::size_t next_;
  };

  // Called without the lock, and always the same one: what it counts must not be a copy's.
  template <typename Argument>
  using Hook = std::shared_ptr<const std::function<void(Argument)>>;

  template <typename Argument>
  static Hook<Argument> shared(std::function<void(Argument)> hook) {
    return hook ? std::make_shared<const std::function<void(Argument)>>(std::move(hook)) : nullptr;
  }

  template <typename Argument>
  Hook<Argument> current(Hook<Argument> FakeObjectBucket::* hook) const {
    const base::MutexLock lock(mutex_);
    return this->*hook;
  }

  log::Object store(const log::NewObject& object, base::Bytes bytes) LITECLUSTER_REQUIRES(mutex_) {
    log::Object stored;
    stored.name = object.name;
    stored.size = bytes.size();
    stored.created_at = object.created_at;
    stored.author = object.author;
    stored.checksum = object.checksum;
    stored.pre_apply = object.pre_apply;
    stored.previous_file = object.previous_file;
    stored.file_checksum = object.file_checksum;
    stored.digest = base::sha256(bytes);
    stored.chunks = (bytes.size() + chunk_size - 1) / chunk_size;
    sequence_ += stored.chunks + 1;
    stored.sequence = Revision(sequence_);
    stored.nuid = std::to_string(sequence_);
    objects_[object.name] = {stored, std::move(bytes)};
    history_.push_back({stored, false});
    changed_.notify_all();
    return stored;
  }

  Result<base::Bytes> read(const Context& context, const log::Object& object) {
    if (auto status = context.status("get"); !status) return std::unexpected(status.error());
    if (const auto hook = current(&FakeObjectBucket::before_get_)) (*hook)(object);
    const base::MutexLock lock(mutex_);
    const auto found = objects_.find(object.name);
    if (found == objects_.end() || found->second.object.nuid != object.nuid) {
      return failure(ErrorCode::not_found, "get", to_string(object.name), "it vanished");
    }
    return found->second.bytes;
  }

  static Status check_digest(const log::Object& object, base::ByteView bytes) {
    if (base::sha256(bytes) == object.digest) return {};
    return failure(ErrorCode::corrupt, "get", to_string(object.name), "the digest does not match");
  }

  const std::string name_ = "fake";
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::map<log::ObjectName, Stored> objects_ LITECLUSTER_GUARDED_BY(mutex_);
  std::vector<log::BucketEvent> history_ LITECLUSTER_GUARDED_BY(mutex_);
  std::uint64_t sequence_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::vector<std::pair<log::NewObject, base::Bytes>> late_ LITECLUSTER_GUARDED_BY(mutex_);
  Hook<const log::NewObject&> before_put_;
  Hook<const log::Object&> before_get_;
  int lost_acknowledgements_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  int refused_puts_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  ErrorCode refusal_ LITECLUSTER_GUARDED_BY(mutex_) = ErrorCode::unavailable;
  bool delay_next_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  bool announce_removals_ LITECLUSTER_GUARDED_BY(mutex_) = true;
  std::size_t hidden_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
  std::size_t listings_ LITECLUSTER_GUARDED_BY(mutex_) = 0;
};

}  // namespace litecluster::test
