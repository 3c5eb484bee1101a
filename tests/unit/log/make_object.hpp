// Short ways to make objects and views for the tests of this layer.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>

#include "log/log_view.hpp"
#include "log/object.hpp"

namespace litecluster::log::test {

/// Any Monday, 0:00 UTC.
inline constexpr base::WallTime start_time{std::chrono::milliseconds(1'700'438'400'000)};

inline base::WallTime at_second(std::int64_t second) {
  return start_time + std::chrono::seconds(second);
}

inline Author author(std::uint64_t epoch, std::string node = "node-1") {
  return {Epoch(epoch), std::move(node), "incarnation-" + std::to_string(epoch)};
}

/// Time and sequence follow from the max TXID unless given: TXID n is from second n.
struct ObjectMaker {
  int level = 0;
  std::uint64_t min = 1;
  std::uint64_t max = 1;
  std::uint64_t epoch = 1;  ///< 0: written by Litestream
  std::int64_t second = -1;
  std::uint64_t sequence = 0;
  std::uint64_t size = 1000;

  operator Object() const {  // NOLINT(google-explicit-constructor)
    Object object;
    object.name = {level, Txid(min), Txid(max)};
    object.size = size;
    object.created_at = at_second(second < 0 ? static_cast<std::int64_t>(max) : second);
    if (epoch != 0) object.author = author(epoch);
    object.checksum = Checksum(max);
    object.sequence = Revision(sequence == 0 ? max * 10 + static_cast<std::uint64_t>(level) : sequence);
    return object;
  }
};

inline Object raw(std::uint64_t txid, std::uint64_t epoch = 1, std::uint64_t sequence = 0) {
  return ObjectMaker{.min = txid, .max = txid, .epoch = epoch, .sequence = sequence};
}

/// The raw object of `txid`, made on a state with this checksum. That of raw(n) is n.
inline Object raw_on(std::uint64_t txid, std::uint64_t state) {
  Object object = raw(txid);
  object.pre_apply = Checksum(state);
  return object;
}

inline Object compacted(int level, std::uint64_t min, std::uint64_t max) {
  return ObjectMaker{.level = level, .min = min, .max = max};
}

template <typename... Objects>
LogView view_of(const Objects&... objects) {
  LogView view;
  (static_cast<void>(view.put(objects)), ...);
  return view;
}

}  // namespace litecluster::log::test
