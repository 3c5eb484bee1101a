#include "cli/demo/demo_writers.hpp"

#include <httplib.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto pause_between_writes = 5ms;
constexpr auto pause_between_syncs = 20ms;

}  // namespace

DemoWriters::DemoWriters(int clients, std::vector<std::uint16_t> ports, DemoSync sync)
    : ports_(std::move(ports)) {
  for (int client = 0; client < clients; ++client) threads_.emplace_back([this, client] { write(client); });
  threads_.emplace_back([this, sync = std::move(sync)] { keep_syncing(sync); });
}

void DemoWriters::stop() {
  stop_.cancel();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void DemoWriters::write(int client) {
  std::size_t target = 0;
  std::unique_ptr<httplib::Client> connection;
  for (int number = 0; !stop_.done(); ++number) {
    if (!connection) {
      connection = std::make_unique<httplib::Client>("127.0.0.1", ports_[target]);
      connection->set_keep_alive(true);
      connection->set_tcp_nodelay(true);
      connection->set_connection_timeout(1s);
      connection->set_read_timeout(2s);
    }
    const std::string text = "client-" + std::to_string(client) + "-write-" + std::to_string(number);
    const auto sent = DemoClock::now();
    const auto response = connection->Post("/entries", text, "text/plain");
    if (response && response->status == 201) {
      {
        const base::MutexLock lock(mutex_);
        answers_.push_back(
            {.text = text, .port = ports_[target], .sent = sent, .answered = DemoClock::now()});
      }
      stop_.wait_for(pause_between_writes);
      continue;
    }
    // Not known whether it was committed: it is not counted, and its text is not used again.
    connection.reset();
    target = (target + 1) % ports_.size();
    stop_.wait_for(2ms);
  }
}

// An answer counts as replicated when it came after this term had been seen, from the node that leads in it,
// and before a sync() of that node that ended in the same term. What was answered before may belong to an
// earlier term, and then says nothing about the log.
void DemoWriters::keep_syncing(const DemoSync& sync) {
  std::optional<DemoLeader> term;
  std::size_t counted = 0;
  while (!stop_.wait_for(pause_between_syncs)) {
    const auto before = sync.leader(stop_);
    std::size_t answered = 0;
    {
      const base::MutexLock lock(mutex_);
      answered = answers_.size();
    }
    if (!before) continue;
    if (before != term) {
      term = before;
      counted = answered;
      continue;
    }
    if (!sync.sync(stop_, before->port) || sync.leader(stop_) != before) continue;
    const base::MutexLock lock(mutex_);
    for (; counted < answered; ++counted) {
      if (answers_[counted].port == before->port) replicated_.insert(answers_[counted].text);
    }
  }
}

std::set<std::string> DemoWriters::acknowledged() const {
  const base::MutexLock lock(mutex_);
  std::set<std::string> texts;
  for (const Answer& answer : answers_) texts.insert(answer.text);
  return texts;
}

std::set<std::string> DemoWriters::replicated() const {
  const base::MutexLock lock(mutex_);
  return replicated_;
}

DemoClock::duration DemoWriters::longest_silence(DemoClock::time_point begin) const {
  std::vector<DemoClock::time_point> moments{begin};
  {
    const base::MutexLock lock(mutex_);
    for (const Answer& answer : answers_) {
      if (answer.answered > begin) moments.push_back(answer.answered);
    }
  }
  moments.push_back(DemoClock::now());
  std::ranges::sort(moments);
  DemoClock::duration longest{};
  for (std::size_t index = 1; index < moments.size(); ++index) {
    longest = std::max(longest, moments[index] - moments[index - 1]);
  }
  return longest;
}

bool DemoWriters::wait_served(const Context& context, DemoClock::time_point moment) const {
  do {
    const base::MutexLock lock(mutex_);
    for (auto answer = answers_.rbegin(); answer != answers_.rend() && answer->answered > moment; ++answer) {
      if (answer->sent > moment) return true;
    }
  } while (!context.wait_for(10ms));
  return false;
}

}  // namespace litecluster::cli
