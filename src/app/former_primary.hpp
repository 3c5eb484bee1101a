// What a database is worth that lies at the primary's path of a node that does not lead.
//
// Such a file was left by a term of this node that ended without a demotion, or by the operator. Three things
// can be known about it: what capture stored beside it (which states it went through, and which of them the
// log is known to have), what the log says this node wrote last, and its content.
//
//   prefix    It is a state that the log holds, or becomes one by what the log holds behind it
//             (replay_proof.hpp). It becomes the replica and goes on from there.
//   ahead     It is the log's end and commits behind it, and nobody else has written since. It may stay as it
//             is: when this node leads next, they become the next TXID.
//   diverged  Anything else. It is kept aside, and the replica is seeded from the log.
//
// Its checksum finds a state in the log that it may be, and proves it only when the database is a single page
// (ltx/checksum.hpp). What else proves it: that capture has stored the checksum of each page of that state;
// that it was a replica at that state and was handed over for a promotion that ended there and then.
//
// `ahead` has to be proven, because what is published then replaces the log's end. After a power failure a
// database may have lost commits that the log has (SQLite syncs its WAL at checkpoints only), and it then
// differs from the log's end as well. Capture knows when that cannot be (db::AttachReport::content_is_newer).
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "db/captured_transaction.hpp"
#include "db/database.hpp"
#include "log/log_view.hpp"
#include "log/object_bucket.hpp"

namespace litecluster::app {

enum class PrimaryWorth { prefix, ahead, diverged };

struct FormerPrimary {
  PrimaryWorth worth = PrimaryWorth::diverged;
  /// prefix: which state it is. ahead: the log's end.
  Position position;
  Epoch epoch;
  /// prefix: the file that led there, where it is known (db::ReplicaPosition).
  std::optional<Checksum> file{};
  /// prefix: it may be another state up to this one, which leads to a state of the log all the same or to
  /// wrong checksums (db::Replica::position_is_doubtful()). 0: no doubt.
  Txid doubtful_to{};
  /// The pages that differ from the last state that is known to be in the log; nothing for a prefix, for a
  /// file that is no database, and when no such state is known. It may have the database open.
  std::optional<db::CapturedTransaction> difference;
};

/// What is asked about which file.
struct FormerPrimaryQuestion {
  db::DatabaseOptions database;
  /// Where this node's replica records its position.
  std::filesystem::path replica_position;
  /// The whole log, and where it lies.
  const log::LogView& view;
  log::ObjectBucket& bucket;
  /// Name of this node.
  std::string node;
};

/// Reads the file, all of it when nothing cheaper proves anything, and changes nothing in it. Errors: those
/// of db::Database::attach(), except for corrupt; those of the bucket.
[[nodiscard]] Result<FormerPrimary> judge_former_primary(const Context& context,
                                                         const FormerPrimaryQuestion& question);

}  // namespace litecluster::app
