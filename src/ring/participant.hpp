// What this node owns: turns assignments and the state of its own life into calls of on_own and on_release.
// Pure.
//
// A partition is *wanted* while this node's life is not over, by its deadline first of all, and the newest
// assignment seen names this very life both as holder and as target. What is owned and no longer wanted is
// released; what is wanted and not owned is owned. One hook runs at a time, and releasing goes first.
//
// When everything that a version takes away is let go, the node says so (`AcknowledgeRelease`), which goes
// into its member record. From then on it never owns on behalf of that version or an older one: versions
// only grow, over all lives of the process. That is what allows the coordinator to make somebody else the
// holder.
//
// When the life lapses everything is released; `RingSettled` then lets the session begin a new life.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "ring/assignment.hpp"

namespace litecluster::ring {

/// Run on_own for these; then hook_done(). From this moment the partitions may be touched.
struct RunOwn {
  std::vector<Partition> partitions;
  RingVersion version;
};
/// Stop serving these, run on_release for them, then hook_done().
struct RunRelease {
  std::vector<Partition> partitions;
  RingVersion version;
  bool life_is_over = false;  ///< the lease is lost: be quick
};
/// The Context of the running on_own should be cancelled. hook_done() still comes.
struct CancelHook {};
/// To be written into the member record at once.
struct AcknowledgeRelease {
  RingVersion version;
};
/// Nothing is owned and no hook runs, after life_over().
struct RingSettled {};
using ParticipantAction = std::variant<RunOwn, RunRelease, CancelHook, AcknowledgeRelease, RingSettled>;

/// Not thread-safe.
class Participant {
 public:
  enum class State : std::uint8_t { idle, owning, owned, releasing };

  explicit Participant(std::uint32_t partitions) : states_(partitions, State::idle) {}

  /// A life of this node has begun.
  void life_begun(base::BootTime now, const MemberId& life, base::BootTime deadline);
  /// The life was renewed. A process that was suspended may see everything else before it sees that its
  /// deadline has passed, so every event is held against it.
  void renewed(base::BootTime deadline) { deadline_ = deadline; }
  /// It is over: by lapse, or because the node wants to leave.
  void life_over(base::BootTime now);
  /// An older version than one seen before is ignored.
  void assignment_seen(base::BootTime now, std::shared_ptr<const Assignment> assignment);
  /// The hook of the last RunOwn or RunRelease has returned, was given up, or was never set.
  void hook_done(base::BootTime now, bool succeeded);
  void tick(base::BootTime now);

  [[nodiscard]] std::vector<ParticipantAction> take_actions();
  [[nodiscard]] std::optional<base::BootTime> next_tick() const;

  [[nodiscard]] State state(Partition partition) const { return states_[partition.value()]; }
  /// on_own failed for something that is still wanted, and has not succeeded since. A call that was cancelled
  /// because its partitions were taken away is no failure.
  [[nodiscard]] bool failing() const { return failing_; }
  [[nodiscard]] const std::shared_ptr<const Assignment>& assignment() const { return assignment_; }

 private:
  enum class Hook { none, own, release };

  void advance(base::BootTime now);
  void start_release(std::uint16_t self);
  void start_own(std::uint16_t self);
  void forget_failure();
  [[nodiscard]] bool lacks_any(std::uint16_t self) const;
  [[nodiscard]] bool wanted(std::size_t partition, std::uint16_t self) const;
  [[nodiscard]] bool must_acknowledge(std::uint16_t self) const;

  std::vector<State> states_;
  std::shared_ptr<const Assignment> assignment_;
  std::optional<MemberId> life_;
  base::BootTime deadline_{};
  std::uint16_t self_ = nobody;  ///< index of the own life in assignment_
  RingVersion acknowledged_;
  Hook hook_ = Hook::none;
  std::vector<Partition> hook_partitions_;
  bool hook_cancelled_ = false;
  bool settle_ = false;
  bool failing_ = false;
  base::Duration own_retry_{std::chrono::seconds(1)};
  std::optional<base::BootTime> retry_at_;
  std::vector<ParticipantAction> actions_;
};

}  // namespace litecluster::ring
