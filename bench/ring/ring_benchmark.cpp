// How fast a key finds its owner, and a new assignment is computed.
#include <benchmark/benchmark.h>

#include <array>
#include <string>

#include <fmt/format.h>

#include "ring/assignment.hpp"
#include "ring/ring_impl.hpp"

namespace litecluster::ring {
namespace {

std::shared_ptr<Ring::Impl> ring_of(std::uint32_t partitions) {
  auto impl = std::make_shared<Ring::Impl>(nullptr, "c", "n0", partitions);
  auto assignment = std::make_shared<Assignment>();
  assignment->version = RingVersion(1);
  for (int node = 0; node < 20; ++node) {
    assignment->members.push_back({fmt::format("n{}", node), "i", Revision(1)});
  }
  for (const std::uint16_t owner : spread(std::vector<std::uint16_t>(partitions, nobody), 20)) {
    assignment->slots.push_back({owner, owner, {}});
  }
  impl->table.set_assignment(std::move(assignment));
  impl->table.set_deadline(INT64_MAX);
  for (std::uint32_t partition = 0; partition < partitions; partition += 20) {
    impl->table.set_owned(Partition(partition), true);
  }
  return impl;
}

std::array<std::string, 1024> keys() {
  std::array<std::string, 1024> made;
  for (std::size_t index = 0; index < made.size(); ++index)
    made[index] = fmt::format("customer/{:06}", index);
  return made;
}

void owner_of_key(benchmark::State& state) {
  const Ring ring(ring_of(static_cast<std::uint32_t>(state.range(0))));
  const auto all = keys();
  std::size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(ring.owner(all[next++ % all.size()]));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(owner_of_key)->Arg(256)->Arg(4096);

void owns_key(benchmark::State& state) {
  const Ring ring(ring_of(256));
  const auto all = keys();
  std::size_t next = 0;
  for (auto _ : state) benchmark::DoNotOptimize(ring.owns(all[next++ % all.size()]));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(owns_key);

void spread_when_one_joins(benchmark::State& state) {
  const auto partitions = static_cast<std::size_t>(state.range(0));
  const auto before = spread(std::vector<std::uint16_t>(partitions, nobody), 20);
  for (auto _ : state) benchmark::DoNotOptimize(spread(before, 21));
}
BENCHMARK(spread_when_one_joins)->Arg(256)->Arg(4096);

}  // namespace
}  // namespace litecluster::ring
