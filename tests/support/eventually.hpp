// Waiting for something that another process does.
#pragma once

#include <chrono>
#include <thread>

namespace litecluster::test {

/// True as soon as `condition` is; false when it is not within `limit`, which only bounds a failing test.
template <typename Condition>
bool eventually(const Condition& condition, std::chrono::seconds limit = std::chrono::seconds(30)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace litecluster::test
