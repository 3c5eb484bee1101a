// Where a WAL ends.
#pragma once

#include <cstdint>

#include "db/wal_index_layout.hpp"

namespace litecluster::db {

/// Two equal values mean the same frames, all of them.
struct WalEnd {
  WalSalts salts;
  std::uint32_t frame_max = 0;
  wal::Checksum checksum;

  friend constexpr bool operator==(const WalEnd&, const WalEnd&) = default;
};

[[nodiscard]] inline WalEnd wal_end_of(const WalIndexHeader& header) {
  return {header.salts, header.frame_max, header.frame_checksum};
}

}  // namespace litecluster::db
