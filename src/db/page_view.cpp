#include "db/page_view.hpp"

#include <algorithm>

#include "ltx/format.hpp"

namespace litecluster::db {

namespace {

constexpr std::size_t window_size = 256 * 1024;

}  // namespace

Result<std::shared_ptr<PageView>> PageView::open(const std::filesystem::path& path,
                                                 std::chrono::milliseconds busy_timeout) {
  auto connection = WalConnection::open(path, busy_timeout);
  if (!connection) return std::unexpected(connection.error());
  auto view = std::shared_ptr<PageView>(new PageView(std::move(*connection)));
  if (auto loaded = view->load(); !loaded) return std::unexpected(loaded.error());
  return view;
}

Status PageView::load() {
  const auto pinned = connection_.pin();
  if (!pinned) return std::unexpected(pinned.error());
  state_ = *pinned;
  const auto size = connection_.connection().query_integer("PRAGMA page_size");
  if (!size) return std::unexpected(size.error());
  page_size_ = static_cast<std::uint32_t>(size->value_or(0));
  page_count_ = state_.header.page_count;
  if (page_count_ == 0) {
    const auto count = connection_.connection().query_integer("PRAGMA page_count");
    if (!count) return std::unexpected(count.error());
    page_count_ = static_cast<std::uint32_t>(count->value_or(0));
  }
  if (state_.all_in_file) return {};
  WalFileSource source(connection_);
  const auto scanned = wal::scan(source, {}, {.frame_max = state_.header.frame_max});
  if (!scanned) return std::unexpected(scanned.error());
  if (scanned->header.salts != salts_of(state_.header) || scanned->frame_count != state_.header.frame_max ||
      scanned->position.checksum != state_.header.frame_checksum) {
    return failure(ErrorCode::corrupt, "read WAL", connection_.path().string() + "-wal",
                   "it does not hold the frames that the wal-index names: it was truncated, replaced or "
                   "damaged");
  }
  for (const auto* pages : {&scanned->pages, &scanned->dropped_pages}) {
    for (const wal::PageFrame& page : *pages) frames_.emplace(page.page, page.frame);
  }
  return {};
}

wal::Position PageView::end() const {
  return {.offset = wal::frame_offset(state_.header.frame_max + 1, page_size_),
          .salts = salts_of(state_.header),
          .checksum = state_.header.frame_checksum};
}

Result<bool> PageView::contains(const wal::Position& position) const {
  if (position.salts != salts_of(state_.header) || position.offset > end().offset ||
      position.offset < wal::header_size ||
      (position.offset - wal::header_size) % wal::frame_size(page_size_) != 0) {
    return false;
  }
  if (position.offset == end().offset) return position.checksum == end().checksum;
  const std::uint32_t frame = wal::frames_before(position.offset, page_size_);
  // Where all was copied back, the frames may be overwritten under us: a chain that still fits is proof, one
  // that does not is none.
  WalFileSource source(connection_);
  const auto scanned = wal::scan(source, {}, {.frame_max = frame});
  if (!scanned) return std::unexpected(scanned.error());
  return scanned->position == position;
}

void PageView::narrow(std::span<const wal::PageFrame> pages) {
  frames_.clear();
  for (const wal::PageFrame& page : pages) {
    if (page.frame != 0) frames_.emplace(page.page, page.frame);
  }
}

Status PageView::read_page(PageNo number, std::span<std::byte> destination) const {
  const auto found = frames_.find(number);
  if (found == frames_.end()) {
    return connection_.read_database(std::uint64_t{number.value() - 1} * page_size_, destination);
  }
  const auto count = connection_.read_wal(
      wal::frame_offset(found->second, page_size_) + wal::frame_header_size, destination);
  if (!count) return std::unexpected(count.error());
  if (*count == destination.size()) return {};
  return failure(ErrorCode::corrupt, "read WAL", connection_.path().string() + "-wal",
                 "it ends before a frame that is in use: it was truncated by somebody");
}

Status PageView::for_each_page(const Context& context, const PageVisitor& visit) const {
  const std::uint32_t pages_at_once =
      std::max<std::uint32_t>(1, static_cast<std::uint32_t>(window_size / page_size_));
  const PageNo lock_page = ltx::lock_page(page_size_);
  base::Bytes window;
  for (std::uint64_t first = 1; first <= page_count_; first += pages_at_once) {
    if (auto status = context.status("read database"); !status) return status;
    const auto count = std::min<std::uint64_t>(pages_at_once, page_count_ - first + 1);
    window.resize(count * page_size_);
    if (auto read = connection_.read_database((first - 1) * page_size_, window); !read) return read;
    for (std::uint64_t index = 0; index < count; ++index) {
      const PageNo number(static_cast<std::uint32_t>(first + index));
      if (number == lock_page) continue;
      const auto bytes = std::span(window).subspan(index * page_size_, page_size_);
      if (frames_.contains(number)) {
        if (auto read = read_page(number, bytes); !read) return read;
      }
      if (auto visited = visit({.number = number, .bytes = bytes}); !visited) return visited;
    }
  }
  return {};
}

Status PageView::for_each_of(std::span<const PageNo> pages, const Context& context,
                             const PageVisitor& visit) const {
  base::Bytes bytes(page_size_);
  std::size_t done = 0;
  for (const PageNo number : pages) {
    if (done++ % 64 == 0) {
      if (auto status = context.status("read database"); !status) return status;
    }
    if (auto read = read_page(number, bytes); !read) return read;
    if (auto visited = visit({.number = number, .bytes = bytes}); !visited) return visited;
  }
  return {};
}

}  // namespace litecluster::db
