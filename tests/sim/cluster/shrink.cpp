#include "sim/cluster/shrink.hpp"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

namespace litecluster::test::cluster {

namespace {

constexpr std::uint32_t variations = 4;

// The promise without the numbers and nodes of this run.
std::string promise_of(const std::string& violation) {
  std::string kind;
  std::string word;
  for (const char letter : violation.substr(0, violation.find(':')) + ' ') {
    if (std::isalpha(static_cast<unsigned char>(letter)) != 0) {
      word += letter;
      continue;
    }
    if (word.size() > 1) kind += word + ' ';
    word.clear();
  }
  return kind;
}

Numbers without(const Numbers& numbers, std::size_t first, std::size_t count) {
  Numbers rest = numbers;
  const auto from = rest.begin() + static_cast<std::ptrdiff_t>(first);
  rest.erase(from, from + static_cast<std::ptrdiff_t>(count));
  return rest;
}

class Shrinker {
 public:
  Shrinker(World& world, std::uint64_t seed, std::uint64_t runs_max)
      : world_(world), seed_(seed), runs_max_(runs_max) {
    best_.outcome = world_.run(seed_);
    best_.runs = 1;
    promise_ = promise_of(best_.outcome.violation);
    settle(best_.reduction, best_.outcome);
  }

  Shrunk shrink() {
    std::size_t size = 0;
    do {
      size = best_.outcome.size();
      fewer_nodes();
      shorter();
      fewer(&Reduction::faults);
      fewer(&Reduction::troubles);
    } while (best_.outcome.size() < size && best_.runs < runs_max_);
    return std::move(best_);
  }

 private:
  // What did not happen before the violation need not be named.
  static void settle(Reduction& reduction, const Outcome& outcome) {
    reduction.faults = outcome.faults;
    reduction.troubles = outcome.troubles;
  }

  bool try_one(Reduction reduction) {
    const std::uint32_t present = best_.reduction.variation;
    for (std::uint32_t number = 0; number < variations && best_.runs < runs_max_; ++number) {
      reduction.variation = (present + number) % variations;
      ++best_.runs;
      Outcome outcome = world_.run(seed_, reduction);
      if (promise_of(outcome.violation) != promise_ || outcome.size() > best_.outcome.size()) continue;
      settle(reduction, outcome);
      best_.reduction = std::move(reduction);
      best_.outcome = std::move(outcome);
      return true;
    }
    return false;
  }

  void fewer_nodes() {
    for (auto nodes = static_cast<std::uint32_t>(best_.outcome.nodes); nodes > 2; --nodes) {
      Reduction reduction = best_.reduction;
      reduction.nodes = nodes - 1;
      if (!try_one(std::move(reduction))) return;
    }
  }

  void shorter() {
    for (std::uint32_t quarters = 1; quarters < 4;) {
      Reduction reduction = best_.reduction;
      const auto heal_ms = static_cast<std::uint32_t>(best_.outcome.heal_at / millisecond);
      reduction.heal_ms = heal_ms / 4 * quarters;
      if (*reduction.heal_ms == 0 || !try_one(std::move(reduction))) ++quarters;
    }
  }

  // Leaves out halves, quarters and so on, down to single ones.
  void fewer(std::optional<Numbers> Reduction::* which) {
    for (std::size_t chunk = (best_.reduction.*which)->size(); chunk > 0; chunk /= 2) {
      std::size_t end = (best_.reduction.*which)->size();
      while (end > 0 && best_.runs < runs_max_) {
        const std::size_t first = end - std::min(end, chunk);
        Reduction reduction = best_.reduction;
        reduction.*which = without(*(best_.reduction.*which), first, end - first);
        try_one(std::move(reduction));
        end = std::min(first, (best_.reduction.*which)->size());
      }
    }
  }

  World& world_;
  std::uint64_t seed_;
  std::uint64_t runs_max_;
  std::string promise_;
  Shrunk best_;
};

}  // namespace

Shrunk shrink(World& world, std::uint64_t seed, std::uint64_t runs_max) {
  return Shrinker(world, seed, runs_max).shrink();
}

}  // namespace litecluster::test::cluster
