// Reading objects.
//
// Chunks are found by their subject. A writer stores them before the metadata, so of an object with n chunks
// whose metadata has sequence m, the first chunk has at most sequence m - n, and exactly that when nobody
// else wrote in between. That is where reading begins; the server tells with each message how many on the
// subject follow, which shows whether it was the beginning. If not, reading begins again from the start of
// the stream.
//
// Objects of a few chunks are read by direct gets, all sent at once: get i asks for the first message on the
// subject from sequence m - n + i on. If the answers are n different messages, they are all there is;
// otherwise, and for all larger objects, an ordered consumer reads them. What tells in the end is size and
// digest.
#include <algorithm>
#include <chrono>
#include <deque>
#include <utility>

#include <fmt/format.h>

#include "nats/jetstream_object_store.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view operation = "get object";
// Above this a consumer costs less than single requests.
constexpr std::uint64_t direct_chunks_max = 16;
constexpr std::uint64_t direct_bytes_max = std::uint64_t{4} << 20U;
// Times that an object is asked for, each waiting as long as an answer may take.
constexpr int unanswered_max = 10;
// That an object's chunks are gone has to be said for this long.
constexpr std::chrono::seconds removal_disbelief{5};
// Chunks that are kept for a while after they were read. If each was freed at once the allocator would give
// its pages back and fetch new ones for the next; more than this no longer fits into the processor's cache.
constexpr std::size_t kept_chunks = 4;
constexpr std::size_t kept_chunk_size_max = std::size_t{256} << 10U;

std::unexpected<Error> bad(ErrorCode code, const ObjectInfo& info, std::string reason) {
  return failure(code, std::string(operation), info.name, std::move(reason));
}

Status check_readable(const ObjectInfo& info) {
  if (info.deleted) return bad(ErrorCode::not_found, info, "the object was deleted");
  if (!info.link.empty()) {
    return bad(ErrorCode::unsupported, info,
               fmt::format("it is a link to {}, which is not followed", info.link));
  }
  return {};
}

std::uint64_t likely_first_sequence(const ObjectInfo& info) {
  return info.sequence > info.chunks ? info.sequence - info.chunks : 1;
}

// Counts and hashes what passes.
class Verifier {
 public:
  explicit Verifier(const ObjectInfo& info) : info_(info) {}

  /// The bytes of one chunk, or of all of them.
  void update(base::ByteView bytes, std::uint64_t chunks = 1) {
    chunks_ += chunks;
    size_ += bytes.size();
    if (info_.digest) digest_.update(bytes);
  }
  Status finish() {
    if (size_ != info_.size) {
      return bad(ErrorCode::corrupt, info_,
                 fmt::format("it has {} bytes, its metadata says {}", size_, info_.size));
    }
    if (chunks_ != info_.chunks) {
      return bad(ErrorCode::corrupt, info_,
                 fmt::format("it has {} chunks, its metadata says {}", chunks_, info_.chunks));
    }
    if (info_.digest && digest_.finish() != *info_.digest) {
      return bad(ErrorCode::corrupt, info_, "its bytes do not match the digest in its metadata");
    }
    return {};
  }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  const ObjectInfo& info_;
  base::Sha256 digest_;
  std::uint64_t size_ = 0;
  std::uint64_t chunks_ = 0;
};

// The chunks of one object in order, by an ordered consumer.
class ChunkReader {
 public:
  ChunkReader(const JetStreamObjectStore& store, const ObjectInfo& info) : store_(store), info_(info) {}

  /// Begins at this sequence.
  Status begin(const Context& context, std::uint64_t sequence) {
    options_.stream = store_.stream();
    options_.filter = chunk_subject(store_.bucket(), info_.nuid);
    options_.sparse = true;
    if (sequence > 1) {
      options_.start = StartAtSequence{sequence};
    } else {
      options_.start = StartAll{};
    }
    auto consumer = OrderedConsumer::create(context, store_.jetstream(), options_);
    if (!consumer) return std::unexpected(consumer.error());
    consumer_.emplace(std::move(*consumer));
    next_sequence_ = sequence;
    left_ = consumer_->initial_pending();
    return {};
  }
  /// Chunks that follow, as far as known.
  [[nodiscard]] std::uint64_t left() const { return left_; }
  /// Nothing: the chunks that followed were removed. The bytes stay valid until the next call.
  Result<std::optional<base::ByteView>> next(const Context& context) {
    auto delivery = receive(context);
    if (!delivery) return std::unexpected(delivery.error());
    if (!*delivery) {
      left_ = 0;
      return std::nullopt;
    }
    return keep(std::move(**delivery));
  }

