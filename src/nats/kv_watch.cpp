#include "nats/kv_watch.hpp"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/bytes.hpp"
#include "nats/kv_bucket.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster::nats {

using namespace std::chrono_literals;

namespace {

// Silence during the initial values after which the server is asked whether any are left.
constexpr auto initial_silence_max = 500ms;

KvOperation operation_of(std::optional<std::string_view> operation, bool marker) {
  if (operation == "DEL") return KvOperation::remove;
  // Servers from 2.11 on leave markers of their own when a limit removes the last value of a key.
  if (operation == "PURGE" || marker) return KvOperation::purge;
  return KvOperation::put;
}

Start start_of(const KeyValueWatchOptions& options, std::uint64_t last_sequence) {
  if (options.resume_after) return StartAtSequence{options.resume_after->value() + 1};
  // Not "new": a watch that is re-made before its first change has to begin at the same place.
  if (options.updates_only) return StartAtSequence{last_sequence + 1};
  if (options.include_history) return StartAll{};
  return StartLastPerSubject{};
}

}  // namespace

KvEntry kv_entry(std::string_view key, const StoredMessage& message) {
  return {.key = std::string(key),
          .value = std::string(base::as_text(message.data)),
          .revision = Revision(message.sequence),
          .operation =
              operation_of(message.header("KV-Operation"), message.header("Nats-Marker-Reason").has_value()),
          .time = message.time};
}

KvEntry kv_entry(std::string_view key, const Delivery& delivery) {
  return {.key = std::string(key),
          .value = std::string(delivery.message.text()),
          .revision = Revision(delivery.sequence),
          .operation = operation_of(delivery.message.header("KV-Operation"),
                                    delivery.message.header("Nats-Marker-Reason").has_value()),
          .time = delivery.time};
}

Result<KeyValueWatch> KeyValueWatch::start(const Context& context, const JetStream& jetstream,
                                           std::string bucket, std::string_view pattern,
                                           const KeyValueWatchOptions& options) {
  const std::string stream = "KV_" + bucket;
  std::uint64_t last_sequence = 0;
  if (options.updates_only || options.resume_after) {
    const auto info = jetstream.stream_info_of_leader(context, stream);
    if (!info) return std::unexpected(info.error().within("watch", bucket));
    last_sequence = info->last_sequence;
  }
  if (options.resume_after && options.resume_after->value() > last_sequence) {
    return failure(
        ErrorCode::failed_precondition, "watch", bucket,
        fmt::format("the bucket's last revision is {}, but the watch is to go on behind {}: this is "
                    "not the bucket that was watched",
                    last_sequence, options.resume_after->value()));
  }
  const std::string wire = wire_filter(pattern);
  std::string filter = fmt::format("$KV.{}.{}", bucket, wire);
  auto consumer = OrderedConsumer::create(context, jetstream,
                                          {.stream = stream,
                                           .filter = filter,
                                           .start = start_of(options, last_sequence),
                                           .headers_only = options.keys_only,
                                           .sparse = wire != ">",
                                           .heartbeat = options.heartbeat});
  if (!consumer) return std::unexpected(consumer.error().within("watch", bucket));
  return KeyValueWatch(jetstream, std::move(*consumer), std::move(bucket), pattern, std::move(filter),
                       options.ignore_deletes);
}

KeyValueWatch::KeyValueWatch(const JetStream& jetstream, OrderedConsumer consumer, std::string bucket,
                             std::string_view pattern, std::string filter, bool ignore_deletes)
    : jetstream_(jetstream),
      consumer_(std::move(consumer)),
      bucket_(std::move(bucket)),
      pattern_(pattern),
      filter_(std::move(filter)),
      ignore_deletes_(ignore_deletes),
      initial_left_(consumer_.initial_pending()) {
  if (initial_left_ == 0) initial_complete_ = marker_due_ = true;
}

Result<std::optional<KvEntry>> KeyValueWatch::next(const Context& context) {
  const Context either = context.with_cancel();
  const auto registration = stopped_.on_cancel([either] { either.cancel(); });
  const std::size_t prefix_size = bucket_.size() + std::string_view("$KV..").size();
  while (true) {
    if (std::exchange(marker_due_, false)) return std::nullopt;
    auto delivery = next_delivery(either);
    if (!delivery) {
      if (delivery.error().code() == ErrorCode::not_found || delivery.error().code() == ErrorCode::gap) {
        return failure(ErrorCode::failed_precondition, "watch", bucket_, delivery.error().reason());
      }
      return std::unexpected(delivery.error().within("watch", bucket_));
    }
    if (!*delivery) {
      initial_complete_ = marker_due_ = true;
      continue;
    }
    if (!initial_complete_ && is_last_initial(**delivery)) initial_complete_ = marker_due_ = true;
    const std::string_view key = (*delivery)->message.subject().substr(prefix_size);
    if (!matches(pattern_, key)) continue;
    KvEntry entry = kv_entry(key, **delivery);
    if (ignore_deletes_ && entry.operation != KvOperation::put) continue;
    return entry;
  }
}

bool KeyValueWatch::is_last_initial(const Delivery& delivery) {
  if (delivery.pending == 0) return true;
  // A consumer that was made again also delivers values that were replaced: the count is no longer theirs.
  return consumer_.restarts() == 0 && --initial_left_ == 0;
}

// The next message; nullopt when the initial values are found to be complete without one.
Result<std::optional<Delivery>> KeyValueWatch::next_delivery(const Context& context) {
  while (true) {
    if (initial_complete_) return consumer_.next(context);
    // Values announced at the start can be removed before they are sent; then nothing comes in their place.
    auto delivery = consumer_.next(context.with_timeout(initial_silence_max));
    if (delivery || delivery.error().code() != ErrorCode::deadline_exceeded || context.done()) {
      return delivery;
    }
    const auto left =
        jetstream_.next_message(context, "KV_" + bucket_, filter_, consumer_.last_sequence() + 1);
    if (!left && left.error().code() == ErrorCode::not_found) return std::nullopt;
  }
}

Result<std::vector<std::string>> KeyValue::keys(const Context& context, std::string_view pattern) const {
  auto watch = this->watch(context, pattern, {.keys_only = true});
  if (!watch) return std::unexpected(watch.error());
  // A key that changes meanwhile comes twice: its last state counts.
  std::map<std::string, bool> exists;
  while (true) {
    auto entry = watch->next(context.with_timeout(2 * jetstream_.connection().options().request_timeout));
    if (!entry) return std::unexpected(entry.error().within("list keys", bucket_));
    if (!*entry) break;
    exists[(*entry)->key] = (*entry)->operation == KvOperation::put;
  }
  std::vector<std::string> keys;
  for (const auto& [key, present] : exists) {
    if (present) keys.push_back(key);
  }
  return keys;
}

Result<std::vector<KvEntry>> KeyValue::history(const Context& context, std::string_view key) const {
  if (!valid_key(key)) {
    return failure(ErrorCode::invalid_argument, "read history", std::string(key), "this is not a key");
  }
  auto watch = this->watch(context, key, {.include_history = true});
  if (!watch) return std::unexpected(watch.error());
  std::vector<KvEntry> entries;
  while (true) {
    auto entry = watch->next(context.with_timeout(2 * jetstream_.connection().options().request_timeout));
    if (!entry) return std::unexpected(entry.error().within("read history", std::string(key)));
    if (!*entry) return entries;
    entries.push_back(std::move(**entry));
  }
}

}  // namespace litecluster::nats
