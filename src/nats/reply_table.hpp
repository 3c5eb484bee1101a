// Requests under way: the answers come on one wildcard subscription and are told apart by the last token of
// their subject.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/mutex.hpp"
#include "nats/message.hpp"

namespace litecluster::nats {

/// One answer that is awaited. Thread-safe.
class ReplySlot {
 public:
  ReplySlot(std::uint64_t id, std::string subject, Context::TimePoint deadline)
      : id_(id), subject_(std::move(subject)), deadline_(deadline) {}

  /// The first result counts.
  void complete(Result<Message> result);
  [[nodiscard]] Result<Message> wait(const Context& context);
  [[nodiscard]] bool ready() const;

  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] const std::string& subject() const { return subject_; }

 private:
  void wake();

  const std::uint64_t id_;
  const std::string subject_;
  const Context::TimePoint deadline_;
  mutable base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::optional<Result<Message>> result_ LITECLUSTER_GUARDED_BY(mutex_);
};

/// Thread-safe. Outlives the connection as long as a request or a callback refers to it.
class ReplyTable {
 public:
  [[nodiscard]] std::shared_ptr<ReplySlot> add(std::string subject, Context::TimePoint deadline);
  void remove(std::uint64_t id);
  /// The token of the reply subject that belongs to a slot, and back.
  [[nodiscard]] static std::string token(std::uint64_t id);
  /// Gives the message to its slot; drops it when nobody waits for it.
  void deliver(Message message);
  /// Ends all requests under way with this error.
  void fail_all(const std::string& reason);
  /// Ends the requests under way on this subject.
  void fail_subject(std::string_view subject, const Error& error);

 private:
  base::Mutex mutex_;
  std::uint64_t next_id_ LITECLUSTER_GUARDED_BY(mutex_) = 1;
  std::unordered_map<std::uint64_t, std::shared_ptr<ReplySlot>> slots_ LITECLUSTER_GUARDED_BY(mutex_);
};

}  // namespace litecluster::nats
