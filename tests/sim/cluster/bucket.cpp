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

std::unexpected<Error> no_bucket(const char* operation) {
  return failure(ErrorCode::not_found, operation, "log", "the bucket does not exist");
}

}  // namespace

void announce(Simulation& simulation, const log::Object& object, base::ByteView bytes) {
  simulation.judge.stored(object, LogFile::decode(bytes));
  const std::uint64_t sequence = object.sequence.value();
  for (const auto& host : simulation.hosts) {
    if (!host->agent()) continue;
    const auto arrival = simulation.arrival(host->index(), false);
    if (arrival) {
      host->agent_at(*arrival, [host = host.get(), sequence, starts = simulation.server.starts()] {
        host->agent()->log_news(sequence, starts);
      });
    }
  }
}

Result<log::Object> SimulatedBucket::put(const Context& context, const log::NewObject& object,
                                         base::ByteView bytes) {
  Simulation& simulation = process_.simulation();
  if (simulation.settings.two_steps) {
    const auto chunk = process_.ask<bool>(context, [&simulation] {
      if (simulation.server.exists()) simulation.server.put_chunk();
      return simulation.server.exists();
    });
    if (!chunk) return no_answer(context, "put", object.name);
    if (!*chunk) return no_bucket("put");
  }
  const auto store = [&simulation, object, bytes = base::Bytes(bytes.begin(), bytes.end()),
                      digest = base::sha256(bytes)]() -> Result<log::Object> {
    if (!simulation.server.exists()) return no_bucket("put");
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
  if (*answer && simulation.bug == PlantedBug::sequence_not_looked_at && simulation.server.starts() > 1) {
    const std::uint64_t next = told_.value() + (*answer)->chunks + 1;
    if (!told_.is_zero() && (*answer)->sequence.value() < next) (*answer)->sequence = Revision(next);
  }
  if (*answer) told_ = (*answer)->sequence;
  return std::move(*answer);
}

Result<log::Object> SimulatedBucket::put(const Context&, const log::NewObject& object,
                                         const log::ByteSource&) {
  return failure(ErrorCode::unsupported, "put", to_string(object.name), "all payloads are in memory");
}

Result<log::Object> SimulatedBucket::info(const Context& context, const log::ObjectName& name) {
  Simulation& simulation = process_.simulation();
  return look_up(context, name, [&simulation] { return simulation.visible_sequence(); });
}

Result<log::Object> SimulatedBucket::newest_info(const Context& context, const log::ObjectName& name) {
  Simulation& simulation = process_.simulation();
  return look_up(context, name, [&simulation] { return simulation.server.sequence(); });
}

Result<log::Object> SimulatedBucket::look_up(const Context& context, const log::ObjectName& name,
                                             const std::function<std::uint64_t()>& visible) {
  Simulation& simulation = process_.simulation();
  auto answer =
      process_.ask<Result<log::Object>>(context, [&simulation, name, visible]() -> Result<log::Object> {
        const Server::Stored* const found = simulation.server.find(name);
        if (found == nullptr || found->object.sequence.value() > visible()) {
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
    // What is asked for are the chunks of this very put.
    if (found == nullptr || found->torn || found->object.sequence != object.sequence ||
        found->object.digest != object.digest) {
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
  using Listing = Result<std::vector<log::Object>>;
  auto answer = process_.ask<Listing>(context, [&simulation]() -> Listing {
    if (!simulation.server.exists()) return no_bucket("list");
    return simulation.server.list(simulation.visible_sequence());
  });
  if (!answer) return no_answer(context, "list", {});
  return std::move(*answer);
}

Result<log::BucketState> SimulatedBucket::state(const Context& context) {
  using State = Result<log::BucketState>;
  auto answer = process_.ask<State>(context, [server = &process_.simulation().server]() -> State {
    if (const auto bucket = server->bucket()) return *bucket;
    return no_bucket("look at");
  });
  if (!answer) return no_answer(context, "look at", {});
  return std::move(*answer);
}

bool SimulatedBucket::create(const Context& context) {
  return process_
      .ask<bool>(context,
                 [&simulation = process_.simulation(), known = process_.host().disk().bucket.has_value()] {
                   if (known && !simulation.server.exists()) {
                     simulation.judge.violated("a node makes a bucket anew that it had known");
                   }
                   simulation.server.create();
                   return true;
                 })
      .has_value();
}

Result<std::unique_ptr<log::BucketWatch>> SimulatedBucket::watch(const Context&) {
  return failure(ErrorCode::unsupported, "watch", name_, "use LogWatch");
}

Status SimulatedBucket::remove(const Context& context, const log::Object& object) {
  Simulation& simulation = process_.simulation();
  // Two steps, since servers delete by a sequence alone; in between they may fail.
  const auto there = process_.ask<bool>(context, [&simulation, object] {
    const Server::Stored* const stored = simulation.server.find(object.name);
    return stored != nullptr && stored->object.sequence == object.sequence &&
           stored->object.digest == object.digest;
  });
  if (!there) return no_answer(context, "remove", object.name);
  if (!*there) return {};
  const auto answer = process_.ask<bool>(context, [&simulation, object] {
    simulation.trace("log: {} is removed", to_string(object.name));
    simulation.server.remove(object);
    return true;
  });
  if (!answer) return no_answer(context, "remove", object.name);
  return {};
}

}  // namespace litecluster::test::cluster
