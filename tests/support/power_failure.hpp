// What a power failure makes of a replica, done to its files.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>

#include "base/file.hpp"
#include "db/replica_record.hpp"
#include "support/replica_source.hpp"

namespace litecluster::test {

/// Makes the record look as if written before the last boot: the first byte of the boot id, and the CRC anew.
inline void pretend_reboot(const std::filesystem::path& position_path) {
  for (const std::uint64_t offset : {0U, 4096U}) {
    const auto descriptor = base::open_file(position_path, O_RDWR);
    db::ReplicaSlot slot;
    ASSERT_TRUE(base::read_at(descriptor->get(), slot, offset, position_path));
    auto record = db::decode_replica_record(slot);
    if (!record) continue;
    record->boot[0] ^= std::byte{1};
    ASSERT_TRUE(base::write_at(descriptor->get(), db::encode_replica_record(*record), offset, position_path));
  }
}

/// The disk lost what came after this.
inline void put_back(const Image& image, const std::filesystem::path& path) {
  auto file = base::open_file(path, O_RDWR | O_TRUNC);
  std::uint64_t offset = 0;
  for (const auto& page : image) {
    ASSERT_TRUE(base::write_at(file->get(), page, offset, path));
    offset += page.size();
  }
}

}  // namespace litecluster::test
