// The application of the benchmarks: a process of its own that commits small or large transactions to SQLite
// databases, as fast as it can, at a fixed rate, or with work of its own in between, and notes when.
//
// Each commit inserts one row with the next number as its id, so that whoever sees the row knows which commit
// he sees; the page holds "commit <number>;" as text, so that it can be found in a page as well. The time at
// which COMMIT returned lies in memory shared with the benchmark.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"
#include "support/child_process.hpp"

namespace litecluster::bench {

/// Nanoseconds of the clock that every process of this machine shares.
[[nodiscard]] std::int64_t now_nanoseconds();

struct Work {
  /// Of the application's connection: synchronous=FULL instead of NORMAL.
  bool full_sync = false;
  /// It ends after so long or so many commits, whichever comes first.
  double seconds = 1e9;
  std::uint64_t commits = UINT64_MAX;
  /// Commits per second; 0: as fast as it can.
  double rate = 0;
  /// Processor time that it spends on something else before each commit, in microseconds.
  std::uint32_t think_microseconds = 0;
  /// Bytes in each row, and the share of them that does not compress.
  std::uint32_t payload = 120;
  /// Rows per commit; the last one carries the number.
  std::uint32_t rows = 1;
};

struct Outcome {
  std::uint64_t commits = 0;
  /// The number of the last one.
  std::uint64_t last = 0;
  double seconds = 0;
  /// How long the application waited for one commit, in microseconds.
  double commit_p50 = 0;
  double commit_p99 = 0;
  double commit_max = 0;
};

/// One at a time. Make it first: it forks.
class Application {
 public:
  Application();
  ~Application();
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;

  /// Runs to the end. Makes the database, in WAL mode, when it is missing.
  Outcome run(const std::filesystem::path& database, const Work& work);
  /// The same in two steps.
  void begin(const std::filesystem::path& database, const Work& work);
  Outcome finish();

  /// When the commit that made the row of this number returned. Only the last million rows are known.
  [[nodiscard]] std::int64_t committed_at(std::uint64_t number) const;
  /// The highest number committed so far.
  [[nodiscard]] std::uint64_t committed() const;

 private:
  struct Shared;
  struct Order;
  static int serve(Shared& shared, int orders, int outcomes);

  std::unique_ptr<test::SharedValue<Shared>> shared_;
  std::optional<test::ChildProcess> process_;
  int orders_ = -1;
  int outcomes_ = -1;
};

/// The highest number of a commit whose row lies in this page.
[[nodiscard]] std::optional<std::uint64_t> last_commit_in(base::ByteView page);

}  // namespace litecluster::bench
