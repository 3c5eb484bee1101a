// Storing an object: why it is there whole or not at all, and stored once.
//
// An object is visible from the moment at which its metadata message is stored. So that must happen only when
// all of its chunks are stored, once each and in order, also when messages are refused, lost with a
// connection, or repeated.
//
// Names of chunks are new. The nuid is random per put and is kept over repetitions within it, so nobody else
// writes to the chunk subject, and what stands there is ours. It also tells whose a metadata message is.
//
// Small objects (one chunk at most) take one round trip: chunk and metadata are sent one behind the other.
//  - The chunk expects to be the first on its subject (Nats-Expected-Last-Subject-Sequence: 0). However often
//    it is sent, and however late a copy arrives, it is stored once: a repetition gets 'duplicate' or 'wrong
//    sequence', and both mean that it is there.
//  - The metadata expects the chunk's message id to be the last of the stream (Nats-Expected-Last-Msg-Id). If
//    the chunk was refused or lost, the server refuses the metadata: nothing half-written can be seen,
//    whatever happens to us afterwards. So nobody needs an acknowledgement of the chunk, and none is asked
//    for: the metadata's is one for both. If another writer's message came in between, the metadata is
//    refused as well; the chunk is then sent again, for the acknowledgement or refusal that is missing, and
//    the metadata without that condition: two more round trips, and only then.
//  - Not so where the stream is replicated. There nats-server (2.15.1, tried) looks at that condition when it
//    applies a message that the replicas have agreed on, takes a refusal for a failed write, and stops the
//    stream on all replicas until they are restarted. So the chunk's acknowledgement is waited for: two round
//    trips.
//
// Larger objects: chunks are pipelined, within a limit of bytes that are not acknowledged, and the metadata
// is sent after all acknowledgements have come. They prove the content: chunk i has sequence s(i), and s must
// grow with i. The first chunk carries the condition from above, each carries a message id made from nuid and
// index, so that a repetition within the server's duplicate window (two minutes) gets the sequence of the
// original.
//
// When the connection breaks, the fate of what is not acknowledged is unknown. We wait for a server, and ask
// the leader what is stored on the chunk subject: the number of messages n and the id of the last one. If
// that is chunk n-1, chunks 0 to n-1 are there (ids are distinct, both transmissions send in index order, and
// of the copies of one chunk the first to arrive counts, so first arrivals are in index order as well), and
// sending goes on with n. Anything else means that one was lost in the middle; the put then fails and its
// chunks are purged.
//
// Create-only means that the metadata expects no message on its subject (sequence 0). A refusal for that
// reason may be the answer to our own repetition: 2.9 looks at the message id first and says 'duplicate',
// later servers look at the sequence first. So the metadata that stands there is read from the leader, and
// its nuid tells whether we won.
//
// What ends early leaves chunks without metadata. They are purged when it is certain that no metadata of ours
// can be stored; otherwise they stay, and remove_orphans() finds them.
#include <algorithm>
#include <charconv>
#include <deque>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/fault_point.hpp"
#include "base/hex.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "nats/jetstream_object_store.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view operation = "put object";
constexpr int wrong_last_message_id = 10070;
// Room for headers in a message beside a chunk.
constexpr std::size_t header_allowance = 1024;

// The server may or may not have acted.
bool outcome_unknown(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::cancelled ||
         error.code() == ErrorCode::deadline_exceeded;
}

ServerTime now() {
  return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now());
}

// The bytes of a chunk until it is acknowledged: the caller's own where they stay, a copy otherwise.
struct ChunkData {
  base::Bytes copy;
  base::ByteView view;
};
// Gives the next chunk, an empty one at the end. The argument is a buffer to use again.
using ChunkSource = std::function<Result<ChunkData>(base::Bytes recycled)>;

