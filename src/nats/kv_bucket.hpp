// A key-value bucket in a JetStream stream, in the format that the NATS clients share (ADR-8 of
// nats-architecture-and-design): stream `KV_<bucket>`, one message per change on `$KV.<bucket>.<key>`, the
// stream sequence is the revision. A delete is an empty message with `KV-Operation: DEL`, a purge one with
// `KV-Operation: PURGE` and `Nats-Rollup: sub`.
//
// Lost acknowledgements. Every write carries a `Nats-Msg-Id` of its own. When no acknowledgement comes it is
// sent again with the same id, and the server says 'duplicate' instead of looking at the expected revision. A
// server that has forgotten the id (restarted) may answer with a conflict: the key is then read back, and the
// id on the stored message tells whether the change is ours. Where even that cannot tell, the error is
// `unavailable` and says so; `conflict` and `already_exists` always mean that the change was not made.
//
// A bucket that was deleted and made anew looks like one without entries. So the server is asked whether it
// is still the same one where that would show: when a read finds nothing, when a watch starts, and when a
// change gets a revision that was there before. Reads that find something and other changes cost nothing
// more.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/kv_entry.hpp>

#include "nats/jetstream.hpp"
#include "nats/kv_watch.hpp"

namespace litecluster::nats {

inline constexpr int kv_history_max = 64;

struct KeyValueOptions {
  /// Letters, digits, `-` and `_`.
  std::string bucket{};
  std::string description{};
  /// Revisions kept per key: 1 to kv_history_max.
  int history = 1;
  /// In bytes, about 100 for headers included; nothing: no limit of its own below the server's max_payload.
  std::optional<std::int32_t> value_size_max{};
  /// Of the whole bucket, in bytes. Nothing: no limit.
  std::optional<std::int64_t> bytes_max{};
  /// Age at which values vanish. 0: never.
  std::chrono::nanoseconds ttl{0};
  /// Nothing: as for all buckets, see JetStream::replicas_for_new_stream().
  std::optional<int> replicas{};
  /// Refuse an existing bucket that drops values by itself, by age or to make room: for records that promises
  /// rest on.
  bool permanent = false;
  /// Go on in another bucket of the same name instead of failing: for those who tell another history from
  /// their own by what its records say. status() tells it nevertheless.
  bool replaceable = false;
};

struct KeyValueStatus {
  std::string bucket{};
  std::uint64_t values = 0;  ///< messages, deletes included
  std::uint64_t bytes = 0;
  std::int64_t history = 0;
  int replicas = 1;
  Revision last_revision;  ///< of the whole bucket
  ServerTime created{};
};

/// Which server may answer a read.
enum class KvRead {
  any,     ///< any replica: may lag behind by a moment on a cluster
  leader,  ///< the stream's leader
};

/// Thread-safe; cheap to copy. All calls block for the answer: per attempt at most the connection's request
/// timeout, in all no longer than twice that and a second, or than the Context allows. Errors common to all:
/// cancelled, deadline_exceeded, unavailable, permission_denied, invalid_argument (key), failed_precondition
/// (the bucket is gone or was replaced; a change may then have been made in the new one).
class KeyValue {
 public:
  /// Binds to an existing bucket. Errors: not_found, failed_precondition (not a KV bucket).
  [[nodiscard]] static Result<KeyValue> open(const Context& context, const JetStream& jetstream,
                                             std::string_view bucket);
  /// Binds to the bucket, and creates it when it is missing. An existing one keeps its settings. Errors:
  /// invalid_argument (name, history), failed_precondition (not a KV bucket, or not `permanent`).
  [[nodiscard]] static Result<KeyValue> open_or_create(const Context& context, const JetStream& jetstream,
                                                       const KeyValueOptions& options);

  /// not_found when there is no such key or it is deleted.
  [[nodiscard]] Result<KvEntry> get(const Context& context, std::string_view key,
                                    KvRead read = KvRead::any) const;
  /// The newest change of the key, deletes included; nullopt when there is none. Does not ask whether the
  /// bucket is still the same one.
  [[nodiscard]] Result<std::optional<KvEntry>> last(const Context& context, std::string_view key,
                                                    KvRead read = KvRead::any) const;
  /// The value with this revision; not_found when it is not one of this key, no longer kept, or a delete.
  [[nodiscard]] Result<KvEntry> get_revision(const Context& context, std::string_view key,
                                             Revision revision) const;

