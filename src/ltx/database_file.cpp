#include "ltx/database_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <array>
#include <cstring>
#include <string_view>

#include "base/file.hpp"
#include "ltx/checksum.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::ltx {
namespace {

// Offsets in the database header, https://www.sqlite.org/fileformat.html#the_database_header
constexpr std::size_t database_header_size = 100;
constexpr std::size_t page_size_offset = 16;
constexpr std::size_t change_counter_offset = 24;
constexpr std::size_t page_count_offset = 28;
constexpr std::size_t version_valid_for_offset = 92;
constexpr std::string_view database_magic("SQLite format 3\0", 16);

constexpr std::uint64_t journal_magic = 0xD9D5'05F9'20A1'63D7;
constexpr std::uint32_t pages_between_checks = 256;

std::unexpected<Error> refuse(ErrorCode code, const std::filesystem::path& path, std::string reason) {
  return failure(code, "read database", path.string(), std::move(reason));
}

/// Size of the file beside `path`, 0 when there is none.
Result<std::uint64_t> companion_size(const std::filesystem::path& companion) {
  const auto descriptor = base::open_file(companion, O_RDONLY);
  if (!descriptor) {
    if (descriptor.error().code() == ErrorCode::not_found) return 0;
    return std::unexpected(descriptor.error());
  }
  return base::file_size(descriptor->get(), companion);
}

std::filesystem::path companion_of(const std::filesystem::path& path, std::string_view suffix) {
  std::filesystem::path companion = path;
  companion += suffix;
  return companion;
}

/// A persistent journal that was finished has its header overwritten with zeros.
Result<bool> is_hot_journal(const std::filesystem::path& journal) {
  const auto size = companion_size(journal);
  if (!size) return std::unexpected(size.error());
  if (*size < sizeof(journal_magic)) return false;
  const auto descriptor = base::open_file(journal, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  std::array<std::byte, sizeof(journal_magic)> magic{};
  const auto count = base::read_at(descriptor->get(), magic, 0, journal);
  if (!count) return std::unexpected(count.error());
  return *count == magic.size() && base::load_big_endian<std::uint64_t>(magic.data()) == journal_magic;
}

}  // namespace

Status require_no_pending_changes(const std::filesystem::path& path) {
  const auto wal_size = companion_size(companion_of(path, "-wal"));
  if (!wal_size) return std::unexpected(wal_size.error());
  if (*wal_size > 0) {
    return refuse(
        ErrorCode::failed_precondition, path,
        fmt::format("its -wal file has {} bytes, so the database file alone is not the database; close "
                    "the programs that use it, or run 'PRAGMA wal_checkpoint(TRUNCATE)'",
                    *wal_size));
  }
  const auto hot = is_hot_journal(companion_of(path, "-journal"));
  if (!hot) return std::unexpected(hot.error());
  if (*hot) {
    return refuse(
        ErrorCode::failed_precondition, path,
        "a transaction is under way or was interrupted (-journal); open and close it with SQLite first");
  }
  return {};
}

Result<DatabaseFile> DatabaseFile::open(const std::filesystem::path& path) {
  auto descriptor = base::open_file(path, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  if (auto settled = require_no_pending_changes(path); !settled) return std::unexpected(settled.error());
  const auto size = base::file_size(descriptor->get(), path);
  if (!size) return std::unexpected(size.error());
  if (*size == 0) return refuse(ErrorCode::failed_precondition, path, "the database is empty (0 bytes)");

  std::array<std::byte, database_header_size> header{};
  const auto count = base::read_at(descriptor->get(), header, 0, path);
  if (!count) return std::unexpected(count.error());
  if (*count < header.size() ||
      std::memcmp(header.data(), database_magic.data(), database_magic.size()) != 0) {
    return refuse(ErrorCode::corrupt, path, "not a SQLite database");
  }
  DatabaseFile file(path, std::move(*descriptor));
  const std::uint32_t page_size = base::load_big_endian<std::uint16_t>(header.data() + page_size_offset);
  file.page_size_ = page_size == 1 ? page_size_max : page_size;
  if (!is_page_size(file.page_size_)) {
    return refuse(ErrorCode::corrupt, path, fmt::format("invalid page size {}", page_size));
  }
  const std::uint64_t pages_in_file = *size / file.page_size_;
  if (*size % file.page_size_ != 0 || pages_in_file > page_count_max) {
    return refuse(ErrorCode::corrupt, path,
                  fmt::format("{} bytes are not a whole number of pages of {}", *size, file.page_size_));
  }
  // SQLite's rule: the size in the header counts when it was written with the last change, else the file's.
  const auto stated = base::load_big_endian<std::uint32_t>(header.data() + page_count_offset);
  const bool valid = stated != 0 && std::memcmp(header.data() + change_counter_offset,
                                                header.data() + version_valid_for_offset, 4) == 0;
  if (valid && stated > pages_in_file) {
    return refuse(ErrorCode::corrupt, path,
                  fmt::format("its header says {} pages, the file has {}", stated, pages_in_file));
  }
  file.page_count_ = valid ? stated : static_cast<std::uint32_t>(pages_in_file);
  return file;
}

Status DatabaseFile::read_page(PageNo number, std::span<std::byte> destination) const {
  const std::uint64_t offset = std::uint64_t{number.value() - 1} * page_size_;
  const auto count = base::read_at(descriptor_.get(), destination, offset, path_);
  if (!count) return std::unexpected(count.error());
  if (*count == destination.size()) return {};
  return refuse(ErrorCode::corrupt, path_,
                fmt::format("page {} is beyond the end of the file", number.value()));
}

Status for_each_page(const DatabaseFile& database, const Context& context,
                     const std::function<Status(const Page&)>& visit) {
  base::Bytes bytes(database.page_size());
  const std::uint32_t skipped = lock_page(database.page_size()).value();
  for (std::uint32_t number = 1; number <= database.page_count(); ++number) {
    if (number % pages_between_checks == 0) {
      if (auto status = context.status("read database"); !status) return status;
    }
    if (number == skipped) continue;
    if (auto status = database.read_page(PageNo(number), bytes); !status) return status;
    if (auto status = visit({PageNo(number), bytes}); !status) return status;
  }
  return {};
}

Result<Checksum> database_checksum(const DatabaseFile& database, const Context& context) {
  Checksum checksum;
  const auto done = for_each_page(database, context, [&checksum](const Page& page) -> Status {
    checksum = checksum.toggled(page_checksum(page.number, page.bytes));
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return checksum;
}

Result<FileInfo> encode_database(const DatabaseFile& database, Sink& sink, const EncodeOptions& options,
                                 const Context& context) {
  Header header;
  header.no_checksum = !options.checksums;
  header.page_size = database.page_size();
  header.commit = database.page_count();
  header.min_txid = options.min_txid;
  header.max_txid = options.max_txid;
  header.timestamp = options.timestamp;
  header.wal_offset = wal_offset_first;
  if (options.checksums && !header.is_snapshot()) {
    return refuse(ErrorCode::invalid_argument, database.path(),
                  "database checksums need a snapshot (TXID 1): the checksum before this file is not known");
  }
  Encoder encoder(options.encoding);
  if (auto begun = encoder.begin(header, sink); !begun) return std::unexpected(begun.error());
  Checksum checksum;
  const auto done = for_each_page(database, context, [&](const Page& page) -> Status {
    if (options.checksums) checksum = checksum.toggled(page_checksum(page.number, page.bytes));
    return encoder.add_page(page.number, page.bytes);
  });
  if (!done) return std::unexpected(done.error());
  return encoder.finish(options.checksums ? std::optional(checksum) : std::nullopt);
}

}  // namespace litecluster::ltx
