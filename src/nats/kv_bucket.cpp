#include "nats/kv_bucket.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/bytes.hpp"
#include "base/random.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster::nats {

using namespace std::chrono_literals;

namespace {

constexpr const char* operation_header = "KV-Operation";
constexpr int stream_not_found = 10059;
constexpr std::string_view made_anew = "the bucket was deleted and made anew: what it held is lost";
// An answer that is there does not wait longer for what only might take it back.
constexpr auto same_bucket_patience = 1s;

Status check_key(std::string_view operation, std::string_view key) {
  if (valid_key(key)) return {};
  return failure(ErrorCode::invalid_argument, std::string(operation), std::string(key),
                 "a key has 1 to 1024 letters, digits and - / _ = ., and no part between dots is empty");
}

StreamConfig stream_config(const KeyValueOptions& options, int replicas) {
  StreamConfig config;
  config.name = "KV_" + options.bucket;
  config.description = options.description;
  config.subjects = {fmt::format("$KV.{}.>", options.bucket)};
  config.max_messages_per_subject = options.history;
  if (options.value_size_max) config.max_message_size = *options.value_size_max;
  if (options.bytes_max) config.max_bytes = *options.bytes_max;
  config.max_age = options.ttl;
  if (options.ttl > 0ns) config.duplicate_window = std::min(config.duplicate_window, options.ttl);
  config.replicas = replicas;
  config.allow_rollup = true;
  config.allow_direct = true;
  config.deny_delete = true;
  return config;
}

// A replicated stream of nats-server 2.9.10 acknowledges two changes that expect the same last sequence of
// one subject, when they come at the same time (3 of 4 races, tried; never with a single replica, never when
// the key is new, never with 2.15.1). Two that expect the same end of the whole stream it never takes.
// From 2.12 on the server looks at changes that are under way as well.
bool takes_two_for_one(std::string_view version) {
  unsigned major = 0;
  unsigned minor = 0;
  const char* const end = version.data() + version.size();
  const auto first = std::from_chars(version.data(), end, major);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') return true;
  if (std::from_chars(first.ptr + 1, end, minor).ec != std::errc()) return true;
  return major < 2 || (major == 2 && minor < 12);
}

}  // namespace

/// One write: what it stores and what it expects.
struct KeyValue::Change {
  std::string_view value;
  KvOperation operation = KvOperation::put;
  std::optional<Revision> expected;

  [[nodiscard]] Headers headers(const std::string& message_id) const {
    Headers result{{message_id_header, message_id}};
    if (expected) {
      result.push_back({expected_last_subject_sequence_header, std::to_string(expected->value())});
    }
    if (operation == KvOperation::remove) result.push_back({operation_header, "DEL"});
    if (operation == KvOperation::purge) {
      result.push_back({operation_header, "PURGE"});
      result.push_back({rollup_header, "sub"});
    }
    return result;
  }
};

KeyValue::KeyValue(JetStream jetstream, const KeyValueOptions& options, const StreamInfo& info,
                   bool expect_end)
    : jetstream_(std::move(jetstream)),
      bucket_(options.bucket),
      stream_(info.config.name),
      created_(info.created),
      replaceable_(options.replaceable),
      expect_end_(expect_end),
      highest_seen_(std::make_shared<std::atomic<std::uint64_t>>(info.last_sequence)) {}

Result<KeyValue> KeyValue::bind(const Context& context, const JetStream& jetstream,
                                const KeyValueOptions& options, const StreamInfo& info) {
  const std::string& bucket = options.bucket;
  const std::string subject = fmt::format("$KV.{}.>", bucket);
  if (std::ranges::find(info.config.subjects, subject) == info.config.subjects.end()) {
    return failure(ErrorCode::failed_precondition, "open bucket", bucket,
                   fmt::format("the stream {} exists and is not a KV bucket: it does not take {}",
                               info.config.name, subject));
  }
  bool expect_end = false;
  if (info.config.replicas > 1) {
    const auto server = jetstream.connection().server_info(context);
    if (!server) return std::unexpected(server.error().within("open bucket", bucket));
    expect_end = takes_two_for_one(server->version);
  }
  return KeyValue(jetstream, options, info, expect_end);
}

