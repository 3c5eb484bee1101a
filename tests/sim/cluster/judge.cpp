#include "sim/cluster/judge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace litecluster::test::cluster {

void Judge::reset() {
  history_.clear();
  writes_.clear();
  aside_.clear();
  excused_.clear();
  all_.clear();
  losses_ = 0;
  acknowledged_by_ = {};
  acknowledged_sequence_ = 0;
  announced_ = Epoch();
  last_leader_ = 0;
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

// A raw object behind the present end.
void Judge::stored_raw(const log::Object& object, const LogFile& file) {
  Entry entry{.content = history_.empty() ? Content::fresh() : history_.back().content,
              .author = *object.author,
              .sequence = object.sequence.value(),
              .id = all_.size(),
              .parent = history_.empty() ? std::nullopt : std::optional(history_.back().id)};
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
  all_.push_back(entry);
  history_.push_back(std::move(entry));
}

void Judge::stored(const log::Object& object, const LogFile& file) {
  if (losses_ > 0) return stored_after_loss(object, file);
  if (object.name.level == log::raw_level) {
    if (extends(object, file)) stored_raw(object, file);
    return;
  }
  if (file.max.value() > history_.size()) return violated("a merged object goes beyond the history");
  const Content& content = history_[file.max.value() - 1].content;
  if (object.checksum != content.checksum || file.after != content.state) {
    violated(fmt::format("object {} is not what the history says", to_string(object.name)));
  }
}

std::optional<std::size_t> Judge::find(std::uint64_t txid, Checksum checksum, std::optional<StateId> leads_to,
                                       bool exactly) const {
  const auto fits = [&](const Entry& entry) {
    return entry.content.checksum == checksum && (!exactly || entry.content.state == leads_to) &&
           (!leads_to || states_.leads_to(entry.content.state, *leads_to));
  };
  if (txid <= history_.size() && fits(history_[txid - 1])) return history_[txid - 1].id;
  // An entry's TXID is the length of its line.
  for (std::size_t id = all_.size(); id-- > 0;) {
    if (!fits(all_[id])) continue;
    std::uint64_t length = 1;
    for (auto parent = all_[id].parent; parent; parent = all_[*parent].parent) ++length;
    if (length == txid) return id;
  }
  return std::nullopt;
}

std::optional<StateId> Judge::state_at(std::uint64_t txid, const Content& content) const {
  auto found = find(txid, content.checksum, content.state);
  if (!found) found = find(txid, content.checksum, std::nullopt);
  return found ? std::optional(all_[*found].content.state) : std::nullopt;
}

// The history is the line that ends with this entry.
void Judge::go_on_from(std::optional<std::size_t> entry) {
  if (entry && !history_.empty() && history_.back().id == *entry) return;
  history_.clear();
  for (; entry; entry = all_[*entry].parent) history_.push_back(all_[*entry]);
  std::ranges::reverse(history_);
}

void Judge::stored_after_loss(const log::Object& object, const LogFile& file) {
  if (object.name.level != log::raw_level) return merged_after_loss(object, file);
  const std::uint64_t txid = file.max.value();
  // What readers ignore is no history. A leader from before the loss, that had stopped, cannot tell: its
  // numbers fit, its watch goes on behind what was lost, and so it is on a line of its own until it hears of
  // a later term.
  const bool ignored = std::ranges::any_of(
      history_, [&](const Entry& entry) { return entry.raw && entry.author.epoch > object.author->epoch; });
  if (ignored) {
    const std::vector<Entry> history = history_;
    const auto before = txid == 1 ? std::nullopt : find(txid - 1, file.before, file.after);
    go_on_from(before);
    if (before || txid == 1) stored_raw(object, file);
    history_ = history;
    return;
  }
  if (txid <= history_.size() && history_[txid - 1].raw) {
    // Its author could not prove the place of what it has written, and does it again once that was merged.
    if (history_[txid - 1].author == *object.author &&
        history_[txid - 1].content.checksum == object.checksum) {
      return;
    }
    violated(fmt::format("TXID {} was written a second time", txid));
  }
  if (txid == 1) {
    history_.clear();
    return stored_raw(object, file);
  }
  const auto before = find(txid - 1, file.before, file.after);
  if (!before) return violated(fmt::format("fork: TXID {} was made on what was never in the log", txid));
  go_on_from(before);
  stored_raw(object, file);
}

void Judge::merged_after_loss(const log::Object& object, const LogFile& file) {
  const auto line = find(file.max.value(), object.checksum.value_or(Checksum()), file.after, true);
  if (!line) {
    return violated(fmt::format("object {} is not what any history says", to_string(object.name)));
  }
  // A snapshot brings back what was lost.
  if (file.max.value() <= history_.size()) return;
  for (auto entry = line; entry; entry = all_[*entry].parent) {
    if (history_.empty() || *entry == history_.back().id) return go_on_from(line);
  }
}

std::size_t Judge::servers_lost(std::uint64_t sequence, Txid end) {
  ++losses_;
  const std::size_t kept = std::min<std::size_t>(history_.size(), end.value());
  const std::size_t lost = history_.size() - kept;
  for (std::size_t index = 0; index < history_.size(); ++index) {
    Entry& entry = history_[index];
    if (index < kept && entry.sequence <= sequence) continue;
    entry.raw = false;
    all_[entry.id].raw = false;
  }
  // What readers ignored is lost as well.
  for (Entry& entry : all_) entry.raw = entry.raw && entry.sequence <= sequence;
  history_.resize(kept);
  return lost;
}

void Judge::begins_anew() {
  ++losses_;
  history_.clear();
  all_.clear();
  acknowledged_by_ = {};
}

void Judge::acknowledged(const log::Object& object) {
  const std::uint64_t txid = object.name.max.value();
  if (losses_ > 0) {
    const auto found = std::ranges::find_if(all_.rbegin(), all_.rend(), [&](const Entry& entry) {
      return entry.author == *object.author && entry.content.checksum == object.checksum;
    });
    if (found == all_.rend()) {
      return violated(fmt::format("TXID {} of epoch {} counts as replicated and never was in the history",
                                  txid, object.author->epoch.value()));
    }
    if (acknowledged_by_ == found->author && found->sequence <= acknowledged_sequence_) {
      violated(fmt::format("TXID {} counts as replicated although the servers had gone back", txid));
    }
    acknowledged_by_ = found->author;
    acknowledged_sequence_ = found->sequence;
    return;
  }
  acknowledged_by_ = *object.author;
  acknowledged_sequence_ = object.sequence.value();
  if (txid > history_.size() || history_[txid - 1].sequence != object.sequence.value()) {
    violated(fmt::format("TXID {} of epoch {} counts as replicated and is not in the history", txid,
                         object.author->epoch.value()));
  }
}

void Judge::standby_at(const Replica& replica, Txid previous) {
  const std::uint64_t txid = replica.txid().value();
  if (losses_ > 0) {
    if (txid > 0 && !find(txid, replica.content().checksum, std::nullopt)) {
      violated(fmt::format("a standby's content is not that of TXID {} of any history", txid));
    }
    return;
  }
  if (txid > history_.size()) {
    violated(fmt::format("a standby is at TXID {}, the history ends at {}", txid, history_.size()));
  } else if (txid > 0 && history_[txid - 1].content.pages != replica.content().pages) {
    violated(fmt::format("a standby's content is not that of TXID {}", txid));
  }
  if (replica.txid() < previous) {
    violated(fmt::format("a standby went back from TXID {} to {}", previous.value(), txid));
  }
}

bool Judge::standby_moved(StateId before, StateId after, bool said) {
  // Going back on the line of the log: what it has comes again.
  const bool comes_again = states_.leads_to(before, end_state()) && states_.leads_to(after, before);
  if (losses_ == 0 || comes_again) return false;
  bool given_up = false;
  for (StateId state = before; state != 0 && !states_.leads_to(state, after); state = states_.parent(state)) {
    if (std::ranges::find(excused_, state) != excused_.end()) continue;
    given_up = true;
    excused(state);
  }
  if (given_up && !said) violated("a standby gives up what it had, and nobody said that something is wrong");
  return given_up;
}

void Judge::handed_over(const Content& content) {
  if (losses_ > 0) {
    const bool stored = std::ranges::any_of(
        all_, [&](const Entry& entry) { return states_.leads_to(content.state, entry.content.state); });
    if (!stored && content.state != 0) violated("a hand-over lost commits");
    return;
  }
  if (!states_.leads_to(content.state, end_state())) violated("a hand-over lost commits");
}

void Judge::written(StateId state, std::size_t node) {
  writes_.push_back({state, node});
}

void Judge::kept_aside(const Content& content, std::size_t node) {
  aside_.push_back({content.state, node});
}

void Judge::leads(std::size_t node, Epoch epoch) {
  // Once records were lost, a node that slept bids with what it knew before: an epoch can be announced twice.
  // In the log they grow all the same.
  if (losses_ == 0 && epoch <= announced_)
    violated(fmt::format("node {} leads epoch {}, which did not grow", node, epoch.value()));
  announced_ = epoch;
  last_leader_ = node;
}

void Judge::mark(std::vector<char>& marks, StateId state) const {
  for (; state != 0 && marks[state] == 0; state = states_.parent(state)) marks[state] = 1;
}

void Judge::account(const std::vector<StateId>& held) {
  std::vector<char> replicated(states_.size(), 0);
  mark(replicated, end_state());
  for (const Entry& entry : history_) {
    if (entry.content.state != 0 && replicated[entry.content.state] == 0) violated("the history is no chain");
  }
  std::vector<char> spared = replicated;
  for (const StateId state : excused_) spared[state] = 1;
  std::vector<char> somewhere(states_.size(), 0);
  if (losses_ > 0) {
    for (const StateId state : held) mark(somewhere, state);
    for (const Write& aside : aside_) mark(somewhere, aside.state);
  }
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
    } else if (spared[write.state] == 0 && somewhere[write.state] == 0) {
      violated(fmt::format("commit {} of node {} is neither in the history nor kept aside", write.state,
                           write.node));
    }
  }
}

}  // namespace litecluster::test::cluster
