// Checksums of the pages of a replica, remembered once they were needed, and of all of its content.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/wal_writer_transaction.hpp"

namespace litecluster::db {

/// Page checksums by number, 8 bytes each, in chunks of 4096 pages that exist once a page of theirs was set.
/// Not thread-safe.
class PageChecksums {
 public:
  /// nullopt: not known.
  [[nodiscard]] std::optional<Checksum> get(PageNo number) const;
  void set(PageNo number, Checksum checksum);
  /// Of pages 1 to page_count; 0 where none is known.
  [[nodiscard]] std::vector<std::uint64_t> all(std::uint32_t page_count) const;
  /// Forgets pages beyond `page_count`.
  void truncate(std::uint32_t page_count);
  void clear() { chunks_.clear(); }

 private:
  static constexpr std::size_t chunk_pages = 4096;
  using Chunk = std::array<std::uint64_t, chunk_pages>;  // 0: not known; a checksum has bit 63 set
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

/// The checksum of page `number` as of frame `frame_max`: remembered, or read and then remembered.
[[nodiscard]] Result<Checksum> checksum_of_page(PageChecksums& known, WalWriter& writer, PageNo number,
                                                std::uint32_t frame_max);

/// Reads all pages as of frame `frame_max`, remembers the checksum of each, and returns the database's.
[[nodiscard]] Result<Checksum> scan_database(PageChecksums& known, WalWriter& writer, std::uint32_t frame_max,
                                             std::uint32_t page_count);

}  // namespace litecluster::db
