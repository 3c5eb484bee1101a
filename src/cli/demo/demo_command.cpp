// `litecluster demo`: a three-node cluster on this machine, with leaders killed before your eyes.
//
// The story is the same each time. Clients write all the time; after each event the demo waits until they are
// served again and then checks, with SQLite itself, what the new leader holds: every write that is known to
// have reached the log has to be there. At the end the killed node is back, and every acknowledged write is
// either served or kept aside by the node that had not shipped it, and the copies of all three nodes are
// equal.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/random.hpp"
#include "cli/commands.hpp"
#include "cli/demo/demo_cluster.hpp"
#include "cli/demo/demo_writers.hpp"
#include "cli/temporary_directory.hpp"
#include "daemon/signal_context.hpp"

namespace litecluster::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Texts = std::set<std::string>;

constexpr int clients = 4;
constexpr auto longest_story = 105s;  // with the start and the clean-up, within two minutes
constexpr auto calm = 700ms;          // between the events
constexpr auto stop_grace = 8s;

struct Arguments {
  bool keep = false;
  std::string directory = default_temporary_directory();
};

Texts without(const Texts& all, const Texts& some) {
  Texts rest;
  std::ranges::set_difference(all, some, std::inserter(rest, rest.end()));
  return rest;
}

std::unexpected<Error> wrong(const std::string& what) {
  return failure(ErrorCode::internal, "demo", "", what);
}

class Story {
 public:
  Story(CommandLine& line, const Context& context, DemoCluster& cluster)
      : line_(line), context_(context), cluster_(cluster) {}

  Status tell() {
    leader_ = cluster_.wait_for_leader(context_);
    if (leader_ == nullptr) return wrong("no node became leader");
    say(fmt::format("{} leads; {} clients write all the time", leader_->name(), clients));
    start_writing();
    if (!writers_->wait_served(context_, DemoClock::now())) return wrong("nobody answers the clients");
    context_.wait_for(calm);
    if (auto settled = wait_settled(); !settled) return settled;
    if (auto told = step_down(); !told) return told;
    if (auto told = kill_agent(); !told) return told;
    if (auto told = kill_node(); !told) return told;
    return end();
  }

 private:
  void say(const std::string& text) const {
    if (line_.common.json) return;
    fmt::print("{}\n", text);
    std::fflush(stdout);
  }

  DemoNode* node_at(std::uint16_t port) const {
    for (DemoNode& node : cluster_.nodes()) {
      if (node.port() == port) return &node;
    }
    return nullptr;
  }

  void start_writing() {
    std::vector<std::uint16_t> ports;
    for (const DemoNode& node : cluster_.nodes()) ports.push_back(node.port());
    const auto leader = [this](const Context& context) -> std::optional<DemoLeader> {
      for (const DemoNode& node : cluster_.nodes()) {
        const auto status = node.status(context);
        if (status && status->stage == "active") {
          return DemoLeader{.port = node.port(), .epoch = status->epoch};
        }
      }
      return std::nullopt;
    };
    const auto sync = [this](const Context& context, std::uint16_t port) {
      return node_at(port)->request(context.with_timeout(5s), "sync").has_value();
    };
    writers_ = std::make_unique<DemoWriters>(clients, ports, DemoSync{.leader = leader, .sync = sync});
  }