 private:
  // Nothing: no chunk follows. A server that has just become leader can be behind for a moment, so that has
  // to be said for a while. A consumer that has to be made anew takes what time it needs.
  Result<std::optional<Delivery>> receive(const Context& context) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point believed_at = Clock::time_point::max();
    while (true) {
      const std::chrono::milliseconds silence = reading_silence;
      const auto patience = consumer_->live() ? silence : std::max(silence, time_for_a_consumer());
      auto delivery = consumer_->next(context.with_timeout(patience));
      if (delivery) return std::optional<Delivery>(std::move(*delivery));
      if (delivery.error().code() != ErrorCode::deadline_exceeded || context.done()) {
        return std::unexpected(delivery.error());
      }
      if (!nothing_follows(context, store_.jetstream(), options_, next_sequence_)) {
        believed_at = Clock::time_point::max();
        continue;
      }
      believed_at = std::min(believed_at, Clock::now() + removal_disbelief);
      if (Clock::now() >= believed_at) return std::nullopt;
    }
  }
  // Three requests: for the stream, for the last message that was read, for the consumer.
  std::chrono::milliseconds time_for_a_consumer() const {
    return 3 * store_.jetstream().connection().options().request_timeout;
  }
  base::ByteView keep(Delivery delivery) {
    left_ = delivery.pending;
    next_sequence_ = delivery.sequence + 1;
    const base::ByteView data = delivery.message.data();
    while (kept_.size() >= kept_chunks || (!kept_.empty() && data.size() > kept_chunk_size_max)) {
      kept_.pop_front();
    }
    kept_.push_back(std::move(delivery.message));
    return data;
  }

  const JetStreamObjectStore& store_;
  const ObjectInfo& info_;
  OrderedConsumerOptions options_;
  std::optional<OrderedConsumer> consumer_;
  std::uint64_t left_ = 0;
  std::uint64_t next_sequence_ = 1;  // no chunk that is still to come has a lower one
  std::deque<Message> kept_;
};

// Why the chunks are not what the metadata says: because the object is not there any more, or because it is
// broken.
std::unexpected<Error> explain_mismatch(const JetStreamObjectStore& store, const Context& context,
                                        const ObjectInfo& info, const Error& problem) {
  auto now = store.lookup(context, info.name, true);
  if (!now && now.error().code() == ErrorCode::not_found) {
    return bad(ErrorCode::not_found, info, "the object was removed while it was read");
  }
  if (now && now->nuid != info.nuid)
    return bad(ErrorCode::not_found, info, "the object was replaced while it was read");
  return std::unexpected(problem);
}

Status read_by_consumer(const JetStreamObjectStore& store, const Context& context, const ObjectInfo& info,
                        const ByteSink& sink) {
  ChunkReader reader(store, info);
  if (auto status = reader.begin(context, likely_first_sequence(info)); !status) return status;
  if (reader.left() < info.chunks || info.chunks == 0) {
    if (auto status = reader.begin(context, 1); !status) return status;
  }
  Verifier verifier(info);
  while (reader.left() != 0) {
    const auto next = reader.next(context);
    if (!next) return std::unexpected(next.error());
    if (!*next) break;
    const base::ByteView data = **next;
    verifier.update(data);
    // More than the metadata says is not passed on.
    if (verifier.size() > info.size) break;
    if (auto status = sink(data); !status) return status;
    if (verifier.size() == info.size) break;
  }
  if (auto status = verifier.finish(); !status) return explain_mismatch(store, context, info, status.error());
  return {};
}

// An object of a few chunks that is being fetched by direct gets.
class DirectFetch {
 public:
  static bool suits(const JetStreamObjectStore& store, const ObjectInfo& info) {
    return store.direct() && info.chunks >= 1 && info.chunks <= direct_chunks_max &&
           info.size <= direct_bytes_max;
  }

  DirectFetch(const JetStreamObjectStore& store, const ObjectInfo& info) : store_(store), info_(info) {
    const std::string subject = chunk_subject(store.bucket(), info.nuid);
    if (info.chunks == 1) {
      pending_.push_back(store.jetstream().send_last_message(store.stream(), subject));
      return;
    }
    const std::uint64_t first = likely_first_sequence(info);
    for (std::uint64_t index = 0; index < info.chunks; ++index) {
      pending_.push_back(store.jetstream().send_next_message(store.stream(), subject, first + index));
    }
  }

  Result<base::Bytes> finish(const Context& context) {
    base::Bytes bytes;
    bytes.reserve(info_.size);
    std::uint64_t last = 0;
    for (auto& sent : pending_) {
      if (!sent) return std::unexpected(sent.error());
      auto chunk = sent->wait(context);
      // Not where they were expected to be: look properly. Not here in time: the link is slow, and what was
      // asked for at once came in turn.
      if (!chunk &&
          (chunk.error().code() == ErrorCode::not_found || chunk.error().code() == ErrorCode::unavailable)) {
        return by_consumer(context);
      }
      if (!chunk) return std::unexpected(store_.explain(context, chunk.error()));
      if (chunk->sequence <= last) return by_consumer(context);
      last = chunk->sequence;
      base::append_bytes(bytes, chunk->data);
    }
    Verifier verifier(info_);
    verifier.update(bytes, info_.chunks);
    if (!verifier.finish()) return by_consumer(context);
    return bytes;
  }

