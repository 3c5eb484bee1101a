// What the capture tests share: a copy of the database that is built from captures alone, and applications in
// processes of their own.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "db/database.hpp"
#include "db/sqlite.hpp"
#include "ltx/checksum.hpp"
#include "ltx/format.hpp"
#include "support/temporary_directory.hpp"

namespace litecluster::db {

/// The database as a standby would have it: nothing but captures, in order.
class Shadow {
 public:
  void apply(const CapturedTransaction& captured) {
    const auto& what = captured.description();
    ASSERT_EQ(what.txid, position_.txid.next());
    if (!what.complete) {
      ASSERT_EQ(what.checksum_before, position_.checksum) << to_string(what.txid);
    }
    page_size_ = what.page_size;
    if (what.complete) {
      image_.clear();
      sums_.clear();
      checksum_ = Checksum();
    }
    const std::uint32_t pages_before = pages();
    for (std::uint32_t page = what.commit + 1; page <= pages_before; ++page) toggle(PageNo(page), 0);
    image_.resize(std::uint64_t{what.commit} * page_size_);
    sums_.resize(what.commit, 0);
    std::vector<bool> written(what.commit, false);
    const auto read = captured.for_each_page(Context::background(), [&](const ltx::Page& page) -> Status {
      EXPECT_LE(page.number.value(), what.commit);
      std::memcpy(image_.data() + std::uint64_t{page.number.value() - 1} * page_size_, page.bytes.data(),
                  page_size_);
      toggle(page.number, ltx::page_checksum(page.number, page.bytes).value());
      written[page.number.value() - 1] = true;
      return {};
    });
    ASSERT_TRUE(read) << read.error().message();
    for (std::uint32_t page = what.complete ? 1 : pages_before + 1; page <= what.commit; ++page) {
      ASSERT_TRUE(written[page - 1] || PageNo(page) == ltx::lock_page(page_size_))
          << "page " << page << " is new and missing in " << to_string(what.txid);
    }
    position_ = captured.position();
    ASSERT_EQ(checksum_, what.checksum) << to_string(what.txid);
  }

  [[nodiscard]] const Position& position() const { return position_; }
  [[nodiscard]] const base::Bytes& image() const { return image_; }
  [[nodiscard]] std::uint32_t pages() const { return static_cast<std::uint32_t>(sums_.size()); }

  /// Opens the copy with SQLite: PRAGMA integrity_check, and `query`'s text if given.
  std::string check(const std::string& query = {}) const {
    const test::TemporaryDirectory directory;
    const auto path = directory / "copy.db";
    base::Bytes bytes = image_;
    // As a file without a WAL: readers need no -shm.
    if (bytes.size() > 20) bytes[18] = bytes[19] = std::byte{1};
    auto file = base::AtomicFile::create(path);
    EXPECT_TRUE(file && file->append(bytes));
    auto connection = Connection::open(file->temporary_path());
    EXPECT_TRUE(connection);
    auto answer = connection->query_text("PRAGMA integrity_check");
    EXPECT_TRUE(answer) << answer.error().message();
    if (!answer || answer->value_or("") != "ok") return answer ? answer->value_or("") : "error";
    if (query.empty()) return "ok";
    auto result = connection->query_text(query);
    EXPECT_TRUE(result) << result.error().message();
    return result ? result->value_or("") : "error";
  }

 private:
  void toggle(PageNo page, std::uint64_t now) {
    std::uint64_t& stored = sums_[page.value() - 1];
    if (stored != 0) checksum_ = checksum_.toggled(Checksum(stored));
    if (now != 0) checksum_ = checksum_.toggled(Checksum(now));
    stored = now;
  }

