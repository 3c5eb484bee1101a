// The bucket as this layer needs it: LTX objects by name, created once, read, listed, watched, removed.
//
// An interface, so that tests and the simulator can stand in for NATS. nats_object_bucket.hpp is the real
// one.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "log/bucket_guard.hpp"
#include "log/object.hpp"

namespace litecluster::log {

/// Delivers the next bytes into the buffer; 0 at the end.
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte>)>;
/// Takes the next bytes; an error ends the transfer and is returned.
using ByteSink = std::function<Status(base::ByteView)>;

/// One metadata message.
struct BucketEvent {
  Object object;
  /// The object was removed; of `object` only name and sequence are meaningful.
  bool deleted = false;
};

/// Events in the order of their sequences. Ends when destroyed. Not thread-safe.
class BucketWatch {
 public:
  virtual ~BucketWatch() = default;
  /// Waits for the next event; nothing for a message about an object that is not ours. Not every removal
  /// sends an event. Errors: cancelled and deadline_exceeded (call again), unavailable (call again),
  /// not_found and gap (the bucket is gone or not the one it was; final).
  [[nodiscard]] virtual Result<std::optional<BucketEvent>> next(const Context& context) = 0;
  /// True once everything was returned that the bucket held when the watch began.
  [[nodiscard]] virtual bool initial_done() const = 0;
  /// False while nothing is heard from the server: what was returned may then be out of date.
  [[nodiscard]] virtual bool live() const { return true; }
};

/// Thread-safe. Every call may block until its Context is done.
class ObjectBucket {
 public:
  virtual ~ObjectBucket() = default;

  [[nodiscard]] virtual const std::string& name() const = 0;

  /// Creates an object, whole or not at all. Errors: already_exists (the name is taken, perhaps by our own
  /// earlier attempt); resource_exhausted (bucket full; not stored); unavailable, deadline_exceeded,
  /// cancelled: it may have been stored, and may even appear later.
  [[nodiscard]] virtual Result<Object> put(const Context& context, const NewObject& object,
                                           base::ByteView bytes) = 0;
  /// The same from a source. An error of the source is handed through, and nothing was stored.
  [[nodiscard]] virtual Result<Object> put(const Context& context, const NewObject& object,
                                           const ByteSource& source) = 0;

  /// What is stored under the name. Error: not_found. On a cluster the answer may be behind for a moment.
  [[nodiscard]] virtual Result<Object> info(const Context& context, const ObjectName& name) = 0;
  /// The same from the stream's leader, which is not behind.
  [[nodiscard]] virtual Result<Object> newest_info(const Context& context, const ObjectName& name) = 0;

  /// The object's bytes, piece by piece; known to match the digest only when this returns success. Errors:
  /// not_found (it vanished), corrupt.
  [[nodiscard]] virtual Status get(const Context& context, const Object& object, const ByteSink& sink) = 0;

  /// Whole objects, fetched at the same time but handed out in order; an error of `each` ends it. At most
  /// `in_flight_max` bytes are held (or one object).
  using EachObject = std::function<Status(std::size_t index, Result<base::Bytes> bytes)>;
  [[nodiscard]] virtual Status get_many(const Context& context, std::span<const Object> objects,
                                        std::uint64_t in_flight_max, const EachObject& each) = 0;

  /// All LTX objects in the order of their sequences; too_large above `count_max`.
  [[nodiscard]] virtual Result<std::vector<Object>> list(const Context& context, std::size_t count_max) = 0;

  /// All that is there, then all that changes.
  [[nodiscard]] virtual Result<std::unique_ptr<BucketWatch>> watch(const Context& context) = 0;

  /// Removes exactly this object with all traces. One that is gone or was replaced is left alone (success).
  [[nodiscard]] virtual Status remove(const Context& context, const Object& object) = 0;

  /// Removes the bytes of puts that never finished and are older than `grace`, which has to be longer than
  /// any put takes. Returns how many.
  [[nodiscard]] virtual Result<std::uint64_t> remove_orphans(const Context& context,
                                                             std::chrono::nanoseconds grace) = 0;

  /// Errors: not_found (there is no bucket), unavailable (nobody answers who knows).
  [[nodiscard]] virtual Result<BucketState> state(const Context& context) = 0;
};

}  // namespace litecluster::log
