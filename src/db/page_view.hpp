// The whole database as one read transaction of its own sees it, page by page, past SQLite's pager.
//
// A page is in the newest frame up to the pinned state, if the WAL has one, and in the file otherwise. That
// is stable while the transaction stands: frames up to the pinned state are not overwritten, and checkpoints
// of others copy back only frames that the view reads from the WAL. When the transaction began on a WAL that
// was copied back entirely, the file alone is the state, and no checkpoint can touch it (SQLite lets none
// in).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/wal_connection.hpp"
#include "ltx/page.hpp"
#include "wal/scanner.hpp"

namespace litecluster::db {

using PageVisitor = std::function<Status(const ltx::Page&)>;

/// The newest frame of each page that the WAL holds.
using FrameMap = std::unordered_map<PageNo, std::uint32_t>;

/// One thread at a time.
class PageView {
 public:
  /// Pins a state now. Reads the WAL, verifying its checksums; corrupt when it does not hold what the
  /// wal-index says.
  [[nodiscard]] static Result<std::shared_ptr<PageView>> open(const std::filesystem::path& path,
                                                              std::chrono::milliseconds busy_timeout);

  [[nodiscard]] const PinnedState& state() const { return state_; }
  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }
  /// Pages of the database, the lock page included where it lies within.
  [[nodiscard]] std::uint32_t page_count() const { return page_count_; }
  /// Frames of the WAL that belong to the state; empty when the file alone is the state.
  [[nodiscard]] const FrameMap& frames() const { return frames_; }
  /// The place in the WAL after the last frame of the state.
  [[nodiscard]] wal::Position end() const;
  /// Whether `position` lies on the chain of checksums of this state's WAL: then all before it is what it
  /// was.
  [[nodiscard]] Result<bool> contains(const wal::Position& position) const;

  /// From now on the pages named are read from these frames of the WAL (0: from the file), and no others may
  /// be asked for. For a state older than the pinned one, within the same filling of the WAL.
  void narrow(std::span<const wal::PageFrame> pages);

  [[nodiscard]] Status read_page(PageNo number, std::span<std::byte> destination) const;
  /// All pages except the lock page, ascending, read in windows of 256 KiB.
  [[nodiscard]] Status for_each_page(const Context& context, const PageVisitor& visit) const;
  /// Just these.
  [[nodiscard]] Status for_each_of(std::span<const PageNo> pages, const Context& context,
                                   const PageVisitor& visit) const;

 private:
  explicit PageView(WalConnection connection) : connection_(std::move(connection)) {}
  [[nodiscard]] Status load();

  WalConnection connection_;
  PinnedState state_;
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
  FrameMap frames_;
};

}  // namespace litecluster::db
