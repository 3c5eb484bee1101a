// Asks SQLite whether a database file is sound.
#pragma once

#include <filesystem>

#include <litecluster/error.hpp>

namespace litecluster::db {

enum class IntegrityCheck {
  none,
  quick,  ///< PRAGMA quick_check: structure, not that indexes agree with tables
  full,   ///< PRAGMA integrity_check
};

/// Opens the file, which nobody else is writing, and runs the check; reads all of it. Error: corrupt with
/// SQLite's first findings. Leaves no -wal or -shm behind.
[[nodiscard]] Status check_integrity(const std::filesystem::path& path, IntegrityCheck check);

}  // namespace litecluster::db
