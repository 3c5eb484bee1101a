// The log as one node knows it: an index of the bucket's LTX objects, built from their metadata.
//
// Epoch rule. Every L0 object that we write carries the epoch of its author. Let first(E) be the first L0
// object of epoch E in the stream, its fence, as far as this view has ever seen. An L0 object of epoch e is
// stale, and is ignored by every question below, when for some E > e it comes after first(E) in the stream:
// an older leader wrote it after the fence of a newer one. Mostly that is behind the fence, where the TXIDs
// go on. But a leader that slept for long can find its TXID free again, which meanwhile was written by
// somebody else, compacted and purged. And where servers lost a part of the log, a fence can stand in the
// hole: what had been written behind it before is history all the same. Retention keeps a witness of what is
// stale. Objects without an epoch were written by Litestream itself, which knows no fence. They are accepted
// wherever they stand and do not take part in the rule. Compactions and snapshots are vouched for by whoever
// wrote them.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/object.hpp"

namespace litecluster::log {

/// Where the log ends: what its last object says.
struct LogEnd {
  /// 0: the log is empty.
  Txid txid{};
  base::WallTime created_at{};
  std::optional<Checksum> checksum{};
  std::optional<Checksum> file_checksum{};
  std::optional<Author> author{};
};

/// TXIDs min to max, both included.
struct TxidRange {
  Txid min;
  Txid max;
  friend bool operator==(const TxidRange&, const TxidRange&) = default;
};

/// Pure; not thread-safe. Memory: about 400 bytes an object.
class LogView {
 public:
  /// Objects of one level in ascending order of (min, max).
  using Level = std::map<ObjectName, Object>;
  enum class Change { none, added, replaced, removed };

  static constexpr std::size_t default_objects_max = 250'000;

  explicit LogView(std::size_t objects_max = default_objects_max) : objects_max_(objects_max) {}

  /// An object's metadata was seen, in a listing, by a watch or because it was just written. What is older
  /// than what is known of the same name changes nothing. Error: resource_exhausted at the limit of objects;
  /// the view is then as before, and no longer complete.
  [[nodiscard]] Result<Change> put(Object object);
  /// A deletion was seen, whose own message has `sequence`.
  Change remove(const ObjectName& name, Revision sequence);
  /// The object was not there when it was asked for: deleted, and its deletion was missed.
  Change forget(const ObjectName& name);
  /// Replaces the content by a listing, but keeps what is known of epochs, since the listing may no longer
  /// hold their first objects.
  [[nodiscard]] Status replace(std::vector<Object> listing);

  /// 0 <= number < level_count. Without stale objects.
  [[nodiscard]] const Level& level(int number) const;
  /// L0 objects that the epoch rule ignores.
  [[nodiscard]] const Level& stale() const { return stale_; }
  /// Nothing when unknown or stale.
  [[nodiscard]] const Object* find(const ObjectName& name) const;
  /// The object of this name even when it is stale.
  [[nodiscard]] const Object* find_any(const ObjectName& name) const;

  /// The object after which the database had this checksum; the first one of several, since going on from
  /// there repeats what came between. Nothing when no object says so, which proves nothing: most intermediate
  /// states are compacted away. That one says so proves nothing either (ltx/checksum.hpp).
  [[nodiscard]] const Object* find_state(Checksum checksum) const;

  /// Whether the log had gone on beyond its place before this L0 object was stored: servers had lost what was
  /// there, and what follows does not follow on it. Never so for other levels, which come late by nature.
  [[nodiscard]] bool out_of_turn(const Object& object) const;

  [[nodiscard]] bool empty() const { return size() == 0; }
  /// Number of objects, stale ones included.
  [[nodiscard]] std::size_t size() const;
  /// The highest TXID of any object that is not stale, and what the object says (an L0 object if there is
  /// one).
  [[nodiscard]] LogEnd end() const;
  /// The highest epoch that any object ever seen carries, at any level; 0 when none does.
  [[nodiscard]] Epoch highest_epoch() const { return highest_epoch_; }
  /// TXIDs above `after`, up to the end, that no object of levels 0 to 8 covers; ascending.
  [[nodiscard]] std::vector<TxidRange> gaps(Txid after) const;
  /// True when an L0 object with these properties would be stale.
  [[nodiscard]] bool is_stale(const Object& object) const;

 private:
  void note_epoch(const Object& object);
  void classify_again();
  void find_end();

  std::size_t objects_max_;
  std::array<Level, level_count> levels_;
  Level stale_;
  /// Sequence of first(E).
  std::map<Epoch, Revision> first_of_epoch_;
  Epoch highest_epoch_;
  /// The object with the highest max TXID, the one of the lowest level if there are several.
  std::optional<ObjectName> end_;
};

}  // namespace litecluster::log
