// How a layer has a hook of the user's called without knowing who calls it.
#pragma once

#include <functional>
#include <string>

#include <litecluster/context.hpp>
#include <litecluster/error.hpp>

namespace litecluster::membership {

struct HookCall {
  /// "on_own": for logs and errors.
  std::string name{};
  /// Cancelled when the call makes no sense any more.
  Context parent = Context::background();
  std::move_only_function<Status(Context&)> body{};
  /// Called exactly once with the result, or with why the hook did not run or was given up. Must return at
  /// once. May be empty.
  std::move_only_function<void(const Status&)> done{};
};

/// Takes calls, runs them one at a time and in order. Thread-safe; returns at once.
using HookExecutor = std::function<void(HookCall)>;

}  // namespace litecluster::membership
