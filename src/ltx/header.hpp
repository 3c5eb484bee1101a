// Header and trailer of an LTX file: their fields, their rules, their bytes.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "ltx/format.hpp"

namespace litecluster::ltx {

/// A value type. What Litestream requires in its buckets: no_checksum, and with it no pre_apply.
struct Header {
  /// The file carries no database checksums. (It always carries its own checksum.)
  bool no_checksum = true;
  std::uint32_t page_size = 4096;
  /// Size of the database in pages after this file was applied.
  std::uint32_t commit = 0;
  Txid min_txid;
  Txid max_txid;
  /// When the data was read, milliseconds since 1970 UTC.
  base::WallTime timestamp{};
  /// Database checksum before this file; none in snapshots and in files without checksums.
  std::optional<Checksum> pre_apply;
  /// Where in the -wal the frames began; 32 is the first frame. 0: does not come from a WAL.
  std::int64_t wal_offset = 0;
  /// Bytes of WAL that were consumed.
  std::int64_t wal_size = 0;
  std::uint32_t wal_salt1 = 0;
  std::uint32_t wal_salt2 = 0;
  std::uint64_t node_id = 0;

  /// A file that starts at TXID 1 holds every page of the database.
  [[nodiscard]] bool is_snapshot() const { return min_txid == Txid(1); }

  friend bool operator==(const Header&, const Header&) = default;
};

struct Trailer {
  /// Database checksum after this file; none in files without checksums.
  std::optional<Checksum> post_apply;
  /// Checksum of the file's logical content: headers, uncompressed pages, index, post_apply.
  Checksum file;

  friend bool operator==(const Trailer&, const Trailer&) = default;
};

/// What is known about a file once all of it was written or verified.
struct FileInfo {
  Header header;
  Trailer trailer;
  std::uint64_t size_bytes = 0;
  std::uint64_t page_count = 0;

  /// (max TXID, post-apply checksum); none when the file has no checksums.
  [[nodiscard]] std::optional<Position> position() const {
    if (!trailer.post_apply) return std::nullopt;
    return Position{header.max_txid, *trailer.post_apply};
  }
};

/// Checks every rule that holds for a header by itself. Error: invalid_argument, with `name` as subject.
[[nodiscard]] Status validate(const Header& header, std::string_view name);

/// The bytes of a valid header; the reserved ones are zero.
[[nodiscard]] std::array<std::byte, header_size> serialize(const Header& header);

/// Reads and validates a header. Error: corrupt, with offset and `name`. Reserved bytes are not looked at.
[[nodiscard]] Result<Header> parse_header(base::ByteView bytes, std::string_view name);

/// What is wrong with stored bytes, and where, counted from their start.
struct FieldError {
  std::size_t offset;
  std::string reason;
};

/// Reads the trailer_size bytes of a trailer and checks them against the rules for files with such a header.
/// Does not know whether the checksums are right.
[[nodiscard]] std::expected<Trailer, FieldError> parse_trailer(base::ByteView bytes, const Header& header);

/// `<min>-<max>.ltx` with 16 hexadecimal digits each: the file name that Litestream uses.
[[nodiscard]] std::string file_name(Txid min_txid, Txid max_txid);

}  // namespace litecluster::ltx
