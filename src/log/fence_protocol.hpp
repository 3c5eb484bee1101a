// How a new leader takes possession of the log.
//
// It has won epoch E in the election. It reads the log to its end N, applies everything up to N, and appends
// TXID N+1 with its own epoch: the fence. The name can be created only once, so if an older leader still
// appended N+1 first, that is part of history: it is applied, with whatever came after it, and the fence goes
// behind the new end, and so on. Once the fence stands, the next append of any older leader finds its name
// taken and it learns that it is deposed. An epoch at or above E in the log, by somebody else, means that E
// is not ours to use.
//
// Servers that lost the log's end may leave an object behind it that an older leader wrote and that a fence
// since then has made stale (log_view.hpp). No reader will ever take it in, so it is removed, and the name is
// used.
//
// This class is only the protocol. The driver (fence.hpp) applies and appends.
#pragma once

#include <cstdint>
#include <variant>

#include <litecluster/error.hpp>
#include <litecluster/types.hpp>

#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log {

/// Pure; not thread-safe. Permitted: (applying -> appending)* -> done | failed.
class FenceProtocol {
 public:
  /// Bring the replica to the end of the log as it is now, at least to this TXID (0: there may be nothing),
  /// then call applied().
  struct Apply {
    Txid txid;
  };
  /// Append the fence under this TXID, then call appended() or taken().
  struct Append {
    Txid txid;
  };
  /// The fence stands at this TXID.
  struct Done {
    Txid txid;
  };
  using Action = std::variant<Apply, Append, Done, Error>;

  /// Rounds after which it gives up (unavailable): some older leader appends faster than we can follow.
  static constexpr int rounds_max = 1000;

  /// `view` is the whole log as it is now.
  FenceProtocol(Author author, const LogView& view);

  /// What to do now; the same until one of the events below.
  [[nodiscard]] const Action& action() const { return action_; }

  /// The replica has reached `end`: the last object that was applied.
  void applied(const LogEnd& end);
  void appended();
  /// The name of the fence is taken by `by`.
  void taken(const Object& by);
  /// What took it was stale, and is removed.
  void removed();

 private:
  void fail_deposed(const std::string& reason);

  Author author_;
  Action action_;
  bool taken_ = false;  ///< why the action is to apply
  int rounds_ = 0;
};

}  // namespace litecluster::log
