// The time of the simulation: a queue of what happens when, and the sources of chance. A seed decides all.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace litecluster::test::cluster {

/// Nanoseconds of true time since the run began.
using Time = std::int64_t;

inline constexpr Time millisecond = 1'000'000;
inline constexpr Time second = 1'000 * millisecond;

/// SplitMix64 (Steele, Lea, Flood 2014).
class Chance {
 public:
  void start(std::uint64_t seed) { state_ = seed; }
  /// Other chances from here on; 0: the same.
  void vary(std::uint64_t variation) { state_ ^= variation * 0xD1B54A32D192ED03ULL; }

  std::uint64_t random() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBULL;
    return mixed ^ (mixed >> 31U);
  }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(std::uint32_t percent) { return random() % 100 < percent; }

 private:
  std::uint64_t state_ = 0;
};

class Scheduler : public Chance {
 public:
  using Action = std::function<void()>;

  void reset(std::uint64_t seed) {
    start(seed);
    now_ = 0;
    order_ = 0;
    queue_.clear();
  }

  [[nodiscard]] Time now() const { return now_; }

  void at(Time time, Action action) {
    queue_.push_back({std::max(time, now_), order_++, std::move(action)});
    std::ranges::push_heap(queue_, Later());
  }

  /// Runs the next one; false when there is none.
  bool step() {
    if (queue_.empty()) return false;
    std::ranges::pop_heap(queue_, Later());
    const Event event = std::move(queue_.back());
    queue_.pop_back();
    now_ = event.time;
    event.action();
    return true;
  }

  void clear() { queue_.clear(); }

 private:
  struct Event {
    Time time;
    std::uint64_t order;
    Action action;
  };
  struct Later {
    bool operator()(const Event& left, const Event& right) const {
      return left.time != right.time ? left.time > right.time : left.order > right.order;
    }
  };

  Time now_ = 0;
  std::uint64_t order_ = 0;
  std::vector<Event> queue_;
};

}  // namespace litecluster::test::cluster
