// The elector: decides when this node may lead. A pure state machine: events and this node's own boot time
// go in, actions come out; it has no clock, thread or connection. LeaseStore drives it over a KV bucket and
// tests/sim/election drives thousands of hours of it against every fault we could think of.
//
// The rules, in short (docs/election.md argues why they are safe):
//  1. One record, changed only by compare-and-swap on its KV revision. Reads and watches may be late, stale,
//     repeated or missing; none of them gives anybody the right to lead. Only a successful write does.
//  2. The holder leads until its deadline: the time at which it *sent* its last successful write, plus 0.8 of
//     its lease_ttl. Past that instant the term is over for good, even if the record still carries its name.
//  3. Another node bids when it has itself seen no change of the record for 1.0 lease_ttl (the larger of its
//     own and the record's), or at once when the record says `released`; always with the revision it saw.
//  4. A write without an answer is resolved by reading: the record carries the writer's incarnation and the
//     number of the attempt, and so tells which attempt arrived and thus from which time the deadline counts.
//  5. Every claim has a new epoch: 1 + the largest of the record's, any seen before and the log's.
//
// Not thread-safe.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "election/record.hpp"

namespace litecluster::election {

/// Mistakes that the simulator must be able to find. Only its own test sets one.
enum class PlantedBug { none, deadline_after_reply, impatient_taker, resume_after_deadline };

struct ElectorConfig {
  std::string node;
  Incarnation incarnation;
  base::Duration lease_ttl = std::chrono::seconds(10);
  base::Duration heartbeat = std::chrono::seconds(3);  ///< at most lease_ttl / 3
  /// How long a node that stepped down leaves the lease to others that are there; default: lease_ttl.
  std::optional<base::Duration> cooldown;
  /// After this long a request counts as unanswered; default: heartbeat / 2.
  std::optional<base::Duration> request_timeout;
  /// By how much a node bids later for each TXID that it is behind the best-positioned candidate.
  base::Duration bid_delay_per_txid = std::chrono::milliseconds(5);
  /// The most that lag delays a bid; default: lease_ttl / 4, at most 400 ms.
  std::optional<base::Duration> bid_delay_max;
  PlantedBug planted_bug = PlantedBug::none;
};

/// invalid_argument when the numbers do not fit together.
[[nodiscard]] Status validate(const ElectorConfig& config);

enum class LossReason {
  deadline,     ///< the lease could not be renewed in time
  superseded,   ///< the record names another term
  record_gone,  ///< the record was deleted or cannot be read any more
  given_back,   ///< release() was called
};
[[nodiscard]] std::string_view to_string(LossReason reason);

enum class ReleaseReason {
  demoted,           ///< the term was lost before; the node is a standby again
  stepped_down,      ///< ordered by an operator
  promotion_failed,  ///< won, but could not make itself leader
  shutdown,          ///< the process ends; no bid will follow
};

struct ReleaseOrder {
  ReleaseReason reason = ReleaseReason::demoted;
  Position position{};      ///< of the database as it was left
  std::string successor{};  ///< who shall follow; empty: any
};

enum class WriteOutcome {
  stored,    ///< acknowledged with a revision
  conflict,  ///< the server saw another revision than the expected one
  unknown,   ///< no answer, or an error that leaves open whether it was stored
};

struct LeaderInfo {
  std::string node;
  Incarnation incarnation;
  Epoch epoch;
  friend bool operator==(const LeaderInfo&, const LeaderInfo&) = default;
};

// Actions, to be carried out in the order given.

/// Read the record; answer with record_observed(), record_unreadable() or read_failed().
struct ReadRecord {};
/// Write `record` if the key still has revision `expected` (0: create it); answer with write_finished().
struct WriteRecord {
  Revision expected;
  LeaderRecord record;
};
/// Call tick() at `at`; replaces the timer set before.
struct SetTimer {
  base::BootTime at;
};
/// This node leads `epoch` until `deadline`.
struct BecameLeader {
  Epoch epoch;
  base::BootTime deadline;
};
struct LeaseExtended {
  base::BootTime deadline;
};
/// The term is over, from now on. Demote, then call release().
struct LostLeadership {
  Epoch epoch;
  LossReason reason;
};
/// After release(): the record no longer names this node as holder.
struct Released {};
/// Who leads as far as this node can see; empty: nobody known. For status and clients, not for decisions.
struct LeaderChanged {
  std::optional<LeaderInfo> leader;
};
/// Another live process uses this node's name; the elector bids no more.
struct DuplicateNode {
  Incarnation other;
};

using Action = std::variant<ReadRecord, WriteRecord, SetTimer, BecameLeader, LeaseExtended, LostLeadership,
                            Released, LeaderChanged, DuplicateNode>;

class Elector {
 public:
  /// What each event returns: valid until the next event.
  using Actions = std::span<const Action>;

  /// `config` must be valid. Bids only once set_eligible(true) was called.
  explicit Elector(ElectorConfig config);

  [[nodiscard]] Actions start(base::BootTime now);
  [[nodiscard]] Actions tick(base::BootTime now);

  /// From a watch or a read; `record` is empty when the key does not exist or was deleted. `now` must have
  /// been taken after the message arrived.
  [[nodiscard]] Actions record_observed(Revision revision, std::optional<LeaderRecord> record,
                                        base::BootTime now);
  /// The key holds something that is not a record.
  [[nodiscard]] Actions record_unreadable(Revision revision, base::BootTime now);
  [[nodiscard]] Actions read_failed(base::BootTime now);
  /// The answer to the WriteRecord whose record had this sequence. `revision` counts when stored.
  [[nodiscard]] Actions write_finished(std::uint64_t sequence, WriteOutcome outcome, Revision revision,
                                       base::BootTime now);
  /// Lost: what is under way will not be answered. Regained: look again now.
  [[nodiscard]] Actions connection_changed(bool connected, base::BootTime now);