Status KeyValue::check_permanent(const StreamInfo& info, std::string_view bucket) {
  const StreamConfig& config = info.config;
  const bool drops_oldest = config.discard != "new" && (config.max_bytes > 0 || config.max_messages > 0);
  if (config.max_age == 0ns && !drops_oldest) return {};
  return failure(
      ErrorCode::failed_precondition, "open bucket", std::string(bucket),
      fmt::format("the stream {} {}, so that records which are still valid would vanish; remove that "
                  "limit (nats stream edit), or delete the bucket and let this program create it",
                  config.name, config.max_age != 0ns ? "has a max_age" : "discards the oldest at a limit"));
}

Result<KeyValue> KeyValue::open(const Context& context, const JetStream& jetstream, std::string_view bucket) {
  return open(context, jetstream, {.bucket = std::string(bucket)});
}

Result<KeyValue> KeyValue::open(const Context& context, const JetStream& jetstream,
                                const KeyValueOptions& options) {
  const std::string& bucket = options.bucket;
  if (!valid_bucket_name(bucket)) {
    return failure(ErrorCode::invalid_argument, "open bucket", bucket,
                   "a bucket's name has letters, digits, - and _ only");
  }
  const auto info = jetstream.stream_info(context, fmt::format("KV_{}", bucket));
  if (!info) return std::unexpected(info.error().within("open bucket", bucket));
  if (options.permanent) {
    if (auto status = check_permanent(*info, bucket); !status) return std::unexpected(status.error());
  }
  return bind(context, jetstream, options, *info);
}

Result<KeyValue> KeyValue::open_or_create(const Context& context, const JetStream& jetstream,
                                          const KeyValueOptions& options) {
  if (options.history < 1 || options.history > kv_history_max) {
    return failure(ErrorCode::invalid_argument, "create bucket", options.bucket,
                   fmt::format("history is {}; it has to be 1 to {}", options.history, kv_history_max));
  }
  auto existing = open(context, jetstream, options);
  if (existing || existing.error().code() != ErrorCode::not_found) return existing;
  int replicas = options.replicas.value_or(0);
  if (!options.replicas) {
    const auto chosen = jetstream.replicas_for_new_stream(context);
    if (!chosen) return std::unexpected(chosen.error().within("create bucket", options.bucket));
    replicas = *chosen;
  }
  const auto created = jetstream.create_stream(context, stream_config(options, replicas));
  if (created) return bind(context, jetstream, options, *created);
  if (created.error().code() == ErrorCode::already_exists) {
    // Somebody else was faster, with other settings; or a stream of another name has these subjects.
    auto opened = open(context, jetstream, options);
    if (opened || opened.error().code() != ErrorCode::not_found) return opened;
  }
  return std::unexpected(created.error().within("create bucket", options.bucket));
}

Result<KvEntry> KeyValue::get(const Context& context, std::string_view key, KvRead read) const {
  auto entry = last(context, key, read);
  if (!entry) return std::unexpected(std::move(entry.error()));
  if (*entry && (*entry)->operation == KvOperation::put) return std::move(**entry);
  if (auto same = check_same_bucket(context); !same) return std::unexpected(std::move(same.error()));
  return failure(ErrorCode::not_found, "get", std::string(key),
                 *entry ? "the key was deleted" : "there is no such key in bucket " + bucket_);
}

