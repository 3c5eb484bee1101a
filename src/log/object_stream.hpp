// Reads a sequence of objects as fast as the bucket delivers them, while the reader works on them one by one.
//
// A thread of its own fetches ahead: runs of small objects at the same time, large ones piece by piece. What
// lies between it and the reader is bounded, whatever the objects' sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "log/byte_pipe.hpp"
#include "log/object.hpp"
#include "log/object_bucket.hpp"
#include "ltx/stream.hpp"

namespace litecluster::log {

struct ObjectStreamLimits {
  /// Bytes fetched and not yet read.
  std::size_t ahead_max = std::size_t{8} << 20U;
  /// Objects up to this size are fetched several at a time.
  std::uint64_t small_object_max = std::uint64_t{1} << 20U;
  /// Bytes of small objects under way at the same time.
  std::uint64_t in_flight_max = std::uint64_t{8} << 20U;
};

/// One thread reads. `bucket` outlives it.
class ObjectStream {
 public:
  /// `on_read`, if any, is called with the bytes handed out so far, whenever there are more.
  using OnRead = std::function<void(std::uint64_t bytes_read)>;

  ObjectStream(const Context& context, ObjectBucket& bucket, std::vector<Object> objects, OnRead on_read = {},
               ObjectStreamLimits limits = {});
  ObjectStream(const ObjectStream&) = delete;
  ObjectStream& operator=(const ObjectStream&) = delete;
  ~ObjectStream();

  /// The bytes of the next object; nullptr after the last. Valid until the next call. The object before must
  /// have been finished.
  [[nodiscard]] ltx::Source* next();
  /// Reads what is left of the current object and says whether it arrived whole. Errors: not_found (it
  /// vanished), corrupt (its bytes are not those that were put), those of the transport.
  [[nodiscard]] Status finish();

  /// The object that next() handed out last.
  [[nodiscard]] const Object& current() const { return objects_[next_ - 1]; }

 private:
  class PipeSource;

  void fetch_all();
  [[nodiscard]] Status fetch();
  [[nodiscard]] Status fetch_small(std::size_t begin, std::size_t end);
  [[nodiscard]] Status fetch_large(std::size_t index);
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> destination);

  Context context_;
  ObjectBucket& bucket_;
  std::vector<Object> objects_;
  OnRead on_read_;
  ObjectStreamLimits limits_;
  /// Objects one after the other, each followed by one byte that is written only when all of it was good.
  BytePipe pipe_;
  std::size_t next_ = 0;
  std::uint64_t left_ = 0;  // of the current object
  std::uint64_t bytes_read_ = 0;
  std::unique_ptr<PipeSource> source_;
  std::jthread thread_;
};

}  // namespace litecluster::log
