// The lock's state machine in a simulated world: several claimants with clocks that run at different rates,
// one server, and a network that delays, loses, repeats and reorders. Everything follows from one seed.
//
// After each event it is checked that at most one claimant is inside its deadline, whether that one is
// running, paused or cut off, and at each acquisition that the token is higher than all before.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "locks/lock_machine.hpp"

namespace litecluster::locks::sim {

using namespace std::chrono_literals;
using base::BootTime;
using base::Duration;

struct Faults {
  double lost = 0.05;        // of requests, replies and watch events, each
  double repeated = 0.05;    // of requests
  double slow = 0.05;        // of messages: up to a whole lease instead of milliseconds
  double stale_read = 0.1;   // a read answers with one of the last states instead of the newest
  double clock_rate = 0.05;  // largest deviation of a clock's rate
  double pause = 0.02;       // chance each second that a claimant stops for up to two leases
  double crash = 0.01;       // chance each second that a claimant dies
  double partition = 0.02;   // chance each second that a claimant is cut off for up to two leases
  double deletion = 0.0005;  // chance each second that an operator deletes the record if nobody holds it
};

struct Settings {
  std::uint64_t seed = 1;
  Faults faults{};
  int claimants = 5;
  Duration length = 1h;
  Duration lease = 10s;
  /// The planted bug: the lease is counted from the reply instead of from before the request.
  bool lease_from_reply = false;
};

struct Outcome {
  /// Empty, or what went wrong first.
  std::string violation{};
  std::uint64_t acquisitions = 0;
  std::uint64_t losses = 0;
  std::uint64_t crashes_inside = 0;
  /// Longest time from the end of a hold (its holder dead, or released) to the next acquisition while
  /// somebody waited.
  Duration longest_vacancy_after_death{};
  Duration longest_vacancy_after_release{};
};

class Simulation {
 public:
  explicit Simulation(const Settings& settings) : settings_(settings), random_(settings.seed) {
    for (int index = 0; index < settings.claimants; ++index) {
      Claimant claimant;
      claimant.rate = 1.0 + settings.faults.clock_rate * (2 * unit() - 1);
      claimant.offset = Duration(static_cast<std::int64_t>(unit() * 1e15));
      claimants_.push_back(std::move(claimant));
    }
  }

  Outcome run() {
    for (std::size_t index = 0; index < claimants_.size(); ++index) {
      at(between(0s, 1s), [this, index] { begin(index); });
    }
    every_second();
    while (!events_.empty() && now_ < settings_.length && outcome_.violation.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      event.run();
      check_exclusion();
    }
    return outcome_;
  }

 private:
  struct Event {
    Duration time;
    std::uint64_t order = 0;
    std::function<void()> run;
    friend bool operator<(const Event& left, const Event& right) {
      return std::tie(left.time, left.order) > std::tie(right.time, right.order);
    }
  };
  struct Claimant {
    double rate = 1;
    Duration offset{};
    std::optional<LockMachine> machine;
    // Counts machines and requests; what belongs to an earlier one is dropped.
    std::uint64_t life = 0;
    std::uint64_t request = 0;
    Duration paused_until{};
    Duration cut_off_until{};
    std::uint64_t timer = 0;
    Duration claiming_since{};
  };

  // --- randomness and time
  double unit() { return std::uniform_real_distribution<>(0, 1)(random_); }
  bool chance(double probability) { return unit() < probability; }
  Duration between(Duration low, Duration high) {
    return low + Duration(static_cast<std::int64_t>(unit() * static_cast<double>((high - low).count())));
  }
  void at(Duration delay, std::function<void()> run) {
    events_.push(Event{now_ + delay, ++order_, std::move(run)});
  }
  BootTime local_time(const Claimant& claimant) const {
    return BootTime(claimant.offset +
                    Duration(static_cast<std::int64_t>(static_cast<double>(now_.count()) * claimant.rate)));
  }
  Duration message_delay() {
    return chance(settings_.faults.slow) ? between(1ms, settings_.lease) : between(100us, 3ms);
  }
  bool message_lost(const Claimant& claimant) {
    return claimant.cut_off_until > now_ || chance(settings_.faults.lost);
  }

  // --- what happens to claimants
  /// Runs `step` on the claimant, after its pause if it is paused, unless it died meanwhile.
  void on_claimant(std::size_t index, std::uint64_t life, std::function<Actions(LockMachine&)> step) {
    Claimant& claimant = claimants_[index];
    if (claimant.life != life || !claimant.machine) return;
    if (claimant.paused_until > now_) {
      at(claimant.paused_until - now_ + between(0us, 10us),
         [this, index, life, step = std::move(step)] { on_claimant(index, life, step); });
      return;
    }
    act(index, step(*claimant.machine));
  }

