#include "nats/jetstream.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/mutex.hpp"
#include "nats/jetstream_json.hpp"
#include "nats/nats_error.hpp"

namespace litecluster::nats {
namespace {

// An error of the transport, told as one of the operation.
Error as_error_of(const Error& error, std::string_view operation, std::string_view subject) {
  return {error.code(), std::string(operation), std::string(subject), error.reason()};
}

std::unexpected<Error> unreadable(std::string_view operation, std::string_view subject) {
  return failure(ErrorCode::corrupt, std::string(operation), std::string(subject),
                 "the server's answer is not what the JetStream API says");
}

constexpr std::string_view direct_headers[] = {"Nats-Stream",       "Nats-Subject",       "Nats-Sequence",
                                               "Nats-Time-Stamp",   "Nats-Last-Sequence", "Nats-Num-Pending",
                                               "Nats-UpTo-Sequence"};

// A direct read answers with the message itself and tells about it in headers.
Result<StoredMessage> from_direct(const Message& reply, std::string_view stream) {
  constexpr std::string_view operation = "read message";
  switch (reply.status()) {
    case 0: break;
    case 404:
      return failure(ErrorCode::not_found, std::string(operation), std::string(stream), "no such message");
    case 503:
      return failure(
          ErrorCode::unavailable, std::string(operation), std::string(stream),
          "nobody answers: the stream does not exist, does not allow direct reads, or has no quorum");
    default:
      return failure(ErrorCode::invalid_argument, std::string(operation), std::string(stream),
                     fmt::format("{} {}", reply.status(), reply.status_text()));
  }
  const auto subject = reply.header("Nats-Subject");
  const auto sequence = reply.header_number("Nats-Sequence");
  const auto time = reply.header("Nats-Time-Stamp");
  if (!subject || !sequence || !time) return unreadable(operation, stream);
  StoredMessage stored;
  stored.subject = std::string(*subject);
  stored.sequence = *sequence;
  stored.time = parse_time(*time).value_or(ServerTime{});
  stored.pending = reply.header_number("Nats-Num-Pending").value_or(0);
  stored.headers = reply.headers();
  std::erase_if(stored.headers,
                [](const Header& header) { return std::ranges::count(direct_headers, header.name) != 0; });
  stored.data.assign(reply.data().begin(), reply.data().end());
  return stored;
}

}  // namespace

std::optional<std::string_view> StoredMessage::header(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &Header::name);
  if (found == headers.end()) return std::nullopt;
  return found->value;
}

// Which streams allow direct reads. Those that do not, and streams that do not exist, never answer one.
class JetStream::DirectReads {
 public:
  std::optional<bool> allowed(std::string_view stream) {
    const base::MutexLock lock(mutex_);
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return std::nullopt;
    return found->second;
  }
  void remember(std::string_view stream, bool allowed) {
    const base::MutexLock lock(mutex_);
    if (streams_.size() >= streams_max) streams_.clear();
    streams_.insert_or_assign(std::string(stream), allowed);
  }
  void forget(std::string_view stream) {
    const base::MutexLock lock(mutex_);
    if (const auto found = streams_.find(stream); found != streams_.end()) streams_.erase(found);
  }

 private:
  static constexpr std::size_t streams_max = 1024;
  base::Mutex mutex_;
  std::map<std::string, bool, std::less<>> streams_ LITECLUSTER_GUARDED_BY(mutex_);
};

JetStream::JetStream(std::shared_ptr<Connection> connection)
    : connection_(std::move(connection)), direct_reads_(std::make_shared<DirectReads>()) {
  const std::string& domain = connection_->options().domain;
  prefix_ = domain.empty() ? "$JS.API." : "$JS." + domain + ".API.";
}

Result<std::string> JetStream::api_request(const Context& context, std::string_view operation,
                                           std::string_view body, std::string_view subject_of_error) const {
  const std::string what =
      fmt::format("JetStream {}", operation.substr(0, operation.find('.', operation.find('.') + 1)));
  if (auto status = context.status(what); !status) return std::unexpected(status.error());
  auto pending = connection_->send_request(fmt::format("{}{}", prefix_, operation), base::as_bytes(body));
  if (!pending) return std::unexpected(as_error_of(pending.error(), what, subject_of_error));
  auto reply = pending->wait(context);
  if (!reply) return std::unexpected(as_error_of(reply.error(), what, subject_of_error));
  if (reply->status() == 503)
    return std::unexpected(no_responders_error(what, std::string(subject_of_error)));
  if (auto error = find_api_error(reply->text(), what, subject_of_error))
    return std::unexpected(std::move(*error));
  return std::string(reply->text());
}

