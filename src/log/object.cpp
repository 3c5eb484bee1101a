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

Headers make_headers(base::WallTime created_at, const std::optional<Author>& author,
                     std::optional<Checksum> checksum, std::optional<Checksum> file_checksum) {
  Headers headers;
  headers.emplace(timestamp_header, format_timestamp(created_at));
  if (author) {
    headers.emplace(epoch_header, fmt::to_string(author->epoch.value()));
    headers.emplace(node_header, author->node);
    if (!author->incarnation.empty()) headers.emplace(incarnation_header, author->incarnation);
  }
  if (checksum) headers.emplace(checksum_header, to_string(*checksum));
  if (file_checksum) headers.emplace(file_checksum_header, to_string(*file_checksum));
  return headers;
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
  object.checksum.reset();
  if (const auto text = find(headers, checksum_header)) {
    object.checksum = parse_checksum(*text);
    if (!object.checksum) object.defect = fmt::format("its checksum '{}' cannot be read", *text);
  }
  const auto file_checksum = find(headers, file_checksum_header);
  object.file_checksum = file_checksum ? parse_checksum(*file_checksum) : std::nullopt;
}

}  // namespace litecluster::log
