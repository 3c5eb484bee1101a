#include "log/payload.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/file.hpp"
#include "base/random.hpp"
#include "ltx/format.hpp"

namespace litecluster::log {
namespace {

constexpr std::size_t piece_size = std::size_t{256} << 10U;

class SpoolSink final : public ltx::Sink {
 public:
  SpoolSink(int descriptor, const std::filesystem::path& name) : descriptor_(descriptor), name_(name) {}

  Status write(base::ByteView bytes) override {
    base::append_bytes(buffer_, bytes);
    return buffer_.size() < piece_size ? Status() : flush();
  }
  Status flush() {
    auto written = base::write_at(descriptor_, buffer_, written_, name_);
    written_ += buffer_.size();
    buffer_.clear();
    return written;
  }
  [[nodiscard]] std::uint64_t size() const { return written_; }

 private:
  int descriptor_;
  const std::filesystem::path& name_;
  base::Bytes buffer_;
  std::uint64_t written_ = 0;
};

constexpr const char* create_operation = "create spool file";

Result<base::FileDescriptor> open_without_name(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0) return base::FileDescriptor(descriptor);
  const bool unsupported = errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT;
  if (!unsupported) return std::unexpected(base::errno_error(errno, "open", directory.string()));
  // Not every file system has such files (NFS has none): one whose name is gone at once.
  const auto path = directory / ("spool-" + base::random_hex(16));
  auto named = base::open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!named) return named;
  if (auto removed = base::remove_file(path); !removed) return std::unexpected(removed.error());
  return named;
}

}  // namespace

Result<base::FileDescriptor> open_spool_file(const std::filesystem::path& directory) {
  std::error_code error;
  const auto place = directory.empty() ? std::filesystem::temp_directory_path(error) : directory;
  if (error) return failure(ErrorCode::io, create_operation, "the temporary directory", error.message());
  std::filesystem::create_directories(place, error);
  auto opened = open_without_name(place);
  if (opened) return opened;
  if (opened.error().code() != ErrorCode::not_found) {
    return std::unexpected(opened.error().within(create_operation, place.string()));
  }
  return failure(ErrorCode::io, create_operation, place.string(),
                 error ? "the directory cannot be created: " + error.message() : opened.error().message());
}

Payload Payload::of_file(base::FileDescriptor file, std::uint64_t size, std::filesystem::path name) {
  Payload payload;
  payload.file_ = std::make_shared<const File>(std::move(file), size, std::move(name));
  return payload;
}

Result<Payload> Payload::spooled(const std::filesystem::path& directory, const ByteProducer& producer) {
  auto file = open_spool_file(directory);
  if (!file) return std::unexpected(file.error());
  SpoolSink sink(file->get(), directory);
  if (auto produced = producer(sink); !produced) return std::unexpected(produced.error());
  if (auto flushed = sink.flush(); !flushed) return std::unexpected(flushed.error().within("spool"));
  return of_file(std::move(*file), sink.size(), directory);
}

Result<std::size_t> Payload::read(std::uint64_t offset, std::span<std::byte> destination) const {
  if (file_ != nullptr) return base::read_at(file_->descriptor.get(), destination, offset, file_->name);
  if (offset >= memory_.size()) return 0;
  const auto piece =
      memory_.subspan(offset, std::min<std::uint64_t>(destination.size(), memory_.size() - offset));
  std::ranges::copy(piece, destination.begin());
  return piece.size();
}

Result<base::Sha256Digest> Payload::digest() const {
  if (file_ == nullptr) return base::sha256(memory_);
  base::Sha256 sum;
  base::Bytes piece(piece_size);
  for (std::uint64_t offset = 0;;) {
    const auto count = read(offset, piece);
    if (!count) return std::unexpected(count.error());
    if (*count == 0) return sum.finish();
    sum.update(base::ByteView(piece).first(*count));
    offset += *count;
  }
}

Result<Checksum> Payload::file_checksum() const {
  std::array<std::byte, ltx::trailer_size> trailer{};
  const std::uint64_t size = this->size();
  if (size < trailer.size()) {
    return failure(ErrorCode::invalid_argument, "read trailer", "payload", "it is too short for an LTX file");
  }
  const auto count = read(size - trailer.size(), trailer);
  if (!count) return std::unexpected(count.error());
  return Checksum(
      base::load_big_endian<std::uint64_t>(trailer.data() + trailer.size() - sizeof(std::uint64_t)));
}

Result<Object> Payload::put(const Context& context, ObjectBucket& bucket, const NewObject& object) const {
  if (file_ == nullptr) return bucket.put(context, object, memory_);
  return bucket.put(context, object,
                    [this, offset = std::uint64_t{0}](std::span<std::byte> destination) mutable {
                      auto count = read(offset, destination);
                      if (count) offset += *count;
                      return count;
                    });
}

}  // namespace litecluster::log
