// What a process of an agent runs on: fibers in the place of its threads, waiting in simulated time, and
// requests to the servers that may stay without an answer. All of it ends when the process does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <litecluster/context.hpp>

#include "sim/cluster/host.hpp"
#include "sim/cluster/simulation.hpp"

namespace litecluster::test::cluster {

/// What a thread waits for.
enum class Change : std::uint8_t {
  any,
  role,  ///< the role machine or the lease; only who carries out the steps
};

class Process {
 public:
  Process(Simulation& simulation, Host& host)
      : simulation_(simulation), host_(host), life_(host.agent_life()) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { kill(); }

  [[nodiscard]] Simulation& simulation() { return simulation_; }
  [[nodiscard]] Host& host() { return host_; }
  [[nodiscard]] Time now() const { return simulation_.now(); }
  [[nodiscard]] Time unit() const { return simulation_.unit(); }

  /// Starts a thread of the process.
  Fiber& spawn(std::function<void()> body);
  /// Ends all of them, wherever they wait.
  void kill();

  /// In a fiber: waits until `time` or the next change() of this kind.
  void wait_until(Time time, Change kind = Change::any);
  void wait(Time duration, Change kind = Change::any) { wait_until(now() + duration, kind); }
  /// In a fiber: exactly so long, as for a disk.
  void work(Time duration);
  /// Whoever waits for it looks again.
  void change(Change kind = Change::any);

  /// An event of this process.
  void at(Time time, Scheduler::Action action) { host_.agent_at(time, life_, std::move(action)); }

  /// Without waiting: `serve` runs at the servers, what it gives comes back to `take`; unless lost.
  template <typename Serve, typename Take>
  void send(Serve serve, Take take) {
    const auto arrival = simulation_.arrival(host_.index(), true);
    if (!arrival) return;
    // No connection outlives the servers.
    const std::uint32_t starts = simulation_.server.starts();
    simulation_.schedule.at(*arrival, [simulation = &simulation_, host = &host_, life = life_, starts,
                                       serve = std::move(serve), take = std::move(take)]() mutable {
      if (simulation->server_away() || simulation->server.starts() != starts) return;
      auto answer = serve();
      const auto back = simulation->arrival(host->index(), false);
      if (!back) return;
      host->agent_at(*back, life,
                     [simulation, starts, take = std::move(take), answer = std::move(answer)]() mutable {
                       if (simulation->server.starts() == starts) take(std::move(answer));
                     });
    });
  }

  /// In a fiber: a request that is given up after a while, or when the Context is cancelled; the servers may
  /// still carry it out.
  template <typename Answer>
  std::optional<Answer> ask(const Context& context, std::function<Answer()> serve) {
    struct Call {
      std::optional<Answer> answer;
      Fiber* waiting;
    };
    const auto call = std::make_shared<Call>(Call{std::nullopt, Fiber::current()});
    send(std::move(serve), [this, call](Answer value) {
      call->answer = std::move(value);
      if (call->waiting != nullptr) wake(*call->waiting);
    });
    const Time deadline = now() + 2 * unit();
    while (!call->answer && now() < deadline && !context.done()) wait_until(deadline);
    call->waiting = nullptr;
    return std::move(call->answer);
  }

 private:
  struct Waiting {
    Fiber* fiber;
    std::uint64_t ticket;
    Change kind;
  };

  void resume(Fiber& fiber, std::uint64_t ticket);
  void wake(Fiber& fiber);

  Simulation& simulation_;
  Host& host_;
  std::uint32_t life_;
  std::vector<Fiber*> fibers_;
  std::vector<Waiting> waiting_;
};

}  // namespace litecluster::test::cluster