// One put. Lives in one call.
class Putter {
 public:
  Putter(const JetStreamObjectStore& store, const Context& context, std::string_view name,
         const PutOptions& options)
      : store_(store), context_(context), options_(options) {
    info_.name = std::string(name);
    info_.description = options.description;
    info_.headers = options.headers;
    info_.metadata = options.metadata;
    info_.chunk_size = options.chunk_size;
    info_.nuid = new_nuid();
    chunk_subject_ = chunk_subject(store.bucket(), info_.nuid);
    metadata_subject_ = metadata_subject(store.bucket(), name);
  }

  Status check() const;
  Result<ObjectInfo> put_small(base::ByteView data);
  Result<ObjectInfo> put_large(const ChunkSource& next);

 private:
  struct Chunk {
    std::uint64_t index = 0;
    ChunkData data;
    std::optional<PendingAck> ack;
  };

  std::string chunk_id(std::uint64_t index) const { return fmt::format("{}-{}", info_.nuid, index); }
  Headers chunk_headers(std::uint64_t index) const;
  Headers metadata_headers(const std::string& json, bool after_chunk) const;

  Status wait_for_server() const;
  Result<ObjectInfo> look_up() const;
  Status store_first_chunk(base::ByteView data);
  Result<ObjectInfo> finish_small(base::ByteView data, const std::string& json, const Error& problem,
                                  bool sent);
  Result<ObjectInfo> store_metadata(const std::string& json, bool sent);
  Result<ObjectInfo> finish(std::uint64_t sequence);
  std::optional<Result<ObjectInfo>> look_who_won();
  Status read_replaced();

  Status add_chunk(ChunkData data);
  Status send_chunk(Chunk& chunk);
  Status take_ack();
  Status resume();
  Result<std::uint64_t> count_stored_chunks();
  Status drain(std::size_t bytes_left);

  std::unexpected<Error> give_up(Error error, bool maybe_stored);
  void discard_chunks();

  const JetStreamObjectStore& store_;
  const Context& context_;
  const PutOptions& options_;
  ObjectInfo info_;
  std::string chunk_subject_;
  std::string metadata_subject_;
  std::string replaced_nuid_;
  // Chunks that are not acknowledged, oldest first.
  std::deque<Chunk> under_way_;
  std::size_t bytes_under_way_ = 0;
  base::Bytes recycled_;
  std::uint64_t last_chunk_sequence_ = 0;
  // The connection that chunks are sent on; when it breaks, nothing is sent until resume() has looked at what
  // arrived.
  std::uint64_t generation_ = 0;
  bool broken_ = false;
};

Status Putter::check() const {
  const auto bad = [&](std::string reason) {
    return failure(ErrorCode::invalid_argument, std::string(operation), info_.name, std::move(reason));
  };
  if (info_.name.empty()) return bad("an object needs a name");
  if (options_.chunk_size == 0) return bad("chunks of size 0 hold nothing");
  const std::size_t max_payload = store_.jetstream().connection().max_payload();
  if (max_payload != 0 && options_.chunk_size + header_allowance > max_payload) {
    return failure(
        ErrorCode::too_large, std::string(operation), info_.name,
        fmt::format("chunks of {} bytes do not fit into the server's max_payload of {}; lower the chunk "
                    "size or raise max_payload",
                    options_.chunk_size, max_payload));
  }
  return {};
}

Headers Putter::chunk_headers(std::uint64_t index) const {
  Headers headers{{message_id_header, chunk_id(index)}};
  if (index == 0) headers.push_back({expected_last_subject_sequence_header, "0"});
  return headers;
}

Headers Putter::metadata_headers(const std::string& json, bool after_chunk) const {
  // The text holds the nuid, so the id is that of this put alone.
  const base::Sha256Digest digest = base::sha256(base::as_bytes(json));
  Headers headers{
      {message_id_header, base::to_hex16(base::load_big_endian<std::uint64_t>(digest.data())) +
                              base::to_hex16(base::load_big_endian<std::uint64_t>(digest.data() + 8))}};
  // A rollup purges the subject, and a purge makes nats-server 2.9 move every consumer that covers the
  // subject and lags behind to the subject's first message: what lies between is never delivered to it. A
  // name that is created has nothing to roll up.
  headers.push_back(options_.create_only ? Header{expected_last_subject_sequence_header, "0"}
                                         : Header{rollup_header, "sub"});
  if (after_chunk) headers.push_back({expected_last_message_id_header, chunk_id(0)});
  return headers;
}

