#include "sim/cluster/bucket.hpp"

#include <utility>

#include "base/sha256.hpp"
#include "sim/cluster/agent.hpp"

namespace litecluster::test::cluster {

namespace {

std::unexpected<Error> no_answer(const Context& context, const char* operation, const log::ObjectName& name) {
  return failure(context.done() ? ErrorCode::cancelled : ErrorCode::unavailable, operation, to_string(name),
                 "no answer");
}

}  // namespace

void announce(Simulation& simulation, const log::Object& object, base::ByteView bytes) {
  simulation.judge.stored(object, LogFile::decode(bytes));
  const std::uint64_t sequence = object.sequence.value();
  for (const auto& host : simulation.hosts) {
    if (!host->agent()) continue;
    const auto arrival = simulation.arrival(host->index(), false);
    if (arrival) {
      host->agent_at(*arrival, [host = host.get(), sequence] { host->agent()->log_news(sequence); });
    }
  }
}

Result<log::Object> SimulatedBucket::put(const Context& context, const log::NewObject& object,
                                         base::ByteView bytes) {
  Simulation& simulation = process_.simulation();
  if (simulation.settings.two_steps) {
    const auto chunk = process_.ask<bool>(context, [&simulation] {
      simulation.server.put_chunk();
      return true;
    });
    if (!chunk) return no_answer(context, "put", object.name);
  }
  const auto store = [&simulation, object, bytes = base::Bytes(bytes.begin(), bytes.end()),
                      digest = base::sha256(bytes)]() -> Result<log::Object> {
    if (!simulation.settings.two_steps) simulation.server.put_chunk();
    auto stored = simulation.server.put(object, bytes, digest);
    simulation.trace("log: {} by {}: {}", to_string(object.name), to_string(*object.author),
                     stored ? fmt::format("sequence {}", stored->sequence.value()) : "taken");
    if (stored) announce(simulation, *stored, bytes);
    return stored;
  };
  if (simulation.trouble(Trouble::stop, simulation.settings.stop_percent)) {
    process_.at(process_.now(), [this, &simulation] {
      process_.host().pause(
          process_.now() + simulation.schedule.between(simulation.unit(), 40 * simulation.unit()),
          simulation.chance(50));
    });
  }
  auto answer = process_.ask<Result<log::Object>>(context, store);
  if (!answer) return no_answer(context, "put", object.name);
  return std::move(*answer);
}

Result<log::Object> SimulatedBucket::put(const Context&, const log::NewObject& object,
                                         const log::ByteSource&) {
  return failure(ErrorCode::unsupported, "put", to_string(object.name), "all payloads are in memory");
}

Result<log::Object> SimulatedBucket::info(const Context& context, const log::ObjectName& name) {
  Simulation& simulation = process_.simulation();
  auto answer = process_.ask<Result<log::Object>>(context, [&simulation, name]() -> Result<log::Object> {
    const Server::Stored* const found = simulation.server.find(name);
    if (found == nullptr || found->object.sequence.value() > simulation.visible_sequence()) {
      return failure(ErrorCode::not_found, "info", to_string(name), "no object");
    }
    return found->object;
  });
  if (!answer) return no_answer(context, "info", name);
  return std::move(*answer);
}

Result<base::Bytes> SimulatedBucket::fetch(const Context& context, const log::Object& object) {
  Simulation& simulation = process_.simulation();
  auto answer = process_.ask<Result<base::Bytes>>(context, [&simulation, object]() -> Result<base::Bytes> {
    const Server::Stored* const found = simulation.server.find(object.name);
    if (found == nullptr || found->object.sequence != object.sequence) {
      return failure(ErrorCode::not_found, "get", to_string(object.name), "no object");
    }
    return found->bytes;
  });
  if (!answer) return no_answer(context, "get", object.name);
  return std::move(*answer);
}

Status SimulatedBucket::get(const Context&, const log::Object& object, const log::ByteSink&) {
  return failure(ErrorCode::unsupported, "get", to_string(object.name), "use fetch()");
}

Status SimulatedBucket::get_many(const Context& context, std::span<const log::Object> objects, std::uint64_t,
                                 const EachObject& each) {
  for (std::size_t index = 0; index < objects.size(); ++index) {
    if (auto taken = each(index, fetch(context, objects[index])); !taken) return taken;
  }
  return {};
}

Result<std::vector<log::Object>> SimulatedBucket::list(const Context& context, std::size_t) {
  Simulation& simulation = process_.simulation();
  auto answer = process_.ask<std::vector<log::Object>>(
      context, [&simulation] { return simulation.server.list(simulation.visible_sequence()); });
  if (!answer) return no_answer(context, "list", {});
  return std::move(*answer);
}

Result<std::unique_ptr<log::BucketWatch>> SimulatedBucket::watch(const Context&) {
  return failure(ErrorCode::unsupported, "watch", name_, "use LogWatch");
}

Status SimulatedBucket::remove(const Context& context, const log::Object& object) {
  Simulation& simulation = process_.simulation();
  const auto answer = process_.ask<bool>(context, [&simulation, object] {
    simulation.trace("log: {} is removed", to_string(object.name));
    simulation.server.remove(object);
    return true;
  });
  if (!answer) return no_answer(context, "remove", object.name);
  return {};
}

}  // namespace litecluster::test::cluster
