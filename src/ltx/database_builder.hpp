// Turns LTX files into a database file: beside the target, and in its place only when all is verified.
//
//   auto builder = DatabaseBuilder::create("/data/app.db");   // or update(): starts from what is there
//   builder->apply(snapshot);  builder->apply(increment);
//   builder->commit();                                        // fsync, rename
//
// Until commit() the target is not touched; without it nothing is left behind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "ltx/decoder.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

/// Page bytes are copied as they are; a snapshot's holes (only the lock page) become zeros. Not thread-safe.
class DatabaseBuilder {
 public:
  /// Starts from nothing: the first file has to be a snapshot, or another full file (each page up to its
  /// commit). Whatever is at `target` is replaced by commit(), but -wal, -shm and -journal beside it are
  /// refused (failed_precondition) when they have content.
  [[nodiscard]] static Result<DatabaseBuilder> create(const std::filesystem::path& target);
  /// Starts from a copy of the database at `target` (shared extents where the file system can).
  [[nodiscard]] static Result<DatabaseBuilder> update(const std::filesystem::path& target);

  /// Verifies the file while writing its pages. TXIDs have to follow those of the file before (`gap`
  /// otherwise), page sizes to be equal, and database checksums, where the file has them, to match. Any error
  /// makes the builder useless.
  [[nodiscard]] Result<FileInfo> apply(Source& file, const Context& context = Context::background());

  /// Checksum of the database as built so far. Reads all of it unless the last file carried checksums.
  [[nodiscard]] Result<Checksum> checksum();
  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }
  [[nodiscard]] std::uint32_t page_count() const { return page_count_; }
  /// Max TXID applied so far; none when no file was applied.
  [[nodiscard]] std::optional<Txid> txid() const { return txid_; }
  /// The file that is being built, for a check before commit().
  [[nodiscard]] const std::filesystem::path& temporary_path() const { return file_.temporary_path(); }

  /// Makes the result durable and puts it in the target's place.
  [[nodiscard]] Status commit();

 private:
  DatabaseBuilder(std::filesystem::path target, base::AtomicFile file);
  [[nodiscard]] Status check_follows(const Header& header, std::string_view name);
  [[nodiscard]] Status write_pages(Decoder& decoder, const Context& context);
  [[nodiscard]] Status write_page(const Page& page);
  [[nodiscard]] Status set_page_count(std::uint32_t commit);
  [[nodiscard]] Result<Checksum> stored_checksum(PageNo number);

  std::filesystem::path target_;
  base::AtomicFile file_;
  base::Bytes scratch_;
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
  std::optional<Txid> txid_;
  std::optional<Checksum> rolling_;  // known checksum of what is built so far
  bool failed_ = false;
};

}  // namespace litecluster::ltx
