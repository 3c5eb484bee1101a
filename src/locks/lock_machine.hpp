// One claim on one lock, as a state machine: what was seen and the time go in, what to do comes out. It never
// reads a clock, waits or talks to a server; lock_driver.cpp does that, and the simulator stands in for it.
//
// The protocol. All claimants of a lock share one record (lock_record.hpp) and change it by compare-and-swap
// on its revision, which the server arbitrates. Everything else only decides *when* to try.
//
//   * A claimant that sees `released`, or no record, bids at once: it writes `held` with the next token.
//   * A claimant that sees `held` by another waits until it has itself seen the same revision for a whole
//     lease (that of the record), by its own clock, and then bids. Any change starts the wait again.
//   * The holder renews three times per lease. Its deadline is the time at which it *sent* the last write
//   that
//     is known to have succeeded, plus 0.8 leases. Past it the lock is lost, whatever a later reply says.
//
// Why no two are inside at once: a bid succeeds only against the revision that the bidder has watched for a
// lease, so the holder's last successful write was sent before that watch began, and its deadline came 0.2
// leases earlier; clocks may differ in rate by 10 % before that is used up. No two clocks are compared.
//
// A write without a reply may or may not have been made, and may still be made later. While one is open,
// nothing is concluded from a conflict: the record is read, and `hold` in it says whose it is. A claim that
// finds its own bid there takes the time of the earliest open bid as the start of its lease. Reads may be
// stale: an older revision than one already seen is ignored, and an old value can only make a bid fail.
//
// Tokens: the next is one more than that in the record. Without a usable record (never made, or deleted by
// hand) it is one more than `floor`, the highest revision of the bucket: each token took a revision of
// its own, so none can have been higher.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/clock.hpp"
#include "locks/lock_record.hpp"

namespace litecluster::locks {

/// The record as somebody saw it. Without `record` the key does not exist or is deleted; `revision` is then
/// that of the delete marker or 0, and `floor` the highest revision of the whole bucket.
struct Observation {
  Revision revision;
  std::optional<LockRecord> record;
  std::uint64_t floor = 0;
};

/// What became of a write. `unknown`: no reply; it may have been made or may be made later.
enum class WriteOutcome { done, conflict, unknown };

namespace action {
/// Read the record, from the server that leads the bucket.
struct Read {};
/// Write `record` if the revision is still `expected` (0: only if the key does not exist).
struct Write {
  Revision expected;
  LockRecord record;
};
/// The claim now holds the lock.
struct Acquired {
  FencingToken token;
};
/// Somebody else has it and the claim was not to wait.
struct Refused {
  std::string node;
};
/// It is held no longer: cancel the work under it.
struct Lost {
  std::string reason;
};
/// The end of release() or cancel(). `given_back`: the record says released, or is somebody else's. Otherwise
/// the server could not be reached and the lease has to run out.
struct Finished {
  bool given_back = false;
};
}  // namespace action

using Action = std::variant<action::Read, action::Write, action::Acquired, action::Refused, action::Lost,
                            action::Finished>;
using Actions = std::vector<Action>;

/// Not thread-safe. At most one Read or Write is open at a time; the driver answers each exactly once, with a
/// failure when no answer came in good time (a tenth of the lease is a good choice).
class LockMachine {
 public:
  struct Options {
    std::string node;
    /// Random; of this claim alone. Each bid writes it with its own number behind.
    std::string hold;
    std::chrono::milliseconds lease{};
    /// False: ends with Refused instead of waiting for a holder.
    bool wait = true;
    /// Since when this process has seen the present revision, when it knows that from an earlier claim.
    std::optional<std::pair<Revision, base::BootTime>> seen_before;
  };
  enum class State { claiming, held, lost, ending, finished };

  explicit LockMachine(Options options) : options_(std::move(options)) {}

  /// The first event.
  [[nodiscard]] Actions start();
  /// From a read or a watch; any number, in any order.
  [[nodiscard]] Actions observed(base::BootTime now, const Observation& observation);
  /// The answer to a Read, also when it came from `observed` values; nullopt: the read failed.
  [[nodiscard]] Actions read_done(base::BootTime now, const std::optional<Observation>& observation);
  /// The answer to the open Write. `sent_at`: read from the clock before the write was first sent.
  [[nodiscard]] Actions write_done(base::BootTime now, base::BootTime sent_at, WriteOutcome outcome,
                                   Revision revision);
  /// The time went on; call it at wake_at().
  [[nodiscard]] Actions tick(base::BootTime now);
  /// Gives up waiting, or gives back what is held. Ends with Finished.
  [[nodiscard]] Actions end(base::BootTime now);

  /// When tick() is due, if ever.
  [[nodiscard]] std::optional<base::BootTime> wake_at() const;
  [[nodiscard]] State state() const { return state_; }
  /// Whether the claim is inside its deadline.
  [[nodiscard]] bool held(base::BootTime now) const { return state_ == State::held && now < deadline_; }
  [[nodiscard]] base::BootTime deadline() const { return deadline_; }
  [[nodiscard]] FencingToken token() const { return token_; }
  /// While somebody else holds it: the revision and since when it was seen, for a later claim's
  /// `seen_before`.
  [[nodiscard]] std::optional<std::pair<Revision, base::BootTime>> seen() const;

 private:
  struct Known {
    Revision revision;
    std::optional<LockRecord> record;
    std::uint64_t floor = 0;
    base::BootTime since;
  };

  void learn(base::BootTime now, const Observation& observation);
  void decide(base::BootTime now, Actions& actions);
  void decide_claim(base::BootTime now, Actions& actions);
  void decide_held(base::BootTime now, Actions& actions);
  void decide_end(base::BootTime now, Actions& actions);
  void bid(Actions& actions);
  void write(LockRecord record, Actions& actions);
  void read(Actions& actions);
  /// When the bid that is in the record was sent, if it is an open one of ours.
  [[nodiscard]] std::optional<base::BootTime> open_bid_in_record() const;
  void acquire(base::BootTime sent_at, Actions& actions);
  void lose(std::string reason, Actions& actions);
  void finish(bool given_back, Actions& actions);
  [[nodiscard]] bool ours() const;
  [[nodiscard]] bool held_by_other() const;
  [[nodiscard]] base::Duration usable_lease() const { return options_.lease * 4 / 5; }
  [[nodiscard]] base::Duration renew_interval() const { return options_.lease / 3; }
  [[nodiscard]] base::Duration pause() const { return options_.lease / 20; }

  Options options_;
  State state_ = State::claiming;
  std::optional<Known> known_;
  bool read_open_ = false;
  bool read_wanted_ = true;
  std::optional<action::Write> write_open_;
  // The fate of a write against the known revision is not known.
  bool unresolved_ = false;
  // Bids without a reply, newest last; a few are enough, a forgotten one is bid again.
  struct OpenBid {
    std::string hold;
    base::BootTime sent_at;
  };
  static constexpr std::size_t open_bids_max = 8;
  std::vector<OpenBid> open_bids_;
  std::uint64_t bids_ = 0;
  // After a failure: nothing is tried before.
  base::BootTime retry_at_{};
  base::BootTime renew_at_{};
  base::BootTime deadline_{};
  FencingToken token_;
  // The revision against which the last write was refused.
  std::optional<Revision> refused_;
  // While ending: when to stop trying.
  base::BootTime give_up_at_ = base::BootTime::max();
};

}  // namespace litecluster::locks
