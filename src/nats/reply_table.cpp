#include "nats/reply_table.hpp"

#include <chrono>

#include "base/hex.hpp"

namespace litecluster::nats {

void ReplySlot::complete(Result<Message> result) {
  const base::MutexLock lock(mutex_);
  if (!result_) result_.emplace(std::move(result));
  changed_.notify_all();
}

void ReplySlot::wake() {
  const base::MutexLock lock(mutex_);
  changed_.notify_all();
}

bool ReplySlot::ready() const {
  const base::MutexLock lock(mutex_);
  return result_.has_value();
}

Result<Message> ReplySlot::wait(const Context& context) {
  const Context::TimePoint until = context.deadline() ? std::min(*context.deadline(), deadline_) : deadline_;
  {
    const base::MutexLock lock(mutex_);
    if (result_) return *std::exchange(result_, std::nullopt);
  }
  const auto registration = context.on_cancel([this] { wake(); });
  base::MutexLock lock(mutex_);
  while (true) {
    if (result_) return *std::exchange(result_, std::nullopt);
    // Looked at with the mutex held, which the callback needs to wake us: no wake-up is lost.
    if (const auto status = context.status("wait for an answer"); !status) {
      return failure(status.error().code(), "wait for an answer", subject_, status.error().reason());
    }
    if (std::chrono::steady_clock::now() >= deadline_) {
      return failure(
          ErrorCode::unavailable, "wait for an answer", subject_,
          "the server did not answer in time: it is overloaded, or its cluster has no quorum; whether "
          "it acted is unknown");
    }
    changed_.wait_until(lock, until);
  }
}

std::string ReplyTable::token(std::uint64_t id) {
  return base::to_hex16(id);
}

std::shared_ptr<ReplySlot> ReplyTable::add(std::string subject, Context::TimePoint deadline) {
  const base::MutexLock lock(mutex_);
  const std::uint64_t id = next_id_++;
  auto slot = std::make_shared<ReplySlot>(id, std::move(subject), deadline);
  slots_.emplace(id, slot);
  return slot;
}

void ReplyTable::remove(std::uint64_t id) {
  const base::MutexLock lock(mutex_);
  slots_.erase(id);
}

void ReplyTable::deliver(Message message) {
  const std::string_view subject = message.subject();
  const std::size_t dot = subject.rfind('.');
  if (dot == std::string_view::npos) return;
  const auto id = base::parse_hex(subject.substr(dot + 1));
  if (!id) return;
  std::shared_ptr<ReplySlot> slot;
  {
    const base::MutexLock lock(mutex_);
    const auto found = slots_.find(*id);
    if (found == slots_.end()) return;
    slot = std::move(found->second);
    slots_.erase(found);
  }
  slot->complete(std::move(message));
}

void ReplyTable::fail_all(const std::string& reason) {
  std::unordered_map<std::uint64_t, std::shared_ptr<ReplySlot>> slots;
  {
    const base::MutexLock lock(mutex_);
    slots.swap(slots_);
  }
  for (const auto& [id, slot] : slots) {
    slot->complete(failure(ErrorCode::unavailable, "wait for an answer", slot->subject(), reason));
  }
}

void ReplyTable::fail_subject(std::string_view subject, const Error& error) {
  std::vector<std::shared_ptr<ReplySlot>> failed;
  {
    const base::MutexLock lock(mutex_);
    for (const auto& [id, slot] : slots_) {
      if (slot->subject() == subject) failed.push_back(slot);
    }
    for (const auto& slot : failed) slots_.erase(slot->id());
  }
  for (const auto& slot : failed) slot->complete(std::unexpected(error));
}

}  // namespace litecluster::nats
