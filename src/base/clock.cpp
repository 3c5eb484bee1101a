#include "base/clock.hpp"

#include <ctime>

namespace litecluster::base {

BootClock::time_point BootClock::now() noexcept {
  timespec time{};
  // Cannot fail on Linux with a known clock and a valid pointer.
  clock_gettime(CLOCK_BOOTTIME, &time);
  return time_point(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

namespace {

class SystemClock final : public Clock {
 public:
  [[nodiscard]] BootTime boot_time() const override { return BootClock::now(); }
  [[nodiscard]] WallTime wall_time() const override {
    return std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
};

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

}  // namespace litecluster::base
