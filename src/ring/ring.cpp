#include <litecluster/ring.hpp>

#include <algorithm>
#include <exception>
#include <utility>

#include "base/backoff.hpp"
#include "base/random.hpp"
#include "ring/ring_impl.hpp"

namespace litecluster {

/// One try to have a request executed.
struct Ring::Impl::Attempt {
  enum class Kind {
    answered,  ///< `result` is final
    nowhere,   ///< certainly not executed
    unknown,   ///< sent, and no answer came
  };
  Kind kind = Kind::nowhere;
  Result<std::string> result = std::string();
};

namespace {

constexpr auto pause_first = std::chrono::milliseconds(2);
constexpr auto pause_max = std::chrono::milliseconds(200);

Result<std::string> run_guarded(const RingHandler& handler, const Context& context, std::string_view key,
                                std::string_view payload) {
  try {
    return handler(context, key, payload);
  } catch (const std::exception& exception) {
    return failure(ErrorCode::internal, "handle ring request", std::string(key),
                   std::string("the handler threw ") + exception.what());
  } catch (...) {
    return failure(ErrorCode::internal, "handle ring request", std::string(key),
                   "the handler threw something that is no std::exception");
  }
}

}  // namespace

void Ring::Impl::set_handler(RingHandler handler) {
  const base::MutexLock lock(mutex_);
  handler_ = std::make_shared<const RingHandler>(std::move(handler));
}

bool Ring::Impl::has_handler() {
  const base::MutexLock lock(mutex_);
  return handler_ != nullptr;
}

std::optional<Result<std::string>> Ring::Impl::execute(const Context& context, std::string_view key,
                                                       std::string_view payload) {
  const Partition owned = partition(key);
  const Context own = context.with_cancel();
  std::shared_ptr<const RingHandler> handler;
  std::list<std::pair<Partition, Context>>::iterator entry;
  {
    const base::MutexLock lock(mutex_);
    if (!handler_) return std::nullopt;
    handler = handler_;
    entry = running_.emplace(running_.end(), owned, own);
  }
  std::optional<Result<std::string>> result;
  if (table.enter(owned)) {
    result = run_guarded(*handler, own, key, payload);
    table.leave(owned);
  }
  const base::MutexLock lock(mutex_);
  running_.erase(entry);
  return result;
}

Status Ring::Impl::finish_requests(const Context& context, const std::vector<Partition>& partitions,
                                   std::chrono::nanoseconds patience) {
  if (table.wait_idle(context.with_timeout(patience), partitions)) return {};
  std::vector<Context> late;
  {
    const base::MutexLock lock(mutex_);
    for (const auto& [partition, running] : running_) {
      if (std::ranges::find(partitions, partition) != partitions.end()) late.push_back(running);
    }
  }
  for (const Context& running : late) running.cancel();
  return table.wait_idle(context, partitions);
}

void Ring::Impl::cancel_requests() {
  std::vector<Context> all;
  {
    const base::MutexLock lock(mutex_);
    for (const auto& [partition, running] : running_) all.push_back(running);
  }
  for (const Context& running : all) running.cancel();
}

Ring::Impl::Attempt Ring::Impl::try_node(const Context& context, std::string_view owner, std::string_view key,
                                         std::string_view payload, const RingRequestOptions& options) {
  using Kind = Attempt::Kind;
  if (owner == node_) {
    // Here it cannot get lost on the way.
    auto result = execute(context, key, payload);
    if (!result) return {};
    return {Kind::answered, std::move(*result)};
  }
  const auto way = connection();
  if (!way) return {};
  auto pending = way->send_request(subject_of(owner), ring::encode_request(key, payload));
  if (!pending) {
    const ErrorCode code = pending.error().code();
    if (code == ErrorCode::unavailable) return {};
    return {Kind::answered, std::unexpected(pending.error())};
  }
  const auto reply = pending->wait(context.with_timeout(options.attempt_timeout));
  if (!reply) return {Kind::unknown, std::unexpected(reply.error())};
  if (reply->status() == 503 && reply->data().empty()) return {};
  auto frame = ring::decode_reply(reply->data());
  if (!frame) {
    return {Kind::answered, failure(ErrorCode::corrupt, "ring request", std::string(key),
                                    "the answer of " + std::string(owner) + " is not one of a ring")};
  }
  switch (frame->status) {
    case ring::ReplyStatus::done: return {Kind::answered, std::move(frame->answer)};
    case ring::ReplyStatus::failed: return {Kind::answered, std::unexpected(std::move(*frame->error))};
    case ring::ReplyStatus::not_owner:
    case ring::ReplyStatus::busy: return {};
  }
  return {};
}

Result<std::string> Ring::Impl::request(const Context& context, std::string_view key,
                                        std::string_view payload, const RingRequestOptions& options) {
  if (!refused_.empty()) {
    return failure(ErrorCode::failed_precondition, "ring request", std::string(key.substr(0, 64)), refused_);
  }
  if (key.size() > ring::key_bytes_max) {
    return failure(ErrorCode::too_large, "ring request", std::string(key.substr(0, 64)),
                   "a key has at most 64 KiB");
  }
  const Partition wanted = partition(key);
  base::Backoff backoff(pause_first, pause_max);
  while (true) {
    if (auto status = context.status("ring request"); !status) return std::unexpected(status.error());
    const std::uint64_t change = table.change();
    if (const std::string_view owner = table.owner(wanted); !owner.empty()) {
      Attempt attempt = try_node(context, owner, key, payload, options);
      // The owner's Context was cancelled: it lost the partition in the middle of it.
      const bool interrupted = options.idempotent && !attempt.result &&
                               attempt.result.error().code() == ErrorCode::cancelled && !context.done();
      if (attempt.kind == Attempt::Kind::answered && !interrupted) return std::move(attempt.result);
      if (attempt.kind == Attempt::Kind::unknown && !options.idempotent) {
        if (auto status = context.status("ring request"); !status) return std::unexpected(status.error());
        return failure(ErrorCode::deadline_exceeded, "ring request", std::string(key),
                       std::string(owner) + " did not answer and may have executed it (" +
                           attempt.result.error().reason() + ")");
      }
    }
    static_cast<void>(table.wait_for_change(context, change, backoff.next(base::random_u64())));
  }
}

Ring::Ring(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::uint32_t Ring::partitions() const {
  return impl_->table.partitions();
}
Partition Ring::partition(std::string_view key) const {
  return impl_->partition(key);
}
std::string_view Ring::owner(std::string_view key) const {
  return impl_->table.owner(impl_->partition(key));
}
std::string_view Ring::owner(Partition partition) const {
  return partition.value() < partitions() ? impl_->table.owner(partition) : std::string_view();
}
bool Ring::owns(std::string_view key) const {
  return impl_->table.owns(impl_->partition(key));
}
bool Ring::owns(Partition partition) const {
  return partition.value() < partitions() && impl_->table.owns(partition);
}
std::vector<RingAssignment> Ring::assignments() const {
  return impl_->table.assignments();
}
RingVersion Ring::version() const {
  return impl_->table.version();
}
Result<std::string> Ring::request(const Context& context, std::string_view key, std::string_view request,
                                  const RingRequestOptions& options) const {
  return impl_->request(context, key, request, options);
}
void Ring::serve(RingHandler handler) const {
  impl_->set_handler(std::move(handler));
}

}  // namespace litecluster
