#include "sim/cluster/fiber.hpp"

#include <cstdlib>
#include <utility>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LITECLUSTER_SIM_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define LITECLUSTER_SIM_TSAN 1
#endif
#endif
#ifdef LITECLUSTER_SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef LITECLUSTER_SIM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace litecluster::test::cluster {

namespace {

#if defined(LITECLUSTER_SIM_ASAN) || defined(LITECLUSTER_SIM_TSAN)
constexpr std::size_t stack_size = std::size_t{1} << 20U;
#else
constexpr std::size_t stack_size = std::size_t{128} << 10U;
#endif

Fiber* running = nullptr;

}  // namespace

Fiber::Fiber() : stack_(std::make_unique_for_overwrite<std::byte[]>(stack_size)) {
#ifdef LITECLUSTER_SIM_TSAN
  tsan_own_ = __tsan_create_fiber(0);
#endif
  if (getcontext(&own_) != 0) std::abort();
  own_.uc_stack.ss_sp = stack_.get();
  own_.uc_stack.ss_size = stack_size;
  own_.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(this);
  makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(address >> 32U),
              static_cast<unsigned>(address));
}

Fiber* Fiber::current() {
  return running;
}

void Fiber::start(std::function<void()> body) {
  body_ = std::move(body);
  killed_ = false;
}

void Fiber::resume() {
  ++ticket_;
  Fiber* const before = std::exchange(running, this);
#ifdef LITECLUSTER_SIM_TSAN
  tsan_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_own_, 0);
#endif
#ifdef LITECLUSTER_SIM_ASAN
  void* saved = nullptr;
  __sanitizer_start_switch_fiber(&saved, stack_.get(), stack_size);
#endif
  if (swapcontext(&outside_, &own_) != 0) std::abort();
#ifdef LITECLUSTER_SIM_ASAN
  __sanitizer_finish_switch_fiber(saved, nullptr, nullptr);
#endif
  running = before;
}

void Fiber::leave() {
#ifdef LITECLUSTER_SIM_TSAN
  __tsan_switch_to_fiber(tsan_outside_, 0);
#endif
#ifdef LITECLUSTER_SIM_ASAN
  __sanitizer_start_switch_fiber(&asan_saved_, asan_outside_, asan_outside_size_);
#endif
  if (swapcontext(&own_, &outside_) != 0) std::abort();
#ifdef LITECLUSTER_SIM_ASAN
  __sanitizer_finish_switch_fiber(asan_saved_, &asan_outside_, &asan_outside_size_);
#endif
}

void Fiber::suspend() {
  leave();
  if (killed_) throw Killed();
}

void Fiber::kill() {
  if (idle()) return;
  killed_ = true;
  resume();
}

void Fiber::enter(unsigned high, unsigned low) {
  const std::uintptr_t address = (std::uintptr_t{high} << 32U) | low;
  auto* const fiber = reinterpret_cast<Fiber*>(address);
#ifdef LITECLUSTER_SIM_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &fiber->asan_outside_, &fiber->asan_outside_size_);
#endif
  fiber->run();
}

// Never returns: the stack is used for one body after the other.
void Fiber::run() {
  while (true) {
    try {
      if (!killed_) body_();
    } catch (const Killed&) {  // NOLINT(bugprone-empty-catch): it only unwinds
    }
    body_ = nullptr;
    leave();
  }
}

Fiber& FiberPool::get() {
  if (free_.empty()) {
    all_.push_back(std::make_unique<Fiber>());
    return *all_.back();
  }
  Fiber* const fiber = free_.back();
  free_.pop_back();
  return *fiber;
}

}  // namespace litecluster::test::cluster