Result<std::optional<KvEntry>> KeyValue::last(const Context& context, std::string_view key,
                                              KvRead read) const {
  if (const Status valid = check_key("get", key); !valid) return std::unexpected(valid.error());
  const std::string subject = subject_of(key);
  const auto message = retrying(context, "get", key, [&](const Context& limit) {
    return jetstream_.last_message(limit, stream_, subject, read == KvRead::leader);
  });
  if (!message && message.error().code() == ErrorCode::not_found) return std::nullopt;
  if (!message) return std::unexpected(message.error());
  saw(Revision(message->sequence));
  return kv_entry(key, *message);
}

Result<KvEntry> KeyValue::get_revision(const Context& context, std::string_view key,
                                       Revision revision) const {
  if (const Status valid = check_key("get", key); !valid) return std::unexpected(valid.error());
  const auto message = retrying(context, "get", key, [&](const Context& limit) {
    return jetstream_.message_at(limit, stream_, revision.value(), /*from_leader=*/true);
  });
  const bool missing =
      message ? message->subject != subject_of(key) : message.error().code() == ErrorCode::not_found;
  if (missing) {
    if (auto same = check_same_bucket(context); !same) return std::unexpected(std::move(same.error()));
    return failure(ErrorCode::not_found, "get", std::string(key),
                   fmt::format("revision {} is not one of this key, or no longer kept", revision.value()));
  }
  if (!message) return std::unexpected(message.error());
  KvEntry entry = kv_entry(key, *message);
  if (entry.operation == KvOperation::put) return entry;
  return failure(ErrorCode::not_found, "get", std::string(key),
                 fmt::format("revision {} deleted the key", revision.value()));
}

Result<Revision> KeyValue::put(const Context& context, std::string_view key, std::string_view value) const {
  return write(context, "put", key, {.value = value, .expected = std::nullopt});
}

Result<Revision> KeyValue::update(const Context& context, std::string_view key, std::string_view value,
                                  Revision expected) const {
  return write(context, "update", key, {.value = value, .expected = expected});
}

Result<Revision> KeyValue::remove(const Context& context, std::string_view key,
                                  std::optional<Revision> expected) const {
  return write(context, "delete", key, {.value = {}, .operation = KvOperation::remove, .expected = expected});
}

Result<Revision> KeyValue::purge(const Context& context, std::string_view key,
                                 std::optional<Revision> expected) const {
  return write(context, "purge", key, {.value = {}, .operation = KvOperation::purge, .expected = expected});
}

Result<Revision> KeyValue::create(const Context& context, std::string_view key,
                                  std::string_view value) const {
  Revision expected;
  // Ends by itself: each round somebody else has changed the key in between.
  while (true) {
    auto created = write(context, "create", key, {.value = value, .expected = expected});
    if (created || created.error().code() != ErrorCode::conflict) return created;
    const auto present = last(context, key, KvRead::leader);
    if (!present) return std::unexpected(present.error().within("create", std::string(key)));
    if (*present && (*present)->operation == KvOperation::put) {
      return failure(ErrorCode::already_exists, "create", std::string(key),
                     fmt::format("the key exists with revision {}", (*present)->revision.value()));
    }
    expected = *present ? (*present)->revision : Revision();
  }
}

Result<KeyValueStatus> KeyValue::status(const Context& context) const {
  // Of what others write while the question is on its way the answer need not know.
  const std::uint64_t seen = highest_seen_->load();
  const auto info = retrying(context, "look at bucket", {}, [&](const Context& limit) {
    return jetstream_.stream_info_of_leader(limit, stream_);
  });
  if (!info && info.error().code() != ErrorCode::not_found) return std::unexpected(info.error());
  if (!info || info->created != created_) {
    return failure(ErrorCode::failed_precondition, "look at bucket", bucket_,
                   info ? std::string(made_anew) : "the bucket is gone; nothing re-creates it by itself");
  }
  if (info->last_sequence < seen) {
    return failure(ErrorCode::failed_precondition, "look at bucket", bucket_,
                   fmt::format("the last revision is {}, but {} was there already: the server lost changes",
                               info->last_sequence, seen));
  }
  return KeyValueStatus{.bucket = bucket_,
                        .values = info->messages,
                        .bytes = info->bytes,
                        .history = info->config.max_messages_per_subject,
                        .replicas = info->config.replicas,
                        .last_revision = Revision(info->last_sequence),
                        .created = info->created};
}

