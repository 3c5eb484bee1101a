// Commands that talk to a cluster: status, members, stepdown, sync. With --socket, all but members ask the
// node of this machine that has that control socket, and need no NATS.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/config_flags.hpp"
#include "cli/standard_streams.hpp"
#include "daemon/control_socket.hpp"
#include "daemon/signal_context.hpp"
#include "daemon/status_text.hpp"
#include "election/record.hpp"
#include "membership/service.hpp"
#include "membership/survey.hpp"
#include "nats/connection.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster::cli {
namespace {

using nlohmann::json;

// Longer than a node takes for what it is ordered to do.
constexpr std::chrono::seconds order_timeout{60};

struct Arguments {
  ConfigFlags flags;
  std::string successor;
  std::string socket;
  bool watch = false;
};

// One connection, and who is there.
class Cluster {
 public:
  /// `answer_within`: what a node is asked to do may take as long as this.
  static Result<Cluster> open(const Context& context, const Arguments& arguments,
                              std::chrono::milliseconds answer_within = {}) {
    auto config = resolve_config(arguments.flags);
    if (!config) return std::unexpected(config.error());
    std::chrono::milliseconds& patience = config->app.nats.request_timeout;
    patience = std::max(patience, answer_within);
    if (config->app.cluster.empty()) {
      return failure(ErrorCode::invalid_argument, "find cluster", "", "give --cluster NAME");
    }
    auto connection = nats::Connection::connect(context, config->app.nats);
    if (!connection) return std::unexpected(connection.error());
    const std::string bucket = membership::coordination_bucket(config->app.cluster).bucket;
    auto opened = nats::KeyValue::open(context, nats::JetStream(*connection), bucket);
    if (!opened && opened.error().code() == ErrorCode::not_found) {
      return failure(ErrorCode::not_found, "find cluster", config->app.cluster,
                     "no node of it has run yet on these NATS servers; is the name right, and --nats? A node "
                     "is started with: litecluster run --cluster " +
                         config->app.cluster + " --node NAME ...");
    }
    if (!opened) return std::unexpected(opened.error());
    return Cluster(config->app.cluster, std::move(*connection), std::move(*opened));
  }

  /// The record of who leads. Error: not_leader when nobody does.
  [[nodiscard]] Result<election::LeaderRecord> leader(const Context& context, const char* operation) const {
    const auto entry = bucket_.get(context, "leader", nats::KvRead::leader);
    if (!entry) return std::unexpected(entry.error());
    auto record = election::decode_record(entry->value);
    if (record && record->state != election::LeaseState::held) {
      return failure(ErrorCode::not_leader, operation, "", "nobody leads at the moment");
    }
    return record;
  }

  /// What each node said last; those that said goodbye are left out.
  [[nodiscard]] Result<std::vector<Member>> nodes(const Context& context) const {
    return membership::last_words(context, bucket_);
  }
  /// Those that are alive.
  [[nodiscard]] Result<std::vector<Member>> members(const Context& context) const {
    return membership::survey(context, bucket_);
  }

  [[nodiscard]] Result<json> ask(const Context& context, const std::string& node, const json& request) const {
    const std::string subject = name_ + ".ctl." + node + "." + request.value("verb", "");
    const auto answer = connection_->request(context, subject, base::as_bytes(request.dump()));
    if (!answer && answer.error().code() == ErrorCode::unavailable) {
      return failure(
          ErrorCode::unavailable, "ask node", node,
          "it does not answer: it has ended or cannot reach NATS (" + answer.error().reason() + ")");
    }
    if (!answer) return std::unexpected(answer.error());
    json parsed = json::parse(answer->text(), nullptr, false);
    if (!parsed.is_object()) return failure(ErrorCode::corrupt, "ask", node, "the answer is no JSON object");
    return parsed;
  }

 private:
  Cluster(std::string name, std::shared_ptr<nats::Connection> connection, nats::KeyValue bucket)
      : name_(std::move(name)), connection_(std::move(connection)), bucket_(std::move(bucket)) {}
  std::string name_;
  std::shared_ptr<nats::Connection> connection_;
  nats::KeyValue bucket_;
};

Result<json> ask_socket(const Context& context, const std::string& path, const json& request) {
  const auto answer = daemon::control_request(context, path, request.dump());
  if (!answer) return std::unexpected(answer.error());
  json parsed = json::parse(*answer, nullptr, false);
  if (!parsed.is_object()) return failure(ErrorCode::corrupt, "ask", path, "the answer is no JSON object");
  return parsed;
}

std::string lag_text(const json& status) {
  const json& lag = status["lag"];
  if (!lag.is_object() || !lag["txids"].is_number()) return "unknown";
  return fmt::format("{} ({:.1f} s)", lag["txids"].get<std::uint64_t>(),
                     lag["seconds"].is_number() ? lag["seconds"].get<double>() : 0.0);
}

std::string text_or(const json& object, const char* name, const char* otherwise) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() && !found->get<std::string>().empty()
             ? found->get<std::string>()
             : otherwise;
}

