#include "log/catch_up_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace litecluster::log {
namespace {

/// The cheapest way to one TXID.
struct Stop {
  Txid txid;
  std::uint64_t cost = 0;
  /// The last object on the way, and the stop before it.
  const Object* object = nullptr;
  std::size_t previous = 0;
};

/// Objects in the order of their max TXID: when one is looked at, all ways to the TXIDs before are known.
std::vector<const Object*> objects_after(const LogView& view, Txid from) {
  std::vector<const Object*> objects;
  for (int level = raw_level; level <= compaction_level_max; ++level) {
    for (const auto& [name, object] : view.level(level)) {
      if (name.max > from) objects.push_back(&object);
    }
  }
  const auto order = [](const Object* object) { return std::pair(object->name.max, object->name); };
  std::ranges::sort(objects, {}, order);
  return objects;
}

/// The cheapest chain from `from` to exactly `to`, or to where two histories meet; nothing when there is
/// none.
std::optional<std::vector<Object>> cheapest_chain(const LogView& view, Txid from, Txid to) {
  std::vector<Stop> stops{{.txid = from}};
  // Indices into `stops`, TXIDs and costs both ascending: of the stops from some TXID on, the first is the
  // cheapest, because a stop that lies farther and costs no more has pushed out those before it.
  std::vector<std::size_t> frontier{0};
  const auto txid_of = [&stops](std::size_t index) { return stops[index].txid; };
  for (const Object* object : objects_after(view, from)) {
    const auto start = std::ranges::lower_bound(frontier, object->name.min.previous(), {}, txid_of);
    if (start == frontier.end() || stops[*start].txid >= object->name.max) continue;
    const Stop stop{object->name.max, stops[*start].cost + object->size + fetch_cost_bytes, object, *start};
    if (stops[frontier.back()].txid == stop.txid && stops[frontier.back()].cost <= stop.cost) continue;
    while (!frontier.empty() && stops[frontier.back()].cost >= stop.cost) frontier.pop_back();
    frontier.push_back(stops.size());
    stops.push_back(stop);
  }
  if (stops[frontier.back()].txid != to) return std::nullopt;
  std::vector<Object> chain;
  for (std::size_t index = frontier.back(); stops[index].object != nullptr; index = stops[index].previous) {
    chain.push_back(*stops[index].object);
  }
  std::ranges::reverse(chain);
  // No farther than to an object that was made on another state than the one before it leads to.
  const auto seam = std::ranges::adjacent_find(
      chain, [](const Object& before, const Object& object) { return !was_made_on(object, before); });
  if (seam != chain.end()) chain.erase(std::next(seam), chain.end());
  return chain;
}

}  // namespace

Result<CatchUpPlan> plan_catch_up(const LogView& view, Txid from) {
  const Txid end = view.end().txid;
  if (from > end) {
    return failure(ErrorCode::failed_precondition, "plan catch-up", "TXID " + to_string(from),
                   fmt::format("the log ends before it, at TXID {}", to_string(end)));
  }
  if (from == end) return CatchUpPlan{};
  if (!from.is_zero()) {
    if (auto chain = cheapest_chain(view, from, end)) return CatchUpPlan{false, std::move(*chain)};
  }
  auto restore = plan_restore(view, RestoreTarget::latest());
  if (!restore) return std::unexpected(restore.error().within("plan catch-up", "TXID " + to_string(from)));
  return CatchUpPlan{true, std::move(restore->objects)};
}

}  // namespace litecluster::log
