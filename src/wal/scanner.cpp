#include "wal/scanner.hpp"

#include <algorithm>
#include <unordered_map>

namespace litecluster::wal {

namespace {

constexpr std::size_t chunk_size = 256 * 1024;

class Scan {
 public:
  Scan(ByteSource& source, const ScanLimits& limits, base::Bytes* frames)
      : source_(source), limits_(limits), kept_(frames) {}

  Result<ScanResult> run(const Position& start) {
    if (kept_ != nullptr) kept_->clear();
    result_.position = start;
    if (auto known = read_header(start); !known || !*known) return finish(std::move(known));
    running_ = result_.position.checksum;
    next_frame_ = frames_before(result_.position.offset, result_.header.page_size) + 1;
    result_.end = ScanEnd::end_of_frames;
    for (bool more = true; more;) {
      auto read = read_chunk();
      if (!read) return std::unexpected(read.error());
      more = *read && take_chunk();
    }
    return finish(true);
  }

 private:
  // False when there is nothing to scan.
  Result<bool> read_header(const Position& start) {
    std::byte bytes[header_size];
    const auto count = source_.read(0, bytes);
    if (!count) return std::unexpected(count.error());
    const auto header = parse_header(base::ByteView(bytes).first(*count));
    if (!header) return false;
    result_.header = *header;
    if (start.offset == 0) {
      result_.position = first_position(*header);
    } else if (start.salts != header->salts) {
      result_.end = ScanEnd::restarted;
      return false;
    }
    return true;
  }

  // Whole frames into chunk_; false at the end of the file or the limit.
  Result<bool> read_chunk() {
    if (next_frame_ > limits_.frame_max) {
      result_.end = ScanEnd::limit;
      return false;
    }
    const std::uint64_t size = frame_size(result_.header.page_size);
    const std::uint64_t left = std::uint64_t{limits_.frame_max} - next_frame_ + 1;
    const std::uint64_t wanted = std::min<std::uint64_t>(left, std::max<std::uint64_t>(1, chunk_size / size));
    base::Bytes& buffer = kept_ != nullptr ? *kept_ : chunk_;
    chunk_begin_ = kept_ != nullptr ? buffer.size() : 0;
    buffer.resize(chunk_begin_ + wanted * size);
    const auto destination = std::span(buffer).subspan(chunk_begin_);
    const auto count = source_.read(frame_offset(next_frame_, result_.header.page_size), destination);
    if (!count) return std::unexpected(count.error());
    buffer.resize(chunk_begin_ + *count / size * size);
    return buffer.size() > chunk_begin_;
  }

  // False when the scan is over.
  bool take_chunk() {
    const base::Bytes& buffer = kept_ != nullptr ? *kept_ : chunk_;
    const std::uint64_t size = frame_size(result_.header.page_size);
    for (std::size_t offset = chunk_begin_; offset < buffer.size(); offset += size) {
      if (!take_frame(base::ByteView(buffer).subspan(offset, size))) return false;
    }
    return true;
  }

  bool take_frame(base::ByteView bytes) {
    const FrameHeader frame = parse_frame_header(bytes);
    if (frame.salts != result_.header.salts || frame.page.is_zero()) return false;
    running_ = frame_checksum(running_, bytes, bytes.subspan(frame_header_size), result_.header.order);
    if (running_ != frame.checksum) return false;
    open_.push_back({frame.page, next_frame_});
    ++next_frame_;
    if (frame.commit != 0) commit(frame.commit);
    const std::uint64_t scanned = result_.frame_count * frame_size(result_.header.page_size);
    if (frame.commit != 0 && scanned >= limits_.bytes_max) {
      result_.end = ScanEnd::limit;
      return false;
    }
    return true;
  }

  void commit(std::uint32_t size) {
    for (const PageFrame& page : open_) latest_[page.page] = page.frame;
    result_.frame_count += static_cast<std::uint32_t>(open_.size());
    open_.clear();
    ++result_.commit_count;
    result_.commit = size;
    result_.position.offset = frame_offset(next_frame_, result_.header.page_size);
    result_.position.checksum = running_;
  }

  Result<ScanResult> finish(Result<bool> outcome) {
    if (!outcome) return std::unexpected(outcome.error());
    if (kept_ != nullptr && result_.header.page_size != 0) {
      kept_->resize(result_.frame_count * frame_size(result_.header.page_size));
    }
    for (const auto& [page, frame] : latest_) {
      auto& list = page.value() <= result_.commit ? result_.pages : result_.dropped_pages;
      list.push_back({page, frame});
    }
    std::sort(result_.pages.begin(), result_.pages.end());
    std::sort(result_.dropped_pages.begin(), result_.dropped_pages.end());
    return std::move(result_);
  }

  ByteSource& source_;
  ScanLimits limits_;
  base::Bytes* kept_;
  base::Bytes chunk_;
  std::size_t chunk_begin_ = 0;
  ScanResult result_;
  Checksum running_;
  std::uint32_t next_frame_ = 1;
  std::vector<PageFrame> open_;  // of the transaction whose commit mark was not seen yet
  std::unordered_map<PageNo, std::uint32_t> latest_;
};

}  // namespace

Result<ScanResult> scan(ByteSource& source, const Position& start, const ScanLimits& limits,
                        base::Bytes* frames) {
  return Scan(source, limits, frames).run(start);
}

}  // namespace litecluster::wal
