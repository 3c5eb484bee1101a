// Brings a replica forward by what the log holds: fetch, verify, apply, and start again where nothing else
// helps.
//
// Nothing of an object touches the replica before all of it was verified: the digest (by the bucket), the LTX
// checksum and structure, that its TXIDs are those of its name, that it continues the replica, its epoch, and
// that it leads from and to the database checksums that it and its metadata promise. When the last of these
// fails, the replica itself is checked: if its content is what it should be, the object is bad and is passed
// over; otherwise, or when its position was found by no more than a checksum, the replica is quarantined and
// seeded anew. A seed does not lead back behind where the replica was, except around bad objects.
//
// A replica in quarantine is read through once before anything is fetched: what was put back, or was never
// harmed, goes on from where it is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "db/replica.hpp"
#include "log/log_view.hpp"
#include "log/object_bucket.hpp"
#include "replication/follow_plan.hpp"

namespace litecluster::replication {

/// An object found missing or bad.
struct UnusableObject {
  log::Object object;
  Error reason;
  /// All of its bytes arrived as they were stored: fetching them again can change nothing.
  bool for_good = false;
};

struct ReplicaFeederOptions {
  /// Where a new state is put together before it goes into the replica; on the replica's file system.
  std::filesystem::path seed_path;
  /// Bytes of objects fetched ahead.
  std::uint64_t in_flight_max = std::uint64_t{16} << 20U;
  /// Objects of more bytes, packed or unpacked, are not decoded into memory: the replica is seeded anew
  /// instead.
  std::uint64_t object_bytes_max = std::uint64_t{128} << 20U;
  /// Told of each new position, in the calling thread.
  std::function<void(const db::ReplicaPosition&)> on_applied;
  /// Told of objects found missing or bad, so that the caller's view of the log forgets them.
  std::function<void(const UnusableObject&)> on_unusable;
  /// Objects known to be bad, which a seed has to do without.
  std::function<std::vector<log::Object>()> passed_over;
};

/// What advance() came to.
enum class Advance {
  up_to_date,  ///< the replica is at the end of the log, or of what was asked for
  progress,    ///< something was applied; there may be more
};

/// Not thread-safe. `bucket` outlives it.
class ReplicaFeeder {
 public:
  ReplicaFeeder(ReplicaFeederOptions options, db::Replica replica, log::ObjectBucket& bucket);

  /// Does the next piece of work towards the end of `view`. Errors: what makes it impossible now; it may be
  /// called again with the same or a newer view. The replica is good after any of them.
  [[nodiscard]] Result<Advance> advance(const Context& context, const log::LogView& view);

  /// The work that advance() would do, so that the caller can take it from a view it shares.
  [[nodiscard]] FollowWork plan(const log::LogView& view) const;
  [[nodiscard]] Result<Advance> carry_out(const Context& context, const FollowWork& work);

  /// Brings the replica to exactly `txid`, which the log holds as a raw object or as the end of a chain.
  [[nodiscard]] Status advance_to(const Context& context, const log::LogView& view, Txid txid);

  /// Applies one object whose bytes are at hand, such as a fence of our own.
  [[nodiscard]] Status apply(const log::Object& object, base::ByteView bytes);

  /// Reads some more of the replica to see that it is what it should be; false when all was read. Takes some
  /// milliseconds at most. Error: corrupt, and the replica is seeded anew by the next advance().
  [[nodiscard]] Result<bool> scrub();
  /// The same once more, when scrub() has come to its end; false when this has.
  [[nodiscard]] Result<bool> scrub_again();

  /// Forgets the callbacks: who they belong to may end before the feeder does.
  void drop_callbacks() {
    options_.on_applied = nullptr;
    options_.on_unusable = nullptr;
    options_.passed_over = nullptr;
  }

  [[nodiscard]] db::Replica& replica() { return replica_; }
  [[nodiscard]] const db::Replica& replica() const { return replica_; }

 private:
  [[nodiscard]] Status apply_objects(const Context& context, const std::vector<log::Object>& objects);
  [[nodiscard]] Status seed(const Context& context, const std::optional<Txid>& target);
  [[nodiscard]] Status judge_mismatch(const log::Object& object, const Error& error, bool in_doubt);
  [[nodiscard]] bool recovered_by_itself();
  std::unexpected<Error> unusable(const log::Object& object, const Error& error, bool for_good);

  ReplicaFeederOptions options_;
  db::Replica replica_;
  log::ObjectBucket& bucket_;
  bool content_checked_ = false;  ///< in this quarantine
};

}  // namespace litecluster::replication
