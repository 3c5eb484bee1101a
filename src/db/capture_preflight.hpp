// What has to be true of a database before we attach to it, and the clear words when it is not.
#pragma once

#include <chrono>
#include <filesystem>

#include <sys/types.h>

#include <litecluster/error.hpp>

namespace litecluster::db {

/// Names one file whatever its path: another file under the same path has another identity.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;

  friend constexpr bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

/// Error: not_found, permission_denied, io.
[[nodiscard]] Result<FileIdentity> identify(const std::filesystem::path& path);

/// Checks the path, the file system and the directory, before SQLite touches anything. Errors: unsupported
/// in-memory or network file system; not_found; failed_precondition empty file; permission_denied.
[[nodiscard]] Status check_location(const std::filesystem::path& path);

/// Opens the database once to see that it is one, and in WAL mode; switches it when allowed. Errors: corrupt
/// not a database or encrypted; busy held exclusively; failed_precondition not in WAL mode.
[[nodiscard]] Status check_content(const std::filesystem::path& path, bool switch_to_wal,
                                   std::chrono::milliseconds busy_timeout);

}  // namespace litecluster::db