// `maybe_stored`: metadata was sent and what became of it is unknown; its chunks have to stay.
std::unexpected<Error> Putter::give_up(Error error, bool maybe_stored) {
  if (maybe_stored) {
    return failure(error.code(), std::string(operation), info_.name,
                   "the object may or may not have been stored: " + error.reason());
  }
  discard_chunks();
  if (outcome_unknown(error)) error = store_.explain(context_, std::move(error));
  return failure(error.code(), std::string(operation), info_.name, error.reason());
}

void Putter::discard_chunks() {
  // The server may carry out a purge before publishes that were sent earlier: let it take those first.
  for (Chunk& chunk : under_way_) {
    if (chunk.ack && !context_.done()) static_cast<void>(chunk.ack->wait(context_));
  }
  under_way_.clear();
  store_.purge_later(info_.nuid);
}

Status Putter::wait_for_server() const {
  // Not at once again: an answer that timed out means that the server is busy or has no quorum.
  if (context_.wait_for(std::chrono::milliseconds(20))) return context_.status(operation);
  return store_.jetstream().connection().wait_connected(context_);
}

// The metadata as the leader has it; waits for a leader as long as the Context allows.
Result<ObjectInfo> Putter::look_up() const {
  while (true) {
    auto found = store_.lookup(context_, info_.name, true);
    if (found || !outcome_unknown(found.error())) return found;
    if (auto status = wait_for_server(); !status) return std::unexpected(status.error());
  }
}

// The object that is about to be replaced: its chunks are purged once it is. Tombstones have none.
Status Putter::read_replaced() {
  if (options_.create_only) return {};
  auto found = look_up();
  if (found) {
    replaced_nuid_ = found->nuid;
    return {};
  }
  // Unreadable metadata is replaced like any other; what its chunks were cannot be known.
  if (found.error().code() == ErrorCode::not_found || found.error().code() == ErrorCode::corrupt) return {};
  return std::unexpected(found.error());
}

Result<ObjectInfo> Putter::finish(std::uint64_t sequence) {
  info_.sequence = sequence;
  info_.modified = now();
  if (!replaced_nuid_.empty() && replaced_nuid_ != info_.nuid) store_.purge_later(replaced_nuid_);
  return info_;
}

// Nothing: who won cannot be seen yet. On a cluster a refusal can be due to a message that is agreed on but
// not yet stored, and that may be ours.
std::optional<Result<ObjectInfo>> Putter::look_who_won() {
  auto stored = look_up();
  if (stored && stored->nuid == info_.nuid) return finish(stored->sequence);
  if (stored || stored.error().code() == ErrorCode::corrupt) {
    store_.purge_later(info_.nuid);
    return failure(ErrorCode::already_exists, std::string(operation), info_.name,
                   "an object of this name exists (or did, and left a tombstone)");
  }
  if (stored.error().code() == ErrorCode::not_found) return std::nullopt;
  return give_up(stored.error(), true);
}

// All chunks are stored. Repeats until there is an answer. `sent`: it may have been stored before.
Result<ObjectInfo> Putter::store_metadata(const std::string& json, bool sent) {
  const Headers headers = metadata_headers(json, false);
  while (true) {
    const auto ack = store_.jetstream().publish(context_, metadata_subject_, base::as_bytes(json), headers);
    if (ack) return finish(ack->sequence);
    const bool refused = ack.error().code() == ErrorCode::conflict;
    if (refused) {
      if (auto result = look_who_won()) return std::move(*result);
    } else if (!outcome_unknown(ack.error())) {
      return give_up(ack.error(), sent);
    }
    sent = true;
    if (context_.done()) return give_up(context_.status(operation).error(), sent);
    if (const Error error = store_.explain(context_, ack.error()); error.code() == ErrorCode::not_found) {
      return give_up(error, false);
    }
    if (auto status = wait_for_server(); !status) return give_up(status.error(), sent);
  }
}

