// A new leader's fence (log/fence.hpp) made out of its database: the first capture, which holds what was
// committed since the end of the log, or page 1 as it is.
#pragma once

#include <filesystem>
#include <optional>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/database.hpp"
#include "log/fence.hpp"
#include "ltx/encoder.hpp"

namespace litecluster::replication {

/// Not thread-safe. The database outlives it.
class DatabaseFence {
 public:
  DatabaseFence(db::Database& database, ltx::PageEncoding encoding, std::filesystem::path spool_directory)
      : database_(database), encoder_(encoding), spool_directory_(std::move(spool_directory)) {}

  /// Refers to this object. `apply` answers conflict when the log has gone on since the database was
  /// attached: attach anew then.
  [[nodiscard]] log::FenceDriver driver();

 private:
  [[nodiscard]] Status at(const log::LogEnd& end) const;
  [[nodiscard]] Result<log::NewFile> make_file(const Context& context, Txid txid);

  db::Database& database_;
  ltx::Encoder encoder_;
  std::filesystem::path spool_directory_;
  Txid made_for_;
  std::optional<log::NewFile> file_;
};

}  // namespace litecluster::replication