std::string KeyValue::subject_of(std::string_view key) const {
  return fmt::format("$KV.{}.{}", bucket_, key);
}

void KeyValue::saw(Revision revision) const {
  std::uint64_t highest = highest_seen_->load();
  while (revision.value() > highest && !highest_seen_->compare_exchange_weak(highest, revision.value())) {
  }
}

Error KeyValue::failed(const Error& error, const Context& outer, std::string_view operation,
                       std::string_view key) const {
  const std::string subject(key.empty() ? std::string_view(bucket_) : key);
  // The limit that ended it was ours, not the caller's.
  if (error.code() == ErrorCode::deadline_exceeded && !outer.done()) {
    return {ErrorCode::unavailable, std::string(operation), subject,
            "the server did not answer in time; is it overloaded or without a quorum?"};
  }
  return {error.code(), std::string(operation), subject, error.reason()};
}

Status KeyValue::check_bucket(const Context& context) const {
  const auto info = jetstream_.stream_info_of_leader(context, stream_);
  const bool gone = !info && info.error().code() == ErrorCode::not_found;
  if (gone || (info && info->created != created_)) {
    return failure(ErrorCode::failed_precondition, "use bucket", bucket_,
                   gone ? "the bucket is gone; nothing re-creates it by itself" : std::string(made_anew));
  }
  return {};
}

Status KeyValue::check_same_bucket(const Context& context) const {
  if (replaceable_) return {};
  const auto info = jetstream_.stream_info_of_leader(context.with_timeout(same_bucket_patience), stream_);
  if (!info || info->created == created_) return {};
  return failure(ErrorCode::failed_precondition, "use bucket", bucket_, std::string(made_anew));
}

template <typename Attempt>
auto KeyValue::retrying(const Context& context, std::string_view operation, std::string_view key,
                        const Attempt& attempt) const -> decltype(attempt(context)) {
  const Connection& connection = jetstream_.connection();
  const Context limit = context.with_timeout(2 * connection.options().request_timeout);
  base::Backoff backoff(10ms, 500ms);
  while (true) {
    auto result = attempt(limit);
    if (result) return result;
    if (result.error().code() == ErrorCode::not_found) {
      if (api_error_code(result.error()) != stream_not_found) return result;
      return failure(ErrorCode::failed_precondition, std::string(operation),
                     std::string(key.empty() ? std::string_view(bucket_) : key),
                     "the bucket is gone; nothing re-creates it by itself");
    }
    if (result.error().code() != ErrorCode::unavailable || limit.done()) {
      return std::unexpected(failed(result.error(), context, operation, key));
    }
    // Nobody answers for a bucket that is gone, either.
    if (connection.state() == ConnectionState::connected) {
      if (const Status there = check_bucket(limit);
          !there && there.error().code() == ErrorCode::failed_precondition) {
        return std::unexpected(failed(there.error(), context, operation, key));
      }
    }
    if (limit.wait_for(backoff.next(base::random_u64())) || !connection.wait_connected(limit)) {
      return std::unexpected(failed(result.error(), context, operation, key));
    }
  }
}