// Until the one chunk is known to be stored. A repetition is refused because the subject has a message: that
// is it.
Status Putter::store_first_chunk(base::ByteView data) {
  while (true) {
    const auto ack = store_.jetstream().publish(context_, chunk_subject_, data, chunk_headers(0));
    if (ack || ack.error().code() == ErrorCode::conflict) return {};
    if (!outcome_unknown(ack.error()) || context_.done()) return std::unexpected(ack.error());
    if (const Error error = store_.explain(context_, ack.error()); error.code() == ErrorCode::not_found) {
      return std::unexpected(error);
    }
    if (auto status = wait_for_server(); !status) return status;
  }
}

Result<ObjectInfo> Putter::put_small(base::ByteView data) {
  info_.size = data.size();
  info_.chunks = data.empty() ? 0 : 1;
  info_.digest = base::sha256(data);
  const auto json = to_json(info_, store_.bucket());
  if (!json) return std::unexpected(json.error());
  if (auto status = read_replaced(); !status) return give_up(status.error(), false);
  if (data.empty()) return store_metadata(*json, false);
  if (store_.is_replicated(context_)) {
    if (auto status = store_first_chunk(data); !status) return give_up(status.error(), false);
    LITECLUSTER_FAULT_POINT("object.chunks_stored");
    return store_metadata(*json, false);
  }

  const JetStream& jetstream = store_.jetstream();
  // Prepared before anything is sent: the closer the two come, the more often the server wakes up only once.
  const Headers headers = metadata_headers(*json, true);
  const Status chunk = jetstream.connection().publish(chunk_subject_, data, chunk_headers(0));
  LITECLUSTER_FAULT_POINT("object.chunk_sent");
  if (!chunk) return finish_small(data, *json, chunk.error(), false);
  auto metadata = jetstream.publish_async(metadata_subject_, base::as_bytes(*json), headers);
  LITECLUSTER_FAULT_POINT("object.metadata_sent");
  if (!metadata) return finish_small(data, *json, metadata.error(), false);
  const auto ack = metadata->wait(context_);
  // The condition on the message id makes this sufficient: metadata is not stored without its chunk.
  if (ack) return finish(ack->sequence);
  return finish_small(data, *json, ack.error(), true);
}

// The metadata was not acknowledged, and so what became of the chunk is unknown as well.
Result<ObjectInfo> Putter::finish_small(base::ByteView data, const std::string& json, const Error& problem,
                                        bool sent) {
  const bool refused = problem.code() == ErrorCode::conflict;
  const bool maybe_stored = sent && outcome_unknown(problem);
  if (!refused && !outcome_unknown(problem)) return give_up(problem, false);
  if (context_.done()) return give_up(context_.status(operation).error(), maybe_stored);
  if (refused && api_error_code(problem) != wrong_last_message_id) {
    if (auto result = look_who_won()) return std::move(*result);
  }
  if (!refused) {
    if (auto status = wait_for_server(); !status) return give_up(status.error(), maybe_stored);
  }
  if (auto status = store_first_chunk(data); !status) return give_up(status.error(), maybe_stored);
  return store_metadata(json, maybe_stored);
}

// Not sent is a case of not acknowledged. A chunk behind one that was not sent must not be sent either. An
// error is one that sending it again would meet again.
Status Putter::send_chunk(Chunk& chunk) {
  chunk.ack.reset();
  const Connection& connection = store_.jetstream().connection();
  if (broken_ || connection.generation() != generation_ || connection.state() != ConnectionState::connected) {
    broken_ = true;
    return {};
  }
  auto sent = store_.jetstream().publish_async(chunk_subject_, chunk.data.view, chunk_headers(chunk.index));
  if (sent) {
    chunk.ack.emplace(std::move(*sent));
    return {};
  }
  broken_ = true;
  if (outcome_unknown(sent.error())) return {};
  return std::unexpected(sent.error());
}

