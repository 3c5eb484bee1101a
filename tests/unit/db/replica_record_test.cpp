#include "db/replica_record.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/file.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {
namespace {

ReplicaRecord sample() {
  ReplicaRecord record;
  record.sequence = 9;
  record.boot.fill(std::byte{7});
  record.file = {11, 12};
  record.base = {{Txid(5), Checksum(6), Epoch(7), Checksum(16)}, {{1, 2}, 3, {4, 5}}};
  record.next = RecordedState{{Txid(6), Checksum(8), Epoch(7), Checksum(18)}, {{1, 2}, 9, {6, 7}}};
  record.stamp = FileStamp{4096, 123456789};
  return record;
}

TEST(ReplicaRecord, SurvivesARoundTrip) {
  ReplicaRecord record = sample();
  EXPECT_EQ(decode_replica_record(encode_replica_record(record)), record);
  record.next->position.file.reset();
  record.base.position.file.reset();
  EXPECT_EQ(decode_replica_record(encode_replica_record(record)), record);
  record.next.reset();
  record.stamp.reset();
  EXPECT_EQ(decode_replica_record(encode_replica_record(record)), record);
}

TEST(ReplicaRecord, IsRefusedWithAnyBitFlippedOrCutShort) {
  const ReplicaSlot good = encode_replica_record(sample());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    ReplicaSlot bad = good;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_FALSE(decode_replica_record(bad)) << "bit " << bit;
  }
  EXPECT_FALSE(decode_replica_record(base::ByteView(good).first(good.size() - 1)));
  EXPECT_FALSE(decode_replica_record(ReplicaSlot{}));
}

TEST(ReplicaRecordFile, YieldsTheNewestRecordAfterReopening) {
  const test::TemporaryDirectory directory;
  const auto path = directory / "position";
  for (std::uint64_t txid = 1; txid <= 5; ++txid) {
    auto file = ReplicaRecordFile::open(path);
    ASSERT_TRUE(file);
    if (txid > 1) {
      ASSERT_TRUE(file->record());
      EXPECT_EQ(file->record()->base.position.txid, Txid(txid - 1));
      EXPECT_TRUE(file->written_in_this_boot());
    } else {
      EXPECT_FALSE(file->record());
      EXPECT_FALSE(file->written_in_this_boot());
    }
    ReplicaRecord record = sample();
    record.base.position.txid = Txid(txid);
    ASSERT_TRUE(file->write(record));
  }
}

TEST(ReplicaRecordFile, FallsBackToTheRecordBeforeATornOne) {
  const test::TemporaryDirectory directory;
  const auto path = directory / "position";
  {
    auto file = ReplicaRecordFile::open(path);
    ReplicaRecord record = sample();
    for (std::uint64_t txid = 1; txid <= 4; ++txid) {
      record.base.position.txid = Txid(txid);
      ASSERT_TRUE(file->write(record));
    }
  }
  const auto descriptor = base::open_file(path, O_RDWR);
  ASSERT_TRUE(base::write_at(descriptor->get(), base::as_bytes("torn"), 100, path));  // slot of even numbers
  const auto file = ReplicaRecordFile::open(path);
  ASSERT_TRUE(file->record());
  EXPECT_EQ(file->record()->base.position.txid, Txid(3));
}

TEST(ReplicaRecordFile, RecognisesAPositionByItsChecksum) {
  const test::TemporaryDirectory directory;
  auto file = ReplicaRecordFile::open(directory / "position");
  EXPECT_EQ(recognise(*file->remembered(), Checksum(1)), std::nullopt);
  for (std::uint64_t txid = 1; txid <= 3000; ++txid) {
    ASSERT_TRUE(file->remember({Txid(txid), Checksum(txid / 2 + 100), Epoch(3)}));
  }
  // Of two states with the same checksum it is the first: what comes after it is applied again.
  EXPECT_EQ(recognise(*file->remembered(), Checksum(2999 / 2 + 100)),
            (ReplicaPosition{Txid(2998), Checksum(1599), Epoch(3)}));
  EXPECT_EQ(recognise(*file->remembered(), Checksum(101)), std::nullopt);  // too long ago
  ASSERT_TRUE(file->forget());
  EXPECT_EQ(recognise(*file->remembered(), Checksum(1599)), std::nullopt);
}

TEST(ReplicaRecordFile, BelongsToOneAtATime) {
  const test::TemporaryDirectory directory;
  const auto first = ReplicaRecordFile::open(directory / "position");
  const auto second = ReplicaRecordFile::open(directory / "position");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::busy);
}

}  // namespace
}  // namespace litecluster::db
