#include "nats/jetstream_object_store.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "nats/jetstream_json.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster::nats {
namespace {

// Longer than most pauses between commits of a busy database, and shorter than it takes to add replicas and
// then another writer.
constexpr std::chrono::seconds replicas_known_for{10};

constexpr std::string_view put_the_right =
    "use a bucket that an object store client made, or let this program create it";

Status check_settings(const StreamInfo& info, std::string_view bucket) {
  const StreamConfig& config = info.config;
  std::string wrong;
  const auto add = [&wrong](std::string_view what) {
    if (!wrong.empty()) wrong += ", ";
    wrong += what;
  };
  if (!config.allow_rollup) add("it does not allow rollups");
  if (config.max_age.count() != 0) add("it has a max_age, which would delete chunks and metadata apart");
  if (config.max_messages_per_subject > 0) add("it limits messages per subject, which would drop chunks");
  if (config.discard != "new") add("it discards old messages at a limit, which would drop objects");
  if (config.retention != "limits") add("its retention policy is not 'limits'");
  if (config.deny_purge) add("it denies purges, so that nothing could be removed");
  if (config.deny_delete) add("it denies that messages are deleted, so that nothing could be removed");
  if (config.sealed) add("it is sealed");
  const std::string chunks = fmt::format("$O.{}.C.>", bucket);
  const std::string metadata = fmt::format("$O.{}.M.>", bucket);
  const bool subjects =
      std::ranges::count(config.subjects, chunks) != 0 && std::ranges::count(config.subjects, metadata) != 0;
  if (!subjects) add("it does not take the subjects of an object store");
  if (wrong.empty()) return {};
  return failure(ErrorCode::failed_precondition, "open object store", std::string(bucket),
                 fmt::format("the stream {} has settings that would break it: {}; {}", config.name, wrong,
                             put_the_right));
}

Status check_name(std::string_view bucket) {
  if (valid_bucket_name(bucket)) return {};
  return failure(ErrorCode::invalid_argument, "open object store", std::string(bucket),
                 "a bucket's name has letters, digits, '-' and '_', and is not empty");
}

StreamConfig bucket_config(std::string_view bucket, const BucketOptions& options, int replicas) {
  StreamConfig config;
  config.name = object_stream(bucket);
  config.description = options.description;
  config.subjects = {fmt::format("$O.{}.C.>", bucket), fmt::format("$O.{}.M.>", bucket)};
  config.storage = options.storage;
  config.discard = "new";
  config.max_bytes = options.max_bytes;
  config.replicas = replicas;
  config.allow_rollup = true;
  config.allow_direct = true;
  return config;
}

ObjectInfo with_place(ObjectInfo info, std::uint64_t sequence, ServerTime time) {
  info.sequence = sequence;
  info.modified = time;
  return info;
}

class JetStreamObjectWatch final : public ObjectWatch {
 public:
  JetStreamObjectWatch(JetStream jetstream, OrderedConsumerOptions options, OrderedConsumer consumer,
                       std::uint64_t from_sequence)
      : jetstream_(std::move(jetstream)),
        options_(std::move(options)),
        consumer_(std::move(consumer)),
        from_sequence_(from_sequence),
        initial_done_(consumer_.initial_pending() == 0) {}

  Result<ObjectInfo> next(const Context& context) override {
    auto delivery = consumer_.next(until_silence(context));
    while (!delivery && delivery.error().code() == ErrorCode::deadline_exceeded && !context.done()) {
      initial_done_ = initial_done_ || nothing_follows(context, jetstream_, options_, resume_sequence());
      heard_at_ = std::chrono::steady_clock::now();
      delivery = consumer_.next(until_silence(context));
    }
    if (!delivery) return std::unexpected(delivery.error());
    heard_at_ = std::chrono::steady_clock::now();
    if (delivery->pending == 0) initial_done_ = true;
    auto info = parse_object_info(delivery->message.text(), delivery->message.subject());
    if (!info) return info;
    return with_place(std::move(*info), delivery->sequence, delivery->time);
  }
  [[nodiscard]] bool initial_done() const override { return initial_done_; }
  [[nodiscard]] bool live() const override { return consumer_.live(); }
  [[nodiscard]] std::uint64_t resume_sequence() const override {
    return consumer_.last_sequence() == 0 ? from_sequence_ : consumer_.last_sequence() + 1;
  }

 private:
  /// While the beginning is not through, no wait goes on beyond reading_silence since something was heard.
  [[nodiscard]] Context until_silence(const Context& context) const {
    return initial_done_ ? context : context.with_deadline(heard_at_ + reading_silence);
  }

  JetStream jetstream_;
  OrderedConsumerOptions options_;
  OrderedConsumer consumer_;
  std::uint64_t from_sequence_;
  bool initial_done_;
  std::chrono::steady_clock::time_point heard_at_ = std::chrono::steady_clock::now();
};

}  // namespace

