// `litecluster kv`: read, change and watch the cluster's key-value bucket.
#include <unistd.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <litecluster/client.hpp>

#include "base/base64.hpp"
#include "base/clock.hpp"
#include "cli/commands.hpp"
#include "cli/connection_options.hpp"
#include "cli/standard_streams.hpp"
#include "nats/kv_pattern.hpp"

namespace litecluster::cli {
namespace {

/// All flags and arguments of the group; each command uses some.
struct KvArguments {
  ConnectionOptions connection;
  std::string key;
  std::string value;
  std::string pattern = ">";
  std::optional<std::uint64_t> revision;
  bool from_leader = false;
  bool include_history = false;
  bool updates_only = false;
  int history = 1;
};

// Longest wait for the thread that looks whether anybody still reads what a watch prints.
constexpr std::chrono::milliseconds reader_check_interval{200};

void print_json(const nlohmann::json& value) {
  print(value.dump() + "\n");
}

bool is_utf8(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

std::string text_of(std::chrono::sys_time<std::chrono::nanoseconds> time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", seconds,
                     std::chrono::floor<std::chrono::milliseconds>(time - seconds).count());
}

nlohmann::json to_json(const KvEntry& entry) {
  nlohmann::json object = {{"key", entry.key},
                           {"revision", entry.revision.value()},
                           {"operation", to_string(entry.operation)},
                           {"time", text_of(entry.time)}};
  if (is_utf8(entry.value)) {
    object["value"] = entry.value;
  } else {
    object["value_base64url"] = base::to_base64url(base::as_bytes(entry.value));
  }
  return object;
}

void print_entry(const CommandLine& line, const KvEntry& entry) {
  if (line.common.json) return print_json(to_json(entry));
  print(fmt::format("{} {} {} {} {}\n", entry.revision.value(), text_of(entry.time),
                    to_string(entry.operation), entry.key, entry.value));
}

Result<Kv> open(const KvArguments& arguments, bool create) {
  auto settings = resolve(arguments.connection);
  if (!settings) return std::unexpected(settings.error());
  if (settings->cluster.empty() && settings->bucket.empty()) {
    return failure(ErrorCode::invalid_argument, "open bucket", {}, "give --cluster NAME or --bucket BUCKET");
  }
  const auto client = Client::connect({.cluster = settings->cluster,
                                       .node = {},
                                       .nats = std::move(settings->nats),
                                       .kv_bucket = settings->bucket,
                                       .kv_history = arguments.history,
                                       .create_kv_bucket = create});
  if (!client) return std::unexpected(client.error());
  return client->kv();
}

Result<Kv> open_to_change(const KvArguments& arguments) {
  return open(arguments, /*create=*/true);
}

// A read makes no bucket: the name of its cluster may be wrong. What is wrong in any bucket is said first.
Result<Kv> open_to_read(const KvArguments& arguments) {
  if (!arguments.key.empty() && !nats::valid_key(arguments.key)) {
    return failure(ErrorCode::invalid_argument, "read", arguments.key, "this is not a key");
  }
  if (!nats::valid_key_pattern(arguments.pattern)) {
    return failure(ErrorCode::invalid_argument, "read", arguments.pattern,
                   "a pattern is a key in which whole parts may be `*` and the last one `>`");
  }
  return open(arguments, /*create=*/false);
}

void get(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_read(arguments);
  if (!kv) return report(line, kv.error());
  KvGetOptions options{.from_leader = arguments.from_leader};
  if (arguments.revision) options.revision = Revision(*arguments.revision);
  const auto entry = kv->get(arguments.key, options);
  if (!entry) return report(line, entry.error());
  if (line.common.json) return print_json(to_json(*entry));
  print(entry->value);
  if (::isatty(STDOUT_FILENO) == 1) print("\n");
}

std::string value_argument(const KvArguments& arguments) {
  if (arguments.value != "-") return arguments.value;
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

void report_revision(CommandLine& line, const KvArguments& arguments, const Result<Revision>& revision) {
  if (!revision) return report(line, revision.error());
  if (line.common.json) return print_json({{"key", arguments.key}, {"revision", revision->value()}});
  print(fmt::format("{}\n", revision->value()));
}

void put(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_change(arguments);
  if (!kv) return report(line, kv.error());
  report_revision(line, arguments, kv->put(arguments.key, value_argument(arguments)));
}

void create(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_change(arguments);
  if (!kv) return report(line, kv.error());
  report_revision(line, arguments, kv->create(arguments.key, value_argument(arguments)));
}

void update(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_change(arguments);
  if (!kv) return report(line, kv.error());
  report_revision(
      line, arguments,
      kv->update(arguments.key, value_argument(arguments), Revision(arguments.revision.value_or(0))));
}

void remove(CommandLine& line, const KvArguments& arguments, bool purge) {
  const auto kv = open_to_change(arguments);
  if (!kv) return report(line, kv.error());
  std::optional<Revision> expected;
  if (arguments.revision) expected = Revision(*arguments.revision);
  const Status removed = purge ? kv->purge(arguments.key, expected) : kv->remove(arguments.key, expected);
  if (!removed) return report(line, removed.error());
  if (line.common.json) print_json({{"key", arguments.key}, {"removed", true}});
}

void keys(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_read(arguments);
  if (!kv) return report(line, kv.error());
  const auto found = kv->keys(arguments.pattern);
  if (!found) return report(line, found.error());
  if (line.common.json) return print_json(*found);
  for (const std::string& key : *found) print(key + "\n");
}

void history(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_read(arguments);
  if (!kv) return report(line, kv.error());
  const auto entries = kv->history(arguments.key);
  if (!entries) return report(line, entries.error());
  for (const KvEntry& entry : *entries) print_entry(line, entry);
}

void watch(CommandLine& line, const KvArguments& arguments) {
  const auto kv = open_to_read(arguments);
  if (!kv) return report(line, kv.error());
  KvWatchOptions options{.include_history = arguments.include_history,
                         .updates_only = arguments.updates_only};
  if (arguments.revision) options.resume_after = Revision(*arguments.revision);
  auto watch = kv->watch(arguments.pattern, options);
  if (!watch) return report(line, watch.error());
  const Context read = Context::background().with_cancel();
  const std::jthread reader_check([read](const std::stop_token& stopped) {
    while (!stopped.stop_requested()) {
      if (standard_output_closes_within(reader_check_interval)) return read.cancel();
    }
  });
  while (true) {
    const auto entry = watch->next(read);
    if (!entry && read.done()) break;
    if (!entry) return report(line, entry.error());
    if (*entry) {
      print_entry(line, **entry);
    } else if (line.common.json) {
      print_json({{"initial_values", "complete"}});
    }
    if (!flush_standard_output()) break;
  }
  line.exit_status = ExitStatus::failed;
}

}  // namespace

void add_kv_commands(CommandLine& line) {
  CLI::App* group =
      line.program.add_subcommand("kv", "Read, change and watch the cluster's key-value bucket");
  group->require_subcommand(1);
  const auto arguments = std::make_shared<KvArguments>();
  add_connection_options(*group, arguments->connection);
  group->add_flag("--json", line.common.json, "print JSON");

  const auto add = [&](const char* name, const char* help, auto run) {
    CLI::App* command = group->add_subcommand(name, help);
    command->fallthrough();
    command->callback([&line, arguments, run] { run(line, *arguments); });
    return command;
  };
  const auto key = [&](CLI::App* command) {
    command->add_option("key", arguments->key, "the key")->required();
  };
  const auto value = [&](CLI::App* command) {
    command->add_option("value", arguments->value, "the value; - reads it from standard input")->required();
  };
  const auto history_limit = [&](CLI::App* command) {
    command
        ->add_option("--keep", arguments->history, "revisions kept per key, if the bucket has to be created")
        ->check(CLI::Range(1, 64));
  };

  CLI::App* command = add("get", "Print a key's value, and nothing else", get);
  key(command);
  command->add_option("--revision", arguments->revision, "read this revision");
  command->add_flag("--from-leader", arguments->from_leader, "ask the server that leads the bucket");

  command = add("put", "Set a key; prints the revision", put);
  key(command);
  value(command);
  history_limit(command);

  command = add("create", "Set a key that does not exist; prints the revision", create);
  key(command);
  value(command);
  history_limit(command);

  command = add("update", "Set a key that is still at a revision; prints the new one", update);
  key(command);
  value(command);
  command->add_option("--revision", arguments->revision, "the revision it has to be at; 0: none")->required();

  command = add("del", "Delete a key and keep its history",
                [](CommandLine& to, const KvArguments& with) { remove(to, with, /*purge=*/false); });
  key(command);
  command->add_option("--revision", arguments->revision, "only at this revision");

  command = add("purge", "Delete a key with its history",
                [](CommandLine& to, const KvArguments& with) { remove(to, with, /*purge=*/true); });
  key(command);
  command->add_option("--revision", arguments->revision, "only at this revision");

  command = add("keys", "List keys", keys);
  command->add_option("pattern", arguments->pattern, "such as config/> or *.name");

  command = add("history", "Print the kept revisions of a key", history);
  key(command);

  command = add("watch", "Print what is there and each change as it comes", watch);
  command->add_option("pattern", arguments->pattern, "such as config/> or *.name");
  command->add_flag("--history", arguments->include_history, "print all kept revisions first");
  command->add_flag("--updates-only", arguments->updates_only, "print changes only");
  command->add_option("--after", arguments->revision, "go on behind this revision");
}

}  // namespace litecluster::cli
