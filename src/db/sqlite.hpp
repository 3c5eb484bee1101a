// Thin owners of SQLite handles, and SQLite's result codes as Errors. No policy here: what is opened, pinned
// or checkpointed when is decided by the classes that use them.
//
// POSIX locks: SQLite keeps its locks with fcntl, and closing *any* descriptor of a file drops every lock
// that the process holds on it. So nobody in this process may open and close a database file, its -wal or its
// -shm with open(2) while a Connection to it lives. Read through read_file_handle() of the connection
// instead, or keep a descriptor that is closed after the last connection.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"

namespace litecluster::db {

/// SQLITE_BUSY and _LOCKED are busy, _CORRUPT and _NOTADB corrupt, _FULL, _NOMEM and _IOERR_SHMSIZE
/// resource_exhausted,
/// _READONLY, _PERM and _AUTH permission_denied, _TOOBIG too_large, _INTERRUPT cancelled, all else io.
[[nodiscard]] ErrorCode error_code_of(int sqlite_result);

/// An Error whose reason is SQLite's text for the result code, with the extended code in brackets.
[[nodiscard]] Error sqlite_error(int sqlite_result, std::string operation, std::string subject);

class Statement;

/// Owns one sqlite3 connection. Not thread-safe (opened with SQLITE_OPEN_NOMUTEX): one thread at a time.
class Connection {
 public:
  /// Opens `path` as it is written (no URI). `flags` are SQLITE_OPEN_READWRITE, _READONLY, _CREATE; NOMUTEX
  /// and extended result codes are added. Nothing is read from the file yet: the first statement does.
  [[nodiscard]] static Result<Connection> open(const std::filesystem::path& path,
                                               int flags = SQLITE_OPEN_READWRITE);

  [[nodiscard]] sqlite3* handle() const { return handle_.get(); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// How long a statement waits for locks before it fails with busy. 0: not at all (the default).
  void set_busy_timeout(std::chrono::milliseconds timeout);

  /// Runs all statements in `sql`, ignoring rows.
  [[nodiscard]] Status execute(std::string_view sql);
  [[nodiscard]] Result<Statement> prepare(std::string_view sql);
  /// First column of the first row. nullopt: no row.
  [[nodiscard]] Result<std::optional<std::int64_t>> query_integer(std::string_view sql);
  [[nodiscard]] Result<std::optional<std::string>> query_text(std::string_view sql);

  /// True inside BEGIN ... COMMIT/ROLLBACK.
  [[nodiscard]] bool in_transaction() const { return ::sqlite3_get_autocommit(handle_.get()) == 0; }

  /// SQLITE_FCNTL_FILE_POINTER and _JOURNAL_POINTER of "main": the connection's own file handles, valid while
  /// the connection lives. The journal pointer is the WAL's in WAL mode, and its pMethods are null until the
  /// connection has opened the WAL (by a first read). Never null itself; owned by the connection.
  [[nodiscard]] sqlite3_file* database_file() const;
  [[nodiscard]] sqlite3_file* journal_file() const;

  /// An Error for `sqlite_result` of a call on this connection, with SQLite's message for it.
  [[nodiscard]] Error error(int sqlite_result, std::string operation) const;

 private:
  struct Closer {
    void operator()(sqlite3* handle) const { ::sqlite3_close_v2(handle); }
  };
  Connection(std::unique_ptr<sqlite3, Closer> handle, std::filesystem::path path)
      : handle_(std::move(handle)), path_(std::move(path)) {}

  std::unique_ptr<sqlite3, Closer> handle_;
  std::filesystem::path path_;
};

/// Owns one prepared statement; must not outlive its Connection's use. Not thread-safe.
class Statement {
 public:
  /// True when there is a row to read, false at the end.
  [[nodiscard]] Result<bool> step();
  /// Back to before the first row; bindings stay. Lets go of the statement's read transaction.
  void reset();

  /// Columns count from 0, parameters from 1 (SQLite's own counting). Text and blobs are copied.
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string text(int column) const;
  /// Valid until the next step() or reset().
  [[nodiscard]] base::ByteView blob(int column) const;
  [[nodiscard]] Status bind(int parameter, std::int64_t value);
  [[nodiscard]] Status bind(int parameter, std::string_view value);
  [[nodiscard]] Status bind(int parameter, base::ByteView value);

  [[nodiscard]] sqlite3_stmt* handle() const { return handle_.get(); }

 private:
  friend class Connection;
  struct Finalizer {
    void operator()(sqlite3_stmt* handle) const { ::sqlite3_finalize(handle); }
  };
  explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
  [[nodiscard]] Status check(int sqlite_result, std::string operation) const;

  std::unique_ptr<sqlite3_stmt, Finalizer> handle_;
};

/// Reads through a connection's own file handle (xRead). Returns the bytes read: fewer than asked for only at
/// the end of the file, with the rest of `destination` zeroed. `subject` is for the error's text.
[[nodiscard]] Result<std::size_t> read_file_handle(sqlite3_file* file, std::span<std::byte> destination,
                                                   std::uint64_t offset,
                                                   const std::filesystem::path& subject);
/// xFileSize.
[[nodiscard]] Result<std::uint64_t> file_handle_size(sqlite3_file* file,
                                                     const std::filesystem::path& subject);

}  // namespace litecluster::db
