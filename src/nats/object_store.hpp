// An object store in a JetStream stream, in the format that the NATS clients share.
//
// Stream `OBJ_<bucket>`. An object is its chunks, messages on `$O.<bucket>.C.<nuid>` in order, and one
// metadata message on `$O.<bucket>.M.<base64url of the name>`: JSON with name, size, number of chunks, digest
// and nuid, published with `Nats-Rollup: sub`, so that it replaces the one before. The object exists from the
// moment at which the metadata is stored. How that is made safe is told in object_put.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

#include "base/bytes.hpp"
#include "base/sha256.hpp"
#include "nats/jetstream.hpp"
#include "nats/ordered_consumer.hpp"

namespace litecluster::nats {

using ObjectHeaders = std::map<std::string, std::vector<std::string>, std::less<>>;

/// What the metadata message says, and where and when it was stored.
struct ObjectInfo {
  std::string name;
  std::string description;
  ObjectHeaders headers;
  std::map<std::string, std::string, std::less<>> metadata;
  std::string nuid;
  std::uint64_t size = 0;
  std::uint64_t chunks = 0;
  /// Size that the writer gave to all chunks but the last; 0 when it did not say. Not to be relied on.
  std::uint64_t chunk_size = 0;
  std::optional<base::Sha256Digest> digest;
  /// A tombstone: the object was deleted and its metadata not purged.
  bool deleted = false;
  /// Another object or bucket that a link names; such objects hold no data. Empty: not a link.
  std::string link;
  /// Stream sequence of the metadata message; grows with each change in the bucket.
  std::uint64_t sequence = 0;
  /// When the server stored the metadata message. In what put() returns: this machine's time of it.
  ServerTime modified{};

  /// First value of a header; nullopt when there is none.
  [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const;
};

/// Delivers the next bytes into the buffer; 0 at the end. May deliver less than asked for.
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte>)>;
/// Takes the next bytes; an error ends the transfer and is returned.
using ByteSink = std::function<Status(base::ByteView)>;

inline constexpr std::size_t default_chunk_size = std::size_t{128} << 10U;

struct PutOptions {
  /// The name must not exist (a tombstone counts as existing): error already_exists otherwise.
  bool create_only = false;
  ObjectHeaders headers;
  std::map<std::string, std::string, std::less<>> metadata;
  std::string description;
  std::size_t chunk_size = default_chunk_size;
  /// Bytes sent and not yet acknowledged: at most this, and at least one chunk.
  std::size_t in_flight_max = std::size_t{8} << 20U;
};

/// Metadata in the order in which it was stored.
class ObjectWatch {
 public:
  virtual ~ObjectWatch() = default;
  /// Waits for the next change: a new or replaced object, or a tombstone (`deleted`) of another client. A
  /// purge, and so remove(), sends nothing. Errors as OrderedConsumer::next(); corrupt for a message that is
  /// no metadata (call again to go on).
  [[nodiscard]] virtual Result<ObjectInfo> next(const Context& context) = 0;
  /// True once everything has been returned that was there when the watch began.
  [[nodiscard]] virtual bool initial_done() const = 0;
  /// False while nothing is heard from the server: what was returned may then be out of date.
  [[nodiscard]] virtual bool live() const = 0;
  /// Sequence to give to watch() to go on behind what next() returned: last sequence + 1.
  [[nodiscard]] virtual std::uint64_t resume_sequence() const = 0;
};

/// One bucket. Thread-safe. An interface, so that tests and simulations can stand in for it.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  [[nodiscard]] virtual const std::string& bucket() const = 0;

  /// Stores an object. Either it is there whole afterwards, or nothing of it is visible. The connection
  /// breaking in the middle is waited out as long as the Context allows; a repetition after a lost
  /// acknowledgement is recognised. Errors: already_exists (create_only), invalid_argument (empty name),
  /// resource_exhausted (bucket full), not_found (bucket gone), unavailable, deadline_exceeded, cancelled.
  /// After one of the last three with a reason that says so, the object may have been stored.
  [[nodiscard]] virtual Result<ObjectInfo> put(const Context& context, std::string_view name,
                                               base::ByteView data, const PutOptions& options = {}) = 0;
  [[nodiscard]] virtual Result<ObjectInfo> put(const Context& context, std::string_view name,
                                               ByteSource source, const PutOptions& options = {}) = 0;