  Position position_;
  Checksum checksum_;
  std::uint32_t page_size_ = 0;
  base::Bytes image_;
  std::vector<std::uint64_t> sums_;
};

/// The application: a connection in this process. (It is another connection to SQLite's locking all the
/// same.)
class Application {
 public:
  explicit Application(const std::filesystem::path& path, const std::string& setup = {}) {
    auto opened = Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    EXPECT_TRUE(opened) << opened.error().message();
    connection_ = std::make_unique<Connection>(std::move(*opened));
    connection_->set_busy_timeout(std::chrono::seconds(20));
    if (!setup.empty()) run(setup);
  }
  void run(const std::string& sql) {
    const auto done = connection_->execute(sql);
    ASSERT_TRUE(done) << done.error().message();
  }
  std::string ask(const std::string& sql) {
    const auto answer = connection_->query_text(sql);
    EXPECT_TRUE(answer) << answer.error().message();
    return answer ? answer->value_or("") : "error";
  }
  /// Result code of the checkpoint.
  int checkpoint(int mode) {
    return ::sqlite3_wal_checkpoint_v2(connection_->handle(), "main", mode, nullptr, nullptr);
  }
  Connection& connection() { return *connection_; }

 private:
  std::unique_ptr<Connection> connection_;
};

/// A child process; killed with the object.
class Process {
 public:
  Process() = default;
  Process(const std::string& program, const std::vector<std::string>& arguments,
          const std::string& fault = {}) {
    std::vector<char*> words{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    id_ = ::fork();
    if (id_ != 0) return;
    if (!fault.empty()) ::setenv("LITECLUSTER_FAULT", fault.c_str(), 1);
    ::execv(program.c_str(), words.data());
    ::_exit(127);
  }
  Process(Process&& other) noexcept : id_(std::exchange(other.id_, 0)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Process() {
    if (id_ > 0) {
      ::kill(id_, SIGKILL);
      wait();
    }
  }
  /// Exit status as waitpid() gives it.
  int wait() {
    int status = 0;
    if (id_ > 0) ::waitpid(id_, &status, 0);
    id_ = 0;
    return status;
  }
  /// Waits until it has stopped itself.
  bool wait_for_stop() const {
    int status = 0;
    return ::waitpid(id_, &status, WUNTRACED) == id_ && WIFSTOPPED(status);
  }
  [[nodiscard]] bool running() {
    if (id_ <= 0) return false;
    if (::waitpid(id_, nullptr, WNOHANG) != id_) return true;
    id_ = 0;
    return false;
  }
  void signal(int number) const { ::kill(id_, number); }

 private:
  pid_t id_ = 0;
};

/// Captures until there is nothing more, applies and acknowledges.
inline void follow(Database& database, Shadow& shadow) {
  for (;;) {
    auto captured = database.capture();
    ASSERT_TRUE(captured) << captured.error().message();
    if (!*captured) return;
    shadow.apply(**captured);
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(database.acknowledge((*captured)->txid(), Epoch(1)));
  }
}

inline std::unique_ptr<Database> attach(const DatabaseOptions& options,
                                        std::optional<LogEnd> end = LogEnd{}) {
  auto database = Database::attach(options, end);
  EXPECT_TRUE(database) << database.error().message();
  return database ? std::move(*database) : nullptr;
}

inline LogEnd end_of(const Shadow& shadow) {
  return {.txid = shadow.position().txid, .checksum = shadow.position().checksum, .epoch = Epoch(1)};
}

/// A table that says in each transaction what table t holds, so that any state can be asked whether it is
/// one.
inline const std::string ledger_table =
    "CREATE TABLE ledger(commits INTEGER, bytes INTEGER); INSERT INTO ledger VALUES(0, 0);";
/// "ok <commits>", or what is wrong.
inline const std::string ledger_check =
    "SELECT CASE WHEN bytes = (SELECT coalesce(sum(length(x)), 0) FROM t) THEN 'ok ' || commits ELSE 'torn' "
    "END "
    "FROM ledger";

/// A query whose answer names the whole content of table t.
inline const std::string digest_of_t =
    "SELECT count(*) || '/' || coalesce(sum(length(x)), 0) || '/' || coalesce(sum(unicode(substr(x, 1 + id % "
    "7)) * (id % 1009)), 0) FROM t";

}  // namespace litecluster::db
