// What the commands around a log share: flags, the opened bucket, text for people.
#pragma once

#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "cli/connection_options.hpp"
#include "log/open_bucket.hpp"

namespace litecluster::cli {

/// Opens the bucket that the flags name; it has to exist. invalid_argument when they name none.
[[nodiscard]] Result<log::OpenedBucket> open_log(const Context& context, const ConnectionOptions& options);

/// "512 B", "1.5 MiB".
[[nodiscard]] std::string size_text(std::uint64_t bytes);

}  // namespace litecluster::cli
