#include "log/log_view.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace litecluster::log {
namespace {

bool is_later(const ObjectName& name, const ObjectName& end) {
  return name.max > end.max || (name.max == end.max && name.level < end.level);
}

}  // namespace

bool LogView::is_stale(const Object& object) const {
  if (object.name.level != raw_level || !object.author) return false;
  return std::any_of(first_of_epoch_.upper_bound(object.author->epoch), first_of_epoch_.end(),
                     [&](const auto& newer) { return newer.second < object.sequence; });
}

void LogView::note_epoch(const Object& object) {
  if (!object.author) return;
  const Epoch epoch = object.author->epoch;
  highest_epoch_ = std::max(highest_epoch_, epoch);
  if (object.name.level != raw_level) return;
  const auto [known, is_new] = first_of_epoch_.try_emplace(epoch, object.sequence);
  const bool is_earlier = !is_new && object.sequence < known->second;
  if (is_earlier) known->second = object.sequence;
  // Listings come in any order: what was accepted before may be stale now.
  if ((is_new && !levels_[raw_level].empty()) || is_earlier) classify_again();
}

void LogView::classify_again() {
  Level& raw = levels_[raw_level];
  for (auto object = raw.begin(); object != raw.end();) {
    const auto next = std::next(object);
    if (is_stale(object->second)) stale_.insert(raw.extract(object));
    object = next;
  }
  find_end();
}

Result<LogView::Change> LogView::put(Object object) {
  const Object* known = find_any(object.name);
  if (known != nullptr && known->sequence >= object.sequence) return Change::none;
  if (known == nullptr && size() >= objects_max_) {
    return failure(ErrorCode::resource_exhausted, "index the log", to_string(object.name),
                   fmt::format("the bucket holds more than {} objects; compaction or retention does not keep "
                               "up, or does not run",
                               objects_max_));
  }
  const Change change = known == nullptr ? Change::added : Change::replaced;
  const ObjectName name = object.name;
  forget(name);
  const bool stale = is_stale(object);
  // What a stale object would say of its epoch is said by the fence that makes it stale.
  if (!stale) note_epoch(object);
  Level& destination = stale ? stale_ : levels_[static_cast<std::size_t>(name.level)];
  destination.insert_or_assign(name, std::move(object));
  if (!stale && (!end_ || is_later(name, *end_))) end_ = name;
  return change;
}

LogView::Change LogView::remove(const ObjectName& name, Revision sequence) {
  const Object* known = find_any(name);
  if (known == nullptr || known->sequence > sequence) return Change::none;
  return forget(name);
}

LogView::Change LogView::forget(const ObjectName& name) {
  const auto erased = levels_[static_cast<std::size_t>(name.level)].erase(name) + stale_.erase(name);
  if (end_ == name) find_end();
  return erased > 0 ? Change::removed : Change::none;
}

Status LogView::replace(std::vector<Object> listing) {
  for (Level& level : levels_) level.clear();
  stale_.clear();
  end_.reset();
  // In the order of the TXIDs the epochs come in ascending order, but for what is stale, and little has to be
  // classified again.
  std::ranges::sort(listing, {}, &Object::name);
  for (Object& object : listing) {
    if (auto added = put(std::move(object)); !added) return std::unexpected(added.error());
  }
  return {};
}

const LogView::Level& LogView::level(int number) const {
  return levels_[static_cast<std::size_t>(number)];
}

const Object* LogView::find(const ObjectName& name) const {
  const Level& objects = level(name.level);
  const auto found = objects.find(name);
  return found == objects.end() ? nullptr : &found->second;
}

const Object* LogView::find_any(const ObjectName& name) const {
  if (const Object* found = find(name)) return found;
  const auto found = stale_.find(name);
  return found == stale_.end() ? nullptr : &found->second;
}

const Object* LogView::find_state(Checksum checksum) const {
  const Object* found = nullptr;
  for (const Level& level : levels_) {
    for (const auto& [name, object] : level) {
      if (object.checksum == checksum && (found == nullptr || name.max < found->name.max)) found = &object;
    }
  }
  return found;
}

bool LogView::out_of_turn(const Object& object) const {
  if (object.name.level != raw_level) return false;
  return std::ranges::any_of(levels_, [&](const Level& level) {
    return std::ranges::any_of(level, [&](const auto& other) {
      return other.first.max > object.name.max && other.second.sequence < object.sequence;
    });
  });
}

std::size_t LogView::size() const {
  std::size_t count = stale_.size();
  for (const Level& level : levels_) count += level.size();
  return count;
}

LogEnd LogView::end() const {
  if (!end_) return {};
  const Object& last = *find(*end_);
  return {.txid = last.name.max,
          .created_at = last.created_at,
          .checksum = last.checksum,
          .file_checksum = last.file_checksum,
          .author = last.author};
}

void LogView::find_end() {
  end_.reset();
  for (const Level& level : levels_) {
    for (const auto& [name, object] : level) {
      if (!end_ || is_later(name, *end_)) end_ = name;
    }
  }
}

std::vector<TxidRange> LogView::gaps(Txid after) const {
  std::vector<TxidRange> covered;
  for (int number = raw_level; number <= compaction_level_max; ++number) {
    for (const auto& [name, object] : level(number)) {
      if (name.max > after) covered.push_back({name.min, name.max});
    }
  }
  std::ranges::sort(covered, {}, &TxidRange::min);
  std::vector<TxidRange> missing;
  Txid reached = after;
  for (const TxidRange& range : covered) {
    if (range.min > reached.next()) missing.push_back({reached.next(), range.min.previous()});
    reached = std::max(reached, range.max);
  }
  if (const Txid last = end().txid; last > reached) missing.push_back({reached.next(), last});
  return missing;
}

}  // namespace litecluster::log