  // Waits until clients are served again and checks what the leader then holds.
  Status after(const std::string& event, DemoClock::time_point begin, bool planned) {
    if (!writers_->wait_served(context_, DemoClock::now())) return wrong(event + ": nobody serves any more");
    DemoNode* const leader = cluster_.wait_for_leader(context_);
    if (leader == nullptr) return wrong(event + ": no leader");
    const auto silence = std::chrono::duration<double, std::milli>(writers_->longest_silence(begin)).count();
    const Texts replicated = writers_->replicated();
    const Texts acknowledged = writers_->acknowledged();
    const auto held = cluster_.entries(context_, leader->database());
    if (!held) return std::unexpected(held.error());
    if (const Texts lost = without(replicated, *held); !lost.empty()) {
      return wrong(fmt::format("{}: {} replicated writes are not on {}, {} first", event, lost.size(),
                               leader->name(), *lost.begin()));
    }
    const Texts open = without(acknowledged, *held);
    if (planned && !open.empty()) {
      return wrong(fmt::format("{}: {} acknowledged writes are not on {}, {} first", event, open.size(),
                               leader->name(), *open.begin()));
    }
    leader_ = leader;
    const auto status = leader->status(context_);
    say(fmt::format(
        "  nobody served for {:.0f} ms; {} leads in epoch {}\n"
        "  {} acknowledged writes, {} of them known to be replicated: none of these is missing; {}; "
        "integrity_check ok",
        silence, leader->name(), status ? status->epoch : 0, acknowledged.size(), replicated.size(),
        open.empty() ? "none at all is missing"
                     : fmt::format("{} had not been shipped when it happened", open.size())));
    events_.push_back({{"event", event},
                       {"silence_ms", silence},
                       {"leader", leader->name()},
                       {"epoch", status ? status->epoch : 0},
                       {"acknowledged", acknowledged.size()},
                       {"replicated", replicated.size()},
                       {"not_shipped", open.size()}});
    context_.wait_for(calm);
    return {};
  }

  Status step_down() {
    say(fmt::format("\nstep-down of {}", leader_->name()));
    DemoNode* const old = leader_;
    const auto begin = DemoClock::now();
    if (auto done = old->request(context_, "stepdown"); !done) return done;
    if (cluster_.wait_for_leader(context_, old) == nullptr) return wrong("nobody took over");
    return after("step-down", begin, /*planned=*/true);
  }

  Status kill_agent() {
    const auto status = leader_->status(context_);
    if (!status || status->agent_process <= 0)
      return wrong("the leader does not tell its agent's process id");
    say(fmt::format("\nkill -9 of the agent of {} (process {})", leader_->name(), status->agent_process));
    const auto begin = DemoClock::now();
    if (::kill(status->agent_process, SIGKILL) != 0) return wrong("the agent cannot be killed");
    return after("agent killed", begin, /*planned=*/false);
  }

  Status kill_node() {
    say(fmt::format("\nkill -9 of the whole node {}: guard, agent and backend", leader_->name()));
    DemoNode* const old = leader_;
    const auto begin = DemoClock::now();
    old->kill();
    if (cluster_.wait_for_leader(context_, old) == nullptr) return wrong("nobody took over");
    if (auto told = after("node killed", begin, /*planned=*/false); !told) return told;
    say(fmt::format("\n{} comes back", old->name()));
    return old->start(cluster_.program());
  }

  // Every node leads, or follows with something applied: one that has not yet joined cannot take over.
  Status wait_settled() {
    constexpr std::string_view nothing_applied = "0000000000000000/";
    for (DemoNode& node : cluster_.nodes()) {
      while (true) {
        const auto status = node.status(context_);
        const bool takes_part = status && (status->stage == "active" || status->stage == "standby");
        if (takes_part && !status->position.empty() && !status->position.starts_with(nothing_applied)) break;
        if (context_.wait_for(20ms)) return wrong(node.name() + " does not settle");
      }
    }
    return {};
  }

  // Everything is at rest: what is where?
  Status end() {
    if (auto settled = wait_settled(); !settled) return settled;
    writers_->stop();
    DemoNode* const leader = cluster_.wait_for_leader(context_);
    if (leader == nullptr) return wrong("no leader at the end");
    // The last commits as well: positions alone agree while they are on their way.
    if (auto synced = leader->request(context_, "sync"); !synced) return synced;
    const auto served = cluster_.entries(context_, leader->database());
    if (!served) return std::unexpected(served.error());
    if (auto equal = wait_for_equal_copies(*leader, *served); !equal) return equal;
    Texts aside;
    for (const DemoNode& node : cluster_.nodes()) {
      for (const auto& database : node.diverged()) {
        auto kept = cluster_.entries(context_, database);
        if (!kept) return std::unexpected(kept.error());
        aside.merge(*kept);
      }
    }
    const Texts acknowledged = writers_->acknowledged();
    const Texts open = without(acknowledged, *served);
    if (const Texts lost = without(open, aside); !lost.empty()) {
      return wrong(fmt::format("{} acknowledged writes are nowhere, {} first", lost.size(), *lost.begin()));
    }
    say(fmt::format(
        "  all three copies are equal, integrity_check ok\n"
        "\n{} acknowledged writes: {} are served, {} had not been shipped and are kept aside, none is lost",
        acknowledged.size(), acknowledged.size() - open.size(), open.size()));
    if (line_.common.json) {
      fmt::print("{}\n", json{{"ok", true},
                              {"events", events_},
                              {"acknowledged", acknowledged.size()},
                              {"kept_aside", open.size()}}
                             .dump());
    }
    return {};
  }

