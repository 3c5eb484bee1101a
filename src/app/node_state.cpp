// What a node says of itself: to whoever asks, and as health to the other members.
#include <sys/statvfs.h>

#include <utility>

#include "app/node.hpp"

namespace litecluster {

namespace {

constexpr std::chrono::seconds disk_check_interval{1};
constexpr std::uint64_t disk_free_min = std::uint64_t{64} << 20U;

}  // namespace

std::shared_ptr<election::LeaseStore> App::Impl::lease_store() const {
  const base::MutexLock lock(mutex_);
  return lease_;
}

std::shared_ptr<membership::Service> App::Impl::member_service() const {
  const base::MutexLock lock(mutex_);
  return members_;
}

bool App::Impl::is_leader() const {
  const base::MutexLock lock(mutex_);
  return machine_.stage() == app::Stage::active && lease_ && lease_->leads();
}

std::string App::Impl::leader() const {
  const base::MutexLock lock(mutex_);
  return leader_;
}

Epoch App::Impl::epoch() const {
  const base::MutexLock lock(mutex_);
  return machine_.epoch();
}

App::Impl::Parts App::Impl::parts() const {
  const base::MutexLock lock(mutex_);
  return parts_;
}

void App::Impl::share_parts(bool running) {
  Parts shared;
  if (running) {
    shared = {.connection = connection_, .log = log_, .database = database_, .members = members_};
  }
  const base::MutexLock lock(mutex_);
  std::swap(parts_, shared);
}

std::vector<Member> App::Impl::members() const {
  if (worker_) return worker_->members();
  const auto members = parts().members;
  return members ? members->members() : std::vector<Member>();
}

Health App::Impl::health() const {
  if (worker_) return worker_->health();
  const auto members = parts().members;
  return members ? members->health() : Health();
}

std::shared_ptr<nats::Connection> App::Impl::connection() const {
  if (worker_) return worker_->connection();
  return parts().connection;
}

std::shared_ptr<app::DatabaseRole> App::Impl::database() const {
  return parts().database;
}

Result<std::shared_ptr<log::ObjectBucket>> App::Impl::bucket() const {
  const auto log = parts().log;
  if (log) return std::shared_ptr<log::ObjectBucket>(log, log->bucket.get());
  return failure(ErrorCode::failed_precondition, "use the log", options_.node,
                 "the node does not run, or has no database");
}

Result<std::shared_ptr<Client::Impl>> App::Impl::client() const {
  const base::MutexLock lock(mutex_);
  if (!client_) {
    auto made = Client::Impl::connect_eventually(
        {.cluster = options_.cluster, .node = options_.node, .nats = options_.nats});
    if (!made) return made;
    client_ = std::move(*made);
  }
  return client_;
}

NodeStatus App::Impl::status() const {
  if (worker_) return worker_->status();
  NodeStatus status;
  status.cluster = options_.cluster;
  status.node = options_.node;
  status.mode = options_.mode;
  if (const auto database = this->database()) {
    status.position = database->position();
    status.lag = database->lag();
    status.diverged = database->diverged();
  }
  status.health = health();
  const base::MutexLock lock(mutex_);
  status.stage = to_string(machine_.stage());
  status.role = machine_.stage() == app::Stage::active ? Role::active : Role::passive;
  status.leader = leader_;
  status.epoch = machine_.epoch();
  return status;
}

void App::Impl::report_health() {
  const auto report = [&](const char* name, bool good, const std::string& reason, HealthLevel level) {
    members_->report(name, good ? HealthResult{} : HealthResult{.level = level, .reason = reason});
  };
  report("nats", connection_->state() == nats::ConnectionState::connected, connection_->last_problem(),
         HealthLevel::critical);
  const std::string lease = lease_->last_problem();
  report("lease", lease.empty(), lease, HealthLevel::warning);
  if (database_) {
    const auto problem = database_->problem();
    report("replication", !problem, problem ? problem->message() : "", HealthLevel::critical);
    if (base::system_clock().boot_time() - disk_checked_ >= disk_check_interval) report_disk();
  }
  bool active = false;
  {
    const base::MutexLock lock(mutex_);
    active = machine_.stage() == app::Stage::active;
  }
  if (backend_.backend && active) {
    const auto health = backend_.backend->health();
    report("backend", health.has_value(), health ? "" : health.error().message(), HealthLevel::critical);
  } else if (backend_.backend) {
    report("backend", true, "", HealthLevel::critical);
  }
  if (vip_) {
    const std::string problem = vip_->problem();
    report("vip", problem.empty(), vip_->address_text() + ": " + problem, HealthLevel::critical);
  }
}

void App::Impl::report_disk() {
  disk_checked_ = base::system_clock().boot_time();
  const auto diverged = database_->diverged();
  HealthResult found;
  if (!diverged.empty()) {
    found = {.level = HealthLevel::warning,
             .reason = std::to_string(diverged.size()) + " directories with diverged commits"};
  }
  members_->report("database", std::move(found));
  struct statvfs disk{};
  const auto directory = options_.sqlite->path.parent_path();
  if (::statvfs(directory.empty() ? "." : directory.c_str(), &disk) != 0) return;
  const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
  HealthResult space;
  if (free < disk_free_min || disk.f_bavail * 20 < disk.f_blocks) {
    space = {.level = free < disk_free_min ? HealthLevel::critical : HealthLevel::warning,
             .reason = std::to_string(free >> 20U) + " MiB are free"};
  }
  members_->report("disk", std::move(space));
}

}  // namespace litecluster
