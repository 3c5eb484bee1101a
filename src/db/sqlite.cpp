#include "db/sqlite.hpp"

#include "db/sqlite_version.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace litecluster::db {

std::string_view sqlite_version() {
  return ::sqlite3_libversion();
}

ErrorCode error_code_of(int sqlite_result) {
  // Growing the wal-index fails for want of space only; what is written otherwise says SQLITE_FULL then.
  if (sqlite_result == SQLITE_IOERR_SHMSIZE) return ErrorCode::resource_exhausted;
  switch (sqlite_result & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return ErrorCode::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorCode::corrupt;
    case SQLITE_FULL:
    case SQLITE_NOMEM: return ErrorCode::resource_exhausted;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return ErrorCode::permission_denied;
    case SQLITE_TOOBIG: return ErrorCode::too_large;
    case SQLITE_INTERRUPT: return ErrorCode::cancelled;
    default: return ErrorCode::io;
  }
}

Error sqlite_error(int sqlite_result, std::string operation, std::string subject) {
  return {error_code_of(sqlite_result), std::move(operation), std::move(subject),
          fmt::format("{} [SQLite {}]", ::sqlite3_errstr(sqlite_result), sqlite_result)};
}

Result<Connection> Connection::open(const std::filesystem::path& path, int flags) {
  sqlite3* raw = nullptr;
  const int result = ::sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Connection connection(std::unique_ptr<sqlite3, Closer>(raw), path);
  if (result != SQLITE_OK) {
    if (raw == nullptr) return std::unexpected(sqlite_error(result, "open database", path.string()));
    return std::unexpected(connection.error(result, "open database"));
  }
  ::sqlite3_extended_result_codes(raw, 1);
  return connection;
}

void Connection::set_busy_timeout(std::chrono::milliseconds timeout) {
  constexpr std::chrono::milliseconds::rep longest = std::numeric_limits<int>::max();
  ::sqlite3_busy_timeout(handle_.get(), static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(
                                            timeout.count(), 0, longest)));
}

Error Connection::error(int sqlite_result, std::string operation) const {
  const int extended = ::sqlite3_extended_errcode(handle_.get());
  const bool current = (extended & 0xFF) == (sqlite_result & 0xFF);
  const char* text = current ? ::sqlite3_errmsg(handle_.get()) : ::sqlite3_errstr(sqlite_result);
  return {error_code_of(sqlite_result), std::move(operation), path_.string(),
          fmt::format("{} [SQLite {}]", text, current ? extended : sqlite_result)};
}

Status Connection::execute(std::string_view sql) {
  const std::string text(sql);
  const int result = ::sqlite3_exec(handle_.get(), text.c_str(), nullptr, nullptr, nullptr);
  if (result != SQLITE_OK) return std::unexpected(error(result, text));
  return {};
}

Result<Statement> Connection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int result =
      ::sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()), 0, &statement, nullptr);
  if (result != SQLITE_OK) return std::unexpected(error(result, "prepare " + std::string(sql)));
  if (statement == nullptr) {
    return failure(ErrorCode::invalid_argument, "prepare", path_.string(), "no statement in the text");
  }
  return Statement(statement);
}

Result<std::optional<std::int64_t>> Connection::query_integer(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return std::nullopt;
  return statement->integer(0);
}

Result<std::optional<std::string>> Connection::query_text(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(statement.error());
  const auto row = statement->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return std::nullopt;
  return statement->text(0);
}

sqlite3_file* Connection::database_file() const {
  sqlite3_file* file = nullptr;
  ::sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file));
  return file;
}

sqlite3_file* Connection::journal_file() const {
  sqlite3_file* file = nullptr;
  ::sqlite3_file_control(handle_.get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, static_cast<void*>(&file));
  return file;
}

Status Statement::check(int sqlite_result, std::string operation) const {
  if (sqlite_result == SQLITE_OK) return {};
  sqlite3* connection = ::sqlite3_db_handle(handle_.get());
  const char* path = ::sqlite3_db_filename(connection, "main");
  return failure(
      error_code_of(sqlite_result), std::move(operation), path == nullptr ? "" : path,
      fmt::format("{} [SQLite {}]", ::sqlite3_errmsg(connection), ::sqlite3_extended_errcode(connection)));
}

Result<bool> Statement::step() {
  const int result = ::sqlite3_step(handle_.get());
  if (result == SQLITE_ROW) return true;
  if (result == SQLITE_DONE) return false;
  return std::unexpected(check(result, ::sqlite3_sql(handle_.get())).error());
}

void Statement::reset() {
  ::sqlite3_reset(handle_.get());
}

std::int64_t Statement::integer(int column) const {
  return ::sqlite3_column_int64(handle_.get(), column);
}

std::string Statement::text(int column) const {
  const auto* text = ::sqlite3_column_text(handle_.get(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

base::ByteView Statement::blob(int column) const {
  const void* bytes = ::sqlite3_column_blob(handle_.get(), column);
  if (bytes == nullptr) return {};
  return {static_cast<const std::byte*>(bytes),
          static_cast<std::size_t>(::sqlite3_column_bytes(handle_.get(), column))};
}

Status Statement::bind(int parameter, std::int64_t value) {
  return check(::sqlite3_bind_int64(handle_.get(), parameter, value), "bind an integer");
}

Status Statement::bind(int parameter, std::string_view value) {
  return check(::sqlite3_bind_text64(handle_.get(), parameter, value.data(), value.size(), SQLITE_TRANSIENT,
                                     SQLITE_UTF8),
               "bind a text");
}

Status Statement::bind(int parameter, base::ByteView value) {
  return check(::sqlite3_bind_blob64(handle_.get(), parameter, value.data(), value.size(), SQLITE_TRANSIENT),
               "bind a blob");
}

Result<std::size_t> read_file_handle(sqlite3_file* file, std::span<std::byte> destination,
                                     std::uint64_t offset, const std::filesystem::path& subject) {
  if (file == nullptr || file->pMethods == nullptr) {
    return failure(ErrorCode::failed_precondition, "read", subject.string(), "the file is not open");
  }
  const auto size = file_handle_size(file, subject);
  if (!size) return std::unexpected(size.error());
  // The unix VFS takes only the low 17 bits of a size, and fills the rest with zeros.
  constexpr std::size_t at_once = 65536;
  for (std::size_t done = 0; done < destination.size();) {
    const std::span<std::byte> part = destination.subspan(done, std::min(at_once, destination.size() - done));
    const std::uint64_t place = offset + done;
    const int result = file->pMethods->xRead(file, part.data(), static_cast<int>(part.size()),
                                             static_cast<sqlite3_int64>(place));
    if (result != SQLITE_OK && result != SQLITE_IOERR_SHORT_READ) {
      return std::unexpected(sqlite_error(result, "read", subject.string()));
    }
    done += part.size();
  }
  const std::uint64_t available = *size > offset ? *size - offset : 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(available, destination.size()));
}

Result<std::uint64_t> file_handle_size(sqlite3_file* file, const std::filesystem::path& subject) {
  if (file == nullptr || file->pMethods == nullptr) {
    return failure(ErrorCode::failed_precondition, "stat", subject.string(), "the file is not open");
  }
  sqlite3_int64 size = 0;
  const int result = file->pMethods->xFileSize(file, &size);
  if (result != SQLITE_OK) return std::unexpected(sqlite_error(result, "stat", subject.string()));
  return static_cast<std::uint64_t>(size);
}

}  // namespace litecluster::db
