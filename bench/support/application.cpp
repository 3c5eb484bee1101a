#include "support/application.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "db/sqlite.hpp"
#include "support/report.hpp"

namespace litecluster::bench {
namespace {

constexpr std::string_view mark = "commit ";
constexpr std::size_t times_kept = std::size_t{1} << 20U;

void sleep_until(std::int64_t nanoseconds) {
  const timespec until{.tv_sec = nanoseconds / 1'000'000'000, .tv_nsec = nanoseconds % 1'000'000'000};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
  }
}

void spin(std::uint32_t microseconds) {
  const std::int64_t until = now_nanoseconds() + std::int64_t{microseconds} * 1000;
  while (now_nanoseconds() < until) {
  }
}

// One open database of the application.
class Table {
 public:
  explicit Table(const std::filesystem::path& path)
      : connection_(need(db::Connection::open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE))) {
    connection_.set_busy_timeout(std::chrono::seconds(10));
    need(connection_.execute(
        "PRAGMA journal_mode=WAL;"
        "CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, account INTEGER, note BLOB);"
        "CREATE INDEX IF NOT EXISTS entry_account ON entry(account)"));
    insert_.emplace(need(connection_.prepare("INSERT INTO entry(id, account, note) VALUES(?1, ?2, ?3)")));
    begin_.emplace(need(connection_.prepare("BEGIN IMMEDIATE")));
    commit_.emplace(need(connection_.prepare("COMMIT")));
    next_ =
        static_cast<std::uint64_t>(need(connection_.query_integer("SELECT max(id) FROM entry")).value_or(0)) +
        1;
  }

  void set_full_sync(bool full) {
    need(connection_.execute(full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL"));
  }

  // Returns the number of the commit.
  std::uint64_t commit(const Work& work) {
    if (work.rows > 1) step(*begin_);
    std::uint64_t number = 0;
    for (std::uint32_t row = 0; row < work.rows; ++row) number = insert(work.payload);
    if (work.rows > 1) step(*commit_);
    return number;
  }

 private:
  static void step(db::Statement& statement) {
    static_cast<void>(need(statement.step()));
    statement.reset();
  }

  std::uint64_t insert(std::uint32_t payload) {
    const std::uint64_t number = next_++;
    note_.resize(payload);
    // Half of it compresses.
    std::size_t at = fmt::format_to_n(note_.begin(), payload, "{}{:020};", mark, number).size;
    for (; at + 8 <= payload; at += 16) {
      const std::uint64_t value = random_();
      std::memcpy(note_.data() + at, &value, sizeof value);
    }
    need(insert_->bind(1, static_cast<std::int64_t>(number)));
    need(insert_->bind(2, static_cast<std::int64_t>(random_() % 50'000)));
    need(insert_->bind(3, base::as_bytes(note_)));
    step(*insert_);
    return number;
  }

  db::Connection connection_;
  std::optional<db::Statement> insert_;
  std::optional<db::Statement> begin_;
  std::optional<db::Statement> commit_;
  std::uint64_t next_ = 1;
  std::string note_;
  std::mt19937_64 random_{1};
};

}  // namespace

struct Application::Shared {
  std::atomic<std::uint64_t> committed{0};
  std::array<std::atomic<std::int64_t>, times_kept> times{};
};

struct Application::Order {
  std::array<char, 512> database{};
  Work work;
};

std::int64_t now_nanoseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Application::Application() : shared_(std::make_unique<test::SharedValue<Shared>>()) {
  std::array<int, 2> orders{};
  std::array<int, 2> outcomes{};
  if (::pipe(orders.data()) != 0 || ::pipe(outcomes.data()) != 0) fail("cannot make a pipe");
  process_.emplace(test::ChildProcess::run([&] {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(orders[1]);
    ::close(outcomes[0]);
    return serve(**shared_, orders[0], outcomes[1]);
  }));
  ::close(orders[0]);
  ::close(outcomes[1]);
  orders_ = orders[1];
  outcomes_ = outcomes[0];
}

Application::~Application() {
  ::close(orders_);
  ::close(outcomes_);
}

int Application::serve(Shared& shared, int orders, int outcomes) {
  std::map<std::string, std::unique_ptr<Table>> tables;
  Order order;
  std::vector<double> waits;
  while (::read(orders, &order, sizeof order) == sizeof order) {
    auto& table = tables[order.database.data()];
    if (!table) table = std::make_unique<Table>(order.database.data());
    table->set_full_sync(order.work.full_sync);
    waits.clear();
    Outcome outcome;
    const std::int64_t begin = now_nanoseconds();
    const auto end = begin + static_cast<std::int64_t>(std::min(order.work.seconds, 1e9) * 1e9);
    std::int64_t now = begin;
    while (now < end && outcome.commits < order.work.commits) {
      if (order.work.rate > 0) {
        sleep_until(begin +
                    static_cast<std::int64_t>(static_cast<double>(outcome.commits) * 1e9 / order.work.rate));
      }
      if (order.work.think_microseconds > 0) spin(order.work.think_microseconds);
      const std::int64_t asked = now_nanoseconds();
      outcome.last = table->commit(order.work);
      now = now_nanoseconds();
      for (std::uint32_t row = 0; row < order.work.rows; ++row) {
        shared.times[(outcome.last - row) % times_kept].store(now, std::memory_order_relaxed);
      }
      shared.committed.store(outcome.last, std::memory_order_release);
      waits.push_back(static_cast<double>(now - asked) / 1e3);
      ++outcome.commits;
    }
    outcome.seconds = static_cast<double>(now_nanoseconds() - begin) / 1e9;
    outcome.commit_p50 = quantile(waits, 0.5);
    outcome.commit_p99 = quantile(waits, 0.99);
    outcome.commit_max = quantile(waits, 1);
    if (::write(outcomes, &outcome, sizeof outcome) != sizeof outcome) return 1;
  }
  return 0;
}

void Application::begin(const std::filesystem::path& database, const Work& work) {
  Order order{.work = work};
  const std::string path = database.string();
  if (path.size() >= order.database.size()) fail("the path is too long");
  std::ranges::copy(path, order.database.begin());
  if (::write(orders_, &order, sizeof order) != sizeof order) fail("the application is gone");
}

Outcome Application::finish() {
  Outcome outcome;
  if (::read(outcomes_, &outcome, sizeof outcome) != sizeof outcome) fail("the application failed");
  return outcome;
}

Outcome Application::run(const std::filesystem::path& database, const Work& work) {
  begin(database, work);
  return finish();
}

std::int64_t Application::committed_at(std::uint64_t number) const {
  return (*shared_)->times[number % times_kept].load(std::memory_order_relaxed);
}

std::uint64_t Application::committed() const {
  return (*shared_)->committed.load(std::memory_order_acquire);
}

std::optional<std::uint64_t> last_commit_in(base::ByteView page) {
  const std::string_view text = base::as_text(page);
  std::optional<std::uint64_t> last;
  for (std::size_t at = text.find(mark); at != std::string_view::npos; at = text.find(mark, at + 1)) {
    std::uint64_t number = 0;
    const std::string_view digits = text.substr(at + mark.size(), 20);
    if (digits.size() < 20 ||
        std::from_chars(digits.data(), digits.data() + 20, number).ptr != digits.data() + 20)
      continue;
    last = std::max(last.value_or(0), number);
  }
  return last;
}

}  // namespace litecluster::bench