bool nothing_follows(const Context& context, const JetStream& jetstream,
                     const OrderedConsumerOptions& options, std::uint64_t from_sequence) {
  const auto rest = jetstream.next_message(context, options.stream, options.filter,
                                           std::max<std::uint64_t>(from_sequence, 1));
  return !rest && rest.error().code() == ErrorCode::not_found;
}

Error JetStreamObjectStore::explain(const Context& context, Error error) const {
  if (error.code() != ErrorCode::unavailable || context.done() ||
      jetstream_.connection().state() != ConnectionState::connected) {
    return error;
  }
  const auto info = jetstream_.stream_info(context, stream_);
  if (info || info.error().code() != ErrorCode::not_found) return error;
  return {ErrorCode::not_found, error.operation(), bucket_, "the bucket does not exist any more"};
}

bool JetStreamObjectStore::is_replicated(const Context& context) const {
  {
    const base::MutexLock lock(mutex_);
    if (replicated_ || std::chrono::steady_clock::now() - replicas_asked_ < replicas_known_for) {
      return replicated_;
    }
  }
  const auto info = jetstream_.stream_info(context, stream_);
  // Nobody answers now: the more careful way is right in either case, and says what is wrong.
  if (!info) return true;
  const base::MutexLock lock(mutex_);
  replicas_asked_ = std::chrono::steady_clock::now();
  replicated_ = info->config.replicas > 1;
  return replicated_;
}

Result<ObjectInfo> JetStreamObjectStore::lookup(const Context& context, std::string_view name,
                                                bool from_leader) const {
  const std::string subject = metadata_subject(bucket_, name);
  auto message = jetstream_.last_message(context, stream_, subject, from_leader || !direct_);
  if (!message) {
    if (api_error_code(message.error()) == 10059) {
      return failure(ErrorCode::not_found, "look up object", std::string(name),
                     "the bucket does not exist any more");
    }
    if (message.error().code() == ErrorCode::not_found) {
      return failure(ErrorCode::not_found, "look up object", std::string(name), "there is no such object");
    }
    return std::unexpected(explain(context, message.error()));
  }
  auto info = parse_object_info(base::as_text(message->data), subject);
  if (!info) return info;
  return with_place(std::move(*info), message->sequence, message->time);
}

Result<ObjectInfo> JetStreamObjectStore::info(const Context& context, std::string_view name) {
  return lookup_existing(context, name, false);
}

Result<ObjectInfo> JetStreamObjectStore::newest_info(const Context& context, std::string_view name) {
  return lookup_existing(context, name, true);
}

Result<ObjectInfo> JetStreamObjectStore::lookup_existing(const Context& context, std::string_view name,
                                                         bool from_leader) const {
  auto found = lookup(context, name, from_leader);
  if (found && found->deleted) {
    return failure(ErrorCode::not_found, "look up object", std::string(name), "the object was deleted");
  }
  return found;
}

Result<std::vector<ObjectInfo>> JetStreamObjectStore::all_metadata(const Context& context,
                                                                   std::size_t count_max,
                                                                   bool tombstones) const {
  OrderedConsumerOptions options;
  options.stream = stream_;
  options.filter = fmt::format("$O.{}.M.>", bucket_);
  options.sparse = true;  // between two of them are chunks
  // Each metadata subject holds one message: all of them are the newest ones. Asked for the last per subject
  // while others write, nats-server 2.9 leaves some out and counts wrong what is pending.
  options.start = StartAll{};
  auto consumer = OrderedConsumer::create(context, jetstream_, options);
  if (!consumer) return std::unexpected(consumer.error());
  std::vector<ObjectInfo> all;
  std::uint64_t pending = consumer->initial_pending();
  while (pending != 0) {
    auto delivery = consumer->next(context.with_timeout(reading_silence));
    if (!delivery && delivery.error().code() == ErrorCode::deadline_exceeded && !context.done()) {
      if (nothing_follows(context, jetstream_, options, consumer->last_sequence() + 1)) return all;
      continue;
    }
    if (!delivery) return std::unexpected(delivery.error());
    pending = delivery->pending;
    auto info = parse_object_info(delivery->message.text(), delivery->message.subject());
    // What is no metadata is no object; other clients skip it as well.
    if (!info || (info->deleted && !tombstones)) continue;
    if (all.size() == count_max) {
      return failure(ErrorCode::too_large, "list objects", bucket_,
                     fmt::format("there are more than {} objects", count_max));
    }
    all.push_back(with_place(std::move(*info), delivery->sequence, delivery->time));
  }
  return all;
}

Result<std::vector<ObjectInfo>> JetStreamObjectStore::list(const Context& context, std::size_t count_max) {
  return all_metadata(context, count_max, false);
}

Result<std::unique_ptr<ObjectWatch>> JetStreamObjectStore::watch(const Context& context,
                                                                 std::uint64_t from_sequence) {
  OrderedConsumerOptions options;
  options.stream = stream_;
  options.filter = fmt::format("$O.{}.M.>", bucket_);
  options.sparse = true;  // between two of them are chunks
  if (from_sequence <= 1) {
    options.start = StartAll{};  // as in all_metadata()
  } else {
    options.start = StartAtSequence{from_sequence};
  }
  auto consumer = OrderedConsumer::create(context, jetstream_, options);
  if (!consumer) return std::unexpected(consumer.error());
  return std::make_unique<JetStreamObjectWatch>(jetstream_, std::move(options), std::move(*consumer),
                                                from_sequence);
}

