// Time. Leases run on CLOCK_BOOTTIME, which goes on while a machine is suspended and that nobody can set;
// wall time only labels objects for people and for restore to a point in time, and decides nothing else.
#pragma once

#include <chrono>
#include <cstdint>

namespace litecluster::base {

/// std::chrono clock over CLOCK_BOOTTIME of this machine. Never compare values of two machines.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept;
};

using BootTime = BootClock::time_point;
/// UTC with the millisecond precision that LTX files carry.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
using Duration = std::chrono::nanoseconds;

/// Source of time for drivers; state machines get the time handed in instead. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual BootTime boot_time() const = 0;
  [[nodiscard]] virtual WallTime wall_time() const = 0;
};

/// The machine's clocks. Lives for the whole process.
[[nodiscard]] const Clock& system_clock();

}  // namespace litecluster::base
