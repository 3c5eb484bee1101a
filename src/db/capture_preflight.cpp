#include "db/capture_preflight.hpp"

#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/file.hpp"
#include "db/sqlite.hpp"

namespace litecluster::db {

namespace {

constexpr std::string_view operation = "attach to database";

// From linux/magic.h and the file systems' own headers. SQLite's WAL needs memory shared by all processes
// that use the file, which these cannot give across hosts.
constexpr std::array<std::pair<std::uint32_t, std::string_view>, 6> network_file_systems{{
    {0x6969U, "NFS"},
    {0x517BU, "SMB"},
    {0xFF534D42U, "CIFS"},
    {0xFE534D42U, "SMB2"},
    {0x00C36400U, "Ceph"},
    {0x01021997U, "9P"},
}};

std::unexpected<Error> refuse(ErrorCode code, const std::filesystem::path& path, std::string reason) {
  return failure(code, std::string(operation), path.string(), std::move(reason));
}

Status check_file_system(const std::filesystem::path& path) {
  struct statfs status{};
  if (::statfs(path.c_str(), &status) != 0) {
    return std::unexpected(base::errno_error(errno, std::string(operation), path.string()));
  }
  const auto type = static_cast<std::uint32_t>(status.f_type);
  for (const auto& [magic, name] : network_file_systems) {
    if (type != magic) continue;
    return refuse(ErrorCode::unsupported, path,
                  fmt::format("it lies on {}: SQLite's WAL mode needs a local file system", name));
  }
  return {};
}

Status explain(const Error& error, const std::filesystem::path& path) {
  if (error.code() == ErrorCode::corrupt) {
    return refuse(ErrorCode::corrupt, path,
                  "it is not a SQLite database, or it is encrypted (" + error.reason() + ")");
  }
  if (error.code() == ErrorCode::busy) {
    return refuse(ErrorCode::busy, path,
                  "another program holds it exclusively; a backend must not use PRAGMA locking_mode = "
                  "EXCLUSIVE (" +
                      error.reason() + ")");
  }
  return std::unexpected(error.within(std::string(operation), path.string()));
}

}  // namespace

Status check_location(const std::filesystem::path& path) {
  const std::string text = path.string();
  if (text.empty() || text == ":memory:" || text.starts_with("file:")) {
    return refuse(ErrorCode::unsupported, path,
                  "only a database in a file, named by its plain path, can be replicated");
  }
  struct stat status{};
  if (::stat(text.c_str(), &status) != 0) {
    return std::unexpected(base::errno_error(errno, std::string(operation), text));
  }
  if (!S_ISREG(status.st_mode)) return refuse(ErrorCode::unsupported, path, "it is not a regular file");
  if (auto local = check_file_system(path); !local) return local;
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
  if (::access(directory.c_str(), W_OK | X_OK) != 0) {
    return refuse(ErrorCode::permission_denied, path,
                  "its directory " + directory.string() +
                      " is not writable for us; SQLite keeps the -wal and -shm files there");
  }
  if (::access(text.c_str(), R_OK | W_OK) != 0) {
    return refuse(ErrorCode::permission_denied, path,
                  "it is not readable and writable for us; taking part in SQLite's locking needs both");
  }
  if (status.st_size == 0) {
    return refuse(ErrorCode::failed_precondition, path,
                  "it is empty: there is no database before the application wrote its first table");
  }
  return {};
}

Status check_content(const std::filesystem::path& path, bool switch_to_wal,
                     std::chrono::milliseconds busy_timeout) {
  auto connection = Connection::open(path);
  if (!connection) return explain(connection.error(), path);
  ::sqlite3_db_config(connection->handle(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  connection->set_busy_timeout(busy_timeout);
  if (auto read = connection->query_integer("PRAGMA schema_version"); !read) {
    return explain(read.error(), path);
  }
  auto mode = connection->query_text("PRAGMA journal_mode");
  if (!mode) return explain(mode.error(), path);
  if (*mode == "wal") return {};
  if (!switch_to_wal) {
    return refuse(
        ErrorCode::failed_precondition, path,
        fmt::format("its journal mode is '{}', and WAL is needed: run PRAGMA journal_mode = WAL on it "
                    "once, or let us do so (replicate --switch-to-wal; run does it by itself)",
                    mode->value_or("?")));
  }
  mode = connection->query_text("PRAGMA journal_mode = WAL");
  if (!mode) return explain(mode.error(), path);
  if (*mode == "wal") return {};
  return refuse(ErrorCode::failed_precondition, path,
                fmt::format("it could not be switched to WAL mode and stays in '{}'", mode->value_or("?")));
}

}  // namespace litecluster::db
