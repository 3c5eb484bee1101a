#include "cli/ltx_bucket.hpp"

#include <fcntl.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/random.hpp"
#include "cli/log_session.hpp"
#include "daemon/signal_context.hpp"
#include "log/restore.hpp"
#include "log/timestamp.hpp"

namespace litecluster::cli {
namespace {

// All objects, also those that readers pass over, by level and TXID.
std::vector<log::Object> objects_of(const log::LogView& view, std::optional<int> level) {
  std::vector<log::Object> objects;
  const auto add = [&](const log::LogView::Level& from) {
    for (const auto& [name, object] : from) {
      if (!level || name.level == *level) objects.push_back(object);
    }
  };
  add(view.stale());
  for (int number = 0; number < log::level_count; ++number) add(view.level(number));
  std::ranges::sort(objects, {}, &log::Object::name);
  return objects;
}

nlohmann::json to_json(const log::Object& object, bool stale) {
  nlohmann::json json = {{"name", to_string(object.name)},
                         {"level", object.name.level},
                         {"min_txid", to_string(object.name.min)},
                         {"max_txid", to_string(object.name.max)},
                         {"size", object.size},
                         {"created_at", log::format_timestamp(object.created_at)},
                         {"sequence", object.sequence.value()},
                         {"stale", stale}};
  if (object.checksum) json["checksum"] = to_string(*object.checksum);
  if (object.author) {
    json["epoch"] = object.author->epoch.value();
    json["node"] = object.author->node;
  }
  return json;
}

std::string to_text(const log::Object& object, bool stale) {
  return fmt::format(
      "{:<43} {:>10}  {:<24} {:>16}  {}{}", to_string(object.name), size_text(object.size),
      log::format_timestamp(object.created_at), object.checksum ? to_string(*object.checksum) : "",
      object.author ? fmt::format("epoch {} {}", object.author->epoch.value(), object.author->node)
                    : "by Litestream",
      stale ? "  stale: an older leader wrote it behind a newer one" : "");
}

Result<log::Object> find(const log::LogView& view, const std::string& text) {
  auto name = log::parse_object_name(text);
  if (!name) {
    if (const auto txid = parse_txid(text)) name = log::ObjectName::raw(*txid);
  }
  if (!name) {
    return failure(ErrorCode::invalid_argument, "find object", text,
                   "a name like ltx/0/0000000000000001-0000000000000001.ltx or a TXID is needed");
  }
  const log::Object* found = view.find_any(*name);
  if (found != nullptr) return *found;
  return failure(ErrorCode::not_found, "find object", to_string(*name), "the bucket has no such object");
}

Status fetch_into(const Context& context, log::ObjectBucket& bucket, const log::Object& object,
                  const std::filesystem::path& path) {
  const auto file = base::open_file(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return std::unexpected(file.error());
  std::uint64_t written = 0;
  return bucket.get(context, object, [&](base::ByteView bytes) -> Status {
    auto done = base::write_at(file->get(), bytes, written, path);
    written += bytes.size();
    return done;
  });
}

}  // namespace

Status list_objects(const CommandLine& line, const ConnectionOptions& connection, std::optional<int> level) {
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, connection);
  if (!opened) return std::unexpected(opened.error());
  const auto view = log::read_log(context, *opened->bucket);
  if (!view) return std::unexpected(view.error());
  auto all = nlohmann::json::array();
  for (const log::Object& object : objects_of(*view, level)) {
    const bool stale = view->find(object.name) == nullptr;
    if (line.common.json) {
      all.push_back(to_json(object, stale));
    } else {
      fmt::print("{}\n", to_text(object, stale));
    }
  }
  if (line.common.json) {
    fmt::print("{}\n", all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return {};
}

Result<FetchedObjects> FetchedObjects::fetch(const ConnectionOptions& connection,
                                             const std::vector<std::string>& names) {
  const Context context = daemon::context_until_signal();
  const auto opened = open_log(context, connection);
  if (!opened) return std::unexpected(opened.error());
  const auto view = log::read_log(context, *opened->bucket);
  if (!view) return std::unexpected(view.error());
  std::vector<log::Object> objects;
  if (names.empty()) objects = objects_of(*view, std::nullopt);
  for (const std::string& name : names) {
    auto object = find(*view, name);
    if (!object) return std::unexpected(object.error());
    objects.push_back(std::move(*object));
  }
  FetchedObjects fetched;
  const auto directory = std::filesystem::temp_directory_path() / ("litecluster-ltx-" + base::random_hex(12));
  std::error_code error;
  std::filesystem::create_directory(directory, error);
  if (error) return std::unexpected(base::errno_error(error.value(), "create", directory.string()));
  fetched.directory_ = directory;
  for (const log::Object& object : objects) {
    const auto path = directory / fmt::format("{}.ltx", fetched.inputs_.size());
    if (auto got = fetch_into(context, *opened->bucket, object, path); !got) {
      return std::unexpected(got.error().within("fetch", to_string(object.name)));
    }
    fetched.inputs_.push_back({.name = to_string(object.name), .path = path});
  }
  return fetched;
}

FetchedObjects::FetchedObjects(FetchedObjects&& other) noexcept
    : directory_(std::exchange(other.directory_, {})), inputs_(std::move(other.inputs_)) {}

FetchedObjects::~FetchedObjects() {
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

}  // namespace litecluster::cli
