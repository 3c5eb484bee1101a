#include "ltx/header.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace litecluster::ltx {
namespace {

constexpr std::uint32_t magic = 0x4C54'5831;  // "LTX1"
constexpr std::uint32_t no_checksum_flag = 0x2;

/// Byte offsets of the fields.
enum Offset : std::size_t {
  magic_offset = 0,
  flags_offset = 4,
  page_size_offset = 8,
  commit_offset = 12,
  min_txid_offset = 16,
  max_txid_offset = 24,
  timestamp_offset = 32,
  pre_apply_offset = 40,
  wal_offset_offset = 48,
  wal_size_offset = 56,
  wal_salt1_offset = 64,
  wal_salt2_offset = 68,
  node_id_offset = 72,
};

using Problem = FieldError;

std::optional<Problem> check_wal_fields(const Header& header) {
  if (header.wal_offset < 0) {
    return Problem{wal_offset_offset, fmt::format("WAL offset {} is negative", header.wal_offset)};
  }
  if (header.wal_size < 0) {
    return Problem{wal_size_offset, fmt::format("WAL size {} is negative", header.wal_size)};
  }
  if (header.wal_offset == 0 && (header.wal_salt1 != 0 || header.wal_salt2 != 0)) {
    return Problem{wal_salt1_offset, "WAL salts are set but the WAL offset is 0"};
  }
  if (header.wal_offset == 0 && header.wal_size != 0) {
    return Problem{wal_size_offset, fmt::format("WAL size is {} but the WAL offset is 0", header.wal_size)};
  }
  return std::nullopt;
}

std::optional<Problem> check_pre_apply(const Header& header) {
  if (header.is_snapshot()) {
    if (!header.pre_apply) return std::nullopt;
    return Problem{pre_apply_offset, "a snapshot must not have a pre-apply checksum"};
  }
  if (header.no_checksum) {
    if (!header.pre_apply) return std::nullopt;
    return Problem{pre_apply_offset, "pre-apply checksum not allowed in a file without database checksums"};
  }
  if (header.pre_apply) return std::nullopt;
  return Problem{pre_apply_offset, "pre-apply checksum missing in a file with database checksums"};
}

std::optional<Problem> check(const Header& header) {
  if (!is_page_size(header.page_size)) {
    return Problem{page_size_offset, fmt::format("invalid page size {}", header.page_size)};
  }
  if (header.commit == 0 && header.no_checksum) {
    return Problem{commit_offset, "a database of 0 pages needs database checksums"};
  }
  if (header.commit > page_count_max) {
    return Problem{commit_offset,
                   fmt::format("commit of {} pages, SQLite's limit is {}", header.commit, page_count_max)};
  }
  if (header.min_txid.is_zero()) return Problem{min_txid_offset, "min TXID is 0"};
  if (header.max_txid < header.min_txid) {
    return Problem{max_txid_offset, fmt::format("max TXID {} is less than min TXID {}",
                                                to_string(header.max_txid), to_string(header.min_txid))};
  }
  if (auto problem = check_wal_fields(header)) return problem;
  return check_pre_apply(header);
}

std::unexpected<Error> corrupt(std::string_view name, const Problem& problem) {
  return failure(ErrorCode::corrupt, "read LTX header of", std::string(name),
                 fmt::format("offset {}: {}", problem.offset, problem.reason));
}

}  // namespace

Status validate(const Header& header, std::string_view name) {
  const auto problem = check(header);
  if (!problem) return {};
  return failure(ErrorCode::invalid_argument, "write LTX header of", std::string(name), problem->reason);
}

