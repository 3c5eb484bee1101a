#include "nats/connection.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/random.hpp"
#include "nats/connection_core.hpp"
#include "nats/nats_error.hpp"
#include "nats/server_probe.hpp"

namespace litecluster::nats {

Connection::Connection(std::shared_ptr<ConnectionCore> core) : core_(std::move(core)) {}

Connection::~Connection() {
  core_->close();
}

Result<std::shared_ptr<Connection>> Connection::connect(const Context& context, const NatsOptions& options) {
  auto core = std::make_shared<ConnectionCore>(options);
  base::Backoff backoff(std::chrono::milliseconds(50), std::chrono::milliseconds(500));
  const Context limited = context.with_timeout(options.connect_timeout);
  while (true) {
    if (auto status = context.status("connect to NATS"); !status) return std::unexpected(status.error());
    const Status status = core->connect_once();
    if (status) break;
    if (status.error().code() != ErrorCode::unavailable) return std::unexpected(status.error());
    if (limited.wait_for(backoff.next(base::random_u64()))) {
      if (auto done = context.status("connect to NATS");
          !done && done.error().code() == ErrorCode::cancelled) {
        return std::unexpected(done.error());
      }
      return std::unexpected(status.error());
    }
  }
  core->start_keeper(true);
  return std::shared_ptr<Connection>(new Connection(std::move(core)));
}

Result<std::shared_ptr<Connection>> Connection::connect_eventually(const NatsOptions& options) {
  if (auto checked = make_native_options(options, 0); !checked) return std::unexpected(checked.error());
  auto core = std::make_shared<ConnectionCore>(options);
  core->start_keeper(false);
  return std::shared_ptr<Connection>(new Connection(std::move(core)));
}

Status Connection::publish(std::string_view subject, base::ByteView data, const Headers& headers,
                           std::string_view reply) {
  return core_->publish(subject, data, headers, reply);
}

Result<PendingReply> Connection::send_request(std::string_view subject, base::ByteView data,
                                              const Headers& headers) {
  return core_->send_request(subject, data, headers);
}

Result<Message> Connection::request(const Context& context, std::string_view subject, base::ByteView data,
                                    const Headers& headers) {
  if (auto status = context.status("request"); !status) return std::unexpected(status.error());
  auto pending = core_->send_request(subject, data, headers);
  if (!pending) return std::unexpected(pending.error());
  auto reply = pending->wait(context);
  if (reply && reply->status() == 503 && reply->data().empty()) {
    return failure(ErrorCode::unavailable, "request", std::string(subject), "nobody serves this subject");
  }
  return reply;
}

Result<Subscription> Connection::subscribe(std::string_view subject, const SubscriptionOptions& options) {
  return core_->subscribe(subject, options);
}

Status Connection::flush(const Context& context) {
  return core_->flush(context);
}

std::string Connection::new_inbox() const {
  return "_INBOX." + base::random_hex(22);
}

ConnectionState Connection::state() const {
  return core_->state().state();
}

std::uint64_t Connection::generation() const {
  return core_->state().generation();
}

Status Connection::wait_connected(const Context& context) const {
  return core_->state().wait_connected(context);
}

std::string Connection::last_problem() const {
  return core_->state().last_problem();
}

Result<ServerInfo> Connection::server_info(const Context& context) const {
  const std::string url = core_->connected_url();
  if (url.empty()) {
    return failure(ErrorCode::unavailable, "ask for server information", {},
                   "there is no connection to a server now");
  }
  return probe_server(context, url);
}

std::size_t Connection::max_payload() const {
  return core_->max_payload();
}

const NatsOptions& Connection::options() const {
  return core_->options();
}

Connection::Observer Connection::observe(std::function<void(ConnectionState)> callback) {
  return core_->observe(std::move(callback));
}

Connection::Observer::Observer(std::shared_ptr<Entry> entry) : entry_(std::move(entry)) {}

Connection::Observer& Connection::Observer::operator=(Observer&& other) noexcept {
  if (this != &other) {
    Observer ended(std::move(entry_));
    entry_ = std::move(other.entry_);
  }
  return *this;
}

Connection::Observer::~Observer() {
  if (!entry_) return;
  const base::MutexLock lock(entry_->running);
  entry_->callback = nullptr;
}

PendingReply::PendingReply(std::shared_ptr<ReplyTable> table, std::shared_ptr<ReplySlot> slot)
    : table_(std::move(table)), slot_(std::move(slot)) {}
PendingReply::PendingReply(PendingReply&& other) noexcept = default;

PendingReply& PendingReply::operator=(PendingReply&& other) noexcept {
  if (this != &other) {
    forget();
    table_ = std::move(other.table_);
    slot_ = std::move(other.slot_);
  }
  return *this;
}

PendingReply::~PendingReply() {
  forget();
}

void PendingReply::forget() {
  if (slot_) table_->remove(slot_->id());
  slot_.reset();
}

bool PendingReply::ready() const {
  return slot_ && slot_->ready();
}

Result<Message> PendingReply::wait(const Context& context) {
  if (!slot_)
    return failure(ErrorCode::internal, "wait for an answer", {}, "the request has been waited for already");
  auto result = slot_->wait(context);
  forget();
  return result;
}

}  // namespace litecluster::nats
