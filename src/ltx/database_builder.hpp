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
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "ltx/decoder.hpp"
#include "ltx/header.hpp"
#include "ltx/stream.hpp"

namespace litecluster::ltx {

struct BuilderOptions {
  /// Keep the checksum of the database up to date with every page, which costs hashing it and 8 bytes of
  /// memory (32 MiB at most; beyond, reading the page that it replaces). Cheaper than reading the whole
  /// database again for checksum().
  bool track_checksum = false;
};

/// What commit() does with a database that is at the target by then.
enum class Existing { replace, keep };

/// Page bytes are copied as they are; pages that no file holds (the lock page) are zeros. Not thread-safe.
class DatabaseBuilder {
 public:
  /// Starts from nothing: the first file has to be a snapshot or to hold each page up to its commit all the
  /// same. Whatever database is at `target` is replaced by commit(), unless a -wal or -journal beside it has
  /// content (failed_precondition), which SQLite would apply to the new one.
  [[nodiscard]] static Result<DatabaseBuilder> create(const std::filesystem::path& target,
                                                      const BuilderOptions& options = {});
  /// Starts from a copy of the database at `target` (sharing its blocks where the file system can).
  [[nodiscard]] static Result<DatabaseBuilder> update(const std::filesystem::path& target,
                                                      const BuilderOptions& options = {});

  /// Verifies the file while writing its pages. Its TXIDs have to follow those of the file before (`gap`
  /// otherwise), its page size has to be the same, and database checksums, where it has them, have to match
  /// (`corrupt`). After an error every call fails with it.
  [[nodiscard]] Result<FileInfo> apply(Source& file, const Context& context = Context::background());

  /// Checksum of the database as built so far. Reads all of it unless it was tracked or the last file had it.
  [[nodiscard]] Result<Checksum> checksum(const Context& context = Context::background());
  /// 0 before the first file.
  [[nodiscard]] std::uint32_t page_size() const { return page_size_; }
  [[nodiscard]] std::uint32_t page_count() const { return page_count_; }
  /// Max TXID applied so far; none when no file was applied.
  [[nodiscard]] std::optional<Txid> txid() const { return txid_; }
  /// The file that is being built, for a look at it before commit(). Do not write to it.
  [[nodiscard]] const std::filesystem::path& temporary_path() const { return file_.temporary_path(); }

  /// Makes the result durable and puts it in the target's place. Errors: failed_precondition when nothing was
  /// applied, or a -wal or -journal beside the target has content by now; already_exists with Existing::keep
  /// and a file at the target that is not empty.
  [[nodiscard]] Status commit(Existing existing = Existing::replace);

 private:
  DatabaseBuilder(std::filesystem::path target, base::AtomicFile file, const BuilderOptions& options);
  [[nodiscard]] Result<FileInfo> apply_file(Source& file, const Context& context);
  [[nodiscard]] Status check_follows(const Header& header, std::string_view name) const;
  [[nodiscard]] Status check_checksum(std::optional<Checksum> expected, std::string_view which,
                                      std::string_view name, const Context& context);
  [[nodiscard]] Status write_pages(Decoder& decoder, const Context& context);
  [[nodiscard]] Status track_page(const Page& page);
  [[nodiscard]] Status add_to_run(const Page& page);
  [[nodiscard]] Status flush_run();
  [[nodiscard]] Status set_page_count(std::uint32_t commit);
  [[nodiscard]] Result<Checksum> stored_checksum(PageNo number);
  void remember_checksum(PageNo number, Checksum checksum);
  void forget_checksum();

  std::filesystem::path target_;
  base::AtomicFile file_;
  BuilderOptions options_;
  std::uint32_t page_size_ = 0;
  std::uint32_t page_count_ = 0;
  std::optional<Txid> txid_;
  std::optional<Checksum> rolling_;  // of the pages written so far, as long as it is known
  // Of the first pages, by number - 1, as long as rolling_ is known. Unknown: a checksum of no page.
  std::vector<Checksum> known_;
  std::optional<Error> failure_;
  base::Bytes old_page_;
  base::Bytes run_;  // pages that follow each other and go to the file in one write
  PageNo run_start_;
};

}  // namespace litecluster::ltx
