#include "ltx/stream.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cstring>

namespace litecluster::ltx {
namespace {

constexpr std::size_t sink_buffer_size = 256 * 1024;
constexpr std::size_t read_size_min = 64 * 1024;

}  // namespace

Status BytesSink::write(base::ByteView bytes) {
  base::append_bytes(destination_, bytes);
  return {};
}

Status FileSink::write(base::ByteView bytes) {
  if (buffer_.size() + bytes.size() > sink_buffer_size) {
    if (auto flushed = flush(); !flushed) return flushed;
  }
  if (bytes.size() >= sink_buffer_size) return file_.append(bytes);
  base::append_bytes(buffer_, bytes);
  return {};
}

Status FileSink::flush() {
  const auto written = file_.append(buffer_);
  buffer_.clear();
  return written;
}

Result<base::ByteView> MemorySource::peek(std::size_t /*count*/) {
  return rest_;
}

Result<base::ByteView> BufferedSource::peek(std::size_t count) {
  while (end_ - begin_ < count && !ended_) {
    if (begin_ > 0) {  // make room: at most what one peek asks for is moved
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    const std::size_t wanted = std::max(count, read_size_min);
    if (buffer_.size() < wanted) buffer_.resize(wanted);
    const auto got = read(std::span(buffer_).subspan(end_));
    if (!got) return std::unexpected(got.error());
    ended_ = *got == 0;
    end_ += *got;
  }
  return base::ByteView(buffer_).subspan(begin_, end_ - begin_);
}

void BufferedSource::skip(std::size_t count) {
  begin_ += count;
}

Result<FileSource> FileSource::open(const std::filesystem::path& path) {
  auto descriptor = base::open_file(path, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  return FileSource(path.string(), std::move(*descriptor));
}

Result<std::size_t> FileSource::read(std::span<std::byte> destination) {
  const auto count = base::read_at(descriptor_.get(), destination, offset_, name_);
  if (count) offset_ += *count;
  return count;
}

Result<std::size_t> MemoryRandomAccess::read_at(std::span<std::byte> destination, std::uint64_t offset) {
  if (offset >= bytes_.size()) return 0;
  const auto available = bytes_.subspan(static_cast<std::size_t>(offset));
  const std::size_t count = std::min(available.size(), destination.size());
  if (count > 0) std::memcpy(destination.data(), available.data(), count);
  return count;
}

Result<FileRandomAccess> FileRandomAccess::open(const std::filesystem::path& path) {
  auto descriptor = base::open_file(path, O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  const auto size = base::file_size(descriptor->get(), path);
  if (!size) return std::unexpected(size.error());
  return FileRandomAccess(path.string(), std::move(*descriptor), *size);
}

Result<std::size_t> FileRandomAccess::read_at(std::span<std::byte> destination, std::uint64_t offset) {
  return base::read_at(descriptor_.get(), destination, offset, name_);
}

}  // namespace litecluster::ltx