  /// Error not_found when there is none or it was deleted. On a cluster the answer may be behind for a
  /// moment.
  [[nodiscard]] virtual Result<ObjectInfo> info(const Context& context, std::string_view name) = 0;
  /// The same from the stream's leader, which is not behind.
  [[nodiscard]] virtual Result<ObjectInfo> newest_info(const Context& context, std::string_view name) = 0;

  /// The whole object. Errors: not_found (also when it vanished meanwhile), corrupt (size or digest do not
  /// match), too_large (above size_max), unsupported (a link), and those of the transport.
  [[nodiscard]] virtual Result<base::Bytes> get(const Context& context, const ObjectInfo& info,
                                                std::uint64_t size_max) = 0;
  /// The same, piece by piece: bounded memory, no limit of time but the Context's. The digest is known to
  /// match only when this returns success.
  [[nodiscard]] virtual Status get(const Context& context, const ObjectInfo& info, const ByteSink& sink) = 0;
  /// `length` bytes from `offset` on; fewer when the object ends before. Chunks outside of the range are not
  /// fetched where chunks are of even size. The digest cannot be checked.
  [[nodiscard]] virtual Status get_range(const Context& context, const ObjectInfo& info, std::uint64_t offset,
                                         std::uint64_t length, const ByteSink& sink) = 0;
  /// Several objects at once, pipelined; `each` is called in the order of `infos` with the whole bytes or the
  /// error of that object, and may end the whole by returning an error. `in_flight_max` bounds the bytes
  /// held.
  using EachObject = std::function<Status(std::size_t index, Result<base::Bytes> bytes)>;
  [[nodiscard]] virtual Status get_many(const Context& context, std::span<const ObjectInfo> infos,
                                        std::uint64_t in_flight_max, const EachObject& each) = 0;

  /// All objects in metadata order, without tombstones; too_large when there are more than `count_max`.
  [[nodiscard]] virtual Result<std::vector<ObjectInfo>> list(const Context& context,
                                                             std::size_t count_max) = 0;

  /// Metadata from `from_sequence` on; 0 or 1: everything that exists.
  [[nodiscard]] virtual Result<std::unique_ptr<ObjectWatch>> watch(const Context& context,
                                                                   std::uint64_t from_sequence) = 0;

  /// Deletes the object and leaves no trace: chunks and metadata are purged. Error not_found when there is
  /// none.
  [[nodiscard]] virtual Status remove(const Context& context, std::string_view name) = 0;
  /// The same for an object already looked up; one that is gone meanwhile is fine, one that was replaced is
  /// left.
  [[nodiscard]] virtual Status remove(const Context& context, const ObjectInfo& info) = 0;

  /// Purges chunks that belong to no object, and tombstones of other clients; returns how many of both.
  /// Purged is what this ObjectStore has seen unchanged for `grace` by its own clock, or what by the server's
  /// time is older than `grace` and a day. `grace` must be longer than any put takes, or it destroys puts
  /// under way; 0 purges at once.
  [[nodiscard]] virtual Result<std::uint64_t> remove_orphans(const Context& context,
                                                             std::chrono::nanoseconds grace) = 0;

  /// State of the stream underneath: created, sequences, bytes, replicas.
  [[nodiscard]] virtual Result<StreamInfo> status(const Context& context) = 0;
};

struct BucketOptions {
  std::string description;
  /// 0: JetStream::replicas_for_new_stream().
  int replicas = 0;
  /// Limit of the whole bucket; -1: none.
  std::int64_t max_bytes = -1;
  std::string storage = "file";
};

/// Binds to an existing bucket. Errors: not_found (with advice), failed_precondition (settings that would
/// break it: max_age, no rollups, deny_delete, ...; the reason names them), invalid_argument (bucket name).
[[nodiscard]] Result<std::unique_ptr<ObjectStore>> open_object_store(const Context& context,
                                                                     JetStream jetstream,
                                                                     std::string_view bucket);
/// Creates the bucket when missing, then binds.
[[nodiscard]] Result<std::unique_ptr<ObjectStore>> create_object_store(const Context& context,
                                                                       JetStream jetstream,
                                                                       std::string_view bucket,
                                                                       const BucketOptions& options = {});
[[nodiscard]] Status delete_object_store(const Context& context, const JetStream& jetstream,
                                         std::string_view bucket);

}  // namespace litecluster::nats
