// For what has to work before a node can do anything at all.
#pragma once

#include <utility>

#include <litecluster/context.hpp>

#include "base/backoff.hpp"
#include "base/logging.hpp"
#include "base/random.hpp"
#include "replication/session_options.hpp"

namespace litecluster::app {

/// Tries until it works, can never work, or the Context ends. `what` is logged once, with the reason.
template <typename Attempt>
auto patiently(const Context& context, const char* what, const Attempt& attempt) -> decltype(attempt()) {
  base::Backoff backoff(std::chrono::milliseconds(100), std::chrono::seconds(2));
  bool told = false;
  while (true) {
    auto result = attempt();
    if (result || !replication::may_pass(result.error())) return result;
    if (!std::exchange(told, true)) base::log_warning(what, {{"reason", result.error().message()}});
    if (context.wait_for(backoff.next(base::random_u64()))) return result;
  }
}

}  // namespace litecluster::app
