// This node's own record: claiming the name, renewing, losing it, saying goodbye. Pure.
//
// A *life* of a node begins when its record is written with a new incarnation and is named by the revision of
// that first record (`joined`). All changes are compare-and-swap on the revision of the record.
//
// * A life is renewed each heartbeat. Its deadline is the time before the last renewal that succeeded was
//   sent, plus 0.8 times the lease (three heartbeats), by this machine's clock. Past it the life is over for
//   us, whatever else happens: `lapsed` says so, and whatever was owned under it has to be let go.
// * Others may end a life only by changing the record, and only after they have seen no change of it for one
//   whole lease by their own clock. As the change is a compare-and-swap at the revision that they saw, it
//   fails if a renewal got through meanwhile, however stale their view was. With clocks that differ in rate
//   by less than 10 %, 0.8 leases here end before 1.0 leases there. So whoever reads that a life is over
//   (record left or expelled, or of a later life) may rely on its deadline having passed.
// * After a lapse the node comes back as a new life, once the driver has reported that all is let go
//   (`settled`). The record of a later life therefore also proves that the former one is over.
// * A name in use is found out by watching the record that stands in the way: when it changes, somebody
//   renews it, and this node refuses to start. When it does not for one lease of its, or when it is known
//   that the process is dead, the name is taken over.
//
// The driver executes the actions, one KV operation at a time, and reports each result, `unknown` when no
// answer came in time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "membership/record.hpp"

namespace litecluster::membership {

/// What a read of `members.<node>` found.
struct OwnRecord {
  Revision revision;             ///< of the record or of its deletion; 0: there was never one
  std::optional<Record> record;  ///< unset: none there, or deleted
  bool process_is_dead = false;  ///< the record's process is known not to run any more
};

enum class WriteOutcome { done, conflict, unknown };

struct ReadRecord {};
struct WriteRecord {
  Revision expected;  ///< of the record or of its deletion; 0: there is none
  Record record;
};
/// The node is a member under this id.
struct SessionJoined {
  MemberId id;
};
/// The life is over; let go of everything, then call settled().
struct SessionLapsed {
  MemberId id;
  std::string reason;
};
/// Final: the goodbye is written, or there is nothing of ours any more.
struct SessionLeft {};
/// Final: this process must not take part.
struct SessionRefused {
  Error error;
};
using SessionAction =
    std::variant<ReadRecord, WriteRecord, SessionJoined, SessionLapsed, SessionLeft, SessionRefused>;

struct SessionOptions {
  std::string node;
  /// Random, of this process. Lives after a lapse get a number appended.
  std::string incarnation;
  base::Duration heartbeat = std::chrono::seconds(3);
  /// Other than three heartbeats only in tests.
  std::optional<base::Duration> lease = std::nullopt;
  /// The life that a supervisor has seen die, if any: its name is taken over at once.
  std::string dead_incarnation = {};
};

/// Not thread-safe.
class Session {
 public:
  explicit Session(SessionOptions options);

  void start(base::BootTime now);
  /// The answer to ReadRecord.
  void read_done(base::BootTime now, const OwnRecord& own);
  void read_failed(base::BootTime now);
  /// News of the own record from a watch.
  void record_seen(base::BootTime now, const OwnRecord& own);
  /// The answer to WriteRecord. `revision` counts when done.
  void written(base::BootTime now, WriteOutcome outcome, Revision revision);
  void tick(base::BootTime now);
  /// What the record says from the next renewal on; with `urgent` a renewal is sent as soon as possible.
  /// Id, state, heartbeat and lease in it are ignored.
  void describe(base::BootTime now, const Record& content, bool urgent);
  /// All that was owned under the lapsed life has been let go.
  void settled(base::BootTime now);
  /// Says goodbye. What was owned has to be let go before.
  void leave(base::BootTime now);

  /// In order; empty afterwards.
  [[nodiscard]] std::vector<SessionAction> take_actions();
  /// When tick() has something to do at the latest; unset: never.
  [[nodiscard]] std::optional<base::BootTime> next_tick() const;

  [[nodiscard]] bool live() const { return state_ == State::live || state_ == State::leaving; }
  /// Of the present life. Only while live().
  [[nodiscard]] base::BootTime deadline() const { return deadline_; }
  [[nodiscard]] const MemberId& id() const { return id_; }

 private:
  enum class State {
    idle,      ///< not started
    claiming,  ///< wants the name
    live,
    lapsed,   ///< waits for settled()
    leaving,  ///< live, and writing its goodbye
    left,
    refused,
  };
  enum class Operation { none, read, write };

  void claim(base::BootTime now, const OwnRecord& own);
  void claimed(base::BootTime now, Revision revision);
  /// Ends the life when its deadline has passed.
  bool past_deadline(base::BootTime now);
  void read_after(base::BootTime now, WriteOutcome outcome);
  void own_record_while_live(base::BootTime now, const OwnRecord& own, bool answer);
  void lapse(std::string reason);
  void refuse(Error error);
  void read(base::BootTime now);
  void write(base::BootTime now, Revision expected, RecordState state);
  void retry_at(base::BootTime time) { retry_at_ = time; }
  void end_leaving();
  [[nodiscard]] bool is_mine(const Record& record) const;
  [[nodiscard]] Error name_in_use(const Record& record) const;

  SessionOptions options_;
  base::Duration lease_;
  State state_ = State::idle;
  Operation in_flight_ = Operation::none;
  Record content_;
  bool urgent_ = false;
  RecordState writing_ = RecordState::alive;  ///< in the write in flight or the last one
  bool conflicted_ = false;                   ///< the last write met another revision
  bool conflicted_before_ = false;            ///< so did one since the last write that was done
  bool rejoining_ = false;                    ///< the write in flight belongs to a former life
  MemberId id_;
  std::uint32_t lives_ = 0;
  Revision revision_;         ///< of the own record as last known
  base::BootTime sent_at_{};  ///< of the write in flight or the last one
  base::BootTime renew_at_{};
  base::BootTime deadline_{};
  std::optional<base::BootTime> retry_at_;
  /// The record in the way, while claiming.
  std::optional<OwnRecord> obstacle_;
  base::BootTime obstacle_seen_at_{};
  /// Set when another process took the name: refuse once settled.
  std::optional<Error> superseded_;
  std::vector<SessionAction> actions_;
};

}  // namespace litecluster::membership
