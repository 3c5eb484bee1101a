// Makes an empty database in WAL mode, for the first leader of a cluster that has none yet.
#pragma once

#include <filesystem>

#include <litecluster/error.hpp>

namespace litecluster::db {

/// Creates a database of one page in WAL mode. Fine when one is there already.
[[nodiscard]] Status create_empty_database(const std::filesystem::path& path);

}  // namespace litecluster::db
