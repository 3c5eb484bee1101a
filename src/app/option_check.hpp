// What options have to fulfil, in every mode; the daemon asks the same.
#pragma once

#include <litecluster/app_options.hpp>
#include <litecluster/error.hpp>

namespace litecluster::app {

/// invalid_argument; the error's subject is the option, as the configuration writes it: "ring.partitions".
[[nodiscard]] Status check_options(const AppOptions& options);
/// What concerns replication alone, with or without election.
[[nodiscard]] Status check_sqlite(const Sqlite& sqlite);

}  // namespace litecluster::app
