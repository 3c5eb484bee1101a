#include "db/replica_checkpointer.hpp"

#include <utility>

namespace litecluster::db {

Status configure_replica_connection(Connection& connection, bool sync) {
  const Status set = connection.execute(sync ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=OFF");
  if (!set) return set;
  // Small cache: next to nothing is read through SQLite.
  return connection.execute("PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-64; PRAGMA mmap_size=0");
}

ReplicaCheckpointer::ReplicaCheckpointer(std::filesystem::path database, const ReplicaRecordFile& record_file,
                                         bool sync)
    : database_(std::move(database)), record_file_(record_file), sync_(sync), thread_([this] { run(); }) {}

ReplicaCheckpointer::~ReplicaCheckpointer() {
  {
    const base::MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ReplicaCheckpointer::request() {
  {
    const base::MutexLock lock(mutex_);
    requested_ = true;
  }
  wake_.notify_one();
}

void ReplicaCheckpointer::wait_until_idle() {
  base::MutexLock lock(mutex_);
  while (requested_ || running_) idle_.wait(lock);
}

ReplicaCheckpointer::Report ReplicaCheckpointer::report() const {
  const base::MutexLock lock(mutex_);
  return report_;
}

void ReplicaCheckpointer::run() {
  std::optional<Connection> connection;
  base::MutexLock lock(mutex_);
  for (;;) {
    while (!requested_ && !stopping_) wake_.wait(lock);
    if (stopping_) return;
    requested_ = false;
    running_ = true;
    lock.unlock();
    const Status done = checkpoint(connection);
    lock.lock();
    running_ = false;
    ++report_.checkpoints;
    report_.error.reset();
    if (!done) report_.error = done.error();
    idle_.notify_all();
  }
}

Status ReplicaCheckpointer::checkpoint(std::optional<Connection>& connection) const {
  if (!connection) {
    auto opened = Connection::open(database_, SQLITE_OPEN_READWRITE);
    if (!opened) return std::unexpected(opened.error());
    opened->set_busy_timeout(std::chrono::seconds(1));
    if (auto set = configure_replica_connection(*opened, sync_); !set) return set;
    // A checkpoint on a connection that never read would not know the page size.
    if (auto read = opened->query_integer("SELECT count(*) FROM sqlite_schema"); !read) {
      return std::unexpected(read.error());
    }
    connection.emplace(std::move(*opened));
  }
  if (sync_) {
    if (auto synced = record_file_.sync(); !synced) return synced;
  }
  const int result =
      ::sqlite3_wal_checkpoint_v2(connection->handle(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (result == SQLITE_OK || (result & 0xFF) == SQLITE_BUSY) return {};
  return std::unexpected(connection->error(result, "checkpoint"));
}

}  // namespace litecluster::db
