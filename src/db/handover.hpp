// What the owner of a replica leaves to whoever attaches to it as a primary, so that a promotion does not
// have to read the whole database.
#pragma once

#include <cstdint>
#include <vector>

#include <litecluster/types.hpp>

#include "db/file_status.hpp"
#include "db/wal_end.hpp"

namespace litecluster::db {

struct Handover {
  Position position;
  Epoch epoch{};
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  /// Everything is in the database file. Otherwise a reader held on, and the -wal is part of the database.
  bool wal_is_empty = false;
  /// The database file when all of it was known to be at `position`. Moving it changes nothing of this.
  FileStamp stamp;
  /// Where the WAL ended then.
  WalEnd wal{};
  /// As ltx::page_checksum() gives them, 0 for the lock page; together they are the position's checksum.
  /// Empty when not all pages were read yet.
  std::vector<std::uint64_t> page_checksums;
};

}  // namespace litecluster::db
