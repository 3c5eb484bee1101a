// What an apply costs. For transactions of 1, 3, 30 and 300 pages of 4 KiB at random places of a database:
// time per transaction (median, 99 %, worst; checkpoints included), transactions and bytes per second; beside
// it, for the ratio, pwrite of the same bytes to a plain file. Then a full scan, and a reader that holds a
// snapshot all the time.
//
//   bench_replica [DIRECTORY [DATABASE_MIB]]
#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/logging.hpp"
#include "db/replica.hpp"
#include "db/sqlite.hpp"

namespace {

using namespace litecluster;
using SteadyClock = std::chrono::steady_clock;

constexpr std::uint32_t page_size = 4096;

double microseconds(SteadyClock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

[[noreturn]] void fail(const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  std::exit(1);
}

base::Bytes first_page(const std::filesystem::path& directory) {
  const auto path = directory / "template.db";
  auto connection = db::Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  if (!connection->execute("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(a)")) std::exit(1);
  connection = db::Connection::open(path);
  static_cast<void>(connection->execute("PRAGMA wal_checkpoint(TRUNCATE)"));
  base::Bytes page(page_size);
  static_cast<void>(connection->query_integer("SELECT count(*) FROM t"));
  if (!db::read_file_handle(connection->database_file(), page, 0, path)) std::exit(1);
  return page;
}

struct Transactions {
  std::vector<base::Bytes> bytes;
  std::vector<std::vector<db::ReplicaPage>> pages;
};

// Sorted random pages with random content, page 1 among them as in most real transactions.
Transactions make(std::mt19937_64& random, const base::Bytes& first, std::uint32_t page_count,
                  std::size_t transactions, std::size_t pages) {
  Transactions made;
  for (std::size_t count = 0; count < transactions; ++count) {
    std::vector<std::uint32_t> numbers = {1};
    while (numbers.size() < pages) {
      numbers.push_back(static_cast<std::uint32_t>(random() % (page_count - 1) + 2));
      std::sort(numbers.begin(), numbers.end());
      numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    }
    base::Bytes& bytes = made.bytes.emplace_back(pages * page_size);
    std::memcpy(bytes.data(), first.data(), page_size);
    for (std::size_t at = page_size; at < bytes.size(); at += 8) {
      const std::uint64_t value = random();
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
    auto& views = made.pages.emplace_back();
    for (std::size_t index = 0; index < pages; ++index) {
      views.push_back({PageNo(numbers[index]), base::ByteView(bytes).subspan(index * page_size, page_size)});
    }
  }
  return made;
}

double plain_writes(const std::filesystem::path& path, const Transactions& transactions) {
  auto file = base::open_file(path, O_RDWR | O_CREAT | O_TRUNC);
  const auto start = SteadyClock::now();
  std::uint64_t offset = 0;
  for (const base::Bytes& bytes : transactions.bytes) {
    if (!base::write_at(file->get(), bytes, offset, path)) std::exit(1);
    offset += bytes.size();
    if (offset > (16U << 20U)) offset = 0;
  }
  return microseconds(SteadyClock::now() - start) / static_cast<double>(transactions.bytes.size());
}

void measure(db::Replica& replica, const char* name, const Transactions& transactions, double plain) {
  std::vector<double> times;
  const auto before = replica.statistics();
  const auto start = SteadyClock::now();
  for (const auto& pages : transactions.pages) {
    const Txid txid = replica.position().txid.next();
    const auto begin = SteadyClock::now();
    const auto applied = replica.apply({.txid_first = txid,
                                        .txid_last = txid,
                                        .epoch = Epoch(1),
                                        .page_size = page_size,
                                        .page_count = replica.page_count(),
                                        .pages = pages,
                                        .checksum = std::nullopt});
    if (!applied) fail(applied.error());
    times.push_back(microseconds(SteadyClock::now() - begin));
  }
  const double seconds = microseconds(SteadyClock::now() - start) / 1e6;
  std::sort(times.begin(), times.end());
  const double mebibytes =
      static_cast<double>(transactions.pages.size() * transactions.pages[0].size() * page_size) / (1 << 20);
  const auto after = replica.statistics();
  fmt::print(
      "{:24} p50 {:8.1f} us  p99 {:8.1f} us  max {:9.1f} us  {:8.0f} TXID/s  {:7.1f} MiB/s  "
      "plain pwrite {:7.1f} us  checkpoints {}  restarts {}  WAL {} frames\n",
      name, times[times.size() / 2], times[times.size() * 99 / 100], times.back(),
      static_cast<double>(times.size()) / seconds, mebibytes / seconds, plain,
      after.checkpoints - before.checkpoints, after.wal_restarts - before.wal_restarts, after.wal_frames);
}

}  // namespace

int main(int argc, char** argv) {
  base::configure_logging(base::LogLevel::warning, base::LogFormat::text);
  std::string pattern = "/tmp/bench-replica-XXXXXX";
  const std::filesystem::path directory = argc > 1 ? argv[1] : ::mkdtemp(pattern.data());
  const auto page_count = static_cast<std::uint32_t>((argc > 2 ? std::atoi(argv[2]) : 200) * 256);
  std::mt19937_64 random(1);
  base::Bytes first = first_page(directory);
  base::store_big_endian(first.data() + 28, page_count);
  for (const bool sync : {true, false}) {
    const auto path = directory / (sync ? "sync.db" : "nosync.db");
    db::ReplicaOptions options;
    options.path = path;
    options.sync = sync;
    auto replica = db::Replica::open(options);
    if (!replica) fail(replica.error());
    const auto start = SteadyClock::now();
    const db::ReplicaSeed seed{.txid = Txid(1),
                               .epoch = Epoch(1),
                               .page_size = page_size,
                               .page_count = page_count,
                               .checksum = std::nullopt};
    const auto seeded = replica->seed(seed, [&](PageNo number, std::span<std::byte> page) -> Status {
      if (number == PageNo(1)) {
        std::memcpy(page.data(), first.data(), page_size);
      } else {
        std::fill(page.begin(), page.end(), static_cast<std::byte>(number.value()));
      }
      return {};
    });
    if (!seeded) fail(seeded.error());
    const double seed_seconds = microseconds(SteadyClock::now() - start) / 1e6;
    fmt::print("sync {}: database of {} MiB, seeded in {:.2f} s\n", sync, page_count / 256, seed_seconds);
    const auto run = [&](const char* name, std::size_t transactions, std::size_t pages) {
      const Transactions made = make(random, first, page_count, transactions, pages);
      measure(*replica, name, made, plain_writes(directory / "plain", made));
    };
    run("1 page", 20000, 1);
    run("3 pages", 20000, 3);
    run("30 pages", 2000, 30);
    run("300 pages", 200, 300);
    {
      auto reader = db::Connection::open(path, SQLITE_OPEN_READWRITE);
      if (!reader->execute("BEGIN; SELECT count(*) FROM sqlite_schema")) std::exit(1);
      run("3 pages, reader stays", 20000, 3);
    }
    run("3 pages, reader gone", 2000, 3);
    const auto scan_start = SteadyClock::now();
    if (const auto checksum = replica->scan(); !checksum) fail(checksum.error());
    const double scan_seconds = microseconds(SteadyClock::now() - scan_start) / 1e6;
    fmt::print("full scan: {:.0f} MiB/s\n", static_cast<double>(page_count) / 256 / scan_seconds);
  }
  if (argc <= 1) std::filesystem::remove_all(directory);
  return 0;
}
