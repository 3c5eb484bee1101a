// A database of a few pages, in the two forms that a node keeps: the application's (Primary) and a standby's
// (Replica). Pages are numbers, checksums are the real ones of the LTX format, and a file of the log has a
// real LTX header in front of a body of our own.
//
// What db::Database, db::Replica and app::judge_former_primary() decide by reading files is modelled after
//   src/db/database_attach.cpp   (stored states, rewind, compare; what proves that the content is newer)
//   src/db/replica_apply.cpp     (order, epochs, checksum after an apply)
//   src/app/former_primary.cpp   (prefix, ahead or diverged)
// step by step. A capture is one merged transaction, as there. Not synced per commit or capture: a power
// failure takes any number of the newest ones away. It can also tear what capture or a replica keeps beside
// the database, which a checksum then tells: nothing is known of the database any more.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "log/log_view.hpp"
#include "log/object.hpp"
#include "log/payload.hpp"
#include "sim/cluster/scheduler.hpp"

namespace litecluster::test::cluster {

/// One commit of one application; they form a tree whose root, 0, is the database before the first.
using StateId = std::uint32_t;

/// Which commit follows which. Knows what no node knows: used to judge, never to decide.
class StateTree {
 public:
  void reset() { states_.assign(1, {}); }
  StateId commit(StateId parent) {
    states_.push_back({.parent = parent, .depth = states_[parent].depth + 1});
    return static_cast<StateId>(states_.size() - 1);
  }
  [[nodiscard]] StateId parent(StateId state) const { return states_[state].parent; }
  [[nodiscard]] std::size_t size() const { return states_.size(); }
  /// Whether `state` is `later` or comes before it.
  [[nodiscard]] bool leads_to(StateId state, StateId later) const {
    while (states_[later].depth > states_[state].depth) later = states_[later].parent;
    return later == state;
  }

 private:
  struct State {
    StateId parent = 0;
    std::uint32_t depth = 0;
  };
  std::vector<State> states_{1};
};

inline constexpr std::size_t page_count = 6;

struct Content {
  std::array<std::uint64_t, page_count> pages{};
  Checksum checksum;
  StateId state = 0;

  /// A database that was just created.
  [[nodiscard]] static Content fresh();
  void set(std::size_t page, std::uint64_t value);
};

/// What one object of the log says.
struct LogFile {
  struct Page {
    std::uint8_t number;
    std::uint64_t value;
  };
  Txid min;
  Txid max;
  Checksum before;  ///< of the database that it was made on; 0: it holds every page
  StateId after = 0;
  std::vector<Page> pages;

  [[nodiscard]] std::optional<Checksum> pre_apply() const {
    return before == Checksum() ? std::nullopt : std::optional(before);
  }
  [[nodiscard]] base::Bytes encode(base::WallTime time) const;
  [[nodiscard]] static LogFile decode(base::ByteView bytes);
};

/// Where the log ends, as capture is told it.
struct End {
  Txid txid;
  std::optional<Checksum> checksum;
  Epoch epoch;
  std::optional<Checksum> file_checksum = {};
};
[[nodiscard]] End end_of(const log::LogEnd& end);
[[nodiscard]] End end_of(const log::Object& object);

struct Captured {
  Position position;
  LogFile file;
};

enum class Attachment { continued, compared, verified, complete };

/// The database file of an application, and what capture keeps beside it.
class Primary {
 public:
  explicit Primary(const Content& content) : content_(content) {}

  [[nodiscard]] const Content& content() const { return content_; }
  void commit(std::size_t page, std::uint64_t value, StateId state);
  /// Everything up to now survives a power failure.
  void sync() { unsynced_.clear(); }

  /// Begins to capture. `end`: of the log; nothing: the last state that is known to be in the log.
  /// `handed_over`: the content was known to be at the log's end a moment ago. Error: failed_precondition.
  [[nodiscard]] Status attach(const std::optional<End>& end, bool handed_over);
  [[nodiscard]] Attachment attachment() const { return attachment_; }
  [[nodiscard]] bool content_is_newer() const { return content_is_newer_; }
  [[nodiscard]] Epoch stored_epoch() const { return stored_epoch_; }
  /// The end of the log that the first capture follows.
  [[nodiscard]] Txid log_end() const { return log_end_; }

