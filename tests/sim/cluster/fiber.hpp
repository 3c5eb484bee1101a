// Lets code that waits run in a simulation of one thread: the real Appender and fence_log() call an
// ObjectBucket and block until it answers. A fiber has a stack of its own; where it would wait it gives the
// processor back to the simulation, which resumes it at the simulated time at which the answer comes.
//
// A process that crashes takes its fibers with it: wherever one waits, Killed is thrown, so that nothing more
// is done on its stack and everything on it is released.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace litecluster::test::cluster {

/// Thrown out of Fiber::suspend() when the process of the fiber is gone. Derived from nothing: no handler of
/// the code in between takes it for an error of its own.
struct Killed {};

class Fiber {
 public:
  Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() = default;

  /// The fiber that runs; null in the simulation itself.
  static Fiber* current();

  /// Runs `body` at the next resume(). The fiber must be idle.
  void start(std::function<void()> body);
  /// Called by the simulation: runs the fiber until it suspends or ends.
  void resume();
  /// Called by the fiber: back to the simulation until resume(). Throws Killed after kill().
  void suspend();
  /// Called by the simulation, not from within the fiber: unwinds it.
  void kill();

  [[nodiscard]] bool idle() const { return !body_; }
  /// Changes with each resume, so that a wake-up that comes too late can be told.
  [[nodiscard]] std::uint64_t ticket() const { return ticket_; }

 private:
  static void enter(unsigned high, unsigned low);
  void run();
  void leave();

  std::unique_ptr<std::byte[]> stack_;
  ucontext_t own_{};
  ucontext_t outside_{};
  std::function<void()> body_;
  std::uint64_t ticket_ = 0;
  bool killed_ = false;
  // For the sanitizers, which have to be told of each switch.
  [[maybe_unused]] void* tsan_own_ = nullptr;
  [[maybe_unused]] void* tsan_outside_ = nullptr;
  [[maybe_unused]] void* asan_saved_ = nullptr;
  [[maybe_unused]] const void* asan_outside_ = nullptr;
  [[maybe_unused]] std::size_t asan_outside_size_ = 0;
};

/// Keeps stacks for the next run.
class FiberPool {
 public:
  Fiber& get();
  void give_back(Fiber& fiber) { free_.push_back(&fiber); }

 private:
  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> free_;
};

}  // namespace litecluster::test::cluster
