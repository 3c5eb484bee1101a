// The SQLite that this program runs with.
#pragma once

#include <string_view>

namespace litecluster::db {

/// "3.40.1"
[[nodiscard]] std::string_view sqlite_version();

}  // namespace litecluster::db
