// A plain SQLite database file that nobody has open: read it to encode it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "base/file_descriptor.hpp"
#include "ltx/format.hpp"
#include "ltx/header.hpp"
#include "ltx/page.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

/// Never use it on a file that a SQLite connection of the same process has open: closing its descriptor would
/// drop that connection's locks. Not thread-safe.
class DatabaseFile {
 public:
  /// Refuses (failed_precondition) a database with anything in a -wal or a -journal beside it, since the file
  /// alone would not be the database. Error: corrupt when it is no SQLite database.
  [[nodiscard]] static Result<DatabaseFile> open(const std::filesystem::path& path);

  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }
  [[nodiscard]] std::uint32_t page_count() const { return page_count_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// `destination` has page_size() bytes.
  [[nodiscard]] Status read_page(PageNo number, std::span<std::byte> destination) const;

 private:
  DatabaseFile(std::filesystem::path path, base::FileDescriptor descriptor)
      : path_(std::move(path)), descriptor_(std::move(descriptor)) {}
  std::filesystem::path path_;
  base::FileDescriptor descriptor_;
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
};

/// Fails (failed_precondition) when a -wal with content or an unfinished -journal lies beside the database,
/// so that the file alone is not the database.
[[nodiscard]] Status require_no_pending_changes(const std::filesystem::path& path);

/// Hands every page except the lock page to `visit`, in order; its bytes are valid during the call. Stops at
/// the first Error.
[[nodiscard]] Status for_each_page(const DatabaseFile& database, const Context& context,
                                   const std::function<Status(const Page&)>& visit);

/// Reads all pages. Blocking, O(database).
[[nodiscard]] Result<Checksum> database_checksum(const DatabaseFile& database,
                                                 const Context& context = Context::background());

struct EncodeOptions {
  PageEncoding encoding = PageEncoding::block;
  Txid min_txid = Txid(1);
  Txid max_txid = Txid(1);
  base::WallTime timestamp{};
  /// Write database checksums. Stock Litestream does not accept such files in its buckets.
  bool checksums = false;
};

/// The whole database as one LTX file: a snapshot when options.min_txid is 1, else a full file, for which
/// `checksums` is refused since the checksum before it is unknown. WAL offset 32, WAL size and salts 0.
[[nodiscard]] Result<FileInfo> encode_database(const DatabaseFile& database, Sink& sink,
                                               const EncodeOptions& options,
                                               const Context& context = Context::background());

}  // namespace litecluster::ltx
