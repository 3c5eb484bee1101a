// From a capture to the LTX file that goes into the log.
#pragma once

#include <filesystem>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "db/captured_transaction.hpp"
#include "log/payload.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::replication {

/// Encodes it: into memory, or into a spool file in `spool_directory` when its pages exceed 16 MiB.
[[nodiscard]] Result<log::Payload> encode_payload(const db::CapturedTransaction& captured,
                                                  ltx::Encoder& encoder,
                                                  const std::filesystem::path& spool_directory,
                                                  const Context& context);

}  // namespace litecluster::replication
