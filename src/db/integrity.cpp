#include "db/integrity.hpp"

#include <string>
#include <system_error>

#include "db/sqlite.hpp"

namespace litecluster::db {

Status check_integrity(const std::filesystem::path& path, IntegrityCheck check) {
  if (check == IntegrityCheck::none) return {};
  Result<std::optional<std::string>> verdict = std::optional<std::string>();
  {
    auto connection = Connection::open(path);
    if (!connection) return std::unexpected(connection.error());
    verdict = connection->query_text(check == IntegrityCheck::quick ? "PRAGMA quick_check(5)"
                                                                    : "PRAGMA integrity_check(5)");
  }
  // A database in WAL mode gets both when it is opened; the last connection removes them, unless it failed.
  for (const char* suffix : {"-wal", "-shm"}) {
    std::error_code ignored;
    std::filesystem::remove(path.string() + suffix, ignored);
  }
  if (!verdict) return std::unexpected(verdict.error().within("check integrity"));
  if (*verdict == "ok") return {};
  return failure(ErrorCode::corrupt, "check integrity", path.string(), verdict->value_or("no answer"));
}

}  // namespace litecluster::db
