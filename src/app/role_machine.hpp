// Promotion and demotion as one plain state machine: it says which step comes next, a driver carries it out.
//
// Promotion, after epoch E was won:
//   catch_up          read the log to its end and apply it to the replica
//   fence             append the first object of epoch E; from here on no older epoch can append
//   seal_replica      stop following; verify the checksum, checkpoint, fsync
//   install_primary   put aside what lies at the primary's path, move the replica there
//   attach_capture    follow every commit from now on
//   start_backend     and wait until it is healthy
//   run_on_active     the user's hook
//   raise_vip         clients are sent here
// Demotion takes back exactly what was begun, in the opposite order of visibility:
//   lower_vip, stop_backend, run_on_passive
//   final_sync        only while the lease is held: everything committed is in the log afterwards
//   detach_capture
//   release_lease     only while the lease is held, and never before the backend is certainly gone
//   follow            be a standby (unless the node is shutting down): the primary becomes the replica, or is
//                     kept aside when it holds what the log does not
//
// Every step may be run again after a crash: the driver makes each idempotent, and this machine starts as a
// standby whatever the files look like (the follow step sorts that out).
//
// Failure. A promotion step that fails starts the demotion, which gives the lease back with the reason.
// stop_backend that fails is repeated, because nothing that follows is safe while the application may still
// write. Any other demotion step that fails is noted and passed: what it did not do costs time, not data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

namespace litecluster::app {

enum class Step : std::uint8_t {
  catch_up,
  fence,
  seal_replica,
  install_primary,
  attach_capture,
  start_backend,
  run_on_active,
  raise_vip,
  lower_vip,
  stop_backend,
  run_on_passive,
  final_sync,
  detach_capture,
  release_lease,
  follow,
};

[[nodiscard]] std::string_view to_string(Step step);

enum class Stage {
  standby,    ///< following, nothing to do
  promoting,  ///< epoch won, not yet ready
  active,     ///< ready
  demoting,
  stopped,  ///< shut down; nothing will happen any more
};

[[nodiscard]] std::string_view to_string(Stage stage);

/// What this node has; steps that concern something absent do not occur.
struct Equipment {
  bool database = false;
  bool backend = false;
  bool vip = false;
};

/// Not thread-safe.
class RoleMachine {
 public:
  explicit RoleMachine(const Equipment& equipment) : equipment_(equipment) {}

  /// The elector won `epoch`.
  void won(Epoch epoch);
  /// The lease of `epoch` is gone or must be treated so. Ignored for another epoch than the present one.
  void lost(Epoch epoch, std::string reason);
  /// The operator, a failed backend or a failed hook wants leadership given up while the lease holds.
  void step_down(std::string reason);
  /// Demote if need be, then stop.
  void shut_down();

  /// The step to carry out now; nothing while there is none. The same answer until finished() is called.
  [[nodiscard]] std::optional<Step> next() const { return next_; }
  /// The step that next() named has ended.
  void finished(const Status& outcome);

  /// True while the running step no longer makes sense: its Context should be cancelled.
  [[nodiscard]] bool step_is_obsolete() const;
  [[nodiscard]] Stage stage() const { return stage_; }
  /// The term that is being served, promoted to or demoted from; 0 in a standby.
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] bool lease_held() const { return lease_held_; }
  /// Whether everything committed in this term is known to be in the log.
  [[nodiscard]] bool final_sync_succeeded() const { return synced_; }
  /// Whether the last term whose lease is over has left commits of which that is not known.
  [[nodiscard]] bool left_unsynced() const { return left_unsynced_; }
  /// Why the last demotion began.
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  void start_promotion(Epoch epoch);
  void start_demotion(std::string reason);
  void advance();
  void lease_is_over();
  [[nodiscard]] std::optional<Step> next_promotion_step() const;
  [[nodiscard]] std::optional<Step> next_demotion_step() const;
  [[nodiscard]] bool applies(Step step) const;
  [[nodiscard]] bool begun(Step step) const { return (begun_ & bit(step)) != 0; }
  [[nodiscard]] bool done(Step step) const { return (done_ & bit(step)) != 0; }
  [[nodiscard]] static constexpr std::uint32_t bit(Step step) { return 1U << static_cast<unsigned>(step); }

  Equipment equipment_;
  Stage stage_ = Stage::demoting;  // a node starts by becoming a standby
  std::optional<Step> next_ = Step::follow;
  Epoch epoch_;
  std::optional<Epoch> won_meanwhile_;  // a term won while the last one was being left
  bool lease_held_ = false;
  bool demotion_wanted_ = false;
  bool stopping_ = false;
  bool synced_ = false;
  bool left_unsynced_ = false;
  std::uint32_t begun_ = bit(Step::follow);
  std::uint32_t done_ = 0;
  std::string reason_;
};

}  // namespace litecluster::app
