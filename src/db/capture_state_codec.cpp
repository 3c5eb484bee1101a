#include "db/capture_state_codec.hpp"

namespace litecluster::db {

namespace {

constexpr std::uint64_t magic = 0x6C63'6261'7365'3031;  // "lcbase01"
constexpr std::size_t change_size = 20;

void append_point(base::Bytes& bytes, const CapturePoint& point) {
  base::append_big_endian(bytes, point.txid.value());
  base::append_big_endian(bytes, point.epoch.value());
  base::append_big_endian(bytes, point.checksum.value());
  base::append_big_endian(bytes, point.page_size);
  base::append_big_endian(bytes, point.page_count);
  base::append_big_endian(bytes, point.inode);
  base::append_big_endian(bytes, point.wal.offset);
  base::append_big_endian(bytes, point.wal.salts.first);
  base::append_big_endian(bytes, point.wal.salts.second);
  base::append_big_endian(bytes, point.wal.checksum.first);
  base::append_big_endian(bytes, point.wal.checksum.second);
  base::append_big_endian(bytes, static_cast<std::uint64_t>(point.born_nanoseconds));
}

// The reader fails as a whole; the caller looks at failed() once.
CapturePoint read_point(base::ByteReader& reader) {
  const auto u64 = [&reader] { return reader.read_big_endian<std::uint64_t>().value_or(0); };
  const auto u32 = [&reader] { return reader.read_big_endian<std::uint32_t>().value_or(0); };
  CapturePoint point;
  point.txid = Txid(u64());
  point.epoch = Epoch(u64());
  point.checksum = Checksum(u64());
  point.page_size = u32();
  point.page_count = u32();
  point.inode = u64();
  point.wal.offset = u64();
  point.wal.salts.first = u32();
  point.wal.salts.second = u32();
  point.wal.checksum.first = u32();
  point.wal.checksum.second = u32();
  point.born_nanoseconds = static_cast<std::int64_t>(u64());
  return point;
}

base::Bytes encode_numbers(std::uint64_t first, std::uint64_t second) {
  base::Bytes bytes;
  base::append_big_endian(bytes, first);
  base::append_big_endian(bytes, second);
  return bytes;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> decode_numbers(base::ByteView payload) {
  base::ByteReader reader(payload);
  const auto first = reader.read_big_endian<std::uint64_t>();
  const auto second = reader.read_big_endian<std::uint64_t>();
  if (!first || !second || reader.remaining() != 0) return std::nullopt;
  return std::pair(*first, *second);
}

}  // namespace

base::Bytes encode_base_header(const BaseHeader& header) {
  base::Bytes bytes;
  base::append_big_endian(bytes, magic);
  base::append_big_endian(bytes, header.id);
  base::append_big_endian(bytes, std::uint64_t{header.acknowledged});
  append_point(bytes, header.point);
  return bytes;
}

std::optional<BaseHeader> decode_base_header(base::ByteView bytes) {
  base::ByteReader reader(bytes);
  if (reader.read_big_endian<std::uint64_t>() != magic) return std::nullopt;
  BaseHeader header;
  header.id = reader.read_big_endian<std::uint64_t>().value_or(0);
  header.acknowledged = reader.read_big_endian<std::uint64_t>().value_or(0) != 0;
  header.point = read_point(reader);
  if (reader.failed()) return std::nullopt;
  return header;
}

base::Bytes encode_captured(const CapturePoint& point, std::span<const PageChange> changes) {
  base::Bytes bytes;
  bytes.reserve(point_size + 4 + changes.size() * change_size);
  append_point(bytes, point);
  base::append_big_endian(bytes, static_cast<std::uint32_t>(changes.size()));
  for (const PageChange& change : changes) {
    base::append_big_endian(bytes, change.page.value());
    base::append_big_endian(bytes, change.before);
    base::append_big_endian(bytes, change.after);
  }
  return bytes;
}

std::optional<CapturedRecord> decode_captured(base::ByteView payload) {
  base::ByteReader reader(payload);
  CapturedRecord record;
  record.point = read_point(reader);
  const auto count = reader.read_big_endian<std::uint32_t>();
  if (!count || reader.remaining() != std::uint64_t{*count} * change_size) return std::nullopt;
  record.changes.reserve(*count);
  for (std::uint32_t index = 0; index < *count; ++index) {
    const PageNo page(reader.read_big_endian<std::uint32_t>().value_or(0));
    const auto before = reader.read_big_endian<std::uint64_t>().value_or(0);
    const auto after = reader.read_big_endian<std::uint64_t>().value_or(0);
    if (page.is_zero()) return std::nullopt;
    record.changes.push_back({.page = page, .before = before, .after = after});
  }
  return record;
}

base::Bytes encode_acknowledged(Txid txid, Epoch epoch) {
  return encode_numbers(txid.value(), epoch.value());
}

std::optional<std::pair<Txid, Epoch>> decode_acknowledged(base::ByteView payload) {
  const auto numbers = decode_numbers(payload);
  if (!numbers) return std::nullopt;
  return std::pair(Txid(numbers->first), Epoch(numbers->second));
}

base::Bytes encode_file(Txid txid, Checksum file_checksum) {
  return encode_numbers(txid.value(), file_checksum.value());
}

std::optional<std::pair<Txid, Checksum>> decode_file(base::ByteView payload) {
  const auto numbers = decode_numbers(payload);
  if (!numbers) return std::nullopt;
  return std::pair(Txid(numbers->first), Checksum(numbers->second));
}

}  // namespace litecluster::db
