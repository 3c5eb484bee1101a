// What the guard decides. A pure state machine without a single allocation: events, the time and what lies in
// the shared memory go in, actions come out. guard.hpp tells what the guard is for.
//
// Rules:
//  1. Agent dead: drop the addresses, kill the backend. Only when the backend is gone, and the fences are
//     through, is the next agent started, with the next number: so an agent knows that the ones with smaller
//     numbers of its family, and their backends, are dead. Where the fences are not through in time, that is
//     not known, and the next agent is of another family. Before the first agent the fences drop what an
//     earlier guard may have left behind.
//  2. Armed and the lease deadline past: drop the addresses, kill the backend, tell the agent. Until the
//  agent has
//     disarmed, this is repeated: one that was stopped in the middle of a step may finish that step now.
//  3. The agent's heartbeat stands still for longer than allowed: kill the agent; rule 1 follows.
//  4. TERM or INT: pass it to the agent and wait for its end; kill all when that takes too long or at the
//     second signal. One that comes right behind the first is no second: timeout(1) signals the process and
//     then its group.
//  5. A backend lives only in an armed term that has a deadline: an order that comes late starts none, and
//  one
//     that is still there when the agent disarms is killed.
//
// Not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/backoff.hpp"
#include "base/clock.hpp"

namespace litecluster::backend {

struct GuardConfig {
  /// How long the agent's heartbeat may stand still; 0: for ever (the lease deadline still holds).
  base::Duration agent_silence_max = base::Duration::zero();
  /// From the first TERM until everything is killed.
  base::Duration stop_timeout = std::chrono::seconds(60);
  /// How long the next agent, or the guard's end, waits for what the fences have started.
  base::Duration fence_timeout = std::chrono::seconds(10);
  /// Signals that come within this time after the first are the same request.
  base::Duration same_request = std::chrono::milliseconds(500);
  base::Duration restart_delay = std::chrono::milliseconds(200);  ///< from the second restart in a row on
  base::Duration restart_delay_max = std::chrono::seconds(10);
  /// An agent whose heartbeat was still seen so long after its start was well: its successor starts at once.
  base::Duration calm_after = std::chrono::seconds(1);
  /// An agent that ends with one of these (or 0) is not started again; the guard ends with the same. 2 is a
  /// wrong configuration, 3 a conflict with another node: starting again would not help.
  std::array<int, 2> exit_statuses_final{2, 3};
};

enum class GuardAct : std::uint8_t {
  renew_family,    ///< it is not known that the agents so far, and their backends, are dead
  start_agent,     ///< number: which one
  signal_agent,    ///< number: signal
  start_backend,   ///< with the spec received last
  refuse_backend,  ///< tell the agent that its start was refused
  signal_backend,  ///< number: signal, to the whole group
  fence,           ///< drop addresses and the like; answer with fences_done()
  tell_exited,     ///< number: wait status of the backend
  tell_fenced,     ///< the deadline passed
  set_timer,       ///< at; replaces the one before
  exit,            ///< number: exit status
};

struct GuardAction {
  GuardAct act = GuardAct::exit;
  std::int64_t number = 0;
  base::BootTime at{};
};

/// What the guard reads from the shared memory before each event.
struct GuardView {
  base::BootTime now;
  base::BootTime lease_deadline;   ///< the epoch's zero: none
  base::BootTime agent_heartbeat;  ///< the epoch's zero: none yet
};

class GuardMachine {
 public:
  /// Valid until the next event.
  using Actions = std::span<const GuardAction>;

  explicit GuardMachine(const GuardConfig& config);

  [[nodiscard]] Actions start(const GuardView& view);
  [[nodiscard]] Actions tick(const GuardView& view);
  [[nodiscard]] Actions agent_exited(int wait_status, const GuardView& view);
  [[nodiscard]] Actions backend_exited(int wait_status, const GuardView& view);
  /// Nothing that a fence has started still runs.
  [[nodiscard]] Actions fences_done(const GuardView& view);
  /// Orders of the agent.
  [[nodiscard]] Actions start_ordered(const GuardView& view);
  [[nodiscard]] Actions backend_start_failed(const GuardView& view);
  [[nodiscard]] Actions signal_ordered(int signal, const GuardView& view);
  [[nodiscard]] Actions arm_ordered(bool armed, const GuardView& view);
  /// TERM or INT from outside.
  [[nodiscard]] Actions stop_requested(int signal, const GuardView& view);

 private:
  enum class Agent { none, running };

  void begin(const GuardView& view);
  [[nodiscard]] Actions finish(const GuardView& view);
  void add(GuardAct act, std::int64_t number = 0, base::BootTime at = {});
  void fence_all(const GuardView& view);
  void continue_without_agent(const GuardView& view);
  [[nodiscard]] std::optional<base::BootTime> continue_at() const;
  [[nodiscard]] std::optional<base::BootTime> silent_at(const GuardView& view) const;

  GuardConfig config_;
  Agent agent_ = Agent::none;
  std::uint32_t agent_number_ = 0;
  base::BootTime agent_started_at_{};
  bool agent_killed_ = false;
  bool backend_ = false;
  bool armed_ = false;
  bool stopping_ = false;
  base::BootTime stop_requested_at_{};
  std::optional<base::BootTime> kill_at_;
  std::optional<base::BootTime> fence_again_at_;
  std::optional<base::BootTime> fences_until_;  ///< not known to be through; waited for until then
  std::optional<base::BootTime> restart_at_;
  std::optional<int> exit_status_;
  base::Backoff backoff_;
  bool calm_ = true;
  std::array<GuardAction, 12> actions_{};
  std::size_t count_ = 0;
};

}  // namespace litecluster::backend
