// A key-value bucket on NATS JetStream, shared by all nodes of a cluster and readable by every NATS client.
//
// Keys consist of letters, digits and `- / _ = .`; they neither begin nor end with a dot and have no empty
// part between dots. Values are any bytes up to the server's max_payload (1 MiB by default) less headers.
// Errors: invalid_argument (bad key or pattern), too_large (value), not_found (no such key), already_exists
// (create), conflict (another revision), unavailable and deadline_exceeded (server; the reason says what to
// do), resource_exhausted (bucket full), failed_precondition (the bucket is gone or was replaced).
//
// That a bucket was deleted and made anew is noticed when a read finds nothing, when keys, history or watch
// is called, and when a change gets a revision that was seen before; that change is then in the new bucket.
// Not noticed is a read that finds a value there, and a change once the new revisions have gone past the old
// ones.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/kv_entry.hpp>

namespace litecluster {

struct KvGetOptions {
  /// Read this revision of the key instead of the newest; not_found when it deleted the key.
  std::optional<Revision> revision{};
  /// Ask the server that leads the bucket. Otherwise any replica may answer, which on a cluster may lag by
  /// a moment and return an older value.
  bool from_leader = false;
};

struct KvWatchOptions {
  /// Deliver all kept revisions first, not only the newest of each key.
  bool include_history = false;
  /// Deliver nothing of what is there already.
  bool updates_only = false;
  /// Leave deletes out.
  bool ignore_deletes = false;
  /// Continue behind this revision, as after a restart of the watching program.
  std::optional<Revision> resume_after{};
};

/// A running watch. Not thread-safe, except for stop(). Destroying it ends it.
class KvWatch {
 public:
  class Impl;
  explicit KvWatch(std::unique_ptr<Impl> impl);
  KvWatch(KvWatch&&) noexcept;
  KvWatch& operator=(KvWatch&&) noexcept;
  ~KvWatch();

  /// Waits for the next change, in the order of revisions. `nullopt` comes once, when everything that was
  /// there at the start has been delivered. Lost connections and server restarts are bridged without losing
  /// or repeating a change. Changes wait on the server while nobody calls next(); one that its bucket's
  /// history limit removes in the meantime is not delivered, the newest of each key always is. Errors:
  /// cancelled (also after stop()), deadline_exceeded, failed_precondition (bucket gone or replaced),
  /// permission_denied.
  [[nodiscard]] Result<std::optional<KvEntry>> next(const Context& context);

  /// Makes a next() that waits, and all later ones, return `cancelled`. Thread-safe.
  void stop();

 private:
  std::unique_ptr<Impl> impl_;
};

/// Thread-safe and cheap to copy; copies use the same bucket. Each call blocks for at most the request
/// timeout of the connection per attempt, and no longer than its Context allows.
class Kv {
 public:
  class Impl;
  explicit Kv(std::shared_ptr<Impl> impl);

  /// not_found when the key does not exist or is deleted.
  [[nodiscard]] Result<KvEntry> get(std::string_view key, const KvGetOptions& options = {},
                                    const Context& context = Context::background()) const;
  [[nodiscard]] Result<Revision> put(std::string_view key, std::string_view value,
                                     const Context& context = Context::background()) const;
  /// Only when the key does not exist or is deleted; otherwise already_exists.
  [[nodiscard]] Result<Revision> create(std::string_view key, std::string_view value,
                                        const Context& context = Context::background()) const;
  /// Only when `expected` is still the newest revision of the key; otherwise conflict. A change whose
  /// acknowledgement got lost is recognised and not reported as a conflict.
  [[nodiscard]] Result<Revision> update(std::string_view key, std::string_view value, Revision expected,
                                        const Context& context = Context::background()) const;
  /// Deletes the key, whether it exists or not; with `expected` only at that revision, otherwise conflict.
  /// Watchers see a delete; older values stay in the history.
  Status remove(std::string_view key, std::optional<Revision> expected = std::nullopt,
                const Context& context = Context::background()) const;
  /// As remove, and drops the history of the key.
  Status purge(std::string_view key, std::optional<Revision> expected = std::nullopt,
               const Context& context = Context::background()) const;
  /// Keys that exist and match `pattern`, sorted.
  [[nodiscard]] Result<std::vector<std::string>> keys(std::string_view pattern = ">",
                                                      const Context& context = Context::background()) const;
  /// All kept revisions of one key, oldest first, deletes included. not_found when there are none.
  [[nodiscard]] Result<std::vector<KvEntry>> history(std::string_view key,
                                                     const Context& context = Context::background()) const;
  /// `*` matches one part, `>` at the end the rest (at least one part). Parts end at `.` or `/`, so
  /// `config/>` delivers `config/max-conn`. The server itself only knows `.`: behind a wildcard part that
  /// begins after a
  /// `/` it sends more than matches, and the rest is dropped here.
  [[nodiscard]] Result<KvWatch> watch(std::string_view pattern = ">", const KvWatchOptions& options = {},
                                      const Context& context = Context::background()) const;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace litecluster
