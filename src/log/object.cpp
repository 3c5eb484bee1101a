#include "log/object.hpp"

#include <fmt/format.h>

#include <charconv>

#include "log/timestamp.hpp"

namespace litecluster::log {
namespace {

std::optional<std::string_view> find(const Headers& headers, std::string_view name) {
  const auto found = headers.find(name);
  if (found == headers.end()) return std::nullopt;
  return found->second;
}

std::optional<Epoch> parse_epoch(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == 0) return std::nullopt;
  return Epoch(value);
}

}  // namespace

std::string to_string(const Author& author) {
  return fmt::format("node {} in epoch {}", author.node, author.epoch.value());
}

Headers make_headers(const NewObject& object) {
  Headers headers;
  headers.emplace(timestamp_header, format_timestamp(object.created_at));
  if (const auto& author = object.author) {
    headers.emplace(epoch_header, fmt::to_string(author->epoch.value()));
    headers.emplace(node_header, author->node);
    if (!author->incarnation.empty()) headers.emplace(incarnation_header, author->incarnation);
  }
  const auto add = [&](std::string_view name, const std::optional<Checksum>& checksum) {
    if (checksum) headers.emplace(name, to_string(*checksum));
  };
  add(checksum_header, object.checksum);
  add(pre_apply_header, object.pre_apply);
  add(previous_file_header, object.previous_file);
  add(file_checksum_header, object.file_checksum);
  return headers;
}

bool was_made_on(const Object& object, const Object& before) {
  if (before.name.level != raw_level) return was_made_on(object, before.name.max, before.checksum, {});
  return was_made_on(object, before.name.max, before.checksum, before.file_checksum);
}

bool was_made_on(const Object& object, Txid txid, const std::optional<Checksum>& checksum,
                 const std::optional<Checksum>& file) {
  if (object.name.min != txid.next()) return true;
  return agree(object.pre_apply, checksum) && agree(object.previous_file, file);
}

void read_headers(const Headers& headers, base::WallTime server_time, Object& object) {
  object.created_at = server_time;
  if (const auto text = find(headers, timestamp_header)) {
    object.created_at = parse_timestamp(*text).value_or(server_time);
  }
  object.defect.clear();
  object.author.reset();
  if (const auto text = find(headers, epoch_header)) {
    if (const auto epoch = parse_epoch(*text)) {
      object.author = Author{*epoch, std::string(find(headers, node_header).value_or("")),
                             std::string(find(headers, incarnation_header).value_or(""))};
    } else {
      object.defect = fmt::format("its epoch '{}' cannot be read", *text);
    }
  }
  const auto read = [&](std::string_view name, std::optional<Checksum>& checksum) {
    checksum.reset();
    const auto text = find(headers, name);
    if (!text) return;
    checksum = parse_checksum(*text);
    if (!checksum) object.defect = fmt::format("'{}' in its header {} cannot be read", *text, name);
  };
  read(checksum_header, object.checksum);
  read(pre_apply_header, object.pre_apply);
  read(previous_file_header, object.previous_file);
  const auto file_checksum = find(headers, file_checksum_header);
  object.file_checksum = file_checksum ? parse_checksum(*file_checksum) : std::nullopt;
}

}  // namespace litecluster::log
