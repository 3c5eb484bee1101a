#include "log/byte_pipe.hpp"

#include <algorithm>
#include <cstring>
#include <thread>
#include <utility>

namespace litecluster::log {
namespace {

constexpr std::size_t put_buffer_bytes = std::size_t{2} << 20U;
// Encoders write a few bytes at a time; pieces are filled up to this.
constexpr std::size_t piece_bytes = std::size_t{64} << 10U;

}  // namespace

BytePipe::BytePipe(const Context& context, std::size_t bytes_max)
    : context_(context), bytes_max_(bytes_max), registration_(context_.on_cancel([this] {
        const base::MutexLock lock(mutex_);
        changed_.notify_all();
      })) {}

Status BytePipe::write(base::ByteView bytes) {
  base::MutexLock lock(mutex_);
  while (bytes_ > bytes_max_ && !given_up_) {
    if (auto status = context_.status("write to pipe"); !status) return status;
    changed_.wait_until(lock, context_.deadline().value_or(Context::TimePoint::max()));
  }
  if (given_up_) return std::unexpected(*given_up_);
  if (pieces_.empty() || pieces_.back().size() + bytes.size() > piece_bytes) {
    pieces_.emplace_back().reserve(std::max(piece_bytes, bytes.size()));
  }
  base::append_bytes(pieces_.back(), bytes);
  const bool was_empty = bytes_ == 0;
  bytes_ += bytes.size();
  if (was_empty) changed_.notify_all();
  return {};
}

void BytePipe::finish(Status status) {
  const base::MutexLock lock(mutex_);
  finished_ = std::move(status);
  changed_.notify_all();
}

Result<std::size_t> BytePipe::read(std::span<std::byte> destination) {
  base::MutexLock lock(mutex_);
  while (bytes_ == 0) {
    if (finished_) {
      if (!*finished_) return std::unexpected(finished_->error());
      return 0;
    }
    if (auto status = context_.status("read from pipe"); !status) return std::unexpected(status.error());
    changed_.wait_until(lock, context_.deadline().value_or(Context::TimePoint::max()));
  }
  const base::Bytes& piece = pieces_.front();
  const std::size_t count = std::min(destination.size(), piece.size() - offset_);
  std::memcpy(destination.data(), piece.data() + offset_, count);
  offset_ += count;
  if (offset_ == piece.size()) {
    pieces_.pop_front();
    offset_ = 0;
  }
  const bool was_full = bytes_ > bytes_max_;
  bytes_ -= count;
  if (was_full && bytes_ <= bytes_max_) changed_.notify_all();
  return count;
}

void BytePipe::give_up(const Error& reason) {
  const base::MutexLock lock(mutex_);
  given_up_ = reason;
  changed_.notify_all();
}

Result<Object> put_produced(const Context& context, ObjectBucket& bucket, const NewObject& object,
                            const ByteProducer& producer) {
  BytePipe pipe(context, put_buffer_bytes);
  const std::jthread writer([&] { pipe.finish(producer(pipe)); });
  auto stored = bucket.put(context, object,
                           [&pipe](std::span<std::byte> destination) { return pipe.read(destination); });
  if (!stored) pipe.give_up(stored.error());
  return stored;
}

}  // namespace litecluster::log
