// What one capture found: the pages by which the database differs from the state captured before.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "ltx/encoder.hpp"
#include "ltx/header.hpp"
#include "ltx/page.hpp"
#include "ltx/stream.hpp"

namespace litecluster::db {

class PageView;

/// The part of the WAL that a capture consumed, as LTX headers name it. Not from a WAL: offset 32, size 0.
struct WalExtent {
  std::uint64_t offset = 32;
  std::uint64_t size = 0;
  std::uint32_t salt_first = 0;
  std::uint32_t salt_second = 0;
};

/// One TXID's worth of changes: one or several commits of the application, merged. Pages are held in memory
/// when they are few; otherwise they are read, while encode() or for_each_page() runs, through a read
/// transaction of the object's own, which keeps the WAL from starting anew as long as the object lives:
/// encode and drop large ones soon. May be used in another thread than the Database, by one thread at a time,
/// and may outlive the Database.
class CapturedTransaction {
 public:
  struct Description {
    Txid txid;
    std::uint32_t page_size = 0;
    /// Pages of the database after it.
    std::uint32_t commit = 0;
    /// Of the database before and after.
    Checksum checksum_before;
    Checksum checksum;
    WalExtent wal;
    /// When it was captured; no later than any commit that is not part of it.
    base::WallTime captured_at{};
    /// Commits of the application in it; 0 when it was found by comparing content.
    std::uint32_t commit_count = 0;
    /// Holds every page of the database, so that it stands by itself.
    bool complete = false;
  };

  [[nodiscard]] const Description& description() const { return description_; }
  [[nodiscard]] Txid txid() const { return description_.txid; }
  [[nodiscard]] Position position() const { return {description_.txid, description_.checksum}; }
  [[nodiscard]] std::span<const PageNo> pages() const { return pages_; }
  /// The checksum of the database that it has to be applied to; nothing when it stands by itself.
  [[nodiscard]] std::optional<Checksum> pre_apply() const {
    return description_.complete ? std::nullopt : std::optional(description_.checksum_before);
  }
  /// Bytes of all pages.
  [[nodiscard]] std::uint64_t size_bytes() const {
    return std::uint64_t{pages_.size()} * description_.page_size;
  }

  /// Hands out every page, ascending; the bytes are valid during the call. Stops at the first Error.
  [[nodiscard]] Status for_each_page(const Context& context,
                                     const std::function<Status(const ltx::Page&)>& visit) const;

  /// An LTX header for it: no checksums, min = max = txid, time and WAL extent as captured.
  [[nodiscard]] ltx::Header ltx_header() const;
  /// Writes it as one LTX file.
  [[nodiscard]] Result<ltx::FileInfo> encode(ltx::Encoder& encoder, ltx::Sink& sink,
                                             const Context& context = Context::background()) const;

  /// `memory` holds the pages one after the other (then `view` is null), or `view` reads them.
  CapturedTransaction(Description description, std::vector<PageNo> pages, base::Bytes memory,
                      std::shared_ptr<PageView> view);

 private:
  Description description_;
  std::vector<PageNo> pages_;
  base::Bytes memory_;
  std::shared_ptr<PageView> view_;
};

/// The whole database at exactly one TXID, for a snapshot. Holds a read transaction: see CapturedTransaction.
class DatabaseSnapshot {
 public:
  DatabaseSnapshot(Position position, Epoch epoch, WalExtent wal, base::WallTime captured_at,
                   std::shared_ptr<PageView> view);

  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  /// The time stamp that an LTX file of it carries.
  [[nodiscard]] base::WallTime captured_at() const { return captured_at_; }
  [[nodiscard]] std::uint32_t page_size() const;
  [[nodiscard]] std::uint32_t commit() const;

  /// Every page but the lock page, ascending. Fails with `corrupt` at the end when the pages read do not have
  /// the checksum of position(): publish nothing before this returned success. Memory: one read window.
  [[nodiscard]] Status for_each_page(const Context& context,
                                     const std::function<Status(const ltx::Page&)>& visit) const;
  /// An LTX file of all of it (min TXID 1). The same caution.
  [[nodiscard]] Result<ltx::FileInfo> encode(ltx::Encoder& encoder, ltx::Sink& sink,
                                             const Context& context = Context::background()) const;

 private:
  Position position_;
  Epoch epoch_;
  WalExtent wal_;
  base::WallTime captured_at_;
  std::shared_ptr<PageView> view_;
};

}  // namespace litecluster::db