Result<AccountInfo> JetStream::account_info(const Context& context) const {
  auto answer = api_request(context, "INFO", {}, {});
  if (!answer) return std::unexpected(answer.error());
  auto info = parse_account_info(*answer);
  if (!info) return unreadable("JetStream INFO", {});
  return *info;
}

Result<StreamInfo> JetStream::stream_info_of_leader(const Context& context, std::string_view stream) const {
  auto info = stream_info(context, stream);
  if (!info || info->from_leader()) return info;
  return failure(ErrorCode::unavailable, "look at stream", std::string(stream),
                 "the stream has no leader now");
}

Result<StreamInfo> JetStream::stream_info(const Context& context, std::string_view stream,
                                          std::string_view subjects_filter) const {
  const std::string operation = fmt::format("STREAM.INFO.{}", stream);
  std::optional<StreamInfo> info;
  while (true) {
    std::string body;
    if (!subjects_filter.empty()) {
      body = fmt::format(R"({{"subjects_filter":{},"offset":{}}})", quoted(subjects_filter),
                         info ? info->subjects.size() : 0);
    }
    auto answer = api_request(context, operation, body, stream);
    if (!answer) return std::unexpected(answer.error());
    if (!info) info = parse_stream_info(*answer);
    if (!info) return unreadable("JetStream STREAM.INFO", stream);
    if (subjects_filter.empty()) return *info;
    const auto page = parse_subject_page(*answer);
    if (!page) return unreadable("JetStream STREAM.INFO", stream);
    info->subjects.insert(info->subjects.end(), page->subjects.begin(), page->subjects.end());
    if (page->subjects.empty() || info->subjects.size() >= page->total) return *info;
  }
}

Result<StreamInfo> JetStream::create_stream(const Context& context, const StreamConfig& config) const {
  auto answer = api_request(context, "STREAM.CREATE." + config.name, stream_config_json(config), config.name);
  if (!answer) return std::unexpected(answer.error());
  auto info = parse_stream_info(*answer);
  if (!info) return unreadable("JetStream STREAM.CREATE", config.name);
  return *info;
}

Result<StreamInfo> JetStream::update_stream(const Context& context, const StreamConfig& config) const {
  auto current = api_request(context, "STREAM.INFO." + config.name, {}, config.name);
  if (!current) return std::unexpected(current.error());
  const auto merged = merge_stream_config(*current, config);
  if (!merged) return unreadable("JetStream STREAM.INFO", config.name);
  auto answer = api_request(context, "STREAM.UPDATE." + config.name, *merged, config.name);
  if (!answer) return std::unexpected(answer.error());
  auto info = parse_stream_info(*answer);
  if (!info) return unreadable("JetStream STREAM.UPDATE", config.name);
  return *info;
}