Status Putter::add_chunk(ChunkData data) {
  const std::size_t size = data.view.size();
  if (auto status = drain(options_.in_flight_max > size ? options_.in_flight_max - size : 0); !status)
    return status;
  under_way_.push_back({info_.chunks++, std::move(data), std::nullopt});
  bytes_under_way_ += size;
  return send_chunk(under_way_.back());
}

// Takes acknowledgements until no more bytes than this are under way.
Status Putter::drain(std::size_t bytes_left) {
  while (!under_way_.empty() &&
         (bytes_under_way_ > bytes_left || (under_way_.front().ack && under_way_.front().ack->ready()))) {
    if (auto status = take_ack(); !status) return status;
  }
  return {};
}

Status Putter::take_ack() {
  Chunk& oldest = under_way_.front();
  Result<PublishAck> ack = oldest.ack
                               ? oldest.ack->wait(context_)
                               : failure(ErrorCode::unavailable, std::string(operation), {}, "not sent");
  if (!ack) {
    if (context_.done()) return context_.status(operation);
    if (!outcome_unknown(ack.error()) && ack.error().code() != ErrorCode::conflict)
      return std::unexpected(ack.error());
    return resume();
  }
  if (ack->sequence <= last_chunk_sequence_) {
    return failure(ErrorCode::unavailable, std::string(operation), info_.name,
                   "the server stored chunks out of order; try again");
  }
  last_chunk_sequence_ = ack->sequence;
  bytes_under_way_ -= oldest.data.view.size();
  recycled_ = std::move(oldest.data.copy);
  under_way_.pop_front();
  return {};
}

// How many chunks are stored, when they are a beginning of the object without holes.
Result<std::uint64_t> Putter::count_stored_chunks() {
  const JetStream& jetstream = store_.jetstream();
  // Copies that were under way may still arrive between the two questions: ask until both agree.
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto info = jetstream.stream_info(context_, store_.stream(), chunk_subject_);
    if (!info) return std::unexpected(info.error());
    const std::uint64_t count = info->subjects.empty() ? 0 : info->subjects.front().second;
    if (count == 0) return 0;
    auto last = jetstream.last_message(context_, store_.stream(), chunk_subject_, true);
    if (!last) return std::unexpected(last.error());
    if (last->header(message_id_header) == chunk_id(count - 1)) {
      last_chunk_sequence_ = last->sequence;
      return count;
    }
    if (context_.wait_for(std::chrono::milliseconds(50)))
      return std::unexpected(context_.status(operation).error());
  }
  return failure(ErrorCode::gap, std::string(operation), info_.name,
                 "a chunk was lost while the connection broke; try again");
}

// Goes on after the connection broke or the server did not answer.
Status Putter::resume() {
  while (true) {
    if (auto status = wait_for_server(); !status) return status;
    generation_ = store_.jetstream().connection().generation();
    broken_ = false;
    auto stored = count_stored_chunks();
    if (!stored) {
      if (context_.done()) return context_.status(operation);
      if (!outcome_unknown(stored.error())) return std::unexpected(stored.error());
      continue;
    }
    while (!under_way_.empty() && under_way_.front().index < *stored) {
      bytes_under_way_ -= under_way_.front().data.view.size();
      under_way_.pop_front();
    }
    if (!under_way_.empty() && under_way_.front().index != *stored) {
      return failure(ErrorCode::io, std::string(operation), info_.name,
                     "chunks that were acknowledged are gone");
    }
    base::log_debug("an upload goes on", {{"object", info_.name}, {"chunks_stored", *stored}});
    for (Chunk& chunk : under_way_) {
      if (auto status = send_chunk(chunk); !status) return status;
    }
    return {};
  }
}

