// Sees everything at once, as nobody in the cluster can, and says which promise was broken.
//
//  * One history: each raw object that extends the log follows from the content before it; epochs grow; no
//    two authors in one epoch; no TXID is left out. What an old leader still writes is not history.
//  * Nothing replicated is lost: what an appender took for acknowledged is history.
//  * A standby is at a state of the history, at its TXID, whatever way it came there; it does not go back.
//  * No two nodes inside their deadlines, no two applications at work, at one instant.
//  * A hand-over loses nothing; what did not get into the history is kept aside.
//
// When servers lose the end of the log, the history ends earlier, and what they lost is another line of it.
// It may be taken up again (its leader goes on, or a snapshot brings it back), or the log goes on without it.
// Then:
//  * Everything in the log follows from what came before it, on one of the lines.
//  * A standby is at a state of one of them. It leaves one that it is on only after some node has said that
//    something is wrong.
//  * No append counts as replicated whose sequence is not behind that of its leader's last one.
//  * What was lost is in the history, in some node's database, or aside, unless standbys gave it up in that
//  way
//    or power failures took it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "log/object.hpp"
#include "sim/cluster/database.hpp"

namespace litecluster::test::cluster {

class Judge {
 public:
  struct Entry {
    Content content;  ///< after it
    log::Author author;
    std::uint64_t sequence;
    std::size_t id = 0;                 ///< in the order of all that were ever stored
    std::optional<std::size_t> parent;  ///< what it was made on
    bool raw = true;                    ///< the raw object is in the log, or was until it was merged
  };

  explicit Judge(StateTree& states) : states_(states) {}
  void reset();

  /// The server stored an object.
  void stored(const log::Object& object, const LogFile& file);
  /// A leader was told that its object is in the log.
  void acknowledged(const log::Object& object);
  /// A standby's content is now this. `previous`: what its readers saw before.
  void standby_at(const Replica& replica, Txid previous);
  /// It was `before`. `said`: some node has said that something is wrong. True when it gives up what servers
  /// lost.
  bool standby_moved(StateId before, StateId after, bool said);
  /// The lease was given back after everything was said to be in the log.
  void handed_over(const Content& content);
  /// An application acknowledged a write to its client on this node.
  void written(StateId state, std::size_t node);
  /// The content of a former leader is kept aside.
  void kept_aside(const Content& content, std::size_t node);
  /// Commits that no promise covers: taken away by a power failure before they were replicated, or undone by
  /// later ones, so that the content is the same without them.
  void excused(StateId state) { excused_.push_back(state); }
  /// What leads to `state` and not to `other`.
  void excused(StateId state, StateId other) {
    for (; !states_.leads_to(state, other); state = states_.parent(state)) excused(state);
  }
  /// What the log had at this TXID, if it was of this content; where there are several histories, the one
  /// that led to it before another.
  [[nodiscard]] std::optional<StateId> state_at(std::uint64_t txid, const Content& content) const;
  void leads(std::size_t node, Epoch epoch);
  /// The servers lost everything of the log behind `sequence`, so that it ends at `end`. Gives the number of
  /// transactions.
  std::size_t servers_lost(std::uint64_t sequence, Txid end);
  /// The operator begins a new log, with what a node has.
  void begins_anew();
  /// At the end, when all nodes are standbys or lead: every write is in the history or kept aside where it
  /// was acknowledged; or, when servers lost something, `held` by a database.
  void account(const std::vector<StateId>& held);
  [[nodiscard]] std::size_t last_leader() const { return last_leader_; }

  void violated(std::string what) {
    if (violation_.empty()) violation_ = std::move(what);
  }
  [[nodiscard]] const std::string& violation() const { return violation_; }
  [[nodiscard]] const std::vector<Entry>& history() const { return history_; }
  [[nodiscard]] StateId end_state() const { return history_.empty() ? 0 : history_.back().content.state; }
  /// Writes that were found aside.
  [[nodiscard]] std::uint64_t diverged() const { return diverged_; }

 private:
  struct Write {
    StateId state;
    std::size_t node;
  };

  [[nodiscard]] bool extends(const log::Object& object, const LogFile& file);
  void stored_after_loss(const log::Object& object, const LogFile& file);
  void stored_raw(const log::Object& object, const LogFile& file);
  void merged_after_loss(const log::Object& object, const LogFile& file);
  /// `leads_to`: nothing: whatever commits it came from. `exactly`: it is that state.
  [[nodiscard]] std::optional<std::size_t> find(std::uint64_t txid, Checksum checksum,
                                                std::optional<StateId> leads_to, bool exactly = false) const;
  void go_on_from(std::optional<std::size_t> entry);
  void mark(std::vector<char>& marks, StateId state) const;

  StateTree& states_;
  std::vector<Entry> history_;
  std::vector<Write> writes_;
  std::vector<Write> aside_;
  std::vector<StateId> excused_;
  std::vector<Entry> all_;
  std::size_t losses_ = 0;
  log::Author acknowledged_by_;
  std::uint64_t acknowledged_sequence_ = 0;
  Epoch announced_;
  std::size_t last_leader_ = 0;
  std::uint64_t diverged_ = 0;
  std::string violation_;
};

}  // namespace litecluster::test::cluster
