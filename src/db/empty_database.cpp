#include "db/empty_database.hpp"

#include "db/sqlite.hpp"

namespace litecluster::db {

Status create_empty_database(const std::filesystem::path& path) {
  auto connection = Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!connection) return std::unexpected(connection.error());
  const auto mode = connection->query_text("PRAGMA journal_mode=WAL");
  if (!mode) return std::unexpected(mode.error());
  if (*mode == "wal") return {};
  return failure(ErrorCode::failed_precondition, "create database", path.string(),
                 "WAL mode is refused: " + mode->value_or("no answer"));
}

}  // namespace litecluster::db
