#include "ltx/page_index.hpp"

#include <fmt/format.h>

#include "ltx/format.hpp"

namespace litecluster::ltx {
namespace {

std::unexpected<Error> corrupt(std::string_view name, std::uint64_t offset, std::string_view reason) {
  return failure(ErrorCode::corrupt, "read page index of", std::string(name),
                 fmt::format("offset {}: {}", offset, reason));
}

}  // namespace

void append_varint(base::Bytes& destination, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7U) destination.push_back(static_cast<std::byte>((value & 0x7FU) | 0x80U));
  destination.push_back(static_cast<std::byte>(value));
}

void append_index_entry(base::Bytes& destination, const IndexEntry& entry) {
  append_varint(destination, entry.number.value());
  append_varint(destination, entry.offset);
  append_varint(destination, entry.size);
}

std::optional<Varint> parse_varint(base::ByteView bytes) {
  std::uint64_t value = 0;
  for (std::size_t index = 0; index < bytes.size() && index < varint_size_max; ++index) {
    const auto byte = std::to_integer<std::uint64_t>(bytes[index]);
    if (index == varint_size_max - 1 && byte > 1) return std::nullopt;  // exceeds 64 bits
    value |= (byte & 0x7FU) << (7 * index);
    if ((byte & 0x80U) == 0) return Varint{value, index + 1};
  }
  return std::nullopt;
}

std::expected<ParsedIndexEntry, std::string> parse_index_entry(base::ByteView bytes) {
  std::size_t used = 0;
  const auto next = [&]() -> std::optional<std::uint64_t> {
    const auto varint = parse_varint(bytes.subspan(used));
    if (!varint) return std::nullopt;
    used += varint->size;
    return varint->value;
  };
  constexpr auto bad_varint = "page index: number cut off or too large";
  const auto number = next();
  if (!number) return std::unexpected(bad_varint);
  if (*number == 0) return ParsedIndexEntry{{}, used};
  if (*number > 0xFFFF'FFFFU) return std::unexpected(fmt::format("page index: page number {}", *number));
  const auto offset = next();
  if (!offset) return std::unexpected(bad_varint);
  const auto size = next();
  if (!size) return std::unexpected(bad_varint);
  return ParsedIndexEntry{{PageNo(static_cast<std::uint32_t>(*number)), *offset, *size}, used};
}

std::optional<std::string> IndexOrder::accept(const IndexEntry& entry) {
  if (entry.number <= last_) {
    return fmt::format("page index: page {} after {}", entry.number.value(), last_.value());
  }
  if (entry.offset != end_) {
    return fmt::format("page index: page {} said to be at offset {}, but the frame before it ends at {}",
                       entry.number.value(), entry.offset, end_);
  }
  if (entry.size <= page_header_size || entry.size > frame_size_limit) {
    return fmt::format("page index: page {} said to take {} bytes", entry.number.value(), entry.size);
  }
  last_ = entry.number;
  end_ += entry.size;
  return std::nullopt;
}

Result<std::vector<IndexEntry>> parse_index(base::ByteView bytes, std::uint64_t base_offset,
                                            std::string_view name) {
  std::vector<IndexEntry> entries;
  IndexOrder order;
  std::size_t offset = 0;
  while (true) {
    const auto parsed = parse_index_entry(bytes.subspan(offset));
    if (!parsed) return corrupt(name, base_offset + offset, parsed.error());
    if (parsed->entry.number.is_zero()) {
      if (offset + parsed->size == bytes.size()) return entries;
      return corrupt(name, base_offset + offset, "page index ends before its stated size");
    }
    if (const auto problem = order.accept(parsed->entry)) {
      return corrupt(name, base_offset + offset, *problem);
    }
    offset += parsed->size;
    entries.push_back(parsed->entry);
  }
}

}  // namespace litecluster::ltx
