// A watch on a key-value bucket: what is there, a marker, then every change as it comes.
//
// It reads the stream through an OrderedConsumer, which goes on behind the last delivered revision after
// any interruption. It has no thread and no queue of its own: the server and the subscription hold what is
// not yet taken by next(), and what overflows there is read again from the stream. So no change is lost or
// repeated, except that one which the bucket's history limit has removed before it was delivered is passed
// over; the newest of each key always arrives.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/kv_entry.hpp>

#include "nats/jetstream.hpp"
#include "nats/ordered_consumer.hpp"

namespace litecluster::nats {

struct KeyValueWatchOptions {
  /// All kept changes first, not only the newest of each key.
  bool include_history = false;
  /// Nothing of what is there already.
  bool updates_only = false;
  bool ignore_deletes = false;
  /// Leaves the values out.
  bool keys_only = false;
  /// Only changes behind this revision.
  std::optional<Revision> resume_after{};
  /// Of the server; silence of twice as long is noticed and the watch re-made.
  std::chrono::milliseconds heartbeat{1000};
};

/// Ends when destroyed. Not thread-safe, except for stop().
class KeyValueWatch {
 public:
  /// Called by KeyValue::watch(), which has checked the pattern.
  [[nodiscard]] static Result<KeyValueWatch> start(const Context& context, const JetStream& jetstream,
                                                   std::string bucket, std::string_view pattern,
                                                   const KeyValueWatchOptions& options);

  /// Waits for the next change; nullopt comes once, when everything that was there has been delivered.
  /// Errors: cancelled (also after stop()), deadline_exceeded (call again to go on), failed_precondition (the
  /// bucket is gone, was replaced or went back; final).
  [[nodiscard]] Result<std::optional<KvEntry>> next(const Context& context);

  /// Ends a next() that waits, and all later ones, with `cancelled`. Thread-safe.
  void stop() const { stopped_.cancel(); }

  /// How often the consumer had to be made anew.
  [[nodiscard]] std::uint64_t restarts() const { return consumer_.restarts(); }

 private:
  KeyValueWatch(const JetStream& jetstream, OrderedConsumer consumer, std::string bucket,
                std::string_view pattern, std::string filter, bool ignore_deletes);

  [[nodiscard]] Result<std::optional<Delivery>> next_delivery(const Context& context);
  bool is_last_initial(const Delivery& delivery);

  JetStream jetstream_;
  OrderedConsumer consumer_;
  std::string bucket_;
  std::string pattern_;
  std::string filter_;
  bool ignore_deletes_;
  std::uint64_t initial_left_;
  bool initial_complete_ = false;
  bool marker_due_ = false;
  Context stopped_ = Context::background();
};

/// The entry that a stored message means.
[[nodiscard]] KvEntry kv_entry(std::string_view key, const StoredMessage& message);
[[nodiscard]] KvEntry kv_entry(std::string_view key, const Delivery& delivery);

}  // namespace litecluster::nats
