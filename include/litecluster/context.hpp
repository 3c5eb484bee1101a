// Cancellation and deadlines, handed down from caller to callee.
//
// A Context is a node in a tree. Cancelling a node cancels everything below it; a child's deadline is never
// later than its parent's. Copies refer to the same node. Every call of this library that can wait takes a
// Context (or a timeout) and returns `cancelled` or `deadline_exceeded` when it ends before the work does.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include <litecluster/error.hpp>

namespace litecluster {

/// Thread-safe; cheap to copy.
class Context {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// Unregisters its callback when destroyed. When the callback is running in another thread at that
  /// moment, the destructor waits for it, so what the callback refers to may be destroyed afterwards.
  /// Must not be destroyed from inside its own callback.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    ~Registration();

   private:
    friend class Context;
    struct Entry;
    explicit Registration(std::shared_ptr<Entry> entry);
    std::shared_ptr<Entry> entry_;
  };

  /// A root that is cancelled only by its own cancel() and has no deadline.
  [[nodiscard]] static Context background();

  /// A child that can be cancelled by itself.
  [[nodiscard]] Context with_cancel() const;
  /// A child that is done when `timeout` has passed.
  [[nodiscard]] Context with_timeout(std::chrono::nanoseconds timeout) const;
  [[nodiscard]] Context with_deadline(TimePoint deadline) const;

  /// Cancels this node and all below it, and runs their callbacks in this thread before it returns.
  /// Doing so twice is the same as once.
  void cancel() const;

  /// True once cancelled or past the deadline.
  [[nodiscard]] bool done() const;
  /// Nothing wrong, or an Error with code cancelled or deadline_exceeded. `operation` is what was being
  /// tried, for the error's text.
  [[nodiscard]] Status status(std::string_view operation = "wait") const;

  [[nodiscard]] std::optional<TimePoint> deadline() const;
  /// Time left until the deadline, at most `limit`, never negative; 0 when cancelled.
  [[nodiscard]] std::chrono::nanoseconds remaining(std::chrono::nanoseconds limit) const;

  /// Sleeps for `duration` or until done; true when the context is done.
  bool wait_for(std::chrono::nanoseconds duration) const;

  /// Runs `callback` once when the context is cancelled (not at its deadline: nothing watches the clock);
  /// at once, in this thread, when it already is. It must not block and must not throw.
  [[nodiscard]] Registration on_cancel(std::function<void()> callback) const;

 private:
  struct Node;
  explicit Context(std::shared_ptr<Node> node);
  std::shared_ptr<Node> node_;
};

}  // namespace litecluster