Status JetStreamObjectStore::remove(const Context& context, std::string_view name) {
  auto found = lookup(context, name, true);
  if (!found) return std::unexpected(found.error());
  if (found->deleted) {
    return failure(ErrorCode::not_found, "remove object", std::string(name), "the object was deleted");
  }
  return erase(context, *found, true);
}

// Another object can be where this one was: it replaced it, or, when servers lost what they had acknowledged,
// its sequence was used again for whatever came next.
Status JetStreamObjectStore::remove(const Context& context, const ObjectInfo& info) {
  const auto now = lookup(context, info.name, true);
  const bool gone_or_strange =
      !now && (now.error().code() == ErrorCode::not_found || now.error().code() == ErrorCode::corrupt);
  if (!now && !gone_or_strange) return std::unexpected(now.error());
  return erase(context, info, now && now->sequence == info.sequence && now->nuid == info.nuid);
}

// Metadata first: from then on the object does not exist, and what a crash leaves are orphans. While it is
// not known to be gone the chunks stay, or there would be an object without its bytes.
Status JetStreamObjectStore::erase(const Context& context, const ObjectInfo& info, bool has_metadata) {
  if (has_metadata) {
    // Deleted by its sequence and not purged by its subject: see metadata_headers() in object_put.cpp.
    auto deleted = jetstream_.delete_message(context, stream_, info.sequence);
    if (!deleted && deleted.error().code() != ErrorCode::not_found) {
      return std::unexpected(explain(context, deleted.error()));
    }
  }
  if (info.nuid.empty()) return {};
  auto purged = jetstream_.purge(
      context, stream_, {.filter = chunk_subject(bucket_, info.nuid), .below_sequence = 0, .keep = 0});
  if (!purged) return std::unexpected(explain(context, purged.error()));
  return {};
}

void JetStreamObjectStore::purge_later(std::string_view nuid) const {
  const std::string& domain = jetstream_.connection().options().domain;
  const std::string subject =
      fmt::format("$JS.{}API.STREAM.PURGE.{}", domain.empty() ? "" : domain + ".", stream_);
  PurgeOptions options;
  options.filter = chunk_subject(bucket_, nuid);
  // The answer is dropped: what cannot be purged now is an orphan, and is found as one.
  static_cast<void>(jetstream_.connection().send_request(subject, base::as_bytes(purge_json(options))));
}

Result<StreamInfo> JetStreamObjectStore::status(const Context& context) {
  return jetstream_.stream_info(context, stream_);
}

Result<std::unique_ptr<ObjectStore>> open_object_store(const Context& context, JetStream jetstream,
                                                       std::string_view bucket) {
  if (auto status = check_name(bucket); !status) return std::unexpected(status.error());
  auto info = jetstream.stream_info(context, object_stream(bucket));
  if (!info) {
    if (info.error().code() == ErrorCode::not_found) {
      return failure(
          ErrorCode::not_found, "open object store", std::string(bucket),
          "the bucket does not exist: nothing was published under this name on these NATS servers");
    }
    return std::unexpected(info.error().within("open object store", std::string(bucket)));
  }
  if (auto status = check_settings(*info, bucket); !status) return std::unexpected(status.error());
  return std::make_unique<JetStreamObjectStore>(std::move(jetstream), std::string(bucket), *info);
}

Result<std::unique_ptr<ObjectStore>> create_object_store(const Context& context, JetStream jetstream,
                                                         std::string_view bucket,
                                                         const BucketOptions& options) {
  if (auto status = check_name(bucket); !status) return std::unexpected(status.error());
  auto opened = open_object_store(context, jetstream, bucket);
  if (opened || opened.error().code() != ErrorCode::not_found) return opened;
  int replicas = options.replicas;
  if (replicas == 0) {
    auto wanted = jetstream.replicas_for_new_stream(context);
    if (!wanted) return std::unexpected(wanted.error());
    replicas = *wanted;
  }
  auto created = jetstream.create_stream(context, bucket_config(bucket, options, replicas));
  if (!created && created.error().code() == ErrorCode::already_exists) {
    // Somebody else made it in the same moment; or a stream of another name has these subjects.
    opened = open_object_store(context, jetstream, bucket);
    if (opened || opened.error().code() != ErrorCode::not_found) return opened;
  }
  if (!created) return std::unexpected(created.error().within("create object store", std::string(bucket)));
  return std::make_unique<JetStreamObjectStore>(std::move(jetstream), std::string(bucket), *created);
}

Status delete_object_store(const Context& context, const JetStream& jetstream, std::string_view bucket) {
  if (auto status = check_name(bucket); !status) return status;
  return jetstream.delete_stream(context, object_stream(bucket));
}

}  // namespace litecluster::nats
