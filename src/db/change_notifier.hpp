// Waits for something to happen to the files of a database, by inotify: writes to the WAL, and files that
// appear, vanish or are renamed in its directory.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/file_descriptor.hpp"

namespace litecluster::db {

/// wait() and drain() in one thread, wake() in any.
class ChangeNotifier {
 public:
  struct Seen {
    /// The WAL was written to.
    bool written = false;
    /// The database or its WAL was created, removed or renamed.
    bool renamed = false;
  };

  /// The WAL exists. Error: resource_exhausted when the user's inotify limits are used up; the reason names
  /// the setting.
  [[nodiscard]] static Result<std::unique_ptr<ChangeNotifier>> create(const std::filesystem::path& database);

  /// What has been reported since the last call. Does not block.
  [[nodiscard]] Seen drain();
  /// Returns after `delay`, at a wake(), when the context is done, and, when `listen`, at a report.
  void wait(std::chrono::nanoseconds delay, bool listen, const Context& context);
  /// Ends a running wait() or the next one. Thread-safe.
  void wake();
  /// True once after a wake().
  [[nodiscard]] bool take_wake();

 private:
  ChangeNotifier(base::FileDescriptor inotify, base::FileDescriptor event, std::string database_name);

  base::FileDescriptor inotify_;
  base::FileDescriptor event_;
  std::string database_name_;
  std::string wal_name_;
  int wal_watch_ = -1;
};

}  // namespace litecluster::db
