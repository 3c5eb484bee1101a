// JetStream over the raw API subjects (`$JS.API.*`, `$JS.<domain>.API.*`): streams, publishing with
// acknowledgements, direct reads.
//
// A publish is a request on the stream's subject; the answer is the acknowledgement. Any number can be under
// way on one connection, and each has its own result. The order of publishes of one thread to one stream is
// kept.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "nats/connection.hpp"

namespace litecluster::nats {

using ServerTime = std::chrono::sys_time<std::chrono::nanoseconds>;

// Headers of the JetStream protocol.
inline constexpr const char* message_id_header = "Nats-Msg-Id";
inline constexpr const char* expected_last_subject_sequence_header = "Nats-Expected-Last-Subject-Sequence";
inline constexpr const char* expected_last_sequence_header = "Nats-Expected-Last-Sequence";
inline constexpr const char* expected_last_message_id_header = "Nats-Expected-Last-Msg-Id";
inline constexpr const char* rollup_header = "Nats-Rollup";

/// What stream creation sets and stream information tells. Names as in the JetStream API.
struct StreamConfig {
  std::string name;
  std::string description;
  std::vector<std::string> subjects;
  std::string retention = "limits";
  std::string storage = "file";  ///< "file" or "memory"
  std::string discard = "new";   ///< "new" refuses at a limit, "old" drops the oldest
  std::int64_t max_bytes = -1;
  std::int64_t max_messages = -1;
  std::int64_t max_messages_per_subject = -1;
  std::int32_t max_message_size = -1;
  std::chrono::nanoseconds max_age{0};
  std::chrono::nanoseconds duplicate_window = std::chrono::minutes(2);
  int replicas = 1;
  bool allow_rollup = false;
  bool allow_direct = false;
  bool deny_delete = false;
  bool deny_purge = false;
  bool sealed = false;
};

struct StreamInfo {
  StreamConfig config;
  /// When the stream was made; tells a stream from a later one of the same name.
  ServerTime created{};
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t first_sequence = 0;
  std::uint64_t last_sequence = 0;
  std::uint64_t consumers = 0;
  /// Messages per subject, when a subject filter was given. At most 100,000 subjects.
  std::vector<std::pair<std::string, std::uint64_t>> subjects;
  /// Name of the cluster's leader for this stream; empty on a single server or without a leader.
  std::string leader;
  std::string cluster;

  /// False: nobody leads the stream's servers now, and one of them told what it has itself, which can be old.
  [[nodiscard]] bool from_leader() const { return cluster.empty() || !leader.empty(); }
};

struct PublishAck {
  std::string stream;
  /// Sequence under which the message is stored; of the first one when `duplicate`.
  std::uint64_t sequence = 0;
  /// The server had a message with this Nats-Msg-Id already, and did nothing.
  bool duplicate = false;
};

/// A message as a stream keeps it.
struct StoredMessage {
  std::string subject;
  std::uint64_t sequence = 0;
  ServerTime time{};
  Headers headers;  ///< without those that the read added
  base::Bytes data;
  /// Messages matching the same filter that follow, where the server tells; otherwise 0.
  std::uint64_t pending = 0;

  /// First value of the header; nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
};

struct PurgeOptions {
  /// Only messages on this subject (wildcards allowed). Empty: all.
  std::string filter;
  /// Only messages below this sequence. 0: no such limit.
  std::uint64_t below_sequence = 0;
  /// The newest messages to leave. 0: none.
  std::uint64_t keep = 0;
};

/// Requests of the JetStream account limits and capabilities.
struct AccountInfo {
  std::uint64_t memory = 0;
  std::uint64_t storage = 0;
  std::uint64_t streams = 0;
  std::uint64_t consumers = 0;
  std::string domain;
};

/// The acknowledgement of one publish under way. Not thread-safe.
class PendingAck {
 public:
  /// Waits for the acknowledgement. Errors: conflict (an expectation in the headers did not hold),
  /// resource_exhausted (limits of the stream or account),
  /// unavailable (nobody takes the subject, or no answer in time or the connection broke: it may have been
  /// stored), deadline_exceeded, cancelled. Afterwards the object is empty.
  [[nodiscard]] Result<PublishAck> wait(const Context& context);
  [[nodiscard]] bool ready() const { return reply_.ready(); }

 private:
  friend class JetStream;
  PendingAck(PendingReply reply, std::string subject)
      : reply_(std::move(reply)), subject_(std::move(subject)) {}
  PendingReply reply_;
  std::string subject_;
};

/// One direct read under way. Not thread-safe.
class PendingGet {
 public:
  /// Errors: not_found (no such message or stream), unavailable, deadline_exceeded, cancelled.
  [[nodiscard]] Result<StoredMessage> wait(const Context& context);

