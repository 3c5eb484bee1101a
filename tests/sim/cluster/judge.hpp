// Sees everything at once, as nobody in the cluster can, and says which promise was broken.
//
//  * One history: each raw object that extends the log follows from the content before it; epochs grow; no
//    two authors in one epoch; no TXID is left out. What an old leader still writes is not history.
//  * Nothing replicated is lost: what an appender took for acknowledged is history.
//  * A standby is at a state of the history, at its TXID, whatever way it came there; it does not go back.
//  * No two nodes inside their deadlines, no two applications at work, at one instant.
//  * A hand-over loses nothing; what did not get into the history is kept aside.
#pragma once

#include <cstdint>
#include <functional>
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
  };

  explicit Judge(StateTree& states) : states_(states) {}
  void reset();

  /// The server stored an object.
  void stored(const log::Object& object, const LogFile& file);
  /// A leader was told that its object is in the log.
  void acknowledged(const log::Object& object);
  /// A standby's content is now this. `previous`: what its readers saw before.
  void standby_at(const Replica& replica, Txid previous);
  /// The lease was given back after everything was said to be in the log.
  void handed_over(const Content& content);
  /// An application acknowledged a write to its client on this node.
  void written(StateId state, std::size_t node);
  /// The content of a former leader is kept aside.
  void kept_aside(const Content& content, std::size_t node);
  /// Commits that no promise covers: taken away by a power failure before they were replicated, or undone by
  /// later ones, so that the content is the same without them.
  void excused(StateId state) { excused_.push_back(state); }
  void leads(std::size_t node, Epoch epoch);
  /// At the end, when all nodes are standbys or lead: every write is in the history or kept aside where it
  /// was acknowledged.
  void account();

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
  void mark(std::vector<char>& marks, StateId state) const;

  StateTree& states_;
  std::vector<Entry> history_;
  std::vector<Write> writes_;
  std::vector<Write> aside_;
  std::vector<StateId> excused_;
  Epoch announced_;
  std::uint64_t diverged_ = 0;
  std::string violation_;
};

}  // namespace litecluster::test::cluster
