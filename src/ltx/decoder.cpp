#include "ltx/decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ltx/checksum.hpp"
#include "ltx/crc64.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/page_index.hpp"

namespace litecluster::ltx {
namespace {

constexpr std::uint64_t flags_offset = 4;  // of the header

/// The index is compared with the frames by a checksum over both, so that a decoder needs no memory per page.
std::uint64_t hash_entry(std::uint64_t crc, const IndexEntry& entry) {
  std::array<std::byte, 20> bytes;
  base::store_big_endian(bytes.data(), entry.number.value());
  base::store_big_endian(bytes.data() + 4, entry.offset);
  base::store_big_endian(bytes.data() + 12, entry.size);
  return crc64(bytes, crc);
}

}  // namespace

std::unexpected<Error> Decoder::corrupt(std::uint64_t offset, std::string_view reason) const {
  return failure(ErrorCode::corrupt, "read LTX file", std::string(source_.name()),
                 fmt::format("offset {}: {}", offset, reason));
}

Result<base::ByteView> Decoder::need(std::size_t count, std::string_view what) {
  auto bytes = source_.peek(count);
  if (!bytes || bytes->size() >= count) return bytes;
  return corrupt(offset_ + bytes->size(),
                 fmt::format("truncated {}: {} of {} bytes", what, bytes->size(), count));
}

void Decoder::consume(std::size_t count) {
  source_.skip(count);
  offset_ += count;
  info_.size_bytes = offset_;
}

std::unexpected<Error> Decoder::fail(Error error) {
  state_ = State::failed;
  failure_ = error;
  return std::unexpected(std::move(error));
}

Result<Header> Decoder::read_header() {
  if (state_ != State::start) {
    if (failure_) return std::unexpected(*failure_);
    return info_.header;
  }
  const auto bytes = source_.peek(header_size);
  if (!bytes) return fail(bytes.error());
  const auto header = parse_header(bytes->first(std::min(bytes->size(), header_size)), source_.name());
  if (!header) return fail(header.error());
  if (acceptance_ == Acceptance::litestream && !header->no_checksum) {
    return fail(
        corrupt(flags_offset,
                "the file carries database checksums; Litestream refuses it with 'post-apply checksum not "
                "allowed'")
            .error());
  }
  crc_ = crc64(bytes->first(header_size));  // as stored: the reserved bytes count too
  consume(header_size);
  info_.header = *header;
  order_ = PageOrder(*header);
  page_.resize(header->page_size);
  state_ = State::pages;
  return info_.header;
}

Result<std::optional<Page>> Decoder::next_page() {
  if (failure_) return std::unexpected(*failure_);
  if (state_ == State::finished) return std::nullopt;
  if (state_ == State::start) {
    if (auto header = read_header(); !header) return std::unexpected(header.error());
  }
  auto page = read_page();
  if (!page) return fail(page.error());
  if (*page) return page;
  if (auto ended = read_end(); !ended) return fail(ended.error());
  state_ = State::finished;
  return std::nullopt;
}

Status Decoder::skip_to_end() {
  while (true) {
    const auto page = next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) return {};
  }
}

Result<std::optional<Page>> Decoder::read_page() {
  const auto start = need(page_header_size, "page header");
  if (!start) return std::unexpected(start.error());
  const PageHeader header = load_page_header(*start);
  if (header.is_end()) return std::nullopt;
  if (const auto problem = check_page_header(header)) return corrupt(offset_, *problem);
  if (const auto problem = order_.accept(header.number)) return corrupt(offset_, *problem);

  // Most pages are in the window already; a block's size field says how far it has to reach, while a legacy
  // frame says nothing, and the longest possible one has to be asked for.
  const std::size_t size_max = page_frame_size_max(page_.size());
  auto wanted = size_max;
  if ((header.flags & page_flag_size) != 0) {
    const auto prefix = need(page_header_size + block_size_size, "page size field");
    if (!prefix) return std::unexpected(prefix.error());
    const auto size = base::load_big_endian<std::uint32_t>(prefix->data() + page_header_size);
    wanted = std::min(size_max, page_header_size + block_size_size + size);
  }
  const auto frame = source_.peek(wanted);
  if (!frame) return std::unexpected(frame.error());
  const auto payload = frame->first(std::min(frame->size(), size_max)).subspan(page_header_size);
  const auto payload_size = unpack_page(header.flags, payload, page_);
  if (!payload_size) {
    return corrupt(offset_ + page_header_size + payload_size.error().offset,
                   fmt::format("page {}: {}", header.number.value(), payload_size.error().reason));
  }

  const std::size_t frame_size = page_header_size + *payload_size;
  crc_ = crc64(page_, crc64(frame->first(hashed_prefix_size(header.flags)), crc_));
  frames_crc_ = hash_entry(frames_crc_, {header.number, offset_, frame_size});
  const bool tracked = info_.header.is_snapshot() && !info_.header.no_checksum;
  if (tracked) rolling_ = rolling_.toggled(page_checksum(header.number, page_));
  ++info_.page_count;
  consume(frame_size);
  return Page{header.number, page_};
}

