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
  if (object.pre_apply_epoch != Epoch(0)) {
    headers.emplace(pre_apply_epoch_header, fmt::to_string(object.pre_apply_epoch.value()));
  }
  add(file_checksum_header, object.file_checksum);
  return headers;
}

void read_headers(const Headers& headers, base::WallTime server_time, Object& object) {
  object.created_at = server_time;
  if (const auto text = find(headers, timestamp_header)) {
    object.created_at = parse_timestamp(*text).value_or(server_time);
  }
  object.defect.clear();
  const auto read_epoch = [&](std::string_view name) -> std::optional<Epoch> {
    const auto text = find(headers, name);
    if (!text) return std::nullopt;
    const auto epoch = parse_epoch(*text);
    if (!epoch) object.defect = fmt::format("its epoch '{}' cannot be read", *text);
    return epoch;
  };
  object.author.reset();
  if (const auto epoch = read_epoch(epoch_header)) {
    object.author = Author{*epoch, std::string(find(headers, node_header).value_or("")),
                           std::string(find(headers, incarnation_header).value_or(""))};
  }
  object.pre_apply_epoch = read_epoch(pre_apply_epoch_header).value_or(Epoch(0));
  const auto read = [&](std::string_view name, std::optional<Checksum>& checksum) {
    checksum.reset();
    const auto text = find(headers, name);
    if (!text) return;
    checksum = parse_checksum(*text);
    if (!checksum) object.defect = fmt::format("its checksum '{}' cannot be read", *text);
  };
  read(checksum_header, object.checksum);
  read(pre_apply_header, object.pre_apply);
  const auto file_checksum = find(headers, file_checksum_header);
  object.file_checksum = file_checksum ? parse_checksum(*file_checksum) : std::nullopt;
}

}  // namespace litecluster::log
