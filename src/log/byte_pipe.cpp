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
constexpr std::size_t spare_max = 16;

}  // namespace

BytePipe::BytePipe(const Context& context, std::size_t bytes_max)
    : context_(context), bytes_max_(bytes_max), registration_(context_.on_cancel([this] {
        const base::MutexLock lock(mutex_);
        changed_.notify_all();
      })) {}

base::Bytes BytePipe::take_spare(std::size_t size) {
  base::Bytes piece;
  if (!spare_.empty()) {
    piece = std::move(spare_.back());
    spare_.pop_back();
  }
  piece.clear();
  piece.reserve(std::max(piece_bytes, size));
  return piece;
}

Status BytePipe::write(base::ByteView bytes) {
  base::MutexLock lock(mutex_);
  while (bytes_ > bytes_max_ && !given_up_) {
    if (auto status = context_.status("write to pipe"); !status) return status;
    changed_.wait_until(lock, context_.deadline().value_or(Context::TimePoint::max()));
  }
  if (given_up_) return std::unexpected(*given_up_);
  if (bytes.size() >= piece_bytes) {
    // A piece of its own, copied while the reader goes on.
    base::Bytes piece = take_spare(bytes.size());
    lock.unlock();
    base::append_bytes(piece, bytes);
    lock.lock();
    pieces_.push_back(std::move(piece));
  } else {
    if (pieces_.empty() || pieces_.back().size() + bytes.size() > piece_bytes) {
      pieces_.push_back(take_spare(piece_bytes));
    }
    base::append_bytes(pieces_.back(), bytes);
  }
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
  if (offset_ == reading_.size()) {
    base::MutexLock lock(mutex_);
    while (bytes_ == 0) {
      if (finished_) {
        if (!*finished_) return std::unexpected(finished_->error());
        return 0;
      }
      if (auto status = context_.status("read from pipe"); !status) return std::unexpected(status.error());
      changed_.wait_until(lock, context_.deadline().value_or(Context::TimePoint::max()));
    }
    if (spare_.size() < spare_max) spare_.push_back(std::move(reading_));
    reading_ = std::move(pieces_.front());
    pieces_.pop_front();
    offset_ = 0;
    const bool was_full = bytes_ > bytes_max_;
    bytes_ -= reading_.size();
    if (was_full && bytes_ <= bytes_max_) changed_.notify_all();
  }
  const std::size_t count = std::min(destination.size(), reading_.size() - offset_);
  std::memcpy(destination.data(), reading_.data() + offset_, count);
  offset_ += count;
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
