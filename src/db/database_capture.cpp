// Capturing: from frames behind our position to the pages that have changed, and to the next TXID.
//
// What the wal-index header names is read, no more: its last frame, and the running checksum there, which has
// to come out. When its salts are others than ours the WAL was started anew; everything before was captured
// by then, because nobody can copy back, and so nobody can overwrite, what we have not read
// (docs/capture.md). SQLite's count of commits is compared all the same: a commit that we did not see means
// `wal_broken`, and attaching anew finds the difference by content.
#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "base/logging.hpp"
#include "db/database_implementation.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::db {

namespace {

constexpr int gather_tries = 8;

}  // namespace

Error Database::Implementation::fail(DatabaseHealth health, std::string reason) {
  {
    const base::MutexLock lock(mutex_);
    shared_.health = health;
  }
  base::log_error("the database can no longer be followed",
                  {{"path", options_.path.string()}, {"health", to_string(health)}, {"reason", reason}});
  return {ErrorCode::failed_precondition, "capture", options_.path.string(), std::move(reason)};
}

// May run beside captures, in wait_for_change().
Status Database::Implementation::check_files() {
  if (const DatabaseHealth now = health(); now != DatabaseHealth::attached) {
    return failure(ErrorCode::failed_precondition, "capture", options_.path.string(),
                   fmt::format("it is {}; attach again", to_string(now)));
  }
  const auto database = file_status(options_.path);
  if (!database && database.error().code() == ErrorCode::not_found) {
    return std::unexpected(fail(DatabaseHealth::deleted, "the file was deleted or renamed while in use"));
  }
  if (!database) return std::unexpected(database.error());
  if (database->identity != identity_) {
    return std::unexpected(fail(DatabaseHealth::replaced, "another file was put in its place while in use"));
  }
  // Without the -shm file that all others use, commits would go on unseen: it is where they are announced.
  for (const auto& [path, identity] :
       {std::pair(&wal_path_, wal_identity_), {&index_path_, index_identity_}}) {
    const auto found = file_status(*path);
    if (found && found->identity == identity) continue;
    if (!found && found.error().code() != ErrorCode::not_found) return std::unexpected(found.error());
    return std::unexpected(
        fail(DatabaseHealth::wal_lost,
             fmt::format("its {} file was removed or replaced while in use", path->extension().string())));
  }
  return {};
}

void Database::Implementation::publish_position() {
  const base::MutexLock lock(mutex_);
  shared_.position = {state_->last().txid, state_->last().checksum};
  shared_.acknowledged = state_->acknowledged().value_or(Txid());
  shared_.salts = position_.salts;
  shared_.frame = wal::frames_before(position_.offset, page_size_);
  shared_.statistics.page_count = state_->last().page_count;
  shared_.waiting = !waiting_.empty();
}

// For what was captured on the way to a failure: it is recorded, so no later capture would hold it again.
void Database::Implementation::keep(std::vector<CapturedTransaction> captured) {
  waiting_.insert(waiting_.begin(), std::make_move_iterator(captured.begin()),
                  std::make_move_iterator(captured.end()));
  publish_position();
}

Result<std::optional<CapturedTransaction>> Database::Implementation::capture() {
  if (auto same = check_files(); !same) return std::unexpected(same.error());
  if (!waiting_.empty()) {
    std::optional<CapturedTransaction> first = std::move(waiting_.front());
    waiting_.pop_front();
    publish_position();
    return first;
  }
  const auto header = connections_.worker.header();
  if (!header) return std::unexpected(header.error());
  return capture_through(*header, false);
}

