#include "replication/session_options.hpp"

#include <algorithm>

#include "base/random.hpp"

namespace litecluster::replication {

namespace {

ltx::PageEncoding encoding_of(const Sqlite& sqlite) {
  return sqlite.page_encoding == PageEncoding::frame ? ltx::PageEncoding::frame : ltx::PageEncoding::block;
}

}  // namespace

std::filesystem::path state_directory(const std::filesystem::path& database) {
  return database.parent_path() / ("." + database.filename().string() + "-litecluster");
}

db::DatabaseOptions database_options(const Sqlite& sqlite) {
  db::DatabaseOptions options;
  options.path = sqlite.path;
  options.state_directory = state_directory(sqlite.path);
  options.checkpoint.frames = sqlite.checkpoint_pages;
  options.checkpoint.frames_urgent = std::max(sqlite.checkpoint_pages, sqlite.checkpoint_pages * 4);
  return options;
}

LeaderSessionOptions leader_session_options(const Sqlite& sqlite, const std::string& node) {
  LeaderSessionOptions options;
  options.publisher.batch.min_sync_interval = sqlite.min_sync_interval;
  options.publisher.encoding = encoding_of(sqlite);
  options.publisher.wal_bytes_max = sqlite.wal_bytes_max;
  options.publisher.outbox.directory = state_directory(sqlite.path) / "spool";
  options.publisher.outbox.disk_bytes_max = sqlite.spool_bytes_max;
  options.maintainer.author.node = node.empty() ? "replicate" : node;
  options.maintainer.author.incarnation = base::random_hex(16);
  options.maintainer.encoding = options.publisher.encoding;
  options.maintainer.spool_directory = options.publisher.outbox.directory;
  options.maintainer.snapshot_interval = sqlite.snapshot_interval;
  options.maintainer.retention.retention = sqlite.retention;
  // Raw objects are kept for standbys that were away for a moment, and no longer than all the rest.
  options.maintainer.retention.raw_grace =
      std::min<base::Duration>(options.maintainer.retention.raw_grace, sqlite.retention);
  if (!sqlite.compaction_levels.empty()) {
    options.maintainer.compaction.levels.clear();
    for (const CompactionLevel& level : sqlite.compaction_levels) {
      if (level.level > 0) options.maintainer.compaction.levels.push_back({level.level, level.interval});
    }
  }
  return options;
}

db::LogEnd log_end_of(const log::LogEnd& end) {
  return {.txid = end.txid,
          .checksum = end.checksum,
          .file_checksum = end.file_checksum,
          .epoch = end.author ? end.author->epoch : Epoch(0)};
}

db::LogEnd log_end_of(const log::Object& object) {
  return {.txid = object.name.max,
          .checksum = object.checksum,
          .file_checksum = object.file_checksum,
          .epoch = object.author ? object.author->epoch : Epoch(0)};
}

bool may_pass(const Error& error) {
  switch (error.code()) {
    case ErrorCode::unavailable:
    case ErrorCode::deadline_exceeded:
    case ErrorCode::busy:
    case ErrorCode::conflict:
    case ErrorCode::resource_exhausted:
    case ErrorCode::io: return true;
    default: return false;
  }
}

}  // namespace litecluster::replication