Result<Revision> KeyValue::write(const Context& context, std::string_view operation, std::string_view key,
                                 const Change& change) const {
  if (const Status valid = check_key(operation, key); !valid) return std::unexpected(valid.error());
  const std::string subject = subject_of(key);
  const std::string message_id = base::random_hex(24);
  const Headers headers = change.headers(message_id);
  const std::uint64_t seen = highest_seen_->load();
  bool sent_before = false;
  bool cannot_tell = false;
  auto revision = retrying(context, operation, key, [&](const Context& limit) -> Result<Revision> {
    const bool again = std::exchange(sent_before, true);
    // Without an expectation a server that forgot the id would store it twice, over what came in between.
    if (again && !change.expected) {
      const auto own = find_own(limit, key, message_id, change.expected);
      if (own || own.error().code() != ErrorCode::not_found) return own;
    }
    const auto ack = publish(limit, subject, change, headers);
    if (ack) return Revision(ack->sequence);
    if (again && ack.error().code() == ErrorCode::conflict) {
      const auto own = find_own(limit, key, message_id, change.expected);
      if (own || own.error().code() != ErrorCode::not_found) return own;
      cannot_tell = true;
    }
    return std::unexpected(ack.error());
  });
  if (revision) {
    if (revision->value() <= seen) {
      if (auto same = check_same_bucket(context); !same) return std::unexpected(std::move(same.error()));
    }
    saw(*revision);
    return revision;
  }
  if (cannot_tell && revision.error().code() == ErrorCode::conflict) {
    return failure(ErrorCode::unavailable, std::string(operation), std::string(key),
                   "an acknowledgement was lost and the key has changed since: whether this change was made "
                   "before that cannot be told; read the key and decide");
  }
  return revision;
}

// With expect_end_, the change also names the end of the stream, which moves with every change of any key: a
// refusal for that alone is tried again.
Result<PublishAck> KeyValue::publish(const Context& context, const std::string& subject, const Change& change,
                                     const Headers& headers) const {
  const auto bytes = base::as_bytes(change.value);
  if (!expect_end_ || !change.expected || change.expected->is_zero()) {
    return jetstream_.publish(context, subject, bytes, headers);
  }
  std::uint64_t end = highest_seen_->load();
  while (true) {
    Headers with_end = headers;
    with_end.push_back({expected_last_sequence_header, std::to_string(end)});
    auto ack = jetstream_.publish(context, subject, bytes, with_end);
    if (ack || ack.error().code() != ErrorCode::conflict) return ack;
    const auto last = jetstream_.last_message(context, stream_, subject, /*from_leader=*/true);
    if (!last && last.error().code() != ErrorCode::not_found) return std::unexpected(last.error());
    if (!last || last->sequence != change.expected->value()) return ack;
    const auto info = jetstream_.stream_info_of_leader(context, stream_);
    if (!info) return std::unexpected(info.error());
    if (auto alive = context.status("change"); !alive) return std::unexpected(alive.error());
    end = info->last_sequence;
  }
}

Result<KeyValueWatch> KeyValue::watch(const Context& context, std::string_view pattern,
                                      const KeyValueWatchOptions& options) const {
  if (!valid_key_pattern(pattern)) {
    return failure(ErrorCode::invalid_argument, "watch", std::string(pattern),
                   "a pattern is a key in which whole parts may be `*` and the last one `>`");
  }
  auto started = retrying(context, "watch", {}, [&](const Context& limit) {
    return KeyValueWatch::start(limit, jetstream_, bucket_, pattern, options);
  });
  if (!started) return started;
  if (auto same = check_same_bucket(context); !same) return std::unexpected(std::move(same.error()));
  return started;
}

Result<Revision> KeyValue::find_own(const Context& context, std::string_view key, std::string_view message_id,
                                    std::optional<Revision> expected) const {
  const std::string subject = subject_of(key);
  const auto last = jetstream_.last_message(context, stream_, subject, /*from_leader=*/true);
  if (!last) return std::unexpected(last.error());
  if (last->header(message_id_header) == message_id) return Revision(last->sequence);
  if (expected) {
    // Ours would be the first change behind the expected revision, if the history still has it.
    const auto next = jetstream_.next_message(context, stream_, subject, expected->value() + 1);
    if (next && next->header(message_id_header) == message_id) return Revision(next->sequence);
  }
  return failure(ErrorCode::not_found, "find own change", std::string(key), "it is not stored");
}

}  // namespace litecluster::nats