  /// Whether this node could be promoted now. Has no effect on a term that runs.
  [[nodiscard]] Actions set_eligible(bool eligible, base::BootTime now);
  /// The highest epoch found in the log.
  [[nodiscard]] Actions log_epoch_seen(Epoch epoch, base::BootTime now);
  [[nodiscard]] Actions position_changed(Txid txid, base::BootTime now);
  [[nodiscard]] Actions peer_seen(std::string_view node, Txid txid, base::BootTime now);
  [[nodiscard]] Actions peer_left(std::string_view node, base::BootTime now);

  /// Gives the lease back, or says that the demotion after LostLeadership is complete. Call it when nothing
  /// of the term runs any more on this node: a successor may lead at once.
  [[nodiscard]] Actions release(ReleaseOrder order, base::BootTime now);

  [[nodiscard]] bool leads(base::BootTime now) const { return term_ == Term::leading && now < deadline_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  /// Has to call release() before this node can bid again.
  [[nodiscard]] bool owes_demotion() const { return term_ == Term::lost; }

 private:
  enum class Term {
    none,      ///< nothing of a term runs here
    claiming,  ///< a claim was written and is not yet known to have succeeded in time
    leading,
    lost,  ///< over, but the application has not yet said that it is demoted
  };
  struct Write {
    Revision expected;
    LeaderRecord record;
    base::BootTime sent_at;
  };
  struct Attempt {
    std::uint64_t sequence = 0;
    base::BootTime sent_at;
  };
  struct Peer {
    std::string node;
    Txid txid;
    base::BootTime seen_at;
  };

  void begin(base::BootTime now);
  [[nodiscard]] Actions finish(base::BootTime now);
  void wake_at(base::BootTime time);

  void observe(Revision revision, std::optional<LeaderRecord> record, bool readable, base::BootTime now);
  void record_changed(base::BootTime now);
  void own_record_seen(base::BootTime now);
  void check_duplicate(base::BootTime now);
  void publish_leader(std::optional<LeaderInfo> leader);
  void publish_leader_of_record();
  void lose(LossReason reason);

  void expire_requests(base::BootTime now);
  void choose_read(base::BootTime now);
  void choose_write(base::BootTime now);
  void choose_as_holder(base::BootTime now);
  void choose_as_bidder(base::BootTime now);
  void finish_release();
  void write(LeaderRecord record, base::BootTime now);
  void write_held(Epoch epoch, base::BootTime now);
  void write_released(const ReleaseOrder& order, base::BootTime now);
  void request_unanswered(base::BootTime now);

  [[nodiscard]] bool noticed_another_history(Revision revision, const std::optional<LeaderRecord>& record,
                                             base::BootTime now);
  [[nodiscard]] bool holds_record() const;
  [[nodiscard]] bool conflicted() const { return conflicted_revision_ && revision_ <= *conflicted_revision_; }
  [[nodiscard]] Epoch next_epoch() const;
  [[nodiscard]] base::BootTime bid_time() const;
  [[nodiscard]] base::Duration bid_delay(base::BootTime now) const;
  /// Until when the last of the peers counts as there; empty when none is known.
  [[nodiscard]] std::optional<base::BootTime> peers_until(base::BootTime now) const;
  [[nodiscard]] base::Duration hold() const { return config_.lease_ttl * 8 / 10; }
  [[nodiscard]] base::Duration patience(base::Duration record_ttl) const;

  ElectorConfig config_;
  base::Duration cooldown_;
  base::Duration request_timeout_;
  base::Duration retry_delay_;
  base::Duration bid_delay_max_;
  std::vector<Action> actions_;

  // What is known of the record.
  bool known_ = false;
  bool readable_ = true;
  Revision revision_;
  std::optional<LeaderRecord> record_;
  base::BootTime seen_at_{};   ///< when revision_ was seen first
  base::BootTime heard_at_{};  ///< when anything was heard of the record
  Epoch epoch_max_;            ///< of all records seen
  Epoch log_epoch_;
  base::Duration record_ttl_{};  ///< of the last readable record
  std::optional<LeaderInfo> leader_;

  // The term.
  Term term_ = Term::none;
  Epoch epoch_;
  Epoch claimed_epoch_;  ///< of the last bid
  base::BootTime deadline_{};
  base::BootTime renewed_at_{};  ///< when the last confirmed write was sent
  bool release_pending_ = false;
  ReleaseOrder release_order_;

  // Requests.
  std::optional<Write> write_;
  std::optional<base::BootTime> read_sent_at_;
  bool read_needed_ = false;
  base::BootTime retry_at_{};
  std::optional<Revision> conflicted_revision_;
  /// Since when, after a write that was refused or is to be looked for, nothing but older revisions is seen.
  std::optional<base::BootTime> older_since_;
  std::uint64_t sequence_ = 0;
  std::array<Attempt, 8> attempts_{};

  // Whether and when to bid.
  bool eligible_ = false;
  bool shutdown_ = false;
  bool duplicate_ = false;
  int foreign_changes_ = 0;
  Incarnation foreign_;  ///< that uses our name
  base::BootTime foreign_since_{};
  base::BootTime cooldown_until_{};
  base::BootTime failed_until_{};
  Txid position_;
  std::vector<Peer> peers_;

  base::BootTime wake_{};
  base::BootTime armed_{};
};

}  // namespace litecluster::election
