#include "ltx/encoder.hpp"

#include <fmt/format.h>

#include <array>

#include "ltx/checksum.hpp"
#include "ltx/crc64.hpp"
#include "ltx/page_codec.hpp"
#include "ltx/page_index.hpp"

namespace litecluster::ltx {

std::unexpected<Error> Encoder::refuse(std::string reason) {
  return fail({ErrorCode::invalid_argument, "write LTX file", file_name(header_.min_txid, header_.max_txid),
               std::move(reason)});
}

std::unexpected<Error> Encoder::fail(Error error) {
  failure_ = error;
  return std::unexpected(std::move(error));
}

Status Encoder::usable() {
  if (failure_) return std::unexpected(*failure_);
  if (sink_ == nullptr) return refuse("no file was begun");
  return {};
}

Status Encoder::emit(base::ByteView bytes) {
  if (auto written = sink_->write(bytes); !written) return fail(written.error());
  offset_ += bytes.size();
  return {};
}

Status Encoder::begin(const Header& header, Sink& sink) {
  failure_.reset();
  header_ = header;
  sink_ = &sink;
  crc_ = 0;
  offset_ = 0;
  page_count_ = 0;
  order_ = PageOrder(Header{});
  rolling_ = Checksum();
  index_.clear();
  if (!validate(header, {})) {  // the name only matters now: small files should cost no allocation
    return fail(validate(header, file_name(header.min_txid, header.max_txid)).error());
  }
  order_ = PageOrder(header);
  const std::size_t room = page_frame_size_max(header.page_size);
  if (frame_.size() < room) frame_.resize(room);
  const auto bytes = serialize(header);
  crc_ = crc64(bytes);
  return emit(bytes);
}

Status Encoder::add_page(PageNo number, base::ByteView page) {
  if (auto status = usable(); !status) return status;
  if (page.size() != header_.page_size) {
    return refuse(
        fmt::format("page {} has {} bytes instead of {}", number.value(), page.size(), header_.page_size));
  }
  if (auto problem = order_.accept(number)) return refuse(std::move(*problem));
  const std::size_t size = pack_page(encoding_, number, page, frame_);
  if (size == 0) {
    return fail({ErrorCode::internal, "write LTX file", file_name(header_.min_txid, header_.max_txid),
                 fmt::format("LZ4 did not compress page {}", number.value())});
  }
  const base::ByteView frame(frame_.data(), size);
  const std::uint16_t flags = load_page_header(frame).flags;
  crc_ = crc64(page, crc64(frame.first(hashed_prefix_size(flags)), crc_));
  if (header_.is_snapshot() && !header_.no_checksum) rolling_ = rolling_.toggled(page_checksum(number, page));
  append_index_entry(index_, {number, offset_, size});
  ++page_count_;
  return emit(frame);
}

Status Encoder::check_post_apply(std::optional<Checksum> post_apply) {
  if (header_.no_checksum) {
    if (!post_apply) return {};
    return refuse("post-apply checksum not allowed in a file without database checksums");
  }
  if (!post_apply) return refuse("post-apply checksum missing in a file with database checksums");
  if (header_.is_snapshot() && *post_apply != rolling_) {
    return refuse(fmt::format("post-apply checksum is {}, but that of the snapshot's pages is {}",
                              to_string(*post_apply), to_string(rolling_)));
  }
  if (header_.commit == 0 && *post_apply != Checksum()) {
    return refuse(
        fmt::format("post-apply checksum of a database without pages has to be {}", to_string(Checksum())));
  }
  return {};
}

Result<FileInfo> Encoder::finish(std::optional<Checksum> post_apply) {
  if (auto status = usable(); !status) return std::unexpected(status.error());
  if (auto problem = order_.finish()) return refuse(std::move(*problem));
  if (auto status = check_post_apply(post_apply); !status) return std::unexpected(status.error());

  constexpr std::array<std::byte, page_header_size> end_marker{};
  crc_ = crc64(end_marker, crc_);
  if (auto status = emit(end_marker); !status) return std::unexpected(status.error());
  append_varint(index_, 0);
  base::append_big_endian(index_, std::uint64_t{index_.size()});
  base::append_big_endian(index_, post_apply ? post_apply->value() : std::uint64_t{0});
  crc_ = crc64(index_, crc_);
  const Checksum file(crc_);
  base::append_big_endian(index_, file.value());
  if (auto status = emit(index_); !status) return std::unexpected(status.error());
  sink_ = nullptr;
  return FileInfo{header_, {post_apply, file}, offset_, page_count_};
}

}  // namespace litecluster::ltx
