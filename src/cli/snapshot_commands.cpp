// `litecluster snapshot`: complete states of the database in the log. They are made from the log itself, so
// any machine that reaches the bucket can make one, and the leader is not disturbed.
#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/random.hpp"
#include "cli/commands.hpp"
#include "cli/log_session.hpp"
#include "cli/replaced_file.hpp"
#include "cli/temporary_directory.hpp"
#include "daemon/signal_context.hpp"
#include "log/maintenance.hpp"
#include "log/restore.hpp"
#include "log/timestamp.hpp"
#include "ltx/database_file.hpp"

namespace litecluster::cli {
namespace {

struct Arguments {
  ConnectionOptions connection;
  std::string id;
  std::string output;
  std::string directory = default_temporary_directory();
  bool force = false;
};

nlohmann::json to_json(const log::Object& object) {
  return {{"id", to_string(object.name.max)},
          {"size", object.size},
          {"created_at", log::format_timestamp(object.created_at)}};
}

void print_snapshot(const CommandLine& line, const log::Object& object) {
  if (line.common.json) {
    fmt::print("{}\n", to_json(object).dump());
  } else {
    fmt::print("{}  {}  {}\n", to_string(object.name.max), log::format_timestamp(object.created_at),
               size_text(object.size));
  }
}

// Restores the latest state into a file without lasting name and writes it back as one object.
Status create(const CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, arguments.connection);
  if (!opened) return std::unexpected(opened.error());
  const std::filesystem::path file =
      std::filesystem::path(arguments.directory) / ("litecluster-snapshot-" + base::random_hex(12));
  struct Remover {
    const std::filesystem::path& path;
    ~Remover() {
      std::error_code ignored;
      std::filesystem::remove(path, ignored);
    }
  } const remover{file};
  const auto restored =
      log::restore(context, *opened->bucket, {.output = file, .target = {}, .on_progress = {}, .check = {}});
  if (!restored) return std::unexpected(restored.error());
  const auto view = log::read_log(context, *opened->bucket);
  if (!view) return std::unexpected(view.error());
  const auto database = ltx::DatabaseFile::open(file);
  if (!database) return std::unexpected(database.error());
  log::Maintenance maintenance(
      *opened->bucket,
      {.epoch = view->highest_epoch(), .node = "snapshot-command", .incarnation = base::random_hex(16)});
  const auto object = maintenance.put_snapshot(
      context, restored->txid, restored->created_at, restored->checksum, [&](ltx::Sink& sink) -> Status {
        const auto encoded = ltx::encode_database(
            *database, sink, {.max_txid = restored->txid, .timestamp = restored->created_at}, context);
        if (!encoded) return std::unexpected(encoded.error());
        return {};
      });
  if (!object) return std::unexpected(object.error());
  print_snapshot(line, *object);
  return {};
}

Status list(const CommandLine& line, const Arguments& arguments) {
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, arguments.connection);
  if (!opened) return std::unexpected(opened.error());
  const auto view = log::read_log(context, *opened->bucket);
  if (!view) return std::unexpected(view.error());
  for (const auto& [name, object] : view->level(log::snapshot_level)) print_snapshot(line, object);
  return {};
}

Result<Txid> txid_of(const Arguments& arguments) {
  const auto txid = parse_txid(arguments.id);
  if (txid) return *txid;
  return failure(ErrorCode::invalid_argument, "find snapshot", arguments.id,
                 "an id has up to 16 hexadecimal digits");
}

Status restore(const CommandLine& line, const Arguments& arguments) {
  const auto txid = txid_of(arguments);
  if (!txid) return std::unexpected(txid.error());
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, arguments.connection);
  if (!opened) return std::unexpected(opened.error());
  ReplacedFile replaced(arguments.output, arguments.force);
  if (auto free = replaced.require_unused(); !free) return free;
  const auto report =
      log::restore(context, *opened->bucket,
                   {.output = arguments.output,
                    .target = log::RestoreTarget::at(*txid),
                    .overwrite = arguments.force,
                    .on_progress = {},
                    .check = [&](const std::filesystem::path& /*file*/) { return replaced.lock(); }});
  if (!report) return std::unexpected(report.error());
  if (line.common.json) {
    fmt::print("{}\n",
               nlohmann::json{{"output", arguments.output}, {"txid", to_string(report->txid)}}.dump());
  } else {
    fmt::print("{}: TXID {}\n", arguments.output, to_string(report->txid));
  }
  return {};
}

// Refuses the newest one: a restore may need it.
Status remove(const CommandLine& /*line*/, const Arguments& arguments) {
  const auto txid = txid_of(arguments);
  if (!txid) return std::unexpected(txid.error());
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, arguments.connection);
  if (!opened) return std::unexpected(opened.error());
  const auto view = log::read_log(context, *opened->bucket);
  if (!view) return std::unexpected(view.error());
  const log::Object* object = view->find(log::ObjectName::snapshot(*txid));
  if (object == nullptr)
    return failure(ErrorCode::not_found, "remove snapshot", arguments.id, "there is none");
  if (object->name == view->level(log::snapshot_level).rbegin()->first) {
    return failure(ErrorCode::failed_precondition, "remove snapshot", arguments.id,
                   "it is the newest; restores may start from it");
  }
  return opened->bucket->remove(context, *object);
}

}  // namespace

void add_snapshot_commands(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* group = line.program.add_subcommand("snapshot", "Complete states of the database in the log");
  group->require_subcommand(1);
  add_connection_options(*group, arguments->connection);
  group->add_flag("--json", line.common.json, "print JSON");
  const auto add = [&](const char* name, const char* help, auto run) {
    CLI::App* command = group->add_subcommand(name, help);
    command->fallthrough();
    command->callback([&line, arguments, run] {
      if (const auto done = run(line, *arguments); !done) report(line, done.error());
    });
    return command;
  };
  add("create", "Write one of the latest state", create)
      ->add_option("--directory", arguments->directory, "where the database is put together meanwhile")
      ->capture_default_str();
  add("list", "List them, oldest first", list);
  CLI::App* command = add("restore", "Restore one into a file", restore);
  command->add_option("id", arguments->id, "its TXID")->required();
  command->add_option("-o,--output", arguments->output, "the file to write; it must not exist")->required();
  command->add_flag("--force", arguments->force, "replace the file if it exists");
  add("remove", "Remove one that is not the newest", remove)
      ->add_option("id", arguments->id, "its TXID")
      ->required();
}

}  // namespace litecluster::cli
