// Decides what the next version of the assignment is, and whether this node should write it. Pure.
//
// There is no election of its own: the assignment names who wrote it last, and as long as that member is
// here the others leave the next version to it. When it is not, or when what is needed stays undone for two
// leases, the others step in, the one that joined first before the rest. Two that write at the same moment do
// no harm: the record is changed by compare-and-swap, and what a version may contain depends on facts that
// never become false again:
//
// * `released` of a member record, which only grows within a life, covers `leaving_since` of a partition: its
//   holder has let go of it;
// * the life of the holder is over (membership/roster.hpp), which is written by compare-and-swap as well.
//
// A holder that fell silent for a whole lease is therefore first *expelled*: its member record is changed at
// the very revision that was last seen. A renewal that got through in the meantime makes that fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <litecluster/error.hpp>

#include "base/clock.hpp"
#include "membership/roster.hpp"
#include "ring/assignment.hpp"

namespace litecluster::ring {

/// Write this as `ring.assignment` by compare-and-swap; 0: create. Then assignment_written(), whatever the
/// outcome.
struct WriteAssignment {
  Revision expected;
  std::shared_ptr<const Assignment> assignment;
};
/// Write this record as `members.<node>` by compare-and-swap; 0: only if there is none or it was deleted.
/// Then expel_done(), whatever the outcome.
struct ExpelMember {
  Revision expected;
  membership::Record record;
};
/// Final: this node cannot take part in this ring.
struct RingRefused {
  Error error;
};
using CoordinatorAction = std::variant<WriteAssignment, ExpelMember, RingRefused>;

struct CoordinatorOptions {
  std::uint32_t partitions = 256;
  /// Of this node: three heartbeats.
  base::Duration lease = std::chrono::seconds(9);
  /// For how long changes of the membership are gathered before they are acted upon.
  base::Duration settle = std::chrono::milliseconds(20);
};

/// Not thread-safe. Looks at the roster that it is given only during a call.
class Coordinator {
 public:
  explicit Coordinator(CoordinatorOptions options) : options_(options) {}

  void life_begun(base::BootTime now, const MemberId& life);
  void life_over();
  void assignment_seen(base::BootTime now, Revision revision, std::shared_ptr<const Assignment> assignment);
  /// The record is gone: the coordinator writes it again from what it remembers, under a version above all
  /// that anybody can have seen.
  void assignment_deleted(base::BootTime now, Revision revision);
  /// The bucket's content at the time of the start has been seen; before, nothing is decided.
  void initial_complete(base::BootTime now);
  void assignment_written(base::BootTime now);
  void expel_done(base::BootTime now);
  /// To be called when the roster changed and when next_tick() has come.
  void evaluate(base::BootTime now, const membership::Roster& roster);

  [[nodiscard]] std::vector<CoordinatorAction> take_actions();
  [[nodiscard]] std::optional<base::BootTime> next_tick() const { return next_tick_; }

 private:
  [[nodiscard]] bool refuse_if_different(const membership::Roster& roster);
  [[nodiscard]] std::vector<MemberId> live_members(const membership::Roster& roster) const;
  [[nodiscard]] std::optional<Assignment> next_assignment(const membership::Roster& roster,
                                                          const std::vector<MemberId>& live) const;
  [[nodiscard]] base::Duration patience(const std::vector<MemberId>& live) const;
  [[nodiscard]] std::vector<ExpelMember> silent_holders(base::BootTime now, const membership::Roster& roster,
                                                        const std::vector<MemberId>& live);
  void wake_at(base::BootTime time);

  CoordinatorOptions options_;
  std::optional<MemberId> life_;
  bool initial_complete_ = false;
  bool refused_ = false;
  bool deleted_ = false;
  Revision revision_;
  std::shared_ptr<const Assignment> assignment_;
  bool write_in_flight_ = false;
  std::size_t expels_in_flight_ = 0;
  base::BootTime write_after_ = base::BootTime::min();
  base::BootTime expel_after_ = base::BootTime::min();
  /// Since when something has been needed that the present version lacks.
  std::optional<base::BootTime> needed_since_;
  /// Holders without any member record, by node: since when that is so.
  std::map<std::string, base::BootTime> unknown_since_;
  std::optional<base::BootTime> next_tick_;
  std::vector<CoordinatorAction> actions_;
};

}  // namespace litecluster::ring
