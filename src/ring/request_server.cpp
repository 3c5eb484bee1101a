#include "ring/request_server.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/logging.hpp"
#include "base/mutex.hpp"
#include "ring/request_frame.hpp"
#include "ring/ring_impl.hpp"

namespace litecluster::ring {

class RequestServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::shared_ptr<Ring::Impl> ring, std::shared_ptr<nats::Connection> connection,
       nats::Subscription subscription)
      : ring_(std::move(ring)), connection_(std::move(connection)), subscription_(std::move(subscription)) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void start(int threads) {
    receiver_ = std::jthread([this] { receive(); });
    const auto workers = static_cast<std::size_t>(std::max(threads, 1));
    {
      const base::MutexLock lock(mutex_);
      at_work_.assign(workers, true);
    }
    for (std::size_t worker = 0; worker < workers; ++worker) {
      // What runs a handler of the user's may have to be left behind.
      workers_.emplace_back([self = shared_from_this(), worker] { self->work(worker); });
    }
  }

  void stop() {
    stopped_.cancel();
    {
      const base::MutexLock lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    receiver_ = {};  // joins
    refuse_the_rest();
    subscription_.reset();
    const std::vector<bool> hanging = wait_for_workers();
    for (std::size_t worker = 0; worker < workers_.size(); ++worker) {
      if (!hanging[worker]) continue;
      base::log_error("a handler of ring requests did not return after it was cancelled; it is given up");
      workers_[worker].detach();
    }
    workers_.clear();  // joins
  }

 private:
  void receive() {
    while (!stopped_.done()) {
      auto message = subscription_->next(stopped_);
      if (!message) {
        // A gap: senders of what was lost notice that no answer comes.
        if (message.error().code() == ErrorCode::unavailable) return;
        continue;
      }
      const base::MutexLock lock(mutex_);
      if (waiting_.size() >= requests_waiting_max) {
        reply(*message, encode_reply(ReplyStatus::busy));
        continue;
      }
      waiting_.push_back(std::move(*message));
      changed_.notify_one();
    }
  }

  void work(std::size_t worker) {
    while (auto message = take()) {
      const auto frame = decode_request(message->data());
      if (!frame) {
        reply(*message, encode_reply(Error(ErrorCode::invalid_argument, "ring request", {}, "malformed")));
        continue;
      }
      const auto result = ring_->execute(stopped_, frame->key, frame->payload);
      if (!result) {
        reply(*message, encode_reply(ReplyStatus::not_owner));
      } else if (*result) {
        reply(*message, encode_reply(ReplyStatus::done, **result));
      } else {
        reply(*message, encode_reply(result->error()));
      }
    }
    const base::MutexLock lock(mutex_);
    at_work_[worker] = false;
    changed_.notify_all();
  }

  /// Those that are still at work after the grace.
  std::vector<bool> wait_for_workers() {
    const auto until = std::chrono::steady_clock::now() + request_grace;
    base::MutexLock lock(mutex_);
    while (std::ranges::find(at_work_, true) != at_work_.end()) {
      if (!changed_.wait_until(lock, until)) break;
    }
    return at_work_;
  }

  // What arrived and was not begun: its sender must not have to wonder whether it was executed.
  void refuse_the_rest() {
    const base::MutexLock lock(mutex_);
    for (const nats::Message& message : waiting_) reply(message, encode_reply(ReplyStatus::not_owner));
    waiting_.clear();
    while (true) {
      const auto message = subscription_->poll();
      if (!message || !*message) return;
      reply(**message, encode_reply(ReplyStatus::not_owner));
    }
  }

  std::optional<nats::Message> take() {
    base::MutexLock lock(mutex_);
    while (waiting_.empty() && !stopping_) changed_.wait(lock);
    if (stopping_) return std::nullopt;
    std::optional<nats::Message> message(std::move(waiting_.front()));
    waiting_.pop_front();
    return message;
  }

  void reply(const nats::Message& message, const base::Bytes& bytes) {
    if (message.reply().empty()) return;
    const Status sent = connection_->publish(message.reply(), bytes);
    if (sent || sent.error().code() != ErrorCode::too_large) return;
    static_cast<void>(connection_->publish(message.reply(), encode_reply(sent.error())));
  }

  const std::shared_ptr<Ring::Impl> ring_;
  const std::shared_ptr<nats::Connection> connection_;
  std::optional<nats::Subscription> subscription_;
  const Context stopped_ = Context::background().with_cancel();
  base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::deque<nats::Message> waiting_ LITECLUSTER_GUARDED_BY(mutex_);
  bool stopping_ LITECLUSTER_GUARDED_BY(mutex_) = false;
  std::vector<bool> at_work_ LITECLUSTER_GUARDED_BY(mutex_);
  // Of the owner's thread.
  std::jthread receiver_;
  std::vector<std::jthread> workers_;
};

Result<std::unique_ptr<RequestServer>> RequestServer::start(std::shared_ptr<Ring::Impl> ring, int threads) {
  auto connection = ring->connection();
  auto subscription = connection->subscribe(ring->subject_of(ring->node()),
                                            {.queue_group = {}, .report_interruptions = false});
  if (!subscription) return std::unexpected(subscription.error());
  auto impl = std::make_shared<Impl>(std::move(ring), std::move(connection), std::move(*subscription));
  impl->start(threads);
  return std::unique_ptr<RequestServer>(new RequestServer(std::move(impl)));
}

RequestServer::RequestServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

RequestServer::~RequestServer() {
  impl_->stop();
}

}  // namespace litecluster::ring
