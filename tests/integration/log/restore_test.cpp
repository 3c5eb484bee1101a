// Restores of databases that are not small.
#include "log/restore.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>
#include <string>

#include "integration/log/log_bucket_fixture.hpp"
#include "log/maintenance.hpp"

namespace litecluster::log {
namespace {

using namespace std::chrono_literals;
using test::author;
using test::soon;

/// Largest resident size of this process so far, in bytes.
std::uint64_t peak_resident() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

class LargeRestoreTest : public test::LogBucketTest {
 protected:
  static constexpr std::uint32_t page_size = 4096;
  /// $LITECLUSTER_LARGE_MIB makes it larger: the promise holds for any size.
  static std::uint32_t page_count() {
    const char* text = std::getenv("LITECLUSTER_LARGE_MIB");
    const std::uint32_t mebibytes = text == nullptr ? 96 : static_cast<std::uint32_t>(std::atoi(text));
    return mebibytes * (1024 * 1024 / page_size);
  }

  /// The page's content follows from its number; half of it does not compress.
  static void fill(PageNo number, std::span<std::byte> page) {
    std::mt19937_64 random(number.value());
    std::memset(page.data(), 0, page.size());
    for (std::size_t offset = 0; offset < page.size() / 2; offset += 8) {
      const std::uint64_t value = random();
      std::memcpy(page.data() + offset, &value, sizeof value);
    }
  }

  static Status write_snapshot(ltx::Sink& sink, base::WallTime time) {
    ltx::Header header;
    header.page_size = page_size;
    header.commit = page_count();
    header.min_txid = Txid(1);
    header.max_txid = Txid(1);
    header.timestamp = time;
    ltx::Encoder encoder;
    base::Bytes page(page_size);
    if (auto begun = encoder.begin(header, sink); !begun) return begun;
    for (std::uint32_t number = 1; number <= page_count(); ++number) {
      if (PageNo(number) == ltx::lock_page(page_size)) continue;
      fill(PageNo(number), page);
      if (auto added = encoder.add_page(PageNo(number), page); !added) return added;
    }
    const auto info = encoder.finish();
    if (!info) return std::unexpected(info.error());
    return {};
  }
};

TEST_F(LargeRestoreTest, NeedsLittleMemoryForSnapshotAndRestore) {
  const std::uint64_t before = peak_resident();
  Maintenance maintenance(*bucket_, author(1));
  const auto time = base::system_clock().wall_time();
  const auto object = maintenance.put_snapshot(
      soon(600s), Txid(1), time, {}, [time](ltx::Sink& sink) { return write_snapshot(sink, time); });
  ASSERT_OK(object);
  const auto put = std::chrono::steady_clock::now();
  const RestoreOptions options{.output = directory_ / "large.db"};
  const auto report = restore(soon(600s), *bucket_, options);
  ASSERT_OK(report);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - put;
  const std::uint64_t grown = peak_resident() - before;
  RecordProperty("restore_ms", static_cast<int>(taken.count() * 1000));
  RecordProperty("peak_growth_mib", static_cast<int>(grown >> 20U));
  std::printf("snapshot and restore of %u MiB: %.1f s to restore, resident size grew by %llu MiB\n",
              page_count() / 256, taken.count(), static_cast<unsigned long long>(grown >> 20U));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(grown, std::uint64_t{90} << 20U);
#endif
  EXPECT_EQ(report->page_count, page_count());
  const auto file = base::open_file(options.output, 0);
  ASSERT_OK(file);
  base::Bytes expected(page_size);
  base::Bytes page(page_size);
  for (std::uint32_t number = 1; number <= page_count(); number += 97) {
    fill(PageNo(number), expected);
    if (PageNo(number) == ltx::lock_page(page_size)) std::ranges::fill(expected, std::byte{0});
    ASSERT_OK(base::read_at(file->get(), page, std::uint64_t{number - 1} * page_size, options.output));
    ASSERT_EQ(page, expected) << number;
  }
}

}  // namespace
}  // namespace litecluster::log
