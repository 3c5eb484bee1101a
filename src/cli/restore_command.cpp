// `litecluster restore`: any past state of the database into a file.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/log_session.hpp"
#include "cli/replaced_file.hpp"
#include "daemon/signal_context.hpp"
#include "db/integrity.hpp"
#include "log/restore.hpp"
#include "log/timestamp.hpp"

namespace litecluster::cli {
namespace {

struct Arguments {
  ConnectionOptions connection;
  std::string output;
  std::string txid;
  std::string time;
  std::string integrity = "quick";
  bool force = false;
  bool dry_run = false;
};

Result<log::RestoreTarget> target_of(const Arguments& arguments) {
  log::RestoreTarget target;
  if (!arguments.txid.empty()) {
    target.txid = parse_txid(arguments.txid);
    if (!target.txid) {
      return failure(ErrorCode::invalid_argument, "restore", "--txid",
                     "up to 16 hexadecimal digits are needed");
    }
  }
  if (!arguments.time.empty()) {
    target.time = log::parse_timestamp(arguments.time);
    if (!target.time) {
      return failure(ErrorCode::invalid_argument, "restore", "--at",
                     "a time like 2026-11-20T09:30:00Z is needed");
    }
  }
  return target;
}

db::IntegrityCheck check_of(const std::string& name) {
  if (name == "none") return db::IntegrityCheck::none;
  return name == "full" ? db::IntegrityCheck::full : db::IntegrityCheck::quick;
}

// Redraws one line on a terminal; silent elsewhere.
class ProgressBar {
 public:
  void show(const log::RestoreProgress& progress) {
    if (!terminal_ || progress.bytes_total == 0) return;
    const auto permille = progress.bytes_done * 1000 / progress.bytes_total;
    if (permille == shown_) return;
    shown_ = permille;
    const std::string bar(permille * 30 / 1000, '#');
    fmt::print(stderr, "\r[{:<30}] {:5.1f} %  {} of {}  ", bar, static_cast<double>(permille) / 10,
               size_text(progress.bytes_done), size_text(progress.bytes_total));
  }
  ~ProgressBar() {
    if (shown_) fmt::print(stderr, "\n");
  }
  ProgressBar() = default;
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

 private:
  bool terminal_ = ::isatty(STDERR_FILENO) == 1;
  std::optional<std::uint64_t> shown_;
};

void print_plan(const CommandLine& line, const log::RestorePlan& plan) {
  if (line.common.json) {
    nlohmann::json objects = nlohmann::json::array();
    for (const log::Object& object : plan.objects) {
      objects.push_back({{"name", to_string(object.name)},
                         {"size", object.size},
                         {"created_at", log::format_timestamp(object.created_at)}});
    }
    fmt::print(
        "{}\n",
        nlohmann::json{{"txid", to_string(plan.txid())}, {"size", plan.size()}, {"objects", objects}}.dump());
    return;
  }
  for (const log::Object& object : plan.objects) {
    fmt::print("{}  {:>10}  {}\n", to_string(object.name), size_text(object.size),
               log::format_timestamp(object.created_at));
  }
  fmt::print("{} objects, {}, up to TXID {}\n", plan.objects.size(), size_text(plan.size()),
             to_string(plan.txid()));
}

Status restore(const CommandLine& line, const Arguments& arguments) {
  const auto target = target_of(arguments);
  if (!target) return std::unexpected(target.error());
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, arguments.connection);
  if (!opened) return std::unexpected(opened.error());
  if (arguments.dry_run) {
    const auto view = log::read_log(context, *opened->bucket);
    if (!view) return std::unexpected(view.error());
    const auto plan = log::plan_restore(*view, *target);
    if (!plan) return std::unexpected(plan.error());
    print_plan(line, *plan);
    return {};
  }
  if (arguments.output.empty())
    return failure(ErrorCode::invalid_argument, "restore", "", "-o FILE is needed");
  ReplacedFile replaced(arguments.output, arguments.force);
  if (auto free = replaced.require_unused(); !free) return free;
  ProgressBar bar;
  const auto report =
      log::restore(context, *opened->bucket,
                   {.output = arguments.output,
                    .target = *target,
                    .overwrite = arguments.force,
                    .on_progress = [&bar](const log::RestoreProgress& progress) { bar.show(progress); },
                    .check = [&](const std::filesystem::path& file) -> Status {
                      if (auto sound = db::check_integrity(file, check_of(arguments.integrity)); !sound)
                        return sound;
                      return replaced.lock();
                    }});
  if (!report) return std::unexpected(report.error());
  if (line.common.json) {
    fmt::print("{}\n", nlohmann::json{{"output", arguments.output},
                                      {"txid", to_string(report->txid)},
                                      {"created_at", log::format_timestamp(report->created_at)},
                                      {"checksum", report->checksum ? to_string(*report->checksum) : ""},
                                      {"page_size", report->page_size},
                                      {"pages", report->page_count},
                                      {"objects", report->objects},
                                      {"bytes", report->bytes}}
                           .dump());
  } else {
    fmt::print("{}: TXID {}, as of {}, {} pages of {} bytes, from {} objects ({})\n", arguments.output,
               to_string(report->txid), log::format_timestamp(report->created_at), report->page_count,
               report->page_size, report->objects, size_text(report->bytes));
  }
  return {};
}

}  // namespace

void add_restore_command(CommandLine& line) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      line.program.add_subcommand("restore", "Bring back any state of the database into a file");
  command->add_option("-o,--output", arguments->output, "the file to write; it must not exist");
  auto* txid = command->add_option("--txid", arguments->txid, "the state after this TXID (hexadecimal)");
  command->add_option("--at", arguments->time, "the last state from before this time (RFC 3339)")
      ->excludes(txid);
  command
      ->add_option("--integrity-check", arguments->integrity,
                   "what SQLite has to say before the file is accepted")
      ->check(CLI::IsMember({"none", "quick", "full"}))
      ->capture_default_str();
  command->add_flag("--force", arguments->force, "replace the file if it exists");
  command->add_flag("--dry-run", arguments->dry_run, "only say what would be fetched");
  command->add_flag("--json", line.common.json, "print JSON");
  add_connection_options(*command, arguments->connection);
  command->callback([&line, arguments] {
    if (const auto done = restore(line, *arguments); !done) report(line, done.error());
  });
}

}  // namespace litecluster::cli