Status JetStream::delete_stream(const Context& context, std::string_view stream) const {
  direct_reads_->forget(stream);
  auto answer = api_request(context, fmt::format("STREAM.DELETE.{}", stream), {}, stream);
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Result<std::uint64_t> JetStream::purge(const Context& context, std::string_view stream,
                                       const PurgeOptions& options) const {
  auto answer = api_request(context, fmt::format("STREAM.PURGE.{}", stream), purge_json(options), stream);
  if (!answer) return std::unexpected(answer.error());
  const auto purged = parse_purged(*answer);
  if (!purged) return unreadable("JetStream STREAM.PURGE", stream);
  return *purged;
}

Status JetStream::delete_message(const Context& context, std::string_view stream,
                                 std::uint64_t sequence) const {
  auto answer = api_request(context, fmt::format("STREAM.MSG.DELETE.{}", stream),
                            fmt::format(R"({{"seq":{},"no_erase":true}})", sequence), stream);
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Result<int> JetStream::replicas_for_new_stream(const Context& context) const {
  if (const auto& wanted = connection_->options().replicas) return *wanted;
  auto info = connection_->server_info(context);
  if (!info) return std::unexpected(info.error());
  // Clients are not told the number of servers; placing three replicas fails cleanly where there are fewer.
  return info->cluster.empty() ? 1 : 3;
}

Result<PendingAck> JetStream::publish_async(std::string_view subject, base::ByteView data,
                                            const Headers& headers) const {
  auto pending = connection_->send_request(subject, data, headers);
  if (!pending) return std::unexpected(pending.error());
  return PendingAck(std::move(*pending), std::string(subject));
}

Result<PublishAck> JetStream::publish(const Context& context, std::string_view subject, base::ByteView data,
                                      const Headers& headers) const {
  if (auto status = context.status("publish"); !status) return std::unexpected(status.error());
  auto pending = publish_async(subject, data, headers);
  if (!pending) return std::unexpected(pending.error());
  return pending->wait(context);
}

Result<PublishAck> PendingAck::wait(const Context& context) {
  constexpr std::string_view operation = "publish";
  auto reply = reply_.wait(context);
  if (!reply) return std::unexpected(as_error_of(reply.error(), operation, subject_));
  if (reply->status() == 503) return std::unexpected(no_responders_error(std::string(operation), subject_));
  return parse_publish_answer(reply->text(), operation, subject_);
}

Result<StoredMessage> PendingGet::wait(const Context& context) {
  auto reply = reply_.wait(context);
  if (!reply) return std::unexpected(as_error_of(reply.error(), "read message", stream_));
  return from_direct(*reply, stream_);
}

Result<PendingGet> JetStream::send_direct(std::string_view stream, std::string_view subject,
                                          const std::string& body) const {
  auto pending = connection_->send_request(
      fmt::format("{}DIRECT.GET.{}{}{}", prefix_, stream, subject.empty() ? "" : ".", subject),
      base::as_bytes(body));
  if (!pending) return std::unexpected(pending.error());
  return PendingGet(std::move(*pending), std::string(stream));
}

Result<PendingGet> JetStream::send_last_message(std::string_view stream, std::string_view subject) const {
  // The server finds the subject in that of the request faster than in JSON.
  return send_direct(stream, subject, {});
}

namespace {

std::string next_by_subject(std::string_view subject, std::uint64_t sequence) {
  return fmt::format(R"({{"seq":{},"next_by_subj":{}}})", sequence, quoted(subject));
}

}  // namespace

Result<PendingGet> JetStream::send_next_message(std::string_view stream, std::string_view subject,
                                                std::uint64_t sequence) const {
  return send_direct(stream, {}, next_by_subject(subject, sequence));
}

Result<bool> JetStream::allows_direct_reads(const Context& context, std::string_view stream) const {
  if (const auto known = direct_reads_->allowed(stream)) return *known;
  auto info = stream_info(context, stream);
  if (!info) return std::unexpected(info.error());
  direct_reads_->remember(stream, info->config.allow_direct);
  return info->config.allow_direct;
}

Result<StoredMessage> JetStream::finish_direct(const Context& context, std::string_view stream,
                                               Result<PendingGet> pending) const {
  if (!pending) return std::unexpected(pending.error());
  auto message = pending->wait(context);
  // No answer can mean that the stream is another one now.
  if (!message && message.error().code() == ErrorCode::unavailable) direct_reads_->forget(stream);
  return message;
}

Result<StoredMessage> JetStream::read_from_leader(const Context& context, std::string_view stream,
                                                  const std::string& body) const {
  auto answer = api_request(context, fmt::format("STREAM.MSG.GET.{}", stream), body, stream);
  if (!answer) return std::unexpected(answer.error());
  auto message = parse_stored_message(*answer);
  if (!message) return unreadable("JetStream STREAM.MSG", stream);
  return std::move(*message);
}

Result<StoredMessage> JetStream::last_message(const Context& context, std::string_view stream,
                                              std::string_view subject, bool from_leader) const {
  if (!from_leader) {
    const auto direct = allows_direct_reads(context, stream);
    if (!direct) return std::unexpected(direct.error());
    if (*direct) return finish_direct(context, stream, send_last_message(stream, subject));
  }
  return read_from_leader(context, stream, fmt::format(R"({{"last_by_subj":{}}})", quoted(subject)));
}

Result<StoredMessage> JetStream::message_at(const Context& context, std::string_view stream,
                                            std::uint64_t sequence, bool from_leader) const {
  const std::string body = fmt::format(R"({{"seq":{}}})", sequence);
  if (!from_leader) {
    const auto direct = allows_direct_reads(context, stream);
    if (!direct) return std::unexpected(direct.error());
    if (*direct) return finish_direct(context, stream, send_direct(stream, {}, body));
  }
  return read_from_leader(context, stream, body);
}

Result<StoredMessage> JetStream::next_message(const Context& context, std::string_view stream,
                                              std::string_view subject, std::uint64_t sequence) const {
  return read_from_leader(context, stream, next_by_subject(subject, sequence));
}

}  // namespace litecluster::nats
