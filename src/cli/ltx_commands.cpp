// `litecluster ltx`: list, make, look into, check, join and apply LTX files. With --bucket the files are
// objects of that bucket.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "base/file.hpp"
#include "cli/commands.hpp"
#include "cli/ltx_bucket.hpp"
#include "cli/replaced_file.hpp"
#include "ltx/compactor.hpp"
#include "ltx/database_builder.hpp"
#include "ltx/database_file.hpp"
#include "ltx/decoder.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/page_reader.hpp"

namespace litecluster::cli {
namespace {

/// What the sub-commands were given; each uses its part.
struct LtxArguments {
  ConnectionOptions connection;
  std::optional<int> level;
  std::vector<std::string> files;
  std::string database;
  std::string output;
  std::string encoding = "block";
  std::string txid = "1";
  bool checksums = false;
  bool pages = false;
  bool litestream = false;
};

ltx::PageEncoding encoding_of(const LtxArguments& arguments) {
  return arguments.encoding == "frame" ? ltx::PageEncoding::frame : ltx::PageEncoding::block;
}

std::string timestamp_text(base::WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  // Outside of the years that the calendar functions print, the bare number is all that can be said.
  constexpr std::int64_t seconds_max = 253'402'300'799;  // 9999-12-31
  const std::int64_t count = seconds.time_since_epoch().count();
  if (count < 0 || count > seconds_max) return fmt::format("{} ms", time.time_since_epoch().count());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(static_cast<std::time_t>(count)),
                     (time - seconds).count());
}

nlohmann::json to_json(std::optional<Checksum> checksum) {
  if (!checksum) return nullptr;
  return to_string(*checksum);
}

nlohmann::json to_json(const std::string& file, const ltx::FileInfo& info) {
  const ltx::Header& header = info.header;
  return {{"file", file},
          {"snapshot", header.is_snapshot()},
          {"no_checksum", header.no_checksum},
          {"page_size", header.page_size},
          {"commit", header.commit},
          {"min_txid", to_string(header.min_txid)},
          {"max_txid", to_string(header.max_txid)},
          {"timestamp", timestamp_text(header.timestamp)},
          {"timestamp_ms", header.timestamp.time_since_epoch().count()},
          {"pre_apply_checksum", to_json(header.pre_apply)},
          {"wal_offset", header.wal_offset},
          {"wal_size", header.wal_size},
          {"wal_salts", {header.wal_salt1, header.wal_salt2}},
          {"node_id", header.node_id},
          {"page_count", info.page_count},
          {"size_bytes", info.size_bytes},
          {"post_apply_checksum", to_json(info.trailer.post_apply)},
          {"file_checksum", to_string(info.trailer.file)}};
}

void print_text(const ltx::FileInfo& info) {
  const ltx::Header& header = info.header;
  const auto line = [](std::string_view name, const std::string& value) {
    fmt::print("{:<20} {}\n", name, value);
  };
  const auto checksum = [](std::optional<Checksum> value) { return value ? to_string(*value) : "none"; };
  line("kind", header.is_snapshot() ? "snapshot" : "increment");
  line("txids", to_string(header.min_txid) + "-" + to_string(header.max_txid));
  line("timestamp", timestamp_text(header.timestamp));
  line("page size", std::to_string(header.page_size));
  line("commit", fmt::format("{} pages", header.commit));
  line("wal", fmt::format("offset {}, size {}, salts {:08x} {:08x}", header.wal_offset, header.wal_size,
                          header.wal_salt1, header.wal_salt2));
  line("node id", fmt::format("{:016x}", header.node_id));
  line("pages in file", std::to_string(info.page_count));
  line("size", fmt::format("{} bytes", info.size_bytes));
  line("pre-apply checksum", checksum(header.pre_apply));
  line("post-apply checksum", checksum(info.trailer.post_apply));
  line("file checksum", to_string(info.trailer.file));
}

/// One page frame, as the index and its header describe it.
struct FrameInfo {
  ltx::IndexEntry entry;
  bool legacy;
};

Result<std::vector<FrameInfo>> list_frames(const std::string& path) {
  auto file = ltx::FileRandomAccess::open(path);
  if (!file) return std::unexpected(file.error());
  auto reader = ltx::PageReader::open(*file);
  if (!reader) return std::unexpected(reader.error());
  std::vector<FrameInfo> frames;
  frames.reserve(reader->entries().size());
  for (const ltx::IndexEntry& entry : reader->entries()) {
    const auto header = reader->read_page_header(entry.number);
    if (!header) return std::unexpected(header.error());
    frames.push_back({entry, (header->flags & ltx::page_flag_size) == 0});
  }
  return frames;
}

// The files named, or the objects of the bucket.
class Inputs {
 public:
  static Result<Inputs> open(const LtxArguments& arguments) {
    Inputs inputs;
    if (arguments.connection.bucket.empty()) {
      for (const std::string& file : arguments.files) inputs.files_.push_back({.name = file, .path = file});
      return inputs;
    }
    auto fetched = FetchedObjects::fetch(arguments.connection, arguments.files);
    if (!fetched) return std::unexpected(fetched.error());
    inputs.fetched_.emplace(std::move(*fetched));
    inputs.files_ = inputs.fetched_->inputs();
    return inputs;
  }
  [[nodiscard]] const std::vector<LtxInput>& files() const { return files_; }