Status Decoder::read_end() {
  if (const auto problem = order_.finish()) return corrupt(offset_, *problem);
  const auto marker = need(page_header_size, "end marker");
  if (!marker) return std::unexpected(marker.error());
  crc_ = crc64(marker->first(page_header_size), crc_);
  consume(page_header_size);
  if (auto index = read_index(); !index) return index;
  return read_trailer();
}

Status Decoder::read_index() {
  const std::uint64_t start = offset_;
  const std::uint64_t frames_end = start - page_header_size;
  IndexOrder order;
  std::uint64_t entries = 0;
  std::uint64_t entries_crc = 0;
  while (true) {
    const auto bytes = source_.peek(3 * varint_size_max);
    if (!bytes) return std::unexpected(bytes.error());
    const auto parsed = parse_index_entry(bytes->first(std::min(bytes->size(), 3 * varint_size_max)));
    if (!parsed) return corrupt(offset_, parsed.error());
    crc_ = crc64(bytes->first(parsed->size), crc_);
    if (parsed->entry.number.is_zero()) {
      consume(parsed->size);
      break;
    }
    if (const auto problem = order.accept(parsed->entry)) return corrupt(offset_, *problem);
    entries_crc = hash_entry(entries_crc, parsed->entry);
    if (++entries > info_.page_count)
      return corrupt(offset_, "page index lists more pages than the file has");
    consume(parsed->size);
  }
  if (entries != info_.page_count) {
    return corrupt(offset_,
                   fmt::format("page index lists {} pages, the file has {}", entries, info_.page_count));
  }
  if (entries_crc != frames_crc_ || order.end() != frames_end) {
    return corrupt(start, "page index does not match the page frames");
  }

  const std::uint64_t size = offset_ - start;
  const auto bytes = need(index_size_size, "page index size");
  if (!bytes) return std::unexpected(bytes.error());
  const auto stated = base::load_big_endian<std::uint64_t>(bytes->data());
  if (stated != size) {
    return corrupt(offset_, fmt::format("page index has {} bytes, its size field says {}", size, stated));
  }
  crc_ = crc64(bytes->first(index_size_size), crc_);
  consume(index_size_size);
  return {};
}

Status Decoder::read_trailer() {
  const auto bytes = need(trailer_size, "trailer");
  if (!bytes) return std::unexpected(bytes.error());
  const auto post_apply = base::load_big_endian<std::uint64_t>(bytes->data());
  const auto stored = base::load_big_endian<std::uint64_t>(bytes->data() + 8);
  const auto trailer = parse_trailer(bytes->first(trailer_size), info_.header);
  if (!trailer) return corrupt(offset_ + trailer.error().offset, trailer.error().reason);

  const Checksum computed(crc64(bytes->first(8), crc_));
  if (trailer->file != computed) {
    return corrupt(offset_ + 8, fmt::format("file checksum mismatch: stored {:016x}, computed {}", stored,
                                            to_string(computed)));
  }
  const bool snapshot = info_.header.is_snapshot();
  if (trailer->post_apply && snapshot && *trailer->post_apply != rolling_) {
    return corrupt(offset_, fmt::format("post-apply checksum mismatch: stored {:016x}, computed {}",
                                        post_apply, to_string(rolling_)));
  }
  consume(trailer_size);
  const auto more = source_.peek(1);
  if (!more) return std::unexpected(more.error());
  if (!more->empty()) return corrupt(offset_, "extra bytes after the trailer");
  info_.trailer = *trailer;
  return {};
}

Result<FileInfo> verify(Source& source, Acceptance acceptance) {
  Decoder decoder(source, acceptance);
  if (auto done = decoder.skip_to_end(); !done) return std::unexpected(done.error());
  return decoder.info();
}

}  // namespace litecluster::ltx
