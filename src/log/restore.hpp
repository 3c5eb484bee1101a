// Brings back a past state of the database from a bucket into a file.
//
// List, plan (restore_plan.hpp), fetch ahead while writing pages into a file beside the output, check, fsync,
// rename. The output appears whole or not at all. Every byte is verified on the way: the SHA-256 digest of
// each object, the checksum, order and completeness of each LTX file, that its TXIDs are those in its name,
// and at the end the checksum of the whole database where the log says what it has to be.
//
// Retention may remove what was planned. Then it is planned again, from the state reached so far if a chain
// still leads on from there, else from the start.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"
#include "log/object_bucket.hpp"
#include "log/restore_plan.hpp"

namespace litecluster::log {

struct RestoreProgress {
  std::size_t objects_done = 0;
  std::size_t objects_total = 0;
  /// Of LTX files. The total may grow when it has to be planned again.
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;
};

struct RestoreOptions {
  std::filesystem::path output{};
  RestoreTarget target{};
  /// Replace what is at `output`; already_exists otherwise, unless it is empty. That holds up to the moment
  /// at which the result takes its place; and in no case is a database replaced whose -wal or -journal has
  /// content (failed_precondition).
  bool overwrite = false;
  /// Called in the caller's thread, often.
  std::function<void(const RestoreProgress&)> on_progress{};
  /// A look at the finished file before it takes its place, for an integrity check by SQLite; an error
  /// discards the file.
  std::function<Status(const std::filesystem::path&)> check{};
  /// Objects that are known to be bad: exactly these are left out of every plan.
  std::vector<Object> without{};
  /// Where objects are missing in the middle, restore what lies before the hole instead of failing.
  bool as_far_as_possible = false;
  /// Told which object a `corrupt` is about.
  std::function<void(const Object&, const Error&)> on_bad{};
  /// Times to plan again before giving up (unavailable).
  int replans_max = 20;
};

struct RestoreReport {
  Txid txid;
  base::WallTime created_at{};
  /// Of the database. Absent when Litestream wrote the last object.
  std::optional<Checksum> checksum;
  /// File checksum of the last object, when it was a raw one that says so.
  std::optional<Checksum> file;
  std::uint32_t page_size = 0;
  std::uint32_t page_count = 0;
  std::size_t objects = 0;
  std::uint64_t bytes = 0;
  int replans = 0;
};

/// The whole log, by listing the bucket.
[[nodiscard]] Result<LogView> read_log(const Context& context, ObjectBucket& bucket);

/// Blocks. Memory: some ten MiB, whatever the size of the database. Errors: those of plan_restore();
/// already_exists; corrupt (names the object); unavailable (it kept vanishing); those of disk and transport.
[[nodiscard]] Result<RestoreReport> restore(const Context& context, ObjectBucket& bucket,
                                            const RestoreOptions& options);

}  // namespace litecluster::log
