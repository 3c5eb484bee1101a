// How the rest of the library makes the public Lock: from the keeper of a client.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <litecluster/lock.hpp>

#include "locks/lock_keeper.hpp"

namespace litecluster::locks {

/// Does not block; the result holds the keeper for as long as it lives.
[[nodiscard]] Lock make_lock(std::shared_ptr<LockKeeper> keeper, std::string_view name,
                             const LockOptions& options);
/// A Lock whose every acquire fails with `error`.
[[nodiscard]] Lock make_broken_lock(Error error);

}  // namespace litecluster::locks