  [[nodiscard]] Result<Revision> put(const Context& context, std::string_view key,
                                     std::string_view value) const;
  /// already_exists unless the key is missing or deleted.
  [[nodiscard]] Result<Revision> create(const Context& context, std::string_view key,
                                        std::string_view value) const;
  /// conflict unless the newest change of the key, deletes included, is `expected` (0: there is none).
  [[nodiscard]] Result<Revision> update(const Context& context, std::string_view key, std::string_view value,
                                        Revision expected) const;
  /// Returns the revision of the delete marker.
  [[nodiscard]] Result<Revision> remove(const Context& context, std::string_view key,
                                        std::optional<Revision> expected = std::nullopt) const;
  [[nodiscard]] Result<Revision> purge(const Context& context, std::string_view key,
                                       std::optional<Revision> expected = std::nullopt) const;

  /// Existing keys that match the pattern (kv_pattern.hpp), sorted.
  [[nodiscard]] Result<std::vector<std::string>> keys(const Context& context,
                                                      std::string_view pattern = ">") const;
  /// All kept changes of the key, oldest first; empty when there are none.
  [[nodiscard]] Result<std::vector<KvEntry>> history(const Context& context, std::string_view key) const;
  [[nodiscard]] Result<KeyValueWatch> watch(const Context& context, std::string_view pattern = ">",
                                            const KeyValueWatchOptions& options = {}) const;

  /// Asks the server. failed_precondition when the bucket is gone, is another one of the same name, or has a
  /// last revision below one that was seen: what was acknowledged is then no longer there.
  [[nodiscard]] Result<KeyValueStatus> status(const Context& context) const;

  [[nodiscard]] const JetStream& jetstream() const { return jetstream_; }

 private:
  struct Change;
  KeyValue(JetStream jetstream, const KeyValueOptions& options, const StreamInfo& info, bool expect_end);

  [[nodiscard]] static Result<KeyValue> open(const Context& context, const JetStream& jetstream,
                                             const KeyValueOptions& options);
  [[nodiscard]] static Status check_permanent(const StreamInfo& info, std::string_view bucket);
  [[nodiscard]] static Result<KeyValue> bind(const Context& context, const JetStream& jetstream,
                                             const KeyValueOptions& options, const StreamInfo& info);
  [[nodiscard]] std::string subject_of(std::string_view key) const;
  [[nodiscard]] Error failed(const Error& error, const Context& outer, std::string_view operation,
                             std::string_view key) const;
  template <typename Attempt>
  [[nodiscard]] auto retrying(const Context& context, std::string_view operation, std::string_view key,
                              const Attempt& attempt) const -> decltype(attempt(context));
  [[nodiscard]] Status check_bucket(const Context& context) const;
  /// failed_precondition when the server says that it is another bucket now; fine when it cannot say.
  [[nodiscard]] Status check_same_bucket(const Context& context) const;
  [[nodiscard]] Result<Revision> write(const Context& context, std::string_view operation,
                                       std::string_view key, const Change& change) const;
  [[nodiscard]] Result<PublishAck> publish(const Context& context, const std::string& subject,
                                           const Change& change, const Headers& headers) const;
  [[nodiscard]] Result<Revision> find_own(const Context& context, std::string_view key,
                                          std::string_view message_id,
                                          std::optional<Revision> expected) const;
  void saw(Revision revision) const;

  JetStream jetstream_;
  std::string bucket_;
  std::string stream_;
  ServerTime created_{};
  bool replaceable_ = false;
  /// The server cannot be trusted with the expected revision of a key alone.
  bool expect_end_ = false;
  // Shared by copies, so that a bucket that goes back is noticed by all of them.
  std::shared_ptr<std::atomic<std::uint64_t>> highest_seen_;
};

}  // namespace litecluster::nats