// `exact`: no commit beyond `header` may be taken.
Result<std::optional<CapturedTransaction>> Database::Implementation::capture_through(WalIndexHeader header,
                                                                                     bool exact) {
  for (int attempt = 0; attempt < gather_tries; ++attempt) {
    Gathered gathered;
    gathered.header = header;
    gathered.restarted = salts_of(header) != position_.salts;
    const std::uint32_t captured = gathered.restarted ? 0 : wal::frames_before(position_.offset, page_size_);
    if (header.frame_max <= captured) return std::nullopt;
    const auto whole = gather(header, gathered);
    if (!whole) return std::unexpected(whole.error());
    if (*whole) {
      if (auto complete = check_complete(gathered); !complete) return std::unexpected(complete.error());
      LITECLUSTER_FAULT_POINT("capture.gathered");
      auto built = build(std::move(gathered));
      if (!built) return std::unexpected(built.error());
      return std::move(*built);
    }
    // The WAL was started anew between the look at its index and the look at its frames.
    const auto again = connections_.worker.header();
    if (!again) return std::unexpected(again.error());
    if (*again == header && attempt + 1 == gather_tries) break;
    if (!exact) header = *again;
  }
  return std::unexpected(fail(DatabaseHealth::wal_broken,
                              "the WAL does not hold the frames that its index names; attach again"));
}

// False when the frames are not all there.
Result<bool> Database::Implementation::gather(const WalIndexHeader& header, Gathered& gathered) {
  const std::uint32_t captured = gathered.restarted ? 0 : wal::frames_before(position_.offset, page_size_);
  // Before the first frame the place is only known once the WAL's own header was written.
  const wal::Position start = captured == 0 ? wal::Position{} : position_;
  gathered.first = captured + 1;
  const std::uint64_t bytes = (header.frame_max - captured) * wal::frame_size(page_size_);
  const bool keep = bytes <= options_.capture_memory_max;
  WalFileSource source(connections_.worker);
  auto scanned =
      wal::scan(source, start, {.frame_max = header.frame_max, .bytes_max = options_.capture_bytes_max},
                keep ? &gathered.frames : nullptr);
  if (!scanned) return std::unexpected(scanned.error());
  if (scanned->commit_count == 0 || scanned->header.salts != salts_of(header) ||
      scanned->header.page_size != page_size_) {
    return false;
  }
  const bool reached = captured + scanned->frame_count == header.frame_max;
  const bool cut = scanned->end == wal::ScanEnd::limit &&
                   scanned->frame_count * wal::frame_size(page_size_) >= options_.capture_bytes_max;
  if (!reached && !cut) return false;
  if (reached && scanned->position.checksum != header.frame_checksum) return false;
  gathered.extent = {.offset = captured == 0 ? wal::header_size : position_.offset,
                     .size = 0,
                     .salt_first = header.salts.first,
                     .salt_second = header.salts.second};
  gathered.extent.size = scanned->position.offset - gathered.extent.offset;
  gathered.scan = std::move(*scanned);
  return true;
}

// SQLite counts commits; a recovery sets the count back. The frames may show more commits than there were
// (a commit's last frame may be repeated to fill a sector), never fewer.
Status Database::Implementation::check_complete(const Gathered& gathered) {
  const std::uint64_t commits = commits_since_ + gathered.scan.commit_count;
  const bool reached = gathered.first + gathered.scan.frame_count - 1 == gathered.header.frame_max;
  if (!reached) {
    commits_since_ = commits;
    return {};
  }
  const std::uint32_t count = gathered.header.change_counter;
  if (change_count_ && count > *change_count_ && count - *change_count_ > commits) {
    return std::unexpected(
        fail(DatabaseHealth::wal_broken,
             fmt::format("{} commits were made, only {} of them are in the WAL: another program reset it "
                         "behind our back; attach again",
                         count - *change_count_, commits)));
  }
  change_count_ = count;
  commits_since_ = 0;
  return {};
}

// Pages that are new to the database without having been written (SQLite does not write the free ones): they
// are what an older frame of this WAL or the file has there.
void Database::Implementation::add_growth(Gathered& gathered) const {
  const PageNo lock_page = ltx::lock_page(page_size_);
  const std::uint32_t before = state_->last().page_count;
  const std::vector<wal::PageFrame>& written = gathered.scan.pages;
  auto next = written.begin();
  for (; next != written.end() && next->page.value() <= before; ++next) gathered.pages.push_back(*next);
  for (std::uint64_t number = std::uint64_t{before} + 1; number <= gathered.scan.commit; ++number) {
    const PageNo page(static_cast<std::uint32_t>(number));
    if (next != written.end() && next->page == page) {
      gathered.pages.push_back(*next++);
      continue;
    }
    const auto older = gathered.restarted ? frames_.end() : frames_.find(page);
    gathered.pages.push_back({.page = page, .frame = older == frames_.end() ? 0 : older->second});
  }
  std::erase_if(gathered.pages, [lock_page](const wal::PageFrame& page) { return page.page == lock_page; });
}

