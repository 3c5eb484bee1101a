// A bounded pipe of bytes between two threads, for a writer that pushes and a reader that pulls.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "base/mutex.hpp"
#include "log/object_bucket.hpp"
#include "ltx/stream.hpp"

namespace litecluster::log {

/// One thread writes, one reads. Both wait until the other moves on, or the Context is cancelled.
class BytePipe final : public ltx::Sink {
 public:
  /// The writer waits while more than `bytes_max` lie in the pipe. A piece that is being read does not count.
  BytePipe(const Context& context, std::size_t bytes_max);

  /// Fails with the reader's error once the reader gave up.
  [[nodiscard]] Status write(base::ByteView bytes) override;
  /// No more bytes: the reader sees the end, or `status`'s error, behind what was written.
  void finish(Status status);

  /// 1 to destination.size() bytes; 0 at the end.
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> destination);
  /// The reader takes no more.
  void give_up(const Error& reason);

 private:
  [[nodiscard]] base::Bytes take_spare(std::size_t size) LITECLUSTER_REQUIRES(mutex_);

  Context context_;
  std::size_t bytes_max_;
  base::Mutex mutex_;
  base::ConditionVariable changed_;
  std::deque<base::Bytes> pieces_ LITECLUSTER_GUARDED_BY(mutex_);
  // Pieces to use again: the pages of new ones would have to be fetched from the kernel each time.
  std::vector<base::Bytes> spare_ LITECLUSTER_GUARDED_BY(mutex_);
  std::size_t bytes_ LITECLUSTER_GUARDED_BY(mutex_) = 0;  // in pieces_
  // The reader's alone: the piece that it reads, and how far.
  base::Bytes reading_;
  std::size_t offset_ = 0;
  std::optional<Status> finished_ LITECLUSTER_GUARDED_BY(mutex_);
  std::optional<Error> given_up_ LITECLUSTER_GUARDED_BY(mutex_);
  // Last, so that it is gone before what its callback refers to.
  Context::Registration registration_;
};

/// Writes one object's bytes into the sink.
using ByteProducer = std::function<Status(ltx::Sink&)>;

/// Puts what `producer` writes, which runs in a thread of its own. Bounded memory, whatever the size. An
/// error of the producer leaves nothing in the bucket.
[[nodiscard]] Result<Object> put_produced(const Context& context, ObjectBucket& bucket,
                                          const NewObject& object, const ByteProducer& producer);

}  // namespace litecluster::log