 private:
  Result<base::Bytes> by_consumer(const Context& context) {
    for (int attempt = 1;; ++attempt) {
      base::Bytes bytes;
      auto status = read_by_consumer(store_, context, info_, [&bytes](base::ByteView part) -> Status {
        base::append_bytes(bytes, part);
        return {};
      });
      if (status) return bytes;
      // What was asked for before may still be on its way to us, and keep the answer from coming in time.
      const bool waits = status.error().code() == ErrorCode::unavailable && !context.done();
      if (!waits || attempt == unanswered_max) {
        return std::unexpected(store_.explain(context, status.error()));
      }
    }
  }

  const JetStreamObjectStore& store_;
  const ObjectInfo& info_;
  std::vector<Result<PendingGet>> pending_;
};

}  // namespace

Status JetStreamObjectStore::get(const Context& context, const ObjectInfo& info, const ByteSink& sink) {
  if (auto status = check_readable(info); !status) return status;
  if (auto status = context.status(operation); !status) return status;
  if (info.size == 0) return Verifier(info).finish();
  if (DirectFetch::suits(*this, info)) {
    auto bytes = DirectFetch(*this, info).finish(context);
    if (!bytes) return std::unexpected(bytes.error());
    return sink(*bytes);
  }
  return read_by_consumer(*this, context, info, sink);
}

Result<base::Bytes> JetStreamObjectStore::get(const Context& context, const ObjectInfo& info,
                                              std::uint64_t size_max) {
  if (info.size > size_max) {
    return bad(ErrorCode::too_large, info,
               fmt::format("it has {} bytes, the limit here is {}", info.size, size_max));
  }
  base::Bytes bytes;
  auto status = get(context, info, [&bytes](base::ByteView part) -> Status {
    base::append_bytes(bytes, part);
    return {};
  });
  if (!status) return std::unexpected(status.error());
  return bytes;
}

Status JetStreamObjectStore::get_range(const Context& context, const ObjectInfo& info, std::uint64_t offset,
                                       std::uint64_t length, const ByteSink& sink) {
  if (auto status = check_readable(info); !status) return status;
  if (offset >= info.size || length == 0) return {};
  const std::uint64_t end = length > info.size - offset ? info.size : offset + length;
  ChunkReader reader(*this, info);
  const std::uint64_t step = info.chunk_size;
  // Even chunks: the first wanted one is known by number, and its place is guessed; the server's count of
  // those that follow tells whether the guess was right. A guess that is too far back costs only what is
  // skipped.
  const bool even = step != 0 && info.chunks == (info.size + step - 1) / step;
  const std::uint64_t wanted = even ? offset / step : 0;
  std::uint64_t position = 0;
  const std::uint64_t guess = even ? likely_first_sequence(info) + wanted : 1;
  if (auto status = reader.begin(context, guess); !status) return status;
  if (even && (reader.left() > info.chunks || reader.left() < info.chunks - wanted)) {
    if (auto status = reader.begin(context, 1); !status) return status;
  } else if (even) {
    position = (info.chunks - reader.left()) * step;
  }
  while (position < end && reader.left() != 0) {
    const auto next = reader.next(context);
    if (!next) return std::unexpected(next.error());
    if (!*next) break;
    base::ByteView data = **next;
    if (even && data.size() != std::min<std::uint64_t>(step, info.size - position)) {
      return explain_mismatch(*this, context, info,
                              Error(ErrorCode::corrupt, std::string(operation), info.name,
                                    "a chunk has another size than its metadata says"));
    }
    const std::uint64_t begin = position;
    position += data.size();
    if (position <= offset) continue;
    if (position > end) data = data.first(end - begin);
    if (begin < offset) data = data.subspan(offset - begin);
    if (auto status = sink(data); !status) return status;
  }
  if (position < end) {
    return explain_mismatch(
        *this, context, info,
        Error(ErrorCode::corrupt, std::string(operation), info.name, "it is shorter than its metadata says"));
  }
  return {};
}

Status JetStreamObjectStore::get_many(const Context& context, std::span<const ObjectInfo> infos,
                                      std::uint64_t in_flight_max, const EachObject& each) {
  std::deque<std::optional<DirectFetch>>
      under_way;  // of infos[done...]; none: to be read when its turn comes
  std::size_t started = 0;
  std::uint64_t bytes = 0;
  for (std::size_t done = 0; done < infos.size(); ++done) {
    while (started < infos.size() && (under_way.empty() || bytes + infos[started].size <= in_flight_max)) {
      const ObjectInfo& info = infos[started++];
      const bool direct = check_readable(info).has_value() && DirectFetch::suits(*this, info);
      under_way.emplace_back();
      if (direct) under_way.back().emplace(*this, info);
      bytes += info.size;
    }
    auto fetch = std::move(under_way.front());
    under_way.pop_front();
    bytes -= infos[done].size;
    Result<base::Bytes> result =
        fetch ? fetch->finish(context) : get(context, infos[done], std::uint64_t{infos[done].size});
    if (!result && context.done()) return context.status(operation);
    if (auto status = each(done, std::move(result)); !status) return status;
  }
  return {};
}

}  // namespace litecluster::nats