 private:
  friend class JetStream;
  PendingGet(PendingReply reply, std::string stream) : reply_(std::move(reply)), stream_(std::move(stream)) {}
  PendingReply reply_;
  std::string stream_;
};

/// Thread-safe; cheap to copy. Holds its connection.
class JetStream {
 public:
  explicit JetStream(std::shared_ptr<Connection> connection);

  [[nodiscard]] Connection& connection() const { return *connection_; }

  /// Errors: unavailable with advice when JetStream is off; permission_denied.
  [[nodiscard]] Result<AccountInfo> account_info(const Context& context) const;

  /// Error not_found when there is no such stream. With `subjects_filter` the messages per subject are told.
  [[nodiscard]] Result<StreamInfo> stream_info(const Context& context, std::string_view stream,
                                               std::string_view subjects_filter = {}) const;
  /// The same, on the word of who leads the stream; error unavailable while nobody does.
  [[nodiscard]] Result<StreamInfo> stream_info_of_leader(const Context& context,
                                                         std::string_view stream) const;
  /// Errors: already_exists (the name is taken by a stream with other settings), resource_exhausted,
  /// unavailable (fewer servers than replicas, no quorum). Creating it twice with equal settings is the same
  /// as once.
  [[nodiscard]] Result<StreamInfo> create_stream(const Context& context, const StreamConfig& config) const;
  [[nodiscard]] Result<StreamInfo> update_stream(const Context& context, const StreamConfig& config) const;
  [[nodiscard]] Status delete_stream(const Context& context, std::string_view stream) const;
  /// Removes messages; returns how many.
  [[nodiscard]] Result<std::uint64_t> purge(const Context& context, std::string_view stream,
                                            const PurgeOptions& options) const;
  /// Errors: not_found (no such message), failed_precondition (the stream denies it), unavailable (also while
  /// a backup of the stream is taken).
  [[nodiscard]] Status delete_message(const Context& context, std::string_view stream,
                                      std::uint64_t sequence) const;
  /// The number of replicas to give to a new stream: options().replicas if set, else 3 on a cluster of three
  /// or more servers, else 1.
  [[nodiscard]] Result<int> replicas_for_new_stream(const Context& context) const;

  [[nodiscard]] Result<PendingAck> publish_async(std::string_view subject, base::ByteView data,
                                                 const Headers& headers = {}) const;
  [[nodiscard]] Result<PublishAck> publish(const Context& context, std::string_view subject,
                                           base::ByteView data, const Headers& headers = {}) const;

  /// The newest message on the subject. When the stream allows direct reads (asked once and remembered), any
  /// replica answers and may be behind the leader; `from_leader` asks the leader.
  [[nodiscard]] Result<StoredMessage> last_message(const Context& context, std::string_view stream,
                                                   std::string_view subject, bool from_leader = false) const;
  [[nodiscard]] Result<StoredMessage> message_at(const Context& context, std::string_view stream,
                                                 std::uint64_t sequence, bool from_leader = false) const;
  /// The first message on the subject (wildcards allowed) with at least this sequence, asked of the leader: a
  /// not_found is the truth.
  [[nodiscard]] Result<StoredMessage> next_message(const Context& context, std::string_view stream,
                                                   std::string_view subject, std::uint64_t sequence) const;
  /// Pipelined, from any replica; direct reads only: a stream that does not allow them never answers.
  [[nodiscard]] Result<PendingGet> send_last_message(std::string_view stream, std::string_view subject) const;
  [[nodiscard]] Result<PendingGet> send_next_message(std::string_view stream, std::string_view subject,
                                                     std::uint64_t sequence) const;

  /// A request to `$JS.API.<operation>` with a JSON body. The answer's text, with API errors turned into
  /// Error.
  [[nodiscard]] Result<std::string> api_request(const Context& context, std::string_view operation,
                                                std::string_view body,
                                                std::string_view subject_of_error) const;

 private:
  class DirectReads;
  [[nodiscard]] Result<bool> allows_direct_reads(const Context& context, std::string_view stream) const;
  /// What to read is said by the subject, or, when that is empty, by the body.
  [[nodiscard]] Result<PendingGet> send_direct(std::string_view stream, std::string_view subject,
                                               const std::string& body) const;
  [[nodiscard]] Result<StoredMessage> finish_direct(const Context& context, std::string_view stream,
                                                    Result<PendingGet> pending) const;
  [[nodiscard]] Result<StoredMessage> read_from_leader(const Context& context, std::string_view stream,
                                                       const std::string& body) const;
  std::shared_ptr<Connection> connection_;
  std::string prefix_;  // "$JS.API." or "$JS.<domain>.API."
  std::shared_ptr<DirectReads> direct_reads_;
};

/// The code of the JetStream API inside an Error made here, such as 10071; 0 when there is none.
[[nodiscard]] int api_error_code(const Error& error);

}  // namespace litecluster::nats