  void begin(std::size_t index) {
    Claimant& claimant = claimants_[index];
    if (claimant.machine) return;
    ++claimant.life;
    claimant.claiming_since = now_;
    claimant.machine.emplace(
        LockMachine::Options{.node = fmt::format("node-{}", index),
                             .hold = fmt::format("{}/{}", index, claimant.life),
                             .lease = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.lease),
                             .wait = !chance(0.1),
                             .seen_before = std::nullopt});
    const std::uint64_t life = claimant.life;
    // Some lose patience.
    if (chance(0.2)) {
      at(between(0s, 3 * settings_.lease), [this, index, life] { give_up(index, life); });
    }
    act(index, claimant.machine->start());
  }

  void give_up(std::size_t index, std::uint64_t life) {
    on_claimant(index, life,
                [this, index](LockMachine& machine) { return machine.end(local_time(claimants_[index])); });
  }

  void die(std::size_t index) {
    Claimant& claimant = claimants_[index];
    if (!claimant.machine) return;
    if (claimant.machine->held(local_time(claimant))) {
      ++outcome_.crashes_inside;
      vacate(/*death=*/true);
    }
    claimant.machine.reset();
    ++claimant.life;
    claimant.paused_until = Duration{};
    at(between(0s, settings_.lease), [this, index] { begin(index); });
  }

  void every_second() {
    for (std::size_t index = 0; index < claimants_.size(); ++index) {
      if (chance(settings_.faults.pause)) {
        claimants_[index].paused_until = now_ + between(0s, 2 * settings_.lease);
      }
      if (chance(settings_.faults.partition)) {
        claimants_[index].cut_off_until = now_ + between(0s, 2 * settings_.lease);
      }
      if (chance(settings_.faults.crash)) die(index);
    }
    const bool in_use = state().record && state().record->held;
    if (chance(settings_.faults.deletion) && !in_use) change(std::nullopt);
    at(1s, [this] { every_second(); });
  }

  // --- actions
  void act(std::size_t index, const Actions& actions) {
    for (const Action& action : actions) {
      std::visit([this, index](const auto& what) { perform(index, what); }, action);
    }
    arm(index);
  }
  void perform(std::size_t index, const action::Read& /*unused*/) {
    request(
        index,
        [this] {
          Observation observation = state();
          if (chance(settings_.faults.stale_read)) {
            const std::size_t back = std::min<std::size_t>(history_.size() - 1, random_() % 5);
            observation = history_[history_.size() - 1 - back];
          }
          return [observation](LockMachine& machine, BootTime local, BootTime /*sent_at*/) {
            return machine.read_done(local, observation);
          };
        },
        [](LockMachine& machine, BootTime local, BootTime /*sent_at*/) {
          return machine.read_done(local, std::nullopt);
        });
  }
  void perform(std::size_t index, const action::Write& write) {
    request(
        index,
        [this, write] {
          const bool fits = state().revision == write.expected;
          if (fits) change(write.record);
          const auto outcome = fits ? WriteOutcome::done : WriteOutcome::conflict;
          return
              [outcome, revision = state().revision](LockMachine& machine, BootTime local, BootTime sent_at) {
                return machine.write_done(local, sent_at, outcome, revision);
              };
        },
        [](LockMachine& machine, BootTime local, BootTime sent_at) {
          return machine.write_done(local, sent_at, WriteOutcome::unknown, {});
        });
  }
  void perform(std::size_t index, const action::Acquired& acquired) {
    ++outcome_.acquisitions;
    if (acquired.token <= highest_token_) {
      fail(fmt::format("token {} after {}", acquired.token.value(), highest_token_.value()));
    }
    highest_token_ = acquired.token;
    fill(claimants_[index]);
    const std::uint64_t life = claimants_[index].life;
    at(between(0s, 3 * settings_.lease), [this, index, life] { give_up(index, life); });
  }
  void perform(std::size_t index, const action::Refused& /*unused*/) { again(index); }
  void perform(std::size_t index, const action::Lost& /*unused*/) {
    ++outcome_.losses;
    vacant_since_.reset();
    // The work under the lock notices after a while and lets go.
    const std::uint64_t life = claimants_[index].life;
    at(between(0s, settings_.lease), [this, index, life] { give_up(index, life); });
  }
  void perform(std::size_t index, const action::Finished& finished) {
    if (finished.given_back && released_by_ == index) vacate(/*death=*/false);
    again(index);
  }
  void again(std::size_t index) {
    const std::uint64_t life = claimants_[index].life;
    at(between(0s, settings_.lease / 2), [this, index, life] {
      if (claimants_[index].life != life) return;
      claimants_[index].machine.reset();
      begin(index);
    });
  }

