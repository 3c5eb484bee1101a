#include "sim/cluster/log_watch.hpp"

#include <utility>

namespace litecluster::test::cluster {

void LogWatch::start() {
  view_ = log::LogView();
  seen_ = 0;
  complete_ = false;
  ++watch_;
  on_object_ = nullptr;
  if (!std::exchange(looking_, true)) look();
}

// The consumer's heartbeat, by which it notices what it missed.
void LogWatch::look() {
  process_.send([simulation = &process_.simulation()] { return simulation->visible_sequence(); },
                [this, watch = watch_](std::uint64_t sequence) {
                  if (watch != watch_) return;
                  complete_ = true;
                  news(sequence);
                });
  process_.at(process_.now() + (complete_ ? 2 * process_.unit() : process_.unit() / 4), [this] { look(); });
}

void LogWatch::news(std::uint64_t sequence) {
  heard_at_ = process_.now();
  if (!complete_) return;
  Simulation& simulation = process_.simulation();
  const auto& all = simulation.server.all();
  for (std::size_t index = simulation.server.after(seen_); index < all.size(); ++index) {
    const Server::Stored& stored = all[index];
    if (stored.object.sequence.value() > sequence) break;
    if (stored.removed) continue;
    static_cast<void>(view_.put(stored.object));
    if (on_object_) on_object_(stored.object);
  }
  seen_ = std::max(seen_, sequence);
  process_.change();
}

void LogWatch::on_object(std::function<void(const log::Object&)> callback) {
  on_object_ = std::move(callback);
  if (!on_object_) return;
  const auto known = view_.level(log::raw_level);
  for (const auto& [name, object] : known) on_object_(object);
}

Status LogWatch::wait_complete(const Context& context, Time patience) const {
  const Time deadline = process_.now() + patience;
  while (!complete_) {
    if (auto status = context.status("wait for the log"); !status) return status;
    if (process_.now() >= deadline) return failure(ErrorCode::deadline_exceeded, "wait for the log", {}, {});
    process_.wait_until(deadline);
  }
  return {};
}

log::ReadEnd LogWatch::read_end() {
  return [this](const Context& context, Revision sequence) -> Result<log::LogEnd> {
    while (!complete_ || seen_ < sequence.value()) {
      if (auto status = context.status("wait for the log"); !status) return std::unexpected(status.error());
      process_.wait(process_.unit());
    }
    return view_.end();
  };
}

}  // namespace litecluster::test::cluster
