// Who is in the cluster, as this node sees it. Pure.
//
// Fed by a watch on `members.*`. A member is here from the first record seen of its life until a record says
// that the life is over (left, expelled, or a later life), or until it has been silent for its lease by this
// node's own clock. A node whose life was replaced leaves and joins: one `left`, one `joined`.
//
// Silence is only counted while this node hears anything at all (its own renewals come back on the same
// watch): an observer that is cut off keeps what it knew, and begins to count anew when it hears again.
//
// What a watch delivers at its beginning may be the record of a node that died long ago. Such a record counts
// only when the first change that came after it shows, by the server's own clock, that it is not older than
// its lease; that change is this node's own first record at the latest.
//
// Being silent is a judgement and may be wrong. Certain is only `is_over()`: a fact written into the record
// by compare-and-swap (session.hpp).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "membership/record.hpp"

namespace litecluster::membership {

using ServerTime = std::chrono::sys_time<std::chrono::nanoseconds>;

/// A record that ended its life, or fell silent, this long ago is removed.
constexpr base::Duration forget_after = std::chrono::hours(1);

struct RosterEvent {
  enum class Kind { joined, left, changed };
  Kind kind = Kind::joined;
  Member member;
  /// Of `left`: "said goodbye", "silent", "expelled", "restarted".
  std::string reason;
};

/// What is known of one node.
struct RosterEntry {
  Record record;
  MemberId life;
  Revision revision;
  /// When this revision was first seen, by the own clock.
  base::BootTime seen_at;
  /// From when silence is counted; may be earlier than seen_at for a record that was old when first read.
  base::BootTime silent_from;
  /// The server's clock when it stored this revision, where known.
  std::optional<ServerTime> written_at;
  bool present = false;
  bool deleted = false;
  /// Delivered at the beginning, and its age is not known yet.
  bool pending = false;
  /// Another revision of the same life was seen: somebody renews it.
  bool renewed = false;
};

/// How a record came to be known.
struct Delivery {
  /// Part of what was there when the watch began.
  bool initial = false;
  std::optional<ServerTime> written_at = std::nullopt;
};

/// A record to be removed by compare-and-swap at this revision.
struct ForgetRecord {
  std::string node;
  Revision revision;
};

/// Not thread-safe.
class Roster {
 public:
  /// `heartbeat`: of this node, how often its own record is heard.
  explicit Roster(base::Duration heartbeat) : heartbeat_(heartbeat) {}

  void record_seen(base::BootTime now, Revision revision, const Record& record,
                   const Delivery& delivery = {});
  void record_deleted(base::BootTime now, Revision revision, const std::string& node);
  /// The servers lost the bucket or its newest changes: revisions are used a second time, so whatever is
  /// delivered from now on counts. Who is not heard of again falls silent.
  void history_lost();
  void tick(base::BootTime now);

  [[nodiscard]] std::vector<RosterEvent> take_events();
  /// Records that nobody needs any more; each is named once per revision.
  [[nodiscard]] std::vector<ForgetRecord> take_forgettable(base::BootTime now);
  /// While nothing is heard, a while from now.
  [[nodiscard]] std::optional<base::BootTime> next_tick(base::BootTime now) const;

  /// Those who are here, sorted by name.
  [[nodiscard]] std::vector<Member> members() const;
  [[nodiscard]] const std::map<std::string, RosterEntry, std::less<>>& entries() const { return entries_; }
  [[nodiscard]] const RosterEntry* find(std::string_view node) const;
  /// Whether it is certain that this life has ended, its deadline included.
  [[nodiscard]] bool is_over(const MemberId& life) const;
  /// False while it is not known which of the records at the beginning are of nodes that are alive.
  [[nodiscard]] bool settled() const { return pending_ == 0; }
  /// A number that changes whenever somebody joins, leaves or changes what it says; not with mere renewals.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

 private:
  void hear(base::BootTime now);
  [[nodiscard]] base::BootTime gone_at(const RosterEntry& entry) const;
  [[nodiscard]] bool cut_off(base::BootTime now) const;
  void arrive(RosterEntry& entry);
  void judge_pending(base::BootTime now, ServerTime server_now);
  void depart(RosterEntry& entry, std::string reason);

  base::Duration heartbeat_;
  std::map<std::string, RosterEntry, std::less<>> entries_;
  std::map<std::string, Revision, std::less<>> forgotten_;
  std::optional<base::BootTime> heard_at_;
  base::BootTime resumed_at_ = base::BootTime::min();
  std::size_t pending_ = 0;
  std::uint64_t generation_ = 0;
  std::vector<RosterEvent> events_;
};

}  // namespace litecluster::membership
