#include "sim/cluster/process.hpp"

namespace litecluster::test::cluster {

Fiber& Process::spawn(std::function<void()> body) {
  Fiber& fiber = simulation_.fibers.get();
  fiber.start(std::move(body));
  fibers_.push_back(&fiber);
  at(now(), [this, &fiber, ticket = fiber.ticket()] { resume(fiber, ticket); });
  return fiber;
}

void Process::kill() {
  for (Fiber* const fiber : fibers_) {
    fiber->kill();
    simulation_.fibers.give_back(*fiber);
  }
  fibers_.clear();
  waiting_.clear();
}

void Process::resume(Fiber& fiber, std::uint64_t ticket) {
  if (fiber.ticket() != ticket || fiber.idle()) return;
  fiber.resume();
  if (!fiber.idle()) return;
  std::erase(fibers_, &fiber);
  simulation_.fibers.give_back(fiber);
  change();
}

void Process::wait_until(Time time, Change kind) {
  Fiber& fiber = *Fiber::current();
  waiting_.push_back({&fiber, fiber.ticket(), kind});
  work(time - now());
}

void Process::work(Time duration) {
  Fiber& fiber = *Fiber::current();
  at(now() + duration, [this, &fiber, ticket = fiber.ticket()] { resume(fiber, ticket); });
  fiber.suspend();
}

void Process::change(Change kind) {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.fiber->ticket() != waiting.ticket) return true;
    if (waiting.kind != kind) return false;
    at(now(), [this, waiting] { resume(*waiting.fiber, waiting.ticket); });
    return true;
  });
}

void Process::wake(Fiber& fiber) {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.fiber != &fiber || waiting.ticket != fiber.ticket()) return false;
    at(now(), [this, waiting] { resume(*waiting.fiber, waiting.ticket); });
    return true;
  });
}

}  // namespace litecluster::test::cluster