 private:
  std::optional<FetchedObjects> fetched_;
  std::vector<LtxInput> files_;
};

Status dump(const LtxArguments& arguments, bool json) {
  const auto inputs = Inputs::open(arguments);
  if (!inputs) return std::unexpected(inputs.error());
  const auto& [name, path] = inputs->files().front();
  auto source = ltx::FileSource::open(path);
  if (!source) return std::unexpected(source.error());
  const auto info = ltx::verify(*source);
  if (!info) return std::unexpected(info.error());
  std::vector<FrameInfo> frames;
  if (arguments.pages) {
    auto listed = list_frames(path);
    if (!listed) return std::unexpected(listed.error());
    frames = std::move(*listed);
  }
  if (json) {
    auto object = to_json(name, *info);
    if (arguments.pages) object["pages"] = nlohmann::json::array();
    for (const auto& [entry, legacy] : frames) {
      object["pages"].push_back({{"page", entry.number.value()},
                                 {"offset", entry.offset},
                                 {"size", entry.size},
                                 {"encoding", legacy ? "frame" : "block"}});
    }
    fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return {};
  }
  print_text(*info);
  if (arguments.pages) fmt::print("\n{:>10} {:>14} {:>8}  encoding\n", "page", "offset", "size");
  for (const auto& [entry, legacy] : frames) {
    fmt::print("{:>10} {:>14} {:>8}  {}\n", entry.number.value(), entry.offset, entry.size,
               legacy ? "frame" : "block");
  }
  return {};
}

Status verify(const LtxArguments& arguments, CommandLine& line) {
  const auto acceptance = arguments.litestream ? ltx::Acceptance::litestream : ltx::Acceptance::any;
  auto results = nlohmann::json::array();
  const auto inputs = Inputs::open(arguments);
  if (!inputs) return std::unexpected(inputs.error());
  for (const auto& [name, path] : inputs->files()) {
    auto source = ltx::FileSource::open(path);
    const auto info =
        source ? ltx::verify(*source, acceptance) : Result<ltx::FileInfo>(std::unexpected(source.error()));
    if (!info) report(line, info.error());
    if (!line.common.json) {
      if (info) fmt::print("{}: fine, {} pages\n", name, info->page_count);
      continue;
    }
    auto object = info ? to_json(name, *info) : nlohmann::json{{"file", name}};
    object["ok"] = info.has_value();
    if (!info) object["error"] = info.error().message();
    results.push_back(std::move(object));
  }
  if (line.common.json) {
    fmt::print("{}\n", results.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return {};
}

/// Says what was made, and makes it appear.
Status finish_output(const LtxArguments& arguments, bool json, const ltx::FileInfo& info, ltx::FileSink& sink,
                     base::AtomicFile& file) {
  if (auto flushed = sink.flush(); !flushed) return flushed;
  if (auto committed = file.commit(); !committed) return committed;
  if (json) {
    fmt::print("{}\n",
               to_json(arguments.output, info).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}: {} pages, {} bytes\n", arguments.output, info.page_count, info.size_bytes);
  }
  return {};
}

Status encode(const LtxArguments& arguments, bool json) {
  const auto txid = parse_txid(arguments.txid);
  if (!txid || txid->is_zero()) {
    return failure(ErrorCode::invalid_argument, "encode", arguments.database,
                   "--txid takes 1 to 16 hexadecimal digits, at least 1");
  }
  const auto database = ltx::DatabaseFile::open(arguments.database);
  if (!database) return std::unexpected(database.error());
  auto file = base::AtomicFile::create(arguments.output);
  if (!file) return std::unexpected(file.error());
  ltx::FileSink sink(*file);
  const auto info = ltx::encode_database(*database, sink,
                                         {.encoding = encoding_of(arguments),
                                          .min_txid = *txid,
                                          .max_txid = *txid,
                                          .timestamp = base::system_clock().wall_time(),
                                          .checksums = arguments.checksums});
  if (!info) return std::unexpected(info.error());
  return finish_output(arguments, json, *info, sink, *file);
}

Status compact(const LtxArguments& arguments, bool json) {
  std::vector<std::unique_ptr<ltx::FileSource>> sources;
  std::vector<ltx::Source*> inputs;
  for (const std::string& path : arguments.files) {
    auto source = ltx::FileSource::open(path);
    if (!source) return std::unexpected(source.error());
    sources.push_back(std::make_unique<ltx::FileSource>(std::move(*source)));
    inputs.push_back(sources.back().get());
  }
  auto file = base::AtomicFile::create(arguments.output);
  if (!file) return std::unexpected(file.error());
  ltx::FileSink sink(*file);
  const auto info =
      ltx::compact(inputs, sink, {.encoding = encoding_of(arguments), .keep_checksums = arguments.checksums});
  if (!info) return std::unexpected(info.error());
  return finish_output(arguments, json, *info, sink, *file);
}

/// A snapshot at the front, or a target that is not there yet, starts from nothing.
Result<ltx::DatabaseBuilder> open_builder(const LtxArguments& arguments, const std::filesystem::path& file) {
  auto first = ltx::FileSource::open(file);
  if (!first) return std::unexpected(first.error());
  const auto header = ltx::Decoder(*first).read_header();
  if (!header) return std::unexpected(header.error());
  std::error_code ignored;
  const bool exists = std::filesystem::exists(arguments.database, ignored);
  if (header->is_snapshot() || !exists) return ltx::DatabaseBuilder::create(arguments.database);
  return ltx::DatabaseBuilder::update(arguments.database);
}

Status apply(const LtxArguments& arguments, bool json) {
  const auto inputs = Inputs::open(arguments);
  if (!inputs) return std::unexpected(inputs.error());
  ReplacedFile replaced(arguments.database, true);
  if (auto unused = replaced.require_unused(); !unused) return unused;
  auto builder = open_builder(arguments, inputs->files().front().path);
  if (!builder) return std::unexpected(builder.error());
  for (const auto& [name, path] : inputs->files()) {
    auto source = ltx::FileSource::open(path);
    if (!source) return std::unexpected(source.error());
    if (const auto info = builder->apply(*source); !info) return std::unexpected(info.error());
  }
  const auto checksum = builder->checksum();
  if (!checksum) return std::unexpected(checksum.error());
  if (auto locked = replaced.lock(); !locked) return locked;
  if (auto committed = builder->commit(); !committed) return committed;
  const auto txid = builder->txid();
  const std::string txid_text = txid ? to_string(*txid) : "";
  if (json) {
    const nlohmann::json object = {{"database", arguments.database},
                                   {"txid", txid_text},
                                   {"checksum", to_string(*checksum)},
                                   {"page_size", builder->page_size()},
                                   {"page_count", builder->page_count()}};
    fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{}: {}/{}, {} pages\n", arguments.database, txid_text, to_string(*checksum),
               builder->page_count());
  }
  return {};
}

Status checksum(const LtxArguments& arguments, bool json) {
  const auto database = ltx::DatabaseFile::open(arguments.database);
  if (!database) return std::unexpected(database.error());
  const auto sum = ltx::database_checksum(*database);
  if (!sum) return std::unexpected(sum.error());
  if (!json) {
    fmt::print("{}\n", to_string(*sum));
    return {};
  }
  const nlohmann::json object = {{"database", arguments.database},
                                 {"checksum", to_string(*sum)},
                                 {"page_size", database->page_size()},
                                 {"page_count", database->page_count()}};
  fmt::print("{}\n", object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return {};
}

/// The group's state: outlives the call of add_ltx_commands(), shared by the callbacks.
using Shared = std::shared_ptr<LtxArguments>;

void add_json(CommandLine& line, CLI::App* command) {
  command->fallthrough();  // to the flags of the connection
  command->add_flag("--json", line.common.json, "Print JSON");
}

void add_encoding(CLI::App* command, LtxArguments& arguments) {
  command->add_option("--encoding", arguments.encoding, "Page encoding; 'frame' is for Litestream <= 0.5.15")
      ->check(CLI::IsMember({"block", "frame"}))
      ->capture_default_str();
}

template <typename Run>
void on_run(CommandLine& line, CLI::App* command, const Run& run) {
  command->callback([line, run]() mutable {
    if (const Status status = run(line); !status) report(line, status.error());
  });
}

void add_makers(CommandLine& line, CLI::App* ltx, const Shared& arguments) {
  CLI::App* encode_command =
      ltx->add_subcommand("encode", "Write a database file that nobody uses as an LTX file");
  encode_command->add_option("DB", arguments->database, "Database file")->required();
  encode_command->add_option("-o,--output", arguments->output, "LTX file to write")->required();
  encode_command->add_option("--txid", arguments->txid, "TXID of the file, hexadecimal; 1 makes a snapshot")
      ->capture_default_str();
  encode_command->add_flag("--checksums", arguments->checksums,
                           "Write database checksums (stock Litestream does not accept them)");
  add_encoding(encode_command, *arguments);
  add_json(line, encode_command);
  on_run(line, encode_command, [arguments](CommandLine& at) { return encode(*arguments, at.common.json); });

  CLI::App* compact_command =
      ltx->add_subcommand("compact", "Join LTX files that follow each other into one");
  compact_command->add_option("FILES", arguments->files, "LTX files, in the order of their TXIDs")
      ->required();
  compact_command->add_option("-o,--output", arguments->output, "LTX file to write")->required();
  compact_command->add_flag("--checksums", arguments->checksums, "Keep the database checksums of the files");
  add_encoding(compact_command, *arguments);
  add_json(line, compact_command);
  on_run(line, compact_command, [arguments](CommandLine& at) { return compact(*arguments, at.common.json); });

  CLI::App* apply_command =
      ltx->add_subcommand("apply", "Apply LTX files to a database file that nobody uses, or make it anew");
  apply_command
      ->add_option(
          "FILES", arguments->files,
          "LTX files (with --bucket, objects or TXIDs) in the order of their TXIDs, then the database")
      ->required()
      ->type_name("FILE... DB")
      ->expected(2, -1);
  add_json(line, apply_command);
  on_run(line, apply_command, [arguments](CommandLine& at) {
    arguments->database = arguments->files.back();
    arguments->files.pop_back();
    return apply(*arguments, at.common.json);
  });
}

void add_viewers(CommandLine& line, CLI::App* ltx, const Shared& arguments) {
  CLI::App* dump_command = ltx->add_subcommand("dump", "Verify an LTX file and show what is in it");
  dump_command->add_option("FILE", arguments->files, "LTX file, or with --bucket an object's name or a TXID")
      ->required()
      ->expected(1);
  dump_command->add_flag("--pages", arguments->pages, "List the pages too");
  add_json(line, dump_command);
  on_run(line, dump_command, [arguments](CommandLine& at) { return dump(*arguments, at.common.json); });

  CLI::App* verify_command =
      ltx->add_subcommand("verify", "Read LTX files completely and check all there is to check");
  verify_command->add_option("FILES", arguments->files,
                             "LTX files; with --bucket names of objects or TXIDs, none: all of it");
  verify_command->add_flag("--litestream", arguments->litestream,
                           "Refuse also what only stock Litestream refuses");
  add_json(line, verify_command);
  on_run(line, verify_command, [arguments](CommandLine& at) -> Status {
    if (arguments->files.empty() && arguments->connection.bucket.empty()) {
      return failure(ErrorCode::invalid_argument, "verify", "", "name files, or give --bucket BUCKET");
    }
    return verify(*arguments, at);
  });

  CLI::App* list_command = ltx->add_subcommand("list", "List the objects of a bucket");
  list_command->add_option("--level", arguments->level, "only this level, 0 to 9")->check(CLI::Range(0, 9));
  add_json(line, list_command);
  on_run(line, list_command,
         [arguments](CommandLine& at) { return list_objects(at, arguments->connection, arguments->level); });

  CLI::App* checksum_command =
      ltx->add_subcommand("checksum", "Print the checksum of a database file that nobody uses");
  checksum_command->add_option("DB", arguments->database, "Database file")->required();
  add_json(line, checksum_command);
  on_run(line, checksum_command,
         [arguments](CommandLine& at) { return checksum(*arguments, at.common.json); });
}

}  // namespace

void add_ltx_commands(CommandLine& line) {
  CLI::App* ltx = line.program.add_subcommand("ltx", "Work with LTX files");
  ltx->require_subcommand(1);
  const auto arguments = std::make_shared<LtxArguments>();
  add_connection_options(*ltx, arguments->connection);
  add_makers(line, ltx, arguments);
  add_viewers(line, ltx, arguments);
}

}  // namespace litecluster::cli
