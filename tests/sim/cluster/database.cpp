#include "sim/cluster/database.hpp"

#include <algorithm>
#include <cstring>
#include <ranges>
#include <utility>

#include "ltx/checksum.hpp"
#include "ltx/crc64.hpp"
#include "ltx/header.hpp"

namespace litecluster::test::cluster {

namespace {

constexpr std::size_t remembered_max = 64;

Checksum checksum_of(std::size_t page, std::uint64_t value) {
  std::array<std::byte, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  return ltx::page_checksum(PageNo(static_cast<std::uint32_t>(page + 1)), bytes);
}

template <typename Value>
void put(base::Bytes& bytes, const Value& value) {
  const std::size_t size = bytes.size();
  bytes.resize(size + sizeof value);
  std::memcpy(bytes.data() + size, &value, sizeof value);
}

template <typename Value>
Value take(base::ByteView& bytes) {
  Value value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}

const log::Object* last_written_by(const log::LogView& view, const std::string& node) {
  for (const auto& [name, object] : std::views::reverse(view.level(log::raw_level))) {
    if (object.author && object.author->node == node) return &object;
  }
  return nullptr;
}

std::optional<End> choose_base(const Primary& primary, const log::LogView& view, const std::string& node) {
  const log::Object* const ours = last_written_by(view, node);
  const auto acknowledged = primary.stored_acknowledged();
  if (primary.known()) {
    if (ours != nullptr && ours->checksum && !view.out_of_turn(*ours) &&
        primary.recognises(ours->name.max, ours->file_checksum)) {
      return end_of(*ours);
    }
    const log::Object* const confirmed =
        acknowledged ? view.find(log::ObjectName::raw(*acknowledged)) : nullptr;
    return confirmed != nullptr ? std::optional(end_of(*confirmed)) : std::nullopt;
  }
  return ours != nullptr && ours->checksum ? end_of(*ours) : end_of(view.end());
}

}  // namespace

Content Content::fresh() {
  Content content;
  for (std::size_t page = 0; page < page_count; ++page) {
    content.checksum = content.checksum.toggled(checksum_of(page, 0));
  }
  return content;
}

void Content::set(std::size_t page, std::uint64_t value) {
  if (pages[page] == value) return;
  checksum = checksum.toggled(checksum_of(page, pages[page])).toggled(checksum_of(page, value));
  pages[page] = value;
}

base::Bytes LogFile::encode(base::WallTime time) const {
  ltx::Header header;
  header.page_size = 512;
  header.commit = page_count;
  header.min_txid = min;
  header.max_txid = max;
  header.timestamp = time;
  const auto head = ltx::serialize(header);
  base::Bytes bytes(head.begin(), head.end());
  put(bytes, before.value());
  put(bytes, after);
  for (const Page& page : pages) {
    put(bytes, page.number);
    put(bytes, page.value);
  }
  put(bytes, ltx::crc64(bytes));
  return bytes;
}

LogFile LogFile::decode(base::ByteView bytes) {
  const auto header = ltx::parse_header(bytes.first(ltx::header_size), "simulated");
  LogFile file;
  file.min = header->min_txid;
  file.max = header->max_txid;
  bytes = bytes.subspan(ltx::header_size, bytes.size() - ltx::header_size - sizeof(std::uint64_t));
  file.before = Checksum(take<std::uint64_t>(bytes));
  file.after = take<StateId>(bytes);
  while (!bytes.empty()) {
    const auto number = take<std::uint8_t>(bytes);
    file.pages.push_back({number, take<std::uint64_t>(bytes)});
  }
  return file;
}

End end_of(const log::LogEnd& end) {
  return {end.txid, end.checksum, end.author ? end.author->epoch : Epoch(), end.file_checksum};
}

End end_of(const log::Object& object) {
  return {object.name.max, object.checksum, object.author ? object.author->epoch : Epoch(),
          object.file_checksum};
}

void apply_pages(Content& content, const LogFile& file) {
  for (const LogFile::Page& page : file.pages) content.set(page.number, page.value);
  content.state = file.after;
}

// Primary.

void Primary::commit(std::size_t page, std::uint64_t value, StateId state) {
  unsynced_.push_back(content_);
  if (unsynced_.size() > remembered_max) unsynced_.erase(unsynced_.begin());
  content_.set(page, value);
  content_.state = state;
}

bool Primary::recognises(Txid txid, std::optional<Checksum> file_checksum) const {
  const auto file = file_of(txid);
  return file && file_checksum ? file == file_checksum : acknowledged_ == txid;
}

Result<bool> Primary::find_stored(const std::optional<End>& end) {
  if (points_.empty()) return false;
  if (end && acknowledged_ && end->txid < *acknowledged_) {
    return failure(ErrorCode::failed_precondition, "attach to database", {},
                   "the log ends before what it had acknowledged");
  }
  const std::optional<Txid> txid = end ? std::optional(end->txid) : acknowledged_;
  if (!txid) return false;
  const bool ours = !end || (end->checksum && recognises(*txid, end->file_checksum));
  if (!ours && !txid->is_zero()) return false;
  const auto found = std::ranges::find(points_, *txid, &Point::txid);
  if (found == points_.end() || (end && end->checksum && *end->checksum != found->content.checksum)) {
    return false;
  }
  points_.erase(std::next(found), points_.end());
  if (end) {
    acknowledged_ = *txid;
    acknowledged_epoch_ = end->epoch;
  }
  return true;
}

std::optional<Checksum> Primary::file_of(Txid txid) const {
  // Capture forgets what lies before.
  if (acknowledged_ && txid < *acknowledged_) return std::nullopt;
  const auto found = std::ranges::find(points_, txid, &Point::txid);
  return found == points_.end() ? std::nullopt : found->file;
}

void Primary::note_file(Txid txid, const log::Payload& payload) {
  const auto found = std::ranges::find(points_, txid, &Point::txid);
  if (found != points_.end()) found->file = *payload.file_checksum();
}

Status Primary::attach(const std::optional<End>& end, bool handed_over) {
  waiting_.reset();
  content_is_newer_ = false;
  stored_epoch_ = Epoch();
  if (handed_over && end && end->checksum == content_.checksum) {
    attachment_ = Attachment::verified;
    reset(end->txid, true);
    points_.back().file = end->file_checksum;
    acknowledged_epoch_ = end->epoch;
    log_end_ = end->txid;
    return {};
  }
  const auto stored = find_stored(end);
  if (!stored) return std::unexpected(stored.error());
  const End known = end.value_or(End{});
  if (*stored) {
    content_is_newer_ = confirmed_in_this_boot_ || points_.back().in_wal;
    stored_epoch_ = acknowledged_epoch_;
    attachment_ = points_.back().in_wal ? Attachment::continued : Attachment::compared;
    const Content before = points_.back().content;
    if (before.pages != content_.pages) {
      waiting_ = difference(points_.back().txid.next(), before);
      points_.push_back({.txid = points_.back().txid.next(), .content = content_});
    } else {
      points_.back().content = content_;
    }
  } else {
    attachment_ = Attachment::complete;
    reset(known.txid.next(), false);
    waiting_ = difference(known.txid.next(), content_);
    waiting_->file.before = Checksum();
    waiting_->file.pages.clear();
    for (std::size_t page = 0; page < page_count; ++page) {
      waiting_->file.pages.push_back({static_cast<std::uint8_t>(page), content_.pages[page]});
    }
  }
  log_end_ = waiting_ ? points_.back().txid.previous() : points_.back().txid;
  return {};
}

void Primary::reset(Txid txid, bool confirmed) {
  points_.assign(1, {.txid = txid, .content = content_});
  acknowledged_ = confirmed ? std::optional(txid) : std::nullopt;
  acknowledged_epoch_ = Epoch();
  confirmed_in_this_boot_ = confirmed;
}

Captured Primary::difference(Txid txid, const Content& before) const {
  LogFile file{.min = txid, .max = txid, .before = before.checksum, .after = content_.state, .pages = {}};
  for (std::size_t page = 0; page < page_count; ++page) {
    // Page 1 is in each.
    if (page == 0 || before.pages[page] != content_.pages[page]) {
      file.pages.push_back({static_cast<std::uint8_t>(page), content_.pages[page]});
    }
  }
  return {{txid, content_.checksum}, std::move(file)};
}

std::optional<Captured> Primary::capture() {
  if (waiting_) return std::exchange(waiting_, std::nullopt);
  if (!changed()) return std::nullopt;
  Captured captured = difference(points_.back().txid.next(), points_.back().content);
  points_.push_back({.txid = captured.position.txid, .content = content_});
  if (points_.size() > remembered_max) points_.erase(points_.begin());
  return captured;
}

Captured Primary::capture_fence() {
  if (auto captured = capture()) return std::move(*captured);
  Captured fence = difference(points_.back().txid.next(), points_.back().content);
  points_.push_back({.txid = fence.position.txid, .content = content_});
  return fence;
}

void Primary::acknowledge(Txid txid, Epoch epoch) {
  acknowledged_ = txid;
  acknowledged_epoch_ = epoch;
  confirmed_in_this_boot_ = true;
}

void Primary::power_failure(Scheduler& chance, const StateTree& states) {
  confirmed_in_this_boot_ = false;
  handed_over_.reset();
  if (!unsynced_.empty()) {
    const auto kept = static_cast<std::size_t>(
        chance.between(0, static_cast<std::int64_t>(unsynced_.size())));  // all of them: nothing is lost
    if (kept < unsynced_.size()) content_ = unsynced_[kept];
    unsynced_.clear();
  }
  // Newest records of capture can be missing as well.
  if (!points_.empty() && chance.chance(50)) {
    const auto kept = static_cast<std::size_t>(chance.between(1, static_cast<std::int64_t>(points_.size())));
    points_.resize(kept);
    if (acknowledged_ && *acknowledged_ > points_.back().txid) acknowledged_ = points_.back().txid;
  }
  // SQLite recovers the WAL as far as its chain of checksums goes; a place of ours is on it or not.
  const bool restarted = chance.chance(30);
  for (Point& point : points_) {
    point.in_wal = point.in_wal && !restarted && states.leads_to(point.content.state, content_.state);
  }
}

void Primary::tear() {
  points_.clear();
  acknowledged_.reset();
  acknowledged_epoch_ = Epoch();
}

Result<FormerPrimary> judge_former_primary(Primary& primary, const log::LogView& view,
                                           const std::string& node, const Replay& replay) {
  const auto base = choose_base(primary, view, node);
  const log::LogEnd end = view.end();
  if (auto attached = primary.attach(base, false); !attached) return std::unexpected(attached.error());
  const bool is_newer = primary.content_is_newer();
  const Txid reached = primary.acknowledged();
  Position content = primary.position();
  bool differs = false;
  std::vector<std::uint8_t> pages;
  while (const auto captured = primary.capture()) {
    content = captured->position;
    differs = true;
    for (const LogFile::Page& page : captured->file.pages) pages.push_back(page.number);
  }
  if (!differs && !reached.is_zero()) {
    return FormerPrimary{Worth::prefix, content, base ? base->epoch : primary.stored_epoch(),
                         base ? base->file_checksum : std::nullopt};
  }
  if (primary.attachment() == Attachment::complete) {
    const auto handed_over = primary.handed_over_in_this_boot();
    if (handed_over && handed_over->checksum == content.checksum) {
      return FormerPrimary{Worth::prefix,
                           {handed_over->txid, content.checksum},
                           handed_over->epoch,
                           handed_over->file_checksum};
    }
  } else if (!is_newer) {
    const log::Object* const state = view.find_state(content.checksum);
    if (state != nullptr && !view.out_of_turn(*state)) {
      const auto replaces = replay(state->name.max, primary.log_end(), pages);
      if (!replaces) return std::unexpected(replaces.error());
      if (*replaces) {
        return FormerPrimary{
            Worth::prefix, {state->name.max, content.checksum}, end_of(*state).epoch, {}, primary.log_end()};
      }
    }
  }
  const bool nobody_else_wrote = end.author && end.author->node == node && reached >= end.txid;
  const bool ahead = end.txid.is_zero() || (nobody_else_wrote && is_newer);
  return FormerPrimary{ahead ? Worth::ahead : Worth::diverged,
                       {end.txid, end.checksum.value_or(Checksum())},
                       end_of(end).epoch};
}

// Replica.

void Replica::remember() {
  unsynced_.push_back({content_, txid_, epoch_});
  if (unsynced_.size() > remembered_max) unsynced_.erase(unsynced_.begin());
}

Status Replica::apply(const log::Object& object, const LogFile& file, bool unchecked) {
  const auto refuse = [&](ErrorCode code) { return failure(code, "apply", to_string(file.max), {}); };
  if (file.max <= txid_) return refuse(ErrorCode::already_exists);
  if (file.min > txid_.next()) return refuse(ErrorCode::gap);
  if (object.author && object.author->epoch < epoch_ && !unchecked) return refuse(ErrorCode::deposed);
  Content next = content_;
  apply_pages(next, file);
  if (object.checksum && *object.checksum != next.checksum && !unchecked) return refuse(ErrorCode::corrupt);
  remember();
  content_ = next;
  txid_ = file.max;
  if (object.author) epoch_ = object.author->epoch;
  file_ = object.name.level == log::raw_level ? object.file_checksum : std::nullopt;
  return {};
}

void Replica::become(const Content& content, Txid txid, Epoch epoch, std::optional<Checksum> file,
                     Txid doubtful_to) {
  remember();
  content_ = content;
  txid_ = txid;
  epoch_ = epoch;
  file_ = file;
  doubtful_to_ = doubtful_to;
  distrusted_ = torn_ = false;
}

StateId Replica::power_failure(Scheduler& chance) {
  if (unsynced_.empty()) return content_.state;
  StateId taken_for = content_.state;
  const auto kept = static_cast<std::size_t>(chance.between(0, static_cast<std::int64_t>(unsynced_.size())));
  if (kept < unsynced_.size()) {
    doubtful_to_ = std::max(doubtful_to_, txid_);
    content_ = unsynced_[kept].content;
    txid_ = unsynced_[kept].txid;
    epoch_ = unsynced_[kept].epoch;
    file_.reset();  // what it is recognised by does not say
    taken_for = content_.state;
    // The first of the recorded positions that has its checksum.
    for (const Past& past : unsynced_) {
      if (past.txid >= txid_ || past.content.checksum != content_.checksum) continue;
      txid_ = past.txid;
      epoch_ = past.epoch;
      taken_for = past.content.state;
    }
  }
  unsynced_.clear();
  return taken_for;
}

}  // namespace litecluster::test::cluster
