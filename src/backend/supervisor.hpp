// Decides about one backend process: start it, wait until it is healthy, watch it, start it again with
// back-off when it fails, stop it with TERM and KILL, give up when it does not come up. A pure state machine:
// events and the time in, actions out. ProcessBackend drives it.
//
//   stopped --start--> starting --healthy--> running --stop--> stopping --exited--> stopped
//                         |  ^                  | exited or unhealthy
//                         |  +--- pausing <-----+     (back-off; the time of start_timeout runs on)
//                         +--> given_up  (too many failures, or not healthy in time)
//
// Not thread-safe.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/backoff.hpp"
#include "base/clock.hpp"

namespace litecluster::backend {

struct SupervisorConfig {
  /// False: the process is healthy as soon as it runs.
  bool has_probe = false;
  base::Duration start_timeout = std::chrono::seconds(30);  ///< from start() to the first healthy probe
  base::Duration grace = std::chrono::seconds(10);          ///< from TERM to KILL
  base::Duration probe_interval = std::chrono::seconds(1);
  base::Duration probe_interval_starting = std::chrono::milliseconds(20);
  int probe_failures_max = 3;  ///< in a row, until a running process is restarted
  base::Duration restart_delay = std::chrono::milliseconds(100);
  base::Duration restart_delay_max = std::chrono::seconds(5);
  /// Restarts after having been healthy; more than this many within restart_window mean giving up.
  int restarts_max = 3;
  base::Duration restart_window = std::chrono::minutes(1);
};

enum class StopSignal { terminate, kill };

struct StartProcess {};
/// To the whole process group.
struct SignalProcess {
  StopSignal signal;
};
/// Answer with probe_finished().
struct ProbeHealth {};
/// Call tick() at `at`; replaces the timer set before.
struct SetTimer {
  base::BootTime at;
};
struct BecameHealthy {};
/// Was healthy and is not any more; it is being restarted.
struct BecameUnhealthy {
  std::string reason;
};
struct Stopped {};
/// The process is gone and will not be started again: give leadership up.
struct GaveUp {
  std::string reason;
};

using SupervisorAction = std::variant<StartProcess, SignalProcess, ProbeHealth, SetTimer, BecameHealthy,
                                      BecameUnhealthy, Stopped, GaveUp>;

enum class SupervisorState { stopped, starting, running, pausing, stopping, given_up };

class Supervisor {
 public:
  /// Valid until the next event.
  using Actions = std::span<const SupervisorAction>;

  explicit Supervisor(SupervisorConfig config);

  [[nodiscard]] Actions start(base::BootTime now);
  /// Asks the process to end; Stopped follows, at once when none runs.
  [[nodiscard]] Actions stop(base::BootTime now);
  /// The answers to StartProcess: it runs, or could not be started.
  [[nodiscard]] Actions process_started(base::BootTime now);
  [[nodiscard]] Actions process_failed(std::string reason, base::BootTime now);
  [[nodiscard]] Actions process_exited(const std::string& how, base::BootTime now);
  [[nodiscard]] Actions probe_finished(bool healthy, std::string reason, base::BootTime now);
  [[nodiscard]] Actions tick(base::BootTime now);

  [[nodiscard]] SupervisorState state() const { return state_; }

 private:
  void begin();
  [[nodiscard]] Actions finish();
  void became_healthy(base::BootTime now);
  void failed(std::string reason, base::BootTime now);
  void end_process(base::BootTime now, StopSignal signal);
  void process_gone(base::BootTime now);
  void due(std::optional<base::BootTime>& timer, base::BootTime now,
           void (Supervisor::*action)(base::BootTime));
  void restart_due(base::BootTime now);
  void probe_due(base::BootTime now);
  void start_overdue(base::BootTime now);
  void kill_due(base::BootTime now);

  SupervisorConfig config_;
  SupervisorState state_ = SupervisorState::stopped;
  /// What follows when the process that is being ended is gone.
  enum class Afterwards { stop, restart, give_up } afterwards_ = Afterwards::stop;
  bool process_ = false;  ///< asked for, and not yet known to be gone
  bool probing_ = false;
  bool was_healthy_ = false;
  int probe_failures_ = 0;
  std::string reason_;
  std::vector<base::BootTime> restarts_;
  base::Backoff backoff_;
  std::optional<base::BootTime> start_deadline_;
  std::optional<base::BootTime> probe_at_;
  std::optional<base::BootTime> kill_at_;
  std::optional<base::BootTime> restart_at_;
  std::vector<SupervisorAction> actions_;
};

}  // namespace litecluster::backend
