// From a capture to the LTX file that goes into the log.
#pragma once

#include <filesystem>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "db/captured_transaction.hpp"
#include "db/database.hpp"
#include "log/payload.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::replication {

/// Encodes it, into memory, or into a spool file in `spool_directory` when its pages exceed 16 MiB, and
/// records in the database that it is about to be offered as this file (db::Database::note_file()).
[[nodiscard]] Result<log::Payload> encode_payload(db::Database& database,
                                                  const db::CapturedTransaction& captured,
                                                  ltx::Encoder& encoder,
                                                  const std::filesystem::path& spool_directory,
                                                  const Context& context);

}  // namespace litecluster::replication