std::string checks_text(const json& status) {
  std::string text = text_or(status["health"], "level", "?");
  for (const json& check : status["health"]["checks"]) {
    if (text_or(check, "level", "passing") != "passing") {
      text += " " + text_or(check, "name", "") + ": " + text_or(check, "reason", "") + ";";
    }
  }
  return text;
}

std::string work_text(const json& status) {
  if (const auto ring = status.find("ring"); ring != status.end() && ring->is_object()) {
    return fmt::format("ring version {}  owns {} of {}  moving {}", ring->value("version", std::uint64_t{0}),
                       ring->value("owned", 0), ring->value("partitions", 0), ring->value("moving", 0));
  }
  if (text_or(status, "mode", "") != "active_passive") return text_or(status, "mode", "?");
  const json& position = status["position"];
  return fmt::format("epoch {:<5} TXID {}  lag {:<12}", status["epoch"].get<std::uint64_t>(),
                     position.is_object() ? text_or(position, "txid", "?") : "unknown         ",
                     lag_text(status));
}

void print_node(const std::string& node, const json& status) {
  fmt::print("{:<16} {:<10} {}  {}\n", node, text_or(status, "stage", "?"), work_text(status),
             checks_text(status));
}

void print_node(const Member& member, const Result<json>& status) {
  if (status) {
    print_node(member.id.node, *status);
  } else {
    // A crash, or a program that uses the library and answers no commands: `members` tells which.
    fmt::print("{:<16} {:<10} was {}, {}{}; {}\n", member.id.node, "silent", to_string(member.role),
               to_string(member.health),
               member.health_reason.empty() ? "" : " (" + member.health_reason + ")",
               status.error().message());
  }
}

Status local_status(const CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal();
  do {
    const auto answer =
        ask_socket(context.with_timeout(std::chrono::seconds(5)), arguments.socket, {{"verb", "status"}});
    if (!answer) return std::unexpected(answer.error());
    if (arguments.watch && !line.common.json && ::isatty(STDOUT_FILENO) == 1) fmt::print("\x1b[H\x1b[2J");
    if (line.common.json) {
      fmt::print("{}\n", json::array({*answer}).dump());
    } else {
      print_node(text_or(*answer, "node", "?"), *answer);
    }
    if (!flush_standard_output()) return {};  // told by main()
  } while (arguments.watch && !context.wait_for(std::chrono::seconds(1)));
  return {};
}

Status status(CommandLine& line, const Arguments& arguments) {
  if (!arguments.socket.empty()) return local_status(line, arguments);
  const Context context = daemon::context_until_signal();
  const auto cluster = Cluster::open(context, arguments);
  if (!cluster) return std::unexpected(cluster.error());
  do {
    const auto nodes = cluster->nodes(context);
    if (!nodes) return std::unexpected(nodes.error());
    json all = json::array();
    if (arguments.watch && !line.common.json && ::isatty(STDOUT_FILENO) == 1) fmt::print("\x1b[H\x1b[2J");
    for (const Member& member : *nodes) {
      const std::string& node = member.id.node;
      const auto answer =
          cluster->ask(context.with_timeout(std::chrono::seconds(2)), node, {{"verb", "status"}});
      if (!line.common.json) {
        print_node(member, answer);
      } else if (answer) {
        all.push_back(*answer);
      } else {
        all.push_back({{"node", node},
                       {"ok", false},
                       {"message", answer.error().message()},
                       {"last_said", json::parse(daemon::members_json({member}))[0]}});
      }
    }
    if (line.common.json) fmt::print("{}\n", all.dump());
    if (!flush_standard_output()) return {};  // told by main()
  } while (arguments.watch && !context.wait_for(std::chrono::seconds(1)));
  return {};
}

std::string joined_by_commas(const std::vector<std::string>& texts) {
  std::string joined;
  for (const std::string& text : texts) joined += (joined.empty() ? "" : ",") + text;
  return joined;
}

Status members(CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal();
  const auto cluster = Cluster::open(context, arguments);
  if (!cluster) return std::unexpected(cluster.error());
  const auto members = cluster->members(context);
  if (!members) return std::unexpected(members.error());
  if (line.common.json) {
    fmt::print("{}\n", daemon::members_json(*members));
    return {};
  }
  for (const Member& member : *members) {
    std::string labels;
    for (const auto& [name, value] : member.labels)
      labels += (labels.empty() ? "" : ",") + name + "=" + value;
    std::string text = fmt::format("{:<16} {:<14} {:<8} {:<8}", member.id.node, to_string(member.mode),
                                   to_string(member.role), to_string(member.health));
    for (const std::string& more : {joined_by_commas(member.addresses), labels, member.health_reason}) {
      if (!more.empty()) text += "  " + more;
    }
    fmt::print("{}\n", text);
  }
  return {};
}

