// What has to be true of a database before we attach to it, and the clear words when it is not.
#pragma once

#include <chrono>
#include <filesystem>

#include <litecluster/error.hpp>

namespace litecluster::db {

/// Checks the path, the file system and the directory, before SQLite touches anything. Errors: unsupported
/// in-memory or network file system; not_found; failed_precondition empty file; permission_denied.
[[nodiscard]] Status check_location(const std::filesystem::path& path);

/// Opens the database once to see that it is one, and in WAL mode; switches it when allowed. Errors: corrupt
/// not a database or encrypted; busy held exclusively; failed_precondition not in WAL mode.
[[nodiscard]] Status check_content(const std::filesystem::path& path, bool switch_to_wal,
                                   std::chrono::milliseconds busy_timeout);

}  // namespace litecluster::db
