// Keeps SQLite programs out of a database file for the moment in which another file takes its name.
//
// A program that has the database open goes on with the old file after a rename, but finds -wal and -shm by
// name: it would mix two databases. So the file is replaced only when nobody has it open, which SQLite's own
// locks tell: a connection in WAL mode holds a shared lock on the database for as long as it is open, and one
// on the -shm file; in the other modes, for as long as a transaction lasts. While the lock is held, programs
// that come find the database locked.
//
// What locks cannot tell: a program in another journal mode that has the file open and does nothing with it.
// And one that opened the file before the rename, and waits for this lock with a busy timeout, gets the old
// file. So hold it for the rename alone, and not for what may take long.
#pragma once

#include <filesystem>
#include <utility>

#include <litecluster/error.hpp>

#include "base/file_descriptor.hpp"

namespace litecluster::db {

/// Let go when it is destroyed. Never use it in a process that has a SQLite connection to the file: its locks
/// would be lost.
class ReplacementLock {
 public:
  /// Does not wait. Where there is no file, nothing is held. Error: busy, with the process that has the
  /// database open where the system tells; permission_denied.
  [[nodiscard]] static Result<ReplacementLock> take(const std::filesystem::path& database);

 private:
  explicit ReplacementLock(base::FileDescriptor file) : file_(std::move(file)) {}

  base::FileDescriptor file_;
};

}  // namespace litecluster::db