Status Database::Implementation::read_source(const Gathered& gathered, const wal::PageFrame& source,
                                             std::span<std::byte> destination) const {
  if (source.frame == 0) {
    return connections_.worker.read_database(std::uint64_t{source.page.value() - 1} * page_size_,
                                             destination);
  }
  if (!gathered.frames.empty() && source.frame >= gathered.first) {
    const std::uint64_t offset = (source.frame - gathered.first) * wal::frame_size(page_size_);
    std::copy_n(gathered.frames.begin() + static_cast<std::ptrdiff_t>(offset + wal::frame_header_size),
                page_size_, destination.begin());
    return {};
  }
  const auto count = connections_.worker.read_wal(
      wal::frame_offset(source.frame, page_size_) + wal::frame_header_size, destination);
  if (!count) return std::unexpected(count.error());
  if (*count == destination.size()) return {};
  return failure(ErrorCode::io, "read WAL", wal_path_.string(), "it ends before a frame that is in use");
}

Result<CapturedTransaction> Database::Implementation::build(Gathered gathered) {
  add_growth(gathered);
  const CapturePoint& last = state_->last();
  std::shared_ptr<PageView> view;
  base::Bytes memory;
  const std::uint64_t size = std::uint64_t{gathered.pages.size()} * page_size_;
  const bool small = size <= options_.capture_memory_max;
  if (small) {
    memory.resize(size);
  } else {
    auto opened = PageView::open(options_.path, options_.busy_timeout);
    if (!opened) return std::unexpected(opened.error());
    view = std::move(*opened);
    view->narrow(gathered.pages);
  }

  std::vector<PageChange> changes;
  changes.reserve(gathered.pages.size());
  Checksum checksum = last.checksum;
  base::Bytes one(small ? 0 : page_size_);
  for (std::size_t index = 0; index < gathered.pages.size(); ++index) {
    const auto bytes = small ? std::span(memory).subspan(index * page_size_, page_size_) : std::span(one);
    if (auto read = read_source(gathered, gathered.pages[index], bytes); !read) {
      return std::unexpected(read.error());
    }
    const PageNo page = gathered.pages[index].page;
    const Checksum after = ltx::page_checksum(page, bytes);
    const std::uint64_t before = state_->checksum_of(page);
    if (before != 0) checksum = checksum.toggled(Checksum(before));
    checksum = checksum.toggled(after);
    changes.push_back({.page = page, .before = before, .after = after.value()});
  }
  for (std::uint64_t cut = std::uint64_t{gathered.scan.commit} + 1; cut <= last.page_count; ++cut) {
    const PageNo page(static_cast<std::uint32_t>(cut));
    const std::uint64_t before = state_->checksum_of(page);
    if (before == 0) continue;
    checksum = checksum.toggled(Checksum(before));
    changes.push_back({.page = page, .before = before, .after = 0});
  }
  const CapturePoint point{.txid = last.txid.next(),
                           .epoch = last.epoch,
                           .checksum = checksum,
                           .page_size = page_size_,
                           .page_count = gathered.scan.commit,
                           .inode = identity_.inode,
                           .born_nanoseconds = born_nanoseconds_,
                           .wal = gathered.scan.position};
  return finish(point, std::move(gathered), changes, std::move(memory), std::move(view));
}

