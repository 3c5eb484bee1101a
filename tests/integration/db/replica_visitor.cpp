// A program that opens a replica from outside, with SQLite's locks of its own (a forked copy of a process
// that has the database open has none).
//
//   replica_visitor sql PATH STATEMENT...     runs them; prints the first value of the last one
//   replica_visitor die PATH                  begins to start the WAL anew and dies between the two headers
//   replica_visitor watch PATH STOP SEED      checks the invariant of test::Workload in one read transaction
//                                             after the other until the file STOP exists; prints the number
//   replica_visitor hold PATH STOP            the same with one transaction that stays open all the time
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <random>
#include <string_view>
#include <thread>

#include "db/wal_writer_transaction.hpp"
#include "support/child_process.hpp"
#include "support/replica_source.hpp"

namespace litecluster {
namespace {

db::Connection open(const std::filesystem::path& path) {
  auto connection = db::Connection::open(path, SQLITE_OPEN_READWRITE);
  test::require(connection.has_value(), connection ? "" : connection.error().message());
  connection->set_busy_timeout(std::chrono::seconds(10));
  return std::move(*connection);
}

int run_statements(const std::filesystem::path& path, int count, char** statements) {
  auto connection = open(path);
  for (int index = 0; index < count; ++index) {
    const auto value = connection.query_text(statements[index]);
    if (!value) {
      std::cout << value.error().message() << std::endl;
      return 1;
    }
    if (index + 1 == count) std::cout << value->value_or("") << std::endl;
  }
  return 0;
}

int die_in_restart(const std::filesystem::path& path) {
  auto connection = open(path);
  const auto page_size = connection.query_integer("PRAGMA page_size");
  auto writer = db::WalWriter::attach(connection, static_cast<std::uint32_t>(**page_size), {});
  auto transaction = (*writer)->begin();
  test::set_fault("replica.wal.publish_half");
  transaction->restart();
  return 1;
}

// Also by memory map, with a connection for each transaction, and without waiting for any lock.
int watch(const std::filesystem::path& path, const std::filesystem::path& stop, unsigned seed) {
  std::mt19937 random(seed);
  test::InvariantReader reader(path);
  std::uint64_t reads = 0;
  for (; !std::filesystem::exists(stop); ++reads) {
    if (random() % 10 == 0) reader.reopen();
    if (seed % 2 == 1) reader.run("PRAGMA mmap_size=268435456");
    reader.check(random() % 20 == 0);
  }
  std::cout << reads << std::endl;
  return 0;
}

int hold(const std::filesystem::path& path, const std::filesystem::path& stop) {
  auto connection = open(path);
  test::require(connection.execute("BEGIN").has_value(), "begin");
  const auto number = [&] { return connection.query_integer("SELECT counter FROM state")->value_or(-1); };
  const auto first = number();
  std::cout << "holding " << first << std::endl;
  while (!std::filesystem::exists(stop)) {
    test::require(number() == first, "a snapshot moved");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return 0;
}

}  // namespace
}  // namespace litecluster

int main(int count, char** arguments) {
  const std::string_view verb = count > 2 ? arguments[1] : "";
  if (verb == "sql") return litecluster::run_statements(arguments[2], count - 3, arguments + 3);
  if (verb == "die") return litecluster::die_in_restart(arguments[2]);
  if (verb == "watch" && count == 5) {
    return litecluster::watch(arguments[2], arguments[3], static_cast<unsigned>(std::atoi(arguments[4])));
  }
  if (verb == "hold" && count == 4) return litecluster::hold(arguments[2], arguments[3]);
  return 2;
}
