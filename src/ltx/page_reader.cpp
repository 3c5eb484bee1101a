#include "ltx/page_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ltx/page_codec.hpp"

namespace litecluster::ltx {
namespace {

/// What is read from the end of a file at first: with pages of 4 KiB the index of 2,700 pages or so.
constexpr std::uint64_t tail_size = 32 * 1024;

std::unexpected<Error> corrupt(const RandomAccess& file, std::uint64_t offset, std::string_view reason) {
  return failure(ErrorCode::corrupt, "read LTX file", std::string(file.name()),
                 fmt::format("offset {}: {}", offset, reason));
}

Status read_exactly(RandomAccess& file, std::span<std::byte> destination, std::uint64_t offset) {
  const auto count = file.read_at(destination, offset);
  if (!count) return std::unexpected(count.error());
  if (*count == destination.size()) return {};
  return corrupt(file, offset + *count, "file ends early");
}

}  // namespace

PageReader::PageReader(RandomAccess& file, const Header& header, const Trailer& trailer,
                       std::vector<IndexEntry> entries)
    : file_(&file), header_(header), trailer_(trailer), entries_(std::move(entries)) {}

Result<PageReader> PageReader::open(RandomAccess& file) {
  const std::uint64_t size = file.size();
  std::array<std::byte, header_size> head;
  const auto head_size = file.read_at(head, 0);
  if (!head_size) return std::unexpected(head_size.error());
  const auto header = parse_header(base::ByteView(head).first(*head_size), file.name());
  if (!header) return std::unexpected(header.error());
  if (size < file_size_min) return corrupt(file, size, "truncated trailer");

  const std::uint64_t tail_start = size - std::min(size - header_size, tail_size);
  base::Bytes tail(static_cast<std::size_t>(size - tail_start));
  if (auto done = read_exactly(file, tail, tail_start); !done) return std::unexpected(done.error());
  const base::ByteView end = base::ByteView(tail).last(index_size_size + trailer_size);
  const auto trailer = parse_trailer(end.last(trailer_size), *header);
  if (!trailer) return corrupt(file, size - trailer_size + trailer.error().offset, trailer.error().reason);

  const std::uint64_t index_end = size - trailer_size - index_size_size;
  const auto index_size = base::load_big_endian<std::uint64_t>(end.data());
  if (index_size == 0 || index_size > index_end - header_size - page_header_size) {
    return corrupt(file, index_end, fmt::format("page index of {} bytes in a file of {}", index_size, size));
  }
  const std::uint64_t index_start = index_end - index_size;
  base::Bytes index(static_cast<std::size_t>(index_size));
  if (index_start >= tail_start) {
    const auto kept =
        base::ByteView(tail).subspan(static_cast<std::size_t>(index_start - tail_start), index.size());
    std::copy(kept.begin(), kept.end(), index.begin());
  } else if (auto done = read_exactly(file, index, index_start); !done) {
    return std::unexpected(done.error());
  }
  auto entries = parse_index(index, index_start, file.name());
  if (!entries) return std::unexpected(entries.error());
  const std::uint64_t frames_end =
      entries->empty() ? header_size : entries->back().offset + entries->back().size;
  if (frames_end + page_header_size != index_start) {
    return corrupt(file, index_start, "page index does not match the size of the page block");
  }
  if (!entries->empty() && entries->back().number.value() > header->commit) {
    return corrupt(file, index_start,
                   fmt::format("page index: page {} is beyond the commit of {} pages",
                               entries->back().number.value(), header->commit));
  }
  return PageReader(file, *header, *trailer, std::move(*entries));
}

bool PageReader::contains(PageNo number) const {
  return std::ranges::binary_search(entries_, number, {}, &IndexEntry::number);
}

Result<IndexEntry> PageReader::find(PageNo number) const {
  const auto found = std::ranges::lower_bound(entries_, number, {}, &IndexEntry::number);
  if (found != entries_.end() && found->number == number) return *found;
  return failure(ErrorCode::not_found, "read page of", std::string(file_->name()),
                 fmt::format("page {} is not in this file", number.value()));
}

/// The page header in frame_, if it is the one that the index leads to.
Result<PageHeader> PageReader::check_frame(const IndexEntry& entry) const {
  const PageHeader header = load_page_header(frame_);
  if (const auto problem = check_page_header(header)) return corrupt(*file_, entry.offset, *problem);
  if (header.number == entry.number) return header;
  return corrupt(
      *file_, entry.offset,
      fmt::format("page {} where the index says page {}", header.number.value(), entry.number.value()));
}

Result<PageHeader> PageReader::read_page_header(PageNo number) {
  const auto entry = find(number);
  if (!entry) return std::unexpected(entry.error());
  frame_.resize(page_header_size);
  if (auto done = read_exactly(*file_, frame_, entry->offset); !done) return std::unexpected(done.error());
  return check_frame(*entry);
}

Result<base::ByteView> PageReader::read_page(PageNo number) {
  const auto entry = find(number);
  if (!entry) return std::unexpected(entry.error());
  frame_.resize(static_cast<std::size_t>(entry->size));  // at most frame_size_limit, checked with the index
  if (auto done = read_exactly(*file_, frame_, entry->offset); !done) return std::unexpected(done.error());
  const auto header = check_frame(*entry);
  if (!header) return std::unexpected(header.error());
  page_.resize(header_.page_size);
  const auto payload = base::ByteView(frame_).subspan(page_header_size);
  const auto size = unpack_page(header->flags, payload, page_);
  if (!size) {
    return corrupt(*file_, entry->offset + page_header_size + size.error().offset,
                   fmt::format("page {}: {}", number.value(), size.error().reason));
  }
  if (*size != payload.size()) {
    return corrupt(*file_, entry->offset,
                   fmt::format("page {} takes {} bytes, the index says {}", number.value(),
                               *size + page_header_size, entry->size));
  }
  return base::ByteView(page_);
}

}  // namespace litecluster::ltx