std::array<std::byte, header_size> serialize(const Header& header) {
  std::array<std::byte, header_size> bytes{};
  const auto store = [&bytes](std::size_t offset, auto value) {
    base::store_big_endian(bytes.data() + offset, value);
  };
  store(magic_offset, magic);
  store(flags_offset, header.no_checksum ? no_checksum_flag : 0U);
  store(page_size_offset, header.page_size);
  store(commit_offset, header.commit);
  store(min_txid_offset, header.min_txid.value());
  store(max_txid_offset, header.max_txid.value());
  store(timestamp_offset, static_cast<std::uint64_t>(header.timestamp.time_since_epoch().count()));
  store(pre_apply_offset, header.pre_apply ? header.pre_apply->value() : std::uint64_t{0});
  store(wal_offset_offset, static_cast<std::uint64_t>(header.wal_offset));
  store(wal_size_offset, static_cast<std::uint64_t>(header.wal_size));
  store(wal_salt1_offset, header.wal_salt1);
  store(wal_salt2_offset, header.wal_salt2);
  store(node_id_offset, header.node_id);
  return bytes;
}

Result<Header> parse_header(base::ByteView bytes, std::string_view name) {
  if (bytes.size() < header_size) {
    return corrupt(
        name, {bytes.size(), fmt::format("truncated header: {} of {} bytes", bytes.size(), header_size)});
  }
  const auto load32 = [bytes](std::size_t offset) {
    return base::load_big_endian<std::uint32_t>(bytes.data() + offset);
  };
  const auto load64 = [bytes](std::size_t offset) {
    return base::load_big_endian<std::uint64_t>(bytes.data() + offset);
  };
  if (load32(magic_offset) != magic) {
    return corrupt(name, {magic_offset, "invalid LTX file: it does not start with LTX1"});
  }
  const std::uint32_t flags = load32(flags_offset);
  if ((flags & ~no_checksum_flag) != 0) {
    return corrupt(name, {flags_offset, fmt::format("unknown header flags {:#010x}", flags)});
  }
  const std::uint64_t pre_apply = load64(pre_apply_offset);
  if (pre_apply != 0 && (pre_apply & Checksum::flag) == 0) {
    return corrupt(name, {pre_apply_offset, fmt::format("invalid pre-apply checksum {:016x}", pre_apply)});
  }
  Header header;
  header.no_checksum = (flags & no_checksum_flag) != 0;
  header.page_size = load32(page_size_offset);
  header.commit = load32(commit_offset);
  header.min_txid = Txid(load64(min_txid_offset));
  header.max_txid = Txid(load64(max_txid_offset));
  header.timestamp =
      base::WallTime(std::chrono::milliseconds(static_cast<std::int64_t>(load64(timestamp_offset))));
  if (pre_apply != 0) header.pre_apply = Checksum(pre_apply);
  header.wal_offset = static_cast<std::int64_t>(load64(wal_offset_offset));
  header.wal_size = static_cast<std::int64_t>(load64(wal_size_offset));
  header.wal_salt1 = load32(wal_salt1_offset);
  header.wal_salt2 = load32(wal_salt2_offset);
  header.node_id = load64(node_id_offset);
  if (const auto problem = check(header)) return corrupt(name, *problem);
  return header;
}

std::expected<Trailer, FieldError> parse_trailer(base::ByteView bytes, const Header& header) {
  const auto problem = [](std::size_t offset, std::string reason) {
    return std::unexpected(FieldError{offset, std::move(reason)});
  };
  const auto post_apply = base::load_big_endian<std::uint64_t>(bytes.data());
  const auto file = base::load_big_endian<std::uint64_t>(bytes.data() + 8);
  Trailer trailer;
  if (header.no_checksum) {
    if (post_apply != 0) {
      return problem(
          0, fmt::format("post-apply checksum not allowed in a file without database checksums: {:016x}",
                         post_apply));
    }
  } else {
    if ((post_apply & Checksum::flag) == 0) {
      return problem(0, fmt::format("invalid post-apply checksum {:016x}", post_apply));
    }
    trailer.post_apply = Checksum(post_apply);
    if (header.commit == 0 && *trailer.post_apply != Checksum()) {
      return problem(0,
                     fmt::format("post-apply checksum of a database without pages is {:016x}", post_apply));
    }
  }
  if ((file & Checksum::flag) == 0) return problem(8, fmt::format("invalid file checksum {:016x}", file));
  trailer.file = Checksum(file);
  return trailer;
}

std::string file_name(Txid min_txid, Txid max_txid) {
  return to_string(min_txid) + "-" + to_string(max_txid) + ".ltx";
}

}  // namespace litecluster::ltx
