#include "log/nats_object_bucket.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/logging.hpp"

namespace litecluster::log {
namespace {

/// Nothing for a name that is not one of an LTX object.
std::optional<Object> to_object(const nats::ObjectInfo& info) {
  const auto name = parse_object_name(info.name);
  if (!name || !info.link.empty()) return std::nullopt;
  Object object;
  object.name = *name;
  object.size = info.size;
  object.sequence = Revision(info.sequence);
  object.digest = info.digest;
  object.nuid = info.nuid;
  object.chunks = info.chunks;
  Headers headers;
  for (const auto& [key, values] : info.headers) {
    if (!values.empty()) headers.emplace(key, values.front());
  }
  read_headers(headers, std::chrono::floor<std::chrono::milliseconds>(info.modified), object);
  return object;
}

nats::ObjectInfo to_info(const Object& object) {
  nats::ObjectInfo info;
  info.name = to_string(object.name);
  info.size = object.size;
  info.sequence = object.sequence.value();
  info.digest = object.digest;
  info.nuid = object.nuid;
  info.chunks = object.chunks;
  return info;
}

nats::PutOptions put_options(const NewObject& object) {
  nats::PutOptions options;
  options.create_only = true;
  for (auto& [key, value] : make_headers(object)) {
    options.headers[key] = {value};
  }
  return options;
}

Result<Object> stored(Result<nats::ObjectInfo> info) {
  if (!info) return std::unexpected(std::move(info.error()));
  auto object = to_object(*info);
  if (!object) return failure(ErrorCode::internal, "read metadata", info->name, "not an LTX object");
  return std::move(*object);
}

class NatsBucketWatch final : public BucketWatch {
 public:
  explicit NatsBucketWatch(std::unique_ptr<nats::ObjectWatch> watch) : watch_(std::move(watch)) {}

  Result<std::optional<BucketEvent>> next(const Context& context) override {
    const auto info = watch_->next(context);
    if (!info) {
      // Metadata that cannot be read belongs to nobody.
      if (info.error().code() == ErrorCode::corrupt) {
        base::log_warning("metadata in the bucket cannot be read", {{"reason", info.error().message()}});
        return std::nullopt;
      }
      return std::unexpected(info.error());
    }
    auto object = to_object(*info);
    if (!object) return std::nullopt;
    return BucketEvent{std::move(*object), info->deleted};
  }

  bool initial_done() const override { return watch_->initial_done(); }
  bool live() const override { return watch_->live(); }

 private:
  std::unique_ptr<nats::ObjectWatch> watch_;
};

class NatsObjectBucket final : public ObjectBucket {
 public:
  explicit NatsObjectBucket(std::shared_ptr<nats::ObjectStore> store) : store_(std::move(store)) {}

  const std::string& name() const override { return store_->bucket(); }

  Result<Object> put(const Context& context, const NewObject& object, base::ByteView bytes) override {
    return stored(store_->put(context, to_string(object.name), bytes, put_options(object)));
  }

  Result<Object> put(const Context& context, const NewObject& object, const ByteSource& source) override {
    return stored(
        store_->put(context, to_string(object.name), nats::ByteSource(source), put_options(object)));
  }

  Result<Object> info(const Context& context, const ObjectName& name) override {
    return stored(store_->info(context, to_string(name)));
  }

  Result<Object> newest_info(const Context& context, const ObjectName& name) override {
    return stored(store_->newest_info(context, to_string(name)));
  }

  Status get(const Context& context, const Object& object, const ByteSink& sink) override {
    return store_->get(context, to_info(object), sink);
  }

  Status get_many(const Context& context, std::span<const Object> objects, std::uint64_t in_flight_max,
                  const EachObject& each) override {
    std::vector<nats::ObjectInfo> infos(objects.size());
    std::ranges::transform(objects, infos.begin(), to_info);
    return store_->get_many(context, infos, in_flight_max, each);
  }

  Result<std::vector<Object>> list(const Context& context, std::size_t count_max) override {
    const auto infos = store_->list(context, count_max);
    if (!infos) return std::unexpected(infos.error());
    std::vector<Object> objects;
    objects.reserve(infos->size());
    for (const nats::ObjectInfo& info : *infos) {
      if (auto object = to_object(info)) objects.push_back(std::move(*object));
    }
    return objects;
  }

  Result<std::unique_ptr<BucketWatch>> watch(const Context& context) override {
    auto watch = store_->watch(context, 0);
    if (!watch) return std::unexpected(watch.error());
    return std::make_unique<NatsBucketWatch>(std::move(*watch));
  }

  Status remove(const Context& context, const Object& object) override {
    auto removed = store_->remove(context, to_info(object));
    if (!removed && removed.error().code() == ErrorCode::not_found) return {};
    return removed;
  }

  Result<std::uint64_t> remove_orphans(const Context& context, std::chrono::nanoseconds grace) override {
    return store_->remove_orphans(context, grace);
  }

  Result<BucketState> state(const Context& context) override {
    const auto info = store_->status(context);
    if (!info) return std::unexpected(info.error());
    // What a server that does not lead knows can be old; taken for the truth, it would be an alarm for good.
    if (!info->from_leader()) {
      return failure(ErrorCode::unavailable, "check bucket", store_->bucket(),
                     "the stream has no leader now");
    }
    return BucketState{info->created.time_since_epoch().count(), info->last_sequence};
  }

 private:
  std::shared_ptr<nats::ObjectStore> store_;
};

}  // namespace

std::unique_ptr<ObjectBucket> make_nats_object_bucket(std::shared_ptr<nats::ObjectStore> store) {
  return std::make_unique<NatsObjectBucket>(std::move(store));
}

}  // namespace litecluster::log