// Records the capture; only then it counts.
Result<CapturedTransaction> Database::Implementation::finish(const CapturePoint& point, Gathered gathered,
                                                             const std::vector<PageChange>& changes,
                                                             base::Bytes memory,
                                                             std::shared_ptr<PageView> view) {
  const CapturedTransaction::Description description{.txid = point.txid,
                                                     .page_size = page_size_,
                                                     .commit = point.page_count,
                                                     .checksum_before = state_->last().checksum,
                                                     .checksum = point.checksum,
                                                     .wal = gathered.extent,
                                                     .captured_at = base::system_clock().wall_time(),
                                                     .commit_count = gathered.scan.commit_count,
                                                     .complete = false};
  if (auto recorded = state_->record(point, changes); !recorded) return std::unexpected(recorded.error());
  if (gathered.restarted) frames_.clear();
  for (const auto* pages : {&gathered.scan.pages, &gathered.scan.dropped_pages}) {
    for (const wal::PageFrame& page : *pages) frames_.insert_or_assign(page.page, page.frame);
  }
  position_ = point.wal;
  std::vector<PageNo> numbers;
  numbers.reserve(gathered.pages.size());
  for (const wal::PageFrame& page : gathered.pages) numbers.push_back(page.page);
  {
    const base::MutexLock lock(mutex_);
    ++shared_.statistics.captures;
  }
  publish_position();
  return CapturedTransaction(description, std::move(numbers), std::move(memory), std::move(view));
}

Result<CapturedTransaction> Database::Implementation::capture_fence() {
  auto captured = capture();
  if (!captured) return std::unexpected(captured.error());
  if (*captured) return std::move(**captured);
  const CapturePoint& last = state_->last();
  Gathered gathered;
  const auto frame = frames_.find(PageNo(1));
  gathered.pages = {{.page = PageNo(1), .frame = frame == frames_.end() ? 0 : frame->second}};
  gathered.extent = {.offset = std::max<std::uint64_t>(position_.offset, wal::header_size),
                     .size = 0,
                     .salt_first = position_.salts.first,
                     .salt_second = position_.salts.second};
  base::Bytes memory(page_size_);
  if (auto read = read_source(gathered, gathered.pages.front(), memory); !read) {
    return std::unexpected(read.error());
  }
  const std::uint64_t sum = ltx::page_checksum(PageNo(1), memory).value();
  if (sum != state_->checksum_of(PageNo(1))) {
    return std::unexpected(fail(DatabaseHealth::wal_broken,
                                "page 1 is not what was captured: another program changed it behind SQLite's "
                                "back; attach again"));
  }
  CapturePoint point = last;
  point.txid = last.txid.next();
  return finish(point, std::move(gathered), {{.page = PageNo(1), .before = sum, .after = sum}},
                std::move(memory), nullptr);
}

Status Database::Implementation::acknowledge(Txid txid, Epoch epoch) {
  if (auto done = state_->acknowledge(txid, epoch); !done) return done;
  const base::MutexLock lock(mutex_);
  shared_.acknowledged = state_->acknowledged().value_or(Txid());
  return state_->confirm();
}

Result<OpenedSnapshot> Database::Implementation::open_snapshot() {
  if (auto same = check_files(); !same) return std::unexpected(same.error());
  if (!waiting_.empty() || uncaptured_bytes() > options_.capture_bytes_max) {
    return failure(ErrorCode::failed_precondition, "open snapshot", options_.path.string(),
                   "too much is not captured yet: capture() first");
  }
  auto view = PageView::open(options_.path, options_.busy_timeout);
  if (!view) return std::unexpected(view.error());
  auto captured = capture_through((*view)->state().header, true);
  if (!captured) return std::unexpected(captured.error());
  const CapturePoint& last = state_->last();
  const WalIndexHeader& seen = (*view)->state().header;
  const bool whole =
      seen.frame_max == 0 || (salts_of(seen) == position_.salts &&
                              seen.frame_max == wal::frames_before(position_.offset, page_size_));
  if (!whole || last.page_count != (*view)->page_count()) {
    if (*captured) waiting_.push_back(std::move(**captured));
    publish_position();
    return failure(ErrorCode::failed_precondition, "open snapshot", options_.path.string(),
                   "too much is not captured yet: capture() first");
  }
  const WalExtent extent{.offset = wal::header_size,
                         .size = 0,
                         .salt_first = position_.salts.first,
                         .salt_second = position_.salts.second};
  return OpenedSnapshot{.captured = std::move(*captured),
                        .snapshot = DatabaseSnapshot({last.txid, last.checksum}, last.epoch, extent,
                                                     base::system_clock().wall_time(), std::move(*view))};
}

}  // namespace litecluster::db
