#include "app/replay_proof.hpp"

#include <algorithm>
#include <cstdint>
#include <set>

#include "log/restore_plan.hpp"
#include "ltx/verified_object.hpp"
#include "replication/session_options.hpp"

namespace litecluster::app {

namespace {

// More than SQLite leaves unsynced between two checkpoints of ours.
constexpr std::uint64_t read_bytes_max = std::uint64_t{64} << 20U;
constexpr std::uint64_t in_flight_bytes_max = std::uint64_t{8} << 20U;

}  // namespace

Result<bool> replay_replaces(const Context& context, log::ObjectBucket& bucket, const log::LogView& view,
                             Txid from, Txid to, std::span<const PageNo> differing) {
  if (from >= to) return differing.empty();
  const auto plan = log::plan_onward(view, from, log::RestoreTarget::at(to));
  if (!plan || plan->objects.empty() || plan->size() > read_bytes_max) return false;
  std::set<PageNo> brought;
  std::uint32_t page_count = 0;
  const auto note = [&](std::size_t index, Result<base::Bytes> bytes) -> Status {
    if (!bytes) return std::unexpected(bytes.error());
    auto object = ltx::VerifiedObject::verify(*bytes, to_string(plan->objects[index].name));
    if (!object) return std::unexpected(object.error());
    page_count = object->header().commit;
    // One that begins earlier holds pages of then as well, which nobody gets who goes another way from here.
    if (plan->objects[index].name.min <= from) return {};
    while (true) {
      const auto page = object->next_page();
      if (!page) return std::unexpected(page.error());
      if (!*page) return {};
      brought.insert((*page)->number);
    }
  };
  if (auto read = bucket.get_many(context, plan->objects, in_flight_bytes_max, note); !read) {
    if (replication::may_pass(read.error()) || context.done()) return std::unexpected(read.error());
    // One that retention has removed, that has rotted or cannot be read proves nothing, and will not later
    // either.
    return false;
  }
  // What lies behind the end of the later state is cut off.
  return std::ranges::all_of(
      differing, [&](PageNo page) { return page.value() > page_count || brought.contains(page); });
}

}  // namespace litecluster::app