  [[nodiscard]] bool changed() const { return waiting_ || points_.back().content.state != content_.state; }
  [[nodiscard]] StateId captured_state() const { return points_.back().content.state; }
  [[nodiscard]] std::optional<Captured> capture();
  /// What was committed, or page 1 as it is.
  [[nodiscard]] Captured capture_fence();
  void acknowledge(Txid txid, Epoch epoch);
  /// The capture is about to be offered to the log as this file.
  void note_file(Txid txid, const log::Payload& payload);
  [[nodiscard]] std::optional<Checksum> file_of(Txid txid) const;
  [[nodiscard]] bool recognises(Txid txid, std::optional<Checksum> file_checksum) const;
  /// 0: none.
  [[nodiscard]] Txid acknowledged() const { return acknowledged_.value_or(Txid()); }
  [[nodiscard]] std::optional<Txid> stored_acknowledged() const { return acknowledged_; }
  [[nodiscard]] bool known() const { return !points_.empty(); }
  [[nodiscard]] Position position() const { return {points_.back().txid, points_.back().content.checksum}; }

  /// It was a standby's copy at this state until it was moved here; until capture attaches.
  void record_hand_over(const End& state) { handed_over_ = state; }
  [[nodiscard]] const std::optional<End>& handed_over_in_this_boot() const { return handed_over_; }

  void power_failure(Scheduler& chance, const StateTree& states);
  /// What is stored beside the file cannot be read.
  void tear();

 private:
  struct Point {
    Txid txid;
    Content content;
    std::optional<Checksum> file = {};
    bool in_wal = true;  ///< the WAL leads on from here: it was not started anew, nothing is missing
  };

  [[nodiscard]] Result<bool> find_stored(const std::optional<End>& end);
  [[nodiscard]] Captured difference(Txid txid, const Content& before) const;
  void reset(Txid txid, bool confirmed);

  Content content_;
  std::vector<Content> unsynced_;  // states that a power failure may lead back to, oldest first
  // What is stored beside the file.
  std::vector<Point> points_;
  std::optional<Txid> acknowledged_;
  Epoch acknowledged_epoch_;
  bool confirmed_in_this_boot_ = false;
  std::optional<End> handed_over_;
  // Of the attachment.
  Attachment attachment_ = Attachment::complete;
  bool content_is_newer_ = false;
  Epoch stored_epoch_;
  Txid log_end_;
  std::optional<Captured> waiting_;
};

enum class Worth { prefix, ahead, diverged };

struct FormerPrimary {
  Worth worth = Worth::diverged;
  Position position;
  Epoch epoch;
  std::optional<Checksum> file = {};
  Txid doubtful_to = {};
};

/// app::replay_replaces(): whether the log behind one TXID, up to the other, brings all of these pages.
using Replay = std::function<Result<bool>(Txid from, Txid to, const std::vector<std::uint8_t>& pages)>;

/// app::judge_former_primary().
[[nodiscard]] Result<FormerPrimary> judge_former_primary(Primary& primary, const log::LogView& view,
                                                         const std::string& node, const Replay& replay);

/// A standby's copy and the record of its position.
class Replica {
 public:
  [[nodiscard]] bool empty() const { return txid_.is_zero(); }
  [[nodiscard]] Txid txid() const { return txid_; }
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] const Content& content() const { return content_; }
  /// Of the raw object that led there, when it was one.
  [[nodiscard]] std::optional<Checksum> file() const { return file_; }

  /// Errors: already_exists, gap, deposed, corrupt (the checksum does not come out; nothing was changed).
  [[nodiscard]] Status apply(const log::Object& object, const LogFile& file, bool unchecked);
  void become(const Content& content, Txid txid, Epoch epoch, std::optional<Checksum> file = {},
              Txid doubtful_to = {});
  [[nodiscard]] bool position_is_doubtful() const { return doubtful_to_ > txid_; }
  void sync() { unsynced_.clear(); }
  StateId power_failure(Scheduler& chance);
  /// In quarantine: only a seed helps.
  void distrust() { distrusted_ = true; }
  [[nodiscard]] bool distrusted() const { return distrusted_; }
  /// The record says nothing of its content any more.
  void tear() { distrusted_ = torn_ = true; }
  [[nodiscard]] bool torn() const { return torn_; }

 private:
  struct Past {
    Content content;
    Txid txid;
    Epoch epoch;
  };
  void remember();

  Content content_;
  Txid txid_;
  Epoch epoch_;
  std::optional<Checksum> file_;
  Txid doubtful_to_;
  bool distrusted_ = false;
  bool torn_ = false;
  std::vector<Past> unsynced_;
};

/// Applies the pages of a file, whatever they belong to.
void apply_pages(Content& content, const LogFile& file);

}  // namespace litecluster::test::cluster