Result<ObjectInfo> Putter::put_large(const ChunkSource& next) {
  if (auto status = read_replaced(); !status) return give_up(status.error(), false);
  if (options_.create_only) {
    // Spares the upload; the metadata's condition decides.
    auto found = look_up();
    if (found || found.error().code() == ErrorCode::corrupt) {
      return failure(ErrorCode::already_exists, std::string(operation), info_.name,
                     "an object of this name exists (or did, and left a tombstone)");
    }
    if (found.error().code() != ErrorCode::not_found) return give_up(found.error(), false);
  }
  generation_ = store_.jetstream().connection().generation();
  base::Sha256 digest;
  while (true) {
    auto data = next(std::move(recycled_));
    if (!data) {
      discard_chunks();
      return std::unexpected(data.error());
    }
    const base::ByteView view = data->view;
    if (view.empty()) break;
    info_.size += view.size();
    if (auto status = add_chunk(std::move(*data)); !status) return give_up(status.error(), false);
    // While the server works on it.
    digest.update(view);
    LITECLUSTER_FAULT_POINT("object.chunk_sent");
  }
  while (!under_way_.empty()) {
    if (auto status = take_ack(); !status) return give_up(status.error(), false);
  }
  info_.digest = digest.finish();
  const auto json = to_json(info_, store_.bucket());
  if (!json) {
    discard_chunks();
    return std::unexpected(json.error());
  }
  LITECLUSTER_FAULT_POINT("object.chunks_stored");
  return store_metadata(*json, false);
}

}  // namespace

Result<ObjectInfo> JetStreamObjectStore::put(const Context& context, std::string_view name,
                                             base::ByteView data, const PutOptions& options) {
  constexpr int attempts_max = 5;
  for (int attempt = 1;; ++attempt) {
    Putter putter(*this, context, name, options);
    if (auto status = putter.check(); !status) return std::unexpected(status.error());
    if (data.size() <= options.chunk_size) return putter.put_small(data);
    base::ByteView rest = data;
    auto result = putter.put_large([&](const base::Bytes& /*recycled*/) -> Result<ChunkData> {
      const base::ByteView chunk = rest.first(std::min(rest.size(), options.chunk_size));
      rest = rest.subspan(chunk.size());
      return ChunkData{{}, chunk};
    });
    if (result || result.error().code() != ErrorCode::gap || attempt == attempts_max) return result;
  }
}

Result<ObjectInfo> JetStreamObjectStore::put(const Context& context, std::string_view name, ByteSource source,
                                             const PutOptions& options) {
  Putter putter(*this, context, name, options);
  if (auto status = putter.check(); !status) return std::unexpected(status.error());
  const auto fill = [&](base::Bytes& buffer, std::size_t filled) -> Status {
    while (filled < buffer.size()) {
      auto count = source(std::span(buffer).subspan(filled));
      if (!count) return std::unexpected(count.error());
      if (*count == 0) break;
      filled += *count;
    }
    buffer.resize(filled);
    return {};
  };
  // One chunk and a byte: what ends within the first chunk is a small object.
  base::Bytes ahead(options.chunk_size + 1);
  if (auto status = fill(ahead, 0); !status) return std::unexpected(status.error());
  if (ahead.size() <= options.chunk_size) return putter.put_small(ahead);
  return putter.put_large([&](base::Bytes buffer) -> Result<ChunkData> {
    // The bytes that were read ahead come first: a whole chunk and one more, then that one.
    const std::size_t taken = std::min(ahead.size(), options.chunk_size);
    buffer.resize(options.chunk_size);
    std::copy_n(ahead.begin(), taken, buffer.begin());
    ahead.erase(ahead.begin(), ahead.begin() + static_cast<std::ptrdiff_t>(taken));
    if (auto status = fill(buffer, taken); !status) return std::unexpected(status.error());
    const base::ByteView view = buffer;
    return ChunkData{std::move(buffer), view};
  });
}

}  // namespace litecluster::nats
