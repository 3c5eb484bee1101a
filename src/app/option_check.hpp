// What options have to fulfil, in every mode; the daemon asks the same.
#pragma once

#include <litecluster/app_options.hpp>
#include <litecluster/error.hpp>

namespace litecluster::app {

/// invalid_argument; the error's subject is the option, as the configuration writes it: "ring.partitions".
[[nodiscard]] Status check_options(const AppOptions& options);

}  // namespace litecluster::app