  // --- messages
  using Reply = std::function<Actions(LockMachine&, BootTime, BootTime)>;
  void request(std::size_t index, std::function<Reply()> serve, Reply failed) {
    Claimant& claimant = claimants_[index];
    const std::uint64_t life = claimant.life;
    const std::uint64_t number = ++claimant.request;
    const BootTime sent_at = local_time(claimant);
    const auto answer = [this, index, life, number, sent_at](Reply reply) {
      on_claimant(index, life,
                  [this, index, number, sent_at, reply = std::move(reply)](LockMachine& machine) {
                    Claimant& mine = claimants_[index];
                    if (mine.request != number) return Actions{};
                    ++mine.request;
                    const BootTime local = local_time(mine);
                    return reply(machine, local, settings_.lease_from_reply ? local : sent_at);
                  });
    };
    const int copies = chance(settings_.faults.repeated) ? 2 : 1;
    for (int copy = 0; copy < copies; ++copy) {
      if (message_lost(claimant)) continue;
      at(message_delay(), [this, index, serve, answer] {
        Reply reply = serve();
        if (message_lost(claimants_[index])) return;
        at(message_delay(), [answer, reply = std::move(reply)] { answer(reply); });
      });
    }
    // With the planted bug the driver also waits long for a reply, so that a late one is believed.
    const Duration patience = chance(0.2) ? settings_.lease : settings_.lease / 10;
    at(patience, [answer, failed = std::move(failed)] { answer(failed); });
  }

  void arm(std::size_t index) {
    Claimant& claimant = claimants_[index];
    if (!claimant.machine) return;
    const auto wake = claimant.machine->wake_at();
    const std::uint64_t timer = ++claimant.timer;
    if (!wake) return;
    const Duration local_wait = std::max<Duration>(*wake - local_time(claimant), 0ns);
    const auto wait =
        Duration(static_cast<std::int64_t>(static_cast<double>(local_wait.count()) / claimant.rate));
    const std::uint64_t life = claimant.life;
    at(wait + 1us, [this, index, life, timer] {
      if (claimants_[index].timer != timer) return;
      on_claimant(index, life, [this, index](LockMachine& machine) {
        return machine.tick(local_time(claimants_[index]));
      });
    });
  }

  // --- server
  const Observation& state() const { return history_.back(); }
  void change(const std::optional<LockRecord>& record) {
    released_by_ = std::nullopt;
    if (record && !record->held) released_by_ = std::stoul(record->hold);
    const std::uint64_t next = state().revision.value() + 1;
    history_.push_back(Observation{.revision = Revision(next), .record = record, .floor = next});
    for (std::size_t index = 0; index < claimants_.size(); ++index) {
      if (!claimants_[index].machine || message_lost(claimants_[index])) continue;
      at(message_delay(), [this, index, life = claimants_[index].life, seen = state()] {
        on_claimant(index, life, [this, index, seen](LockMachine& machine) {
          return machine.observed(local_time(claimants_[index]), seen);
        });
      });
    }
  }

  // --- checks
  void check_exclusion() {
    std::string inside;
    int count = 0;
    for (std::size_t index = 0; index < claimants_.size(); ++index) {
      const Claimant& claimant = claimants_[index];
      if (!claimant.machine || !claimant.machine->held(local_time(claimant))) continue;
      ++count;
      inside += fmt::format(" node-{} (token {})", index, claimant.machine->token().value());
    }
    if (count > 1) fail("inside at once:" + inside);
  }
  void fail(const std::string& what) {
    if (outcome_.violation.empty()) {
      outcome_.violation = fmt::format("seed {} after {} ms: {}", settings_.seed, now_ / 1ms, what);
    }
  }
  void vacate(bool death) {
    const bool somebody_waits = std::ranges::any_of(claimants_, [](const Claimant& claimant) {
      return claimant.machine && claimant.machine->state() == LockMachine::State::claiming;
    });
    if (!somebody_waits) return;
    vacant_since_ = now_;
    vacant_by_death_ = death;
  }
  void fill(const Claimant& claimant) {
    if (!vacant_since_) return;
    Duration& longest =
        vacant_by_death_ ? outcome_.longest_vacancy_after_death : outcome_.longest_vacancy_after_release;
    longest = std::max(longest, now_ - std::max(*vacant_since_, claimant.claiming_since));
    vacant_since_.reset();
  }

  Settings settings_;
  std::mt19937_64 random_;
  Duration now_{};
  std::uint64_t order_ = 0;
  std::priority_queue<Event> events_;
  std::vector<Claimant> claimants_;
  std::vector<Observation> history_{Observation{}};
  std::optional<std::size_t> released_by_;
  FencingToken highest_token_;
  std::optional<Duration> vacant_since_;
  bool vacant_by_death_ = false;
  Outcome outcome_;
};

}  // namespace litecluster::locks::sim
