// What a follower found bad or missing in the log: told as its problem, and tried again now and then. Pure.
//
// An object that cannot be verified is passed over, so that another way may be found around it. It may still
// come right: a server that lags behind its peers answers "not there" for a while, and whoever repairs the
// bucket replaces or removes the object. So each is looked at again, after 1 s, 2 s .. 10 s; one that is bad
// for good only to see whether it is still there.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "base/clock.hpp"
#include "log/object.hpp"
#include "replication/replica_feeder.hpp"

namespace litecluster::replication {

/// Not thread-safe.
class BadObjects {
 public:
  /// More are not remembered: a follower gets no further than a few bad ones.
  static constexpr std::size_t entries_max = 64;
  static constexpr base::Duration retry_initial = std::chrono::seconds(1);
  static constexpr base::Duration retry_cap = std::chrono::seconds(10);

  void add(const UnusableObject& bad, base::BootTime now);
  /// The object was replaced or removed.
  void forget(const log::ObjectName& name) { entries_.erase(name); }
  /// The replica is at `applied`: what leads there or less far is of no interest any more.
  void passed(Txid applied);

  /// Those whose turn it is to be looked at.
  [[nodiscard]] std::vector<log::Object> take_due(base::BootTime now);
  /// It is still there, as it was. True when it is to be tried again: it is then on trial until it is added
  /// again.
  bool try_again(const log::ObjectName& name);
  /// Those that are not on trial: they must not be used.
  [[nodiscard]] std::vector<log::Object> passed_over() const;

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// The highest TXID of any of them; 0 when there is none.
  [[nodiscard]] Txid end() const;
  /// Why the first of them is bad.
  [[nodiscard]] std::optional<Error> problem() const;

 private:
  struct Entry {
    UnusableObject bad;
    base::Duration delay;
    base::BootTime retry_at;
    bool on_trial = false;
  };
  std::map<log::ObjectName, Entry> entries_;
};

}  // namespace litecluster::replication