  Status wait_for_equal_copies(const DemoNode& leader, const Texts& served) const {
    for (const DemoNode& node : cluster_.nodes()) {
      while (&node != &leader) {
        const auto want = leader.status(context_);
        const auto have = node.status(context_);
        if (want && have && !want->position.empty() && want->position == have->position) break;
        if (context_.wait_for(20ms)) {
          return wrong(
              fmt::format("the copy of {} does not get equal to that of {}", node.name(), leader.name()));
        }
      }
      if (&node == &leader) continue;
      const auto copy = cluster_.entries(context_, node.replica());
      if (!copy) return std::unexpected(copy.error());
      if (*copy != served)
        return wrong("the copy of " + node.name() + " holds other entries than the leader");
    }
    return {};
  }

  CommandLine& line_;
  const Context context_;
  DemoCluster& cluster_;
  DemoNode* leader_ = nullptr;
  json events_ = json::array();
  std::unique_ptr<DemoWriters> writers_;
};

void invite(DemoCluster& cluster) {
  const std::string program = cluster.program().string();
  const std::string file = cluster.nodes().front().configuration().string();
  fmt::print(
      "\nEverything goes on until you press Ctrl-C. Talk to it from another terminal:\n"
      "  {0} status -c {1}\n"
      "  {0} status -c {1} --watch\n"
      "  {0} stepdown -c {1} [--to node-2]\n"
      "  {0} kv put -c {1} greeting hello\n"
      "  {0} restore -c {1} -o copy.db\n",
      program, file);
  for (const DemoNode& node : cluster.nodes()) {
    fmt::print("{}: its application is http://127.0.0.1:{}/summary while it leads; its log is {}\n",
               node.name(), node.port(), node.log().string());
  }
  fmt::print("Write with: curl -d hello http://127.0.0.1:PORT/entries\n");
  std::fflush(stdout);
}

Status demo(CommandLine& line, const Arguments& arguments) {
  const Context until_signal = daemon::context_until_signal();
  const Context context = until_signal.with_timeout(longest_story);
  const auto directory =
      std::filesystem::path(arguments.directory) / ("litecluster-demo-" + base::random_hex(8));
  std::error_code error;
  if (!std::filesystem::create_directories(directory, error)) {
    return failure(ErrorCode::io, "create", directory.string(), error.message());
  }
  if (!line.common.json) {
    fmt::print("three NATS servers as a cluster, three nodes, a small HTTP service on SQLite, in {}\n",
               directory.string());
    std::fflush(stdout);
  }
  Status told;
  {
    auto cluster = DemoCluster::start(context, directory);
    if (cluster) {
      told = Story(line, context, **cluster).tell();
      if (told && arguments.keep) {
        invite(**cluster);
        while (!until_signal.wait_for(1h)) {
        }
      }
      for (DemoNode& node : (*cluster)->nodes()) node.stop(stop_grace);
    } else {
      told = std::unexpected(cluster.error());
    }
  }
  if (told || until_signal.done()) {
    std::filesystem::remove_all(directory, error);
  } else {
    fmt::print(stderr, "the logs are kept for a look in {}\n", directory.string());
  }
  if (!told && until_signal.done()) return failure(ErrorCode::cancelled, "demo", "", "interrupted");
  return told;
}

}  // namespace

void add_demo_command(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = line.program.add_subcommand(
      "demo", "A three-node cluster on this machine, with leaders killed before your eyes");
  command->add_flag("--keep", arguments->keep, "leave it running at the end, and say how to talk to it");
  command->add_option("--directory", arguments->directory, "where its own directory is made meanwhile")
      ->capture_default_str();
  command->add_flag("--json", line.common.json, "print one JSON object at the end");
  command->callback([&line, arguments] {
    if (const auto done = demo(line, *arguments); !done) report(line, done.error());
  });
}

}  // namespace litecluster::cli
