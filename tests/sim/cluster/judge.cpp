#include "sim/cluster/judge.hpp"

#include <fmt/format.h>

#include <utility>

namespace litecluster::test::cluster {

void Judge::reset() {
  history_.clear();
  writes_.clear();
  aside_.clear();
  excused_.clear();
  announced_ = Epoch();
  diverged_ = 0;
  violation_.clear();
}

// Whether a raw object continues the history, rather than being what an older leader still wrote.
bool Judge::extends(const log::Object& object, const LogFile& file) {
  const std::uint64_t end = history_.size();
  const log::Author& author = *object.author;
  if (file.max.value() > end + 1) violated(fmt::format("TXID {} is left out", end + 1));
  if (history_.empty()) return true;
  const log::Author& last = history_.back().author;
  if (author.epoch > last.epoch && file.max.value() <= end) {
    violated(fmt::format("epoch {} wrote TXID {} a second time", author.epoch.value(), file.max.value()));
  }
  if (author.epoch == last.epoch && author != last) violated("two authors in one epoch");
  return author.epoch >= last.epoch && file.max.value() == end + 1;
}

void Judge::stored(const log::Object& object, const LogFile& file) {
  if (object.name.level == log::raw_level) {
    if (!extends(object, file)) return;
    Entry entry{history_.empty() ? Content::fresh() : history_.back().content, *object.author,
                object.sequence.value()};
    // A complete database follows from nothing, but only where there is nothing.
    const bool complete = file.pages.size() == page_count && history_.empty();
    if (!complete && file.before != entry.content.checksum) {
      violated(fmt::format("fork: TXID {} was made on another content than that of TXID {}", file.max.value(),
                           history_.size()));
    }
    if (!states_.leads_to(entry.content.state, file.after)) {
      violated(fmt::format("TXID {} takes back commits that the log had", file.max.value()));
    }
    apply_pages(entry.content, file);
    if (object.checksum != entry.content.checksum) violated("a raw object's checksum is not its content's");
    history_.push_back(std::move(entry));
    return;
  }
  if (file.max.value() > history_.size()) return violated("a merged object goes beyond the history");
  const Content& content = history_[file.max.value() - 1].content;
  if (object.checksum != content.checksum || file.after != content.state) {
    violated(fmt::format("object {} is not what the history says", to_string(object.name)));
  }
}

void Judge::acknowledged(const log::Object& object) {
  const std::uint64_t txid = object.name.max.value();
  if (txid > history_.size() || history_[txid - 1].sequence != object.sequence.value()) {
    violated(fmt::format("TXID {} of epoch {} counts as replicated and is not in the history", txid,
                         object.author->epoch.value()));
  }
}

void Judge::standby_at(const Replica& replica, Txid previous) {
  const std::uint64_t txid = replica.txid().value();
  if (txid > history_.size()) {
    violated(fmt::format("a standby is at TXID {}, the history ends at {}", txid, history_.size()));
  } else if (txid > 0 && history_[txid - 1].content.pages != replica.content().pages) {
    violated(fmt::format("a standby's content is not that of TXID {}", txid));
  }
  if (replica.txid() < previous) {
    violated(fmt::format("a standby went back from TXID {} to {}", previous.value(), txid));
  }
}

void Judge::handed_over(const Content& content) {
  if (!states_.leads_to(content.state, end_state())) violated("a hand-over lost commits");
}

void Judge::written(StateId state, std::size_t node) {
  writes_.push_back({state, node});
}

void Judge::kept_aside(const Content& content, std::size_t node) {
  aside_.push_back({content.state, node});
}

void Judge::leads(std::size_t node, Epoch epoch) {
  if (epoch <= announced_)
    violated(fmt::format("node {} leads epoch {}, which did not grow", node, epoch.value()));
  announced_ = epoch;
}

void Judge::mark(std::vector<char>& marks, StateId state) const {
  for (; state != 0 && marks[state] == 0; state = states_.parent(state)) marks[state] = 1;
}

void Judge::account() {
  std::vector<char> replicated(states_.size(), 0);
  mark(replicated, end_state());
  for (const Entry& entry : history_) {
    if (entry.content.state != 0 && replicated[entry.content.state] == 0) violated("the history is no chain");
  }
  std::vector<char> spared = replicated;
  for (const StateId state : excused_) spared[state] = 1;
  std::vector<std::vector<char>> kept;
  for (const Write& aside : aside_) {
    if (kept.size() <= aside.node) kept.resize(aside.node + 1);
    if (kept[aside.node].empty()) kept[aside.node].resize(states_.size(), 0);
    mark(kept[aside.node], aside.state);
  }
  for (const Write& write : writes_) {
    if (replicated[write.state] != 0) continue;
    if (write.node < kept.size() && !kept[write.node].empty() && kept[write.node][write.state] != 0) {
      ++diverged_;
    } else if (spared[write.state] == 0) {
      violated(fmt::format("commit {} of node {} is neither in the history nor kept aside", write.state,
                           write.node));
    }
  }
}

}  // namespace litecluster::test::cluster
