// The leader's pen: appends L0 objects, one after the other, and knows for certain what became of each.
//
// Compare-and-swap. The name of TXID n can be created once; the server arbitrates. Taken by somebody else
// means that we are deposed, unless it is
//   * our own earlier attempt whose acknowledgement was lost: same bytes (digest), same author; or
//   * a stale object (epoch rule, log_view.hpp): an older epoch behind a newer one's fence, while our own
//   last
//     object still stands. Readers ignore it; it is removed, and the name is used.
//
// Unknown outcomes. When a put ends in a timeout, its bytes may be stored, or be stored later. Therefore they
// are the bytes of that TXID from then on: until it is known that they are stored, append() accepts nothing
// else.
//
// Names that become free again. Retention removes and purges L0 objects after the grace, so "the name was
// free" does not prove "nobody wrote there": a leader that slept through a newer leader's whole reign could
// create the TXID that was its next. So an acknowledgement counts only when it is proven that no newer leader
// can have come and gone since the last one that counted, by one of
//   * sequence: our messages follow our previous ones immediately, so nobody published anything in between;
//   or
//   * reading: the end of the log, read afterwards, is the object just written, and nobody else's stands
//     where our last one was.
// No clock takes part: a virtual machine that its host has paused for an hour does not know of it.
//
// A server that lost its newest messages (disks that lie, a majority restored from an older state) goes on
// with lower sequences. Our messages are published after the acknowledgement of the previous object, so a
// sequence that leaves no room for them behind that one proves the loss.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/sha256.hpp"
#include "log/log_view.hpp"
#include "log/object_bucket.hpp"
#include "log/payload.hpp"

namespace litecluster::log {

/// The end of the log including everything up to a sequence. Error: unavailable and the like.
using ReadEnd = std::function<Result<LogEnd>(const Context&, Revision)>;

/// Lists the bucket. LogWatcher::read_end() is cheaper where a watcher runs.
[[nodiscard]] ReadEnd read_end_by_listing(ObjectBucket& bucket);

/// A file to append, and the checksums of the database that it was made on (none: it holds every page) and
/// that it leads to.
struct NewFile {
  Payload payload;
  std::optional<Checksum> pre_apply{};
  std::optional<Checksum> checksum{};
};

/// Not thread-safe. `bucket` outlives it.
class Appender {
 public:
  /// What became of an attempt that may be the first of its epoch.
  struct Taken {
    Object by;
  };
  using Outcome = std::variant<Object, Taken>;

  Appender(ObjectBucket& bucket, Author author, ReadEnd read_end);

  /// Says where the log ends, as read now. Needed before the first append. Forgets an unresolved one.
  void start(const LogEnd& end);

  /// Appends the file as TXID `end() + 1`. Blocks for one round trip. Errors:
  ///   deposed: somebody else owns the log; final, every later call says the same;
  ///   gap: the server has lost objects that it had acknowledged; final as well;
  ///   invalid_argument: the bytes are no L0 file of this TXID;
  ///   failed_precondition: the outcome of other bytes under this TXID is still unknown, or start() is
  ///   missing; unavailable, deadline_exceeded, cancelled: call again with the same bytes;
  ///   resource_exhausted: the bucket is full; call again with the same bytes.
  [[nodiscard]] Result<Object> append(const Context& context, const NewFile& file);

  /// The same for a fence: a name taken by an older epoch or by Litestream is no error.
  [[nodiscard]] Result<Outcome> append_fence(const Context& context, const NewFile& file);

  /// The last TXID that is known to be in the log.
  [[nodiscard]] Txid end() const { return end_; }
  /// An append of end() + 1 was tried and its outcome is not known.
  [[nodiscard]] bool has_unresolved() const { return unresolved_.has_value(); }
  [[nodiscard]] const Author& author() const { return author_; }

 private:
  [[nodiscard]] Result<NewObject> describe(const NewFile& file) const;
  [[nodiscard]] Result<Outcome> try_append(const Context& context, const NewFile& file);
  [[nodiscard]] Result<Outcome> put(const Context& context, const NewObject& object, const Payload& payload);
  [[nodiscard]] Status note_unresolved(const Payload& payload);
  [[nodiscard]] Result<Object> find_taken(const Context& context, const ObjectName& name);
  [[nodiscard]] bool is_ours(const Object& object, const base::Sha256Digest& digest) const;
  [[nodiscard]] Result<bool> is_stale(const Context& context, const Object& object);
  enum class Last { is_newest, has_follower };
  [[nodiscard]] Status check_last(const Context& context, Last last_is);
  [[nodiscard]] Result<Outcome> settle(const Context& context, Object object);
  [[nodiscard]] Status prove(const Context& context, const Object& object) const;
  [[nodiscard]] Error depose(const ObjectName& name, const std::optional<Author>& by);
  [[nodiscard]] Error went_back(const ObjectName& name, const std::string& how);

  ObjectBucket& bucket_;
  Author author_;
  ReadEnd read_end_;
  bool started_ = false;
  Txid end_;
  /// File checksum of the object there, where it has one.
  std::optional<Checksum> end_file_;
  /// The last object in the log is ours, so the epoch's fence stands.
  bool fenced_ = false;
  /// Sequence of our last object; 0 before the first.
  Revision sequence_;
  std::optional<base::Sha256Digest> unresolved_;
  /// Why nothing can be appended any more: deposed or gap.
  std::optional<Error> ended_;
};

}  // namespace litecluster::log
