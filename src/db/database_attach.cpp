// Attaching: finding out what has changed since the end of the log, by the cheapest proof there is.
//
//   continued  the stored state is the log's end, and its place in the WAL lies on the WAL's chain of
//              checksums: whatever was committed since stands behind it
//   compared   the stored state is the log's end, but the WAL has moved on: all pages are read and compared
//              with their stored checksums
//   verified   nothing is stored, but its former owner has handed it over at the log's end (a promoted
//              standby), and it has the checksum of that; when those of all pages came with it, nothing is
//              read. The checksum alone proves it for a single page only (ltx/checksum.hpp)
//   complete   neither: everything has to be sent
//
// The main pin is taken first, the view that is compared after it. Frames behind the view's state therefore
// cannot vanish before capture() reads them.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/fault_point.hpp"
#include "base/logging.hpp"
#include "db/database_implementation.hpp"
#include "ltx/checksum.hpp"

namespace litecluster::db {

CapturePoint Database::Implementation::point_of(const PageView& view, Txid txid, Checksum checksum,
                                                Epoch epoch) const {
  return {.txid = txid,
          .epoch = epoch,
          .checksum = checksum,
          .page_size = page_size_,
          .page_count = view.page_count(),
          .inode = identity_.inode,
          .born_nanoseconds = born_nanoseconds_,
          .wal = view.end()};
}

void Database::Implementation::take_position(const PageView& view) {
  position_ = view.end();
  frames_ = view.frames();
  change_count_ = view.state().header.change_counter;
  commits_since_ = 0;
}

// The content is the state at the log's end, which is the file of that very object.
Status Database::Implementation::start_at_end(const CapturePoint& point, std::vector<std::uint64_t> table,
                                              const LogEnd& end) {
  auto reset = state_->reset(point, std::move(table), true);
  if (!reset || !end.file_checksum) return reset;
  return state_->note_file(point.txid, *end.file_checksum);
}

Status Database::Implementation::begin(const FileStatus& file, const std::optional<LogEnd>& log_end,
                                       const Context& context) {
  const auto pinned = connections_.pins[active_pin_].pin();
  if (!pinned) return std::unexpected(pinned.error());
  policy_.pinned(pinned->all_in_file);
  identity_ = file.identity;
  born_nanoseconds_ = file.born_nanoseconds;
  const auto wal_file = file_status(wal_path_);
  if (!wal_file) return std::unexpected(wal_file.error());
  wal_identity_ = wal_file->identity;
  const auto index_file = file_status(index_path_);
  if (!index_file) return std::unexpected(index_file.error());
  index_identity_ = index_file->identity;
  if (auto same = check_files(); !same) return same;

  const auto view = PageView::open(options_.path, options_.busy_timeout);
  if (!view) return std::unexpected(view.error());
  page_size_ = (*view)->page_size();
  known_at_end_ = was_at_end(**view, log_end);
  if (known_at_end_ && is_known_page_by_page(**view)) {
    report_.outcome = AttachOutcome::verified;
    take_position(**view);
    Handover& handover = *options_.handover;
    const CapturePoint point =
        point_of(**view, handover.position.txid, handover.position.checksum, log_end->epoch);
    if (auto known = start_at_end(point, std::move(handover.page_checksums), *log_end); !known) return known;
    publish_position();
    return {};
  }
  options_.handover.reset();
  const auto stored = find_stored_state(log_end);
  if (!stored) return std::unexpected(stored.error());
  // Another file may have been put there, of any age.
  const bool same_file = *stored && is_same_file(state_->last());
  report_.content_is_newer = same_file && state_->confirmed_in_this_boot();
  if (*stored) {
    report_.stored_epoch = state_->acknowledged_epoch();
    const auto continued = continue_from(*pinned, **view);
    if (!continued) return std::unexpected(continued.error());
    if (*continued) report_.outcome = AttachOutcome::continued;
    report_.content_is_newer = report_.content_is_newer || *continued;
  }
  if (report_.outcome != AttachOutcome::continued) {
    if (auto compared = compare(log_end, *stored, *view, context); !compared) return compared;
  }
  publish_position();
  if (log_end) report_.log_end_file = log_end->file_checksum;
  report_.log_end = waiting_.empty() ? state_->last().txid : state_->last().txid.previous();
  base::log_info("attached to database", {{"path", options_.path.string()},
                                          {"outcome", to_string(report_.outcome)},
                                          {"reason", report_.reason},
                                          {"position", to_string(state_->last().txid)},
                                          {"pages_read", report_.pages_read},
                                          {"pages_changed", report_.pages_changed}});
  return {};
}

// Whether nobody has written since the replica's owner knew it to be at the log's end: a commit would be in
// the WAL, or have changed the file.
bool Database::Implementation::was_at_end(const PageView& view, const std::optional<LogEnd>& log_end) const {
  const auto& handover = options_.handover;
  if (!handover || !log_end) return false;
  if (handover->position.txid != log_end->txid || log_end->checksum != handover->position.checksum)
    return false;
  if (handover->page_size != page_size_ || handover->page_count != view.page_count()) return false;
  const WalIndexHeader& header = view.state().header;
  const bool same_wal = header.frame_max == 0 ? handover->wal_is_empty : wal_end_of(header) == handover->wal;
  const auto file = file_status(options_.path);
  return same_wal && file && file->identity == identity_ && file->stamp == handover->stamp;
}

// Of a database that was at the log's end: whether nothing has to be read.
bool Database::Implementation::is_known_page_by_page(const PageView& view) const {
  const auto& handover = options_.handover;
  if (!handover->wal_is_empty || view.state().header.frame_max != 0) return false;
  if (handover->page_checksums.size() != handover->page_count) return false;
  Checksum checksum;
  for (const std::uint64_t page : handover->page_checksums) {
    if (page != 0) checksum = checksum.toggled(Checksum(page));
  }
  return checksum == handover->position.checksum;
}

// Whether the state directory knows the state at the end of the log; it is then the state's last one.
Result<bool> Database::Implementation::find_stored_state(const std::optional<LogEnd>& log_end) {
  if (!state_->known()) {
    report_.reason = "no page checksums are stored";
    return false;
  }
  const auto acknowledged = state_->acknowledged();
  if (log_end && acknowledged && log_end->txid < *acknowledged) {
    return failure(
        ErrorCode::failed_precondition, "attach to database", options_.path.string(),
        fmt::format("the log ends at {}, but it had acknowledged {}: it was deleted or went back. "
                    "To publish the database into it anew, remove {} first",
                    to_string(log_end->txid), to_string(*acknowledged), options_.state_directory.string()));
  }
  const std::optional<Txid> txid = log_end ? std::optional(log_end->txid) : acknowledged;
  if (!txid) {
    report_.reason = "nothing was ever acknowledged";
    return false;
  }
  // Ours always carry a checksum. One without it was written by somebody who takes no heed of names that are
  // taken (Litestream). What is recorded for a TXID that was not acknowledged need not be what the log has
  // there, and one that was may have been written over.
  const bool ours = !log_end || (log_end->checksum && state_->recognises(*txid, log_end->file_checksum));
  if (!ours && !txid->is_zero()) {
    report_.reason = "what ends the log was not made of the state that is recorded here, as far as is known";
    return false;
  }
  const auto found = state_->rewind(*txid, log_end ? log_end->checksum : std::nullopt);
  if (!found) return std::unexpected(found.error());
  if (!*found) {
    report_.reason = "the stored page checksums are not those of " + to_string(*txid);
    return false;
  }
  if (state_->last().page_size != page_size_) {
    report_.reason = "the page size has changed";
    return false;
  }
  if (log_end) {
    if (auto done = state_->acknowledge(*txid, log_end->epoch); !done) return std::unexpected(done.error());
  }
  return true;
}

bool Database::Implementation::is_same_file(const CapturePoint& point) const {
  const bool same_birth =
      point.born_nanoseconds == 0 || born_nanoseconds_ == 0 || point.born_nanoseconds == born_nanoseconds_;
  return point.inode == identity_.inode && same_birth;
}

Result<bool> Database::Implementation::continue_from(const PinnedState& pinned, const PageView& view) {
  const CapturePoint& last = state_->last();
  if (!is_same_file(last)) {
    report_.reason = "another file lies under the database's name";
    return false;
  }
  // When all was copied back, frames behind the position may be overwritten before they are read.
  const bool at_end = last.wal.salts == salts_of(pinned.header) &&
                      last.wal.offset == wal::frame_offset(pinned.header.frame_max + 1, page_size_) &&
                      last.wal.checksum == pinned.header.frame_checksum;
  const bool empty = pinned.header.frame_max == 0;
  if (pinned.all_in_file) {
    if (at_end && !empty) {
      position_ = last.wal;
      change_count_ = pinned.header.change_counter;
      return true;
    }
    report_.reason = "the WAL was started anew or copied back since";
    return false;
  }
  const auto contained = view.contains(last.wal);
  if (!contained) return std::unexpected(contained.error());
  if (!*contained) {
    report_.reason = "the WAL was started anew since";
    return false;
  }
  WalFileSource source(connections_.worker);
  const auto before = wal::scan(source, {}, {.frame_max = wal::frames_before(last.wal.offset, page_size_)});
  if (!before) return std::unexpected(before.error());
  if (before->position != last.wal) {
    report_.reason = "the WAL was started anew since";
    return false;
  }
  for (const auto* pages : {&before->pages, &before->dropped_pages}) {
    for (const wal::PageFrame& page : *pages) frames_.emplace(page.page, page.frame);
  }
  position_ = last.wal;
  return true;
}

Status Database::Implementation::compare(const std::optional<LogEnd>& log_end, bool stored,
                                         const std::shared_ptr<PageView>& view, const Context& context) {
  std::vector<std::uint64_t> table(view->page_count(), 0);
  Checksum checksum;
  const auto read = view->for_each_page(context, [&](const ltx::Page& page) -> Status {
    const Checksum sum = ltx::page_checksum(page.number, page.bytes);
    table[page.number.value() - 1] = sum.value();
    checksum = checksum.toggled(sum);
    ++report_.pages_read;
    return {};
  });
  if (!read) return std::unexpected(read.error().within("compare database", options_.path.string()));
  take_position(*view);
  LITECLUSTER_FAULT_POINT("capture.compared");
  if (stored) {
    report_.outcome = AttachOutcome::compared;
    return prepare_difference(view, std::move(table), context);
  }
  const LogEnd end = log_end.value_or(LogEnd{});
  const bool provable = known_at_end_ || view->page_count() == 1;
  if (provable && end.checksum && *end.checksum == checksum && !end.txid.is_zero()) {
    report_.outcome = AttachOutcome::verified;
    return start_at_end(point_of(*view, end.txid, checksum, end.epoch), std::move(table), end);
  }
  report_.outcome = AttachOutcome::complete;
  return prepare_everything(end.txid.next(), view, std::move(table));
}

Status Database::Implementation::prepare_difference(const std::shared_ptr<PageView>& view,
                                                    std::vector<std::uint64_t> table,
                                                    const Context& context) {
  const CapturePoint last = state_->last();
  Gathered gathered;
  std::vector<PageChange> changes;
  Checksum checksum = last.checksum;
  const std::uint32_t pages = std::max(last.page_count, view->page_count());
  for (std::uint32_t number = 1; number <= pages; ++number) {
    const PageNo page(number);
    const std::uint64_t before = state_->checksum_of(page);
    const std::uint64_t after = number <= table.size() ? table[number - 1] : 0;
    if (before == after) continue;
    if (before != 0) checksum = checksum.toggled(Checksum(before));
    if (after != 0) {
      checksum = checksum.toggled(Checksum(after));
      const auto frame = frames_.find(page);
      gathered.pages.push_back({.page = page, .frame = frame == frames_.end() ? 0 : frame->second});
    }
    changes.push_back({.page = page, .before = before, .after = after});
  }
  report_.pages_changed = static_cast<std::uint32_t>(gathered.pages.size());
  if (changes.empty() && view->page_count() == last.page_count) {
    // The same content at another place in the WAL.
    const auto file = state_->file_of(last.txid);
    const CapturePoint point = point_of(*view, last.txid, checksum, last.epoch);
    if (auto reset = state_->reset(point, std::move(table), true); !reset) return reset;
    return file ? state_->note_file(last.txid, *file) : Status();
  }
  // An LTX file of nothing but a shrink would be empty; page 1, which holds the size, has changed with it.
  base::Bytes memory;
  const bool small = std::uint64_t{gathered.pages.size()} * page_size_ <= options_.capture_memory_max;
  if (small) {
    std::vector<PageNo> numbers;
    numbers.reserve(gathered.pages.size());
    for (const wal::PageFrame& page : gathered.pages) numbers.push_back(page.page);
    const auto read = view->for_each_of(numbers, context, [&memory](const ltx::Page& page) -> Status {
      base::append_bytes(memory, page.bytes);
      return {};
    });
    if (!read) return read;
  }
  const CapturePoint point = point_of(*view, last.txid.next(), checksum, last.epoch);
  gathered.extent = {.offset = wal::header_size,
                     .size = 0,
                     .salt_first = position_.salts.first,
                     .salt_second = position_.salts.second};
  auto captured = finish(point, std::move(gathered), changes, std::move(memory), small ? nullptr : view);
  if (!captured) return std::unexpected(captured.error());
  waiting_.push_back(std::move(*captured));
  return {};
}

Status Database::Implementation::prepare_everything(Txid txid, const std::shared_ptr<PageView>& view,
                                                    std::vector<std::uint64_t> table) {
  CapturedTransaction::Description description;
  Checksum checksum;
  std::vector<PageNo> pages;
  pages.reserve(table.size());
  for (std::size_t index = 0; index < table.size(); ++index) {
    if (table[index] == 0) continue;
    checksum = checksum.toggled(Checksum(table[index]));
    pages.emplace_back(static_cast<std::uint32_t>(index + 1));
  }
  report_.pages_changed = static_cast<std::uint32_t>(pages.size());
  const CapturePoint point = point_of(*view, txid, checksum, Epoch());
  if (auto reset = state_->reset(point, std::move(table), false); !reset) return reset;
  description.txid = txid;
  description.page_size = page_size_;
  description.commit = point.page_count;
  description.checksum = checksum;
  description.wal = {.offset = wal::header_size,
                     .size = 0,
                     .salt_first = position_.salts.first,
                     .salt_second = position_.salts.second};
  description.captured_at = base::system_clock().wall_time();
  description.complete = true;
  waiting_.emplace_back(description, std::move(pages), base::Bytes(), view);
  return {};
}

}  // namespace litecluster::db