// What a node answered to an order to step down from `epoch` (0: unknown).
Status tell_outcome(const CommandLine& line, const json& answer, const std::string& node,
                    std::uint64_t epoch) {
  if (!answer.value("ok", false)) {
    const std::string code = text_or(answer, "code", "");
    // What was tried and did not come to its end is no refusal.
    const auto said = [&](ErrorCode known) { return code == to_string(known); };
    const ErrorCode known = said(ErrorCode::not_found)           ? ErrorCode::not_found
                            : said(ErrorCode::unavailable)       ? ErrorCode::unavailable
                            : said(ErrorCode::deadline_exceeded) ? ErrorCode::deadline_exceeded
                                                                 : ErrorCode::not_leader;
    return failure(known, "step down", node, text_or(answer, "message", "refused"));
  }
  if (line.common.json) {
    fmt::print("{}\n", json{{"ok", true}, {"node", node}, {"epoch", epoch}}.dump());
  } else {
    fmt::print("{} stepped down from epoch {}\n", node, epoch);
  }
  return {};
}

Status local_step_down(const CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal().with_timeout(order_timeout);
  const auto before = ask_socket(context, arguments.socket, {{"verb", "status"}});
  if (!before) return std::unexpected(before.error());
  const auto answer =
      ask_socket(context, arguments.socket, {{"verb", "stepdown"}, {"to", arguments.successor}});
  if (!answer) return std::unexpected(answer.error());
  return tell_outcome(line, *answer, text_or(*before, "node", "?"), before->value("epoch", std::uint64_t{0}));
}

Status step_down(const CommandLine& line, const Arguments& arguments) {
  if (!arguments.socket.empty()) return local_step_down(line, arguments);
  const Context context = daemon::context_until_signal().with_timeout(order_timeout);
  const auto cluster = Cluster::open(context, arguments, order_timeout);
  if (!cluster) return std::unexpected(cluster.error());
  const auto leader = cluster->leader(context, "step down");
  if (!leader) return std::unexpected(leader.error());
  const auto answer =
      cluster->ask(context, leader->node, {{"verb", "stepdown"}, {"to", arguments.successor}});
  if (!answer) return std::unexpected(answer.error());
  return tell_outcome(line, *answer, leader->node, leader->epoch.value());
}

// What the leader answers.
Result<json> ask_leader(const Context& context, const Arguments& arguments, const json& request) {
  if (!arguments.socket.empty()) return ask_socket(context, arguments.socket, request);
  const auto cluster = Cluster::open(context, arguments, order_timeout);
  if (!cluster) return std::unexpected(cluster.error());
  const auto leader = cluster->leader(context, "ask the leader");
  if (!leader) return std::unexpected(leader.error());
  return cluster->ask(context, leader->node, request);
}

Status sync(const CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal().with_timeout(order_timeout);
  const auto answer = ask_leader(context, arguments, {{"verb", "sync"}});
  if (!answer) return std::unexpected(answer.error());
  if (!answer->value("ok", false)) {
    const std::string code = text_or(*answer, "code", "");
    return failure(code == to_string(ErrorCode::not_leader) ? ErrorCode::not_leader : ErrorCode::unavailable,
                   "wait for the log", "", text_or(*answer, "message", "refused"));
  }
  if (line.common.json) fmt::print("{}\n", json{{"ok", true}}.dump());
  return {};
}

bool concerns_connection(std::string_view key) {
  return key == "cluster" || key.starts_with("nats.");
}

}  // namespace

void add_cluster_commands(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* show = line.program.add_subcommand("status", "Show members, roles, positions, lag and health");
  add_config_flags(*show, arguments->flags, "Connection", concerns_connection);
  show->add_flag("--json", line.common.json, "print JSON");
  show->add_flag("--watch", arguments->watch, "again every second");
  show->add_option("--socket", arguments->socket, "ask only the node with this control socket, without NATS");
  show->callback([&line, arguments] {
    if (const auto done = status(line, *arguments); !done) report(line, done.error());
  });

  CLI::App* list = line.program.add_subcommand("members", "List the live members with what they say");
  add_config_flags(*list, arguments->flags, "Connection", concerns_connection);
  list->add_flag("--json", line.common.json, "print JSON");
  list->callback([&line, arguments] {
    if (const auto done = members(line, *arguments); !done) report(line, done.error());
  });

  CLI::App* down = line.program.add_subcommand("stepdown", "Let the leader hand over");
  add_config_flags(*down, arguments->flags, "Connection", concerns_connection);
  down->add_flag("--json", line.common.json, "print JSON");
  down->add_option("--to", arguments->successor, "the node that shall follow");
  down->add_option("--socket", arguments->socket,
                   "ask the node with this control socket, without NATS; it has to lead");
  down->callback([&line, arguments] {
    if (const auto done = step_down(line, *arguments); !done) report(line, done.error());
  });

  CLI::App* wait = line.program.add_subcommand(
      "sync", "Wait until everything that the leader has committed by now is in the log");
  add_config_flags(*wait, arguments->flags, "Connection", concerns_connection);
  wait->add_flag("--json", line.common.json, "print JSON");
  wait->add_option("--socket", arguments->socket,
                   "ask the node with this control socket, without NATS; it has to lead");
  wait->callback([&line, arguments] {
    if (const auto done = sync(line, *arguments); !done) report(line, done.error());
  });
}

}  // namespace litecluster::cli
