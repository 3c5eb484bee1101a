#include "log/object_stream.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace litecluster::log {
namespace {

constexpr std::array<std::byte, 1> end_mark{std::byte{1}};
constexpr std::size_t skip_bytes = std::size_t{64} << 10U;

}  // namespace

class ObjectStream::PipeSource final : public ltx::BufferedSource {
 public:
  PipeSource(ObjectStream& stream, std::string name) : stream_(stream), name_(std::move(name)) {}
  std::string_view name() const override { return name_; }

 protected:
  Result<std::size_t> read(std::span<std::byte> destination) override { return stream_.read(destination); }

 private:
  ObjectStream& stream_;
  std::string name_;
};

ObjectStream::ObjectStream(const Context& context, ObjectBucket& bucket, std::vector<Object> objects,
                           OnRead on_read, ObjectStreamLimits limits)
    : context_(context.with_cancel()),
      bucket_(bucket),
      objects_(std::move(objects)),
      on_read_(std::move(on_read)),
      limits_(limits),
      pipe_(context_, limits_.ahead_max),
      thread_([this] { pipe_.finish(fetch()); }) {}

ObjectStream::~ObjectStream() {
  context_.cancel();
}

Status ObjectStream::fetch() {
  const auto is_small = [this](const Object& object) { return object.size <= limits_.small_object_max; };
  std::size_t index = 0;
  while (index < objects_.size()) {
    std::size_t end = index;
    while (end < objects_.size() && is_small(objects_[end])) ++end;
    auto fetched = end > index ? fetch_small(index, end) : fetch_large(index);
    if (!fetched) return fetched;
    index = std::max(end, index + 1);
  }
  return {};
}

Status ObjectStream::fetch_small(std::size_t begin, std::size_t end) {
  const auto run = std::span(objects_).subspan(begin, end - begin);
  return bucket_.get_many(context_, run, limits_.in_flight_max,
                          [&](std::size_t index, Result<base::Bytes> bytes) -> Status {
                            if (!bytes) return std::unexpected(bytes.error());
                            if (bytes->size() != run[index].size) {
                              return failure(ErrorCode::corrupt, "read object", to_string(run[index].name),
                                             "its size is not what its metadata says");
                            }
                            if (auto written = pipe_.write(*bytes); !written) return written;
                            return pipe_.write(end_mark);
                          });
}

Status ObjectStream::fetch_large(std::size_t index) {
  const Object& object = objects_[index];
  const auto size_mismatch = [&object] {
    return failure(ErrorCode::corrupt, "read object", to_string(object.name),
                   "its size is not what its metadata says");
  };
  std::uint64_t size = 0;
  auto fetched = bucket_.get(context_, object, [&](base::ByteView bytes) -> Status {
    size += bytes.size();
    if (size > object.size) return size_mismatch();
    return pipe_.write(bytes);
  });
  if (!fetched) return fetched;
  if (size != object.size) return size_mismatch();
  return pipe_.write(end_mark);
}

ltx::Source* ObjectStream::next() {
  if (next_ == objects_.size()) return nullptr;
  const Object& object = objects_[next_++];
  left_ = object.size;
  source_ = std::make_unique<PipeSource>(*this, to_string(object.name));
  return source_.get();
}

Result<std::size_t> ObjectStream::read(std::span<std::byte> destination) {
  if (left_ == 0) return 0;
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(destination.size(), left_));
  auto count = pipe_.read(destination.first(wanted));
  if (!count) return count;
  left_ -= *count;
  bytes_read_ += *count;
  if (on_read_) on_read_(bytes_read_);
  return count;
}

Status ObjectStream::finish() {
  base::Bytes rest(std::min<std::uint64_t>(skip_bytes, left_));
  while (left_ > 0) {
    if (auto count = read(rest); !count) return std::unexpected(count.error());
  }
  std::array<std::byte, 1> mark{};
  const auto count = pipe_.read(mark);
  if (!count) return std::unexpected(count.error());
  if (*count == 0) {
    return failure(ErrorCode::internal, "read object", to_string(current().name), "the stream ended early");
  }
  return {};
}

}  // namespace litecluster::log
