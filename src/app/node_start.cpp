// How a node comes to life and ends: its parts in the order in which they need each other, and back.
#include <filesystem>
#include <utility>

#include "app/node.hpp"
#include "app/patiently.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "nats/jetstream.hpp"
#include "nats/kv_bucket.hpp"

namespace litecluster {

namespace {

constexpr std::uint64_t bucket_state_bytes_max = 4096;
constexpr std::chrono::seconds bucket_check_soon{3};
constexpr std::chrono::seconds bucket_check_timeout{2};

// Beside the replica, since it outlives both roles of the database.
std::filesystem::path bucket_state_path(const Sqlite& sqlite) {
  return sqlite.replica.string() + "-bucket";
}

std::string incarnation_text(const backend::GuardLink* guard) {
  return guard != nullptr ? election::to_string(guard->incarnation()) : base::random_hex(16);
}

}  // namespace

Status App::Impl::start(const Context& context) {
  // First: it removes an address that was left behind, and NATS may be away for long.
  if (auto opened = open_backend(); !opened) return opened;
  auto connection = app::patiently(context, "waiting for NATS",
                                   [&] { return nats::Connection::connect(context, options_.nats); });
  if (!connection) return std::unexpected(connection.error());
  connection_ = std::move(*connection);
  if (options_.sqlite) {
    if (auto opened = open_database(context); !opened) return opened;
  }
  return start_members(context);
}

Status App::Impl::open_database(const Context& context) {
  const Sqlite& sqlite = *options_.sqlite;
  const auto stored = base::read_file(bucket_state_path(sqlite), bucket_state_bytes_max);
  const auto remembered = stored ? log::parse_bucket_state(base::as_text(*stored)) : std::nullopt;
  bucket_guard_.emplace(remembered);
  // A bucket that was there once is never created again behind the operator's back.
  const bool create = !remembered.has_value();
  auto opened = app::patiently(context, "waiting for the log's bucket", [&] {
    return log::open_bucket(context, options_.nats, sqlite.bucket, create);
  });
  if (!opened && opened.error().code() == ErrorCode::not_found && !create) {
    bucket_guard_->observe(std::nullopt);
    return bucket_guard_->status(sqlite.bucket);
  }
  if (!opened) return std::unexpected(opened.error());
  log_ = std::make_shared<log::OpenedBucket>(std::move(*opened));
  if (auto checked = check_bucket(context, remembered.has_value()); !checked) return checked;
  auto beacon = replication::PositionBeacon::start(connection_, options_.cluster, options_.node);
  if (!beacon) return std::unexpected(beacon.error());
  beacon_ = std::move(*beacon);
  // Whoever uses the database keeps its bucket as well.
  struct WithBucket {
    std::shared_ptr<log::OpenedBucket> log;
    app::DatabaseRole database;
  };
  auto made = std::shared_ptr<WithBucket>(new WithBucket{
      log_,
      {app::DatabaseRoleOptions{.sqlite = sqlite,
                                .node = options_.node,
                                .incarnation = incarnation_text(guard),
                                .on_position =
                                    [this, beacon = beacon_](const db::ReplicaPosition& position) {
                                      beacon->moved(position);
                                      if (const auto lease = lease_store()) {
                                        lease->position_changed(position.txid);
                                      }
                                    },
                                .on_fatal = [this](const Error& error) { publishing_ended(error); }},
       *log_->bucket}});
  database_ = std::shared_ptr<app::DatabaseRole>(made, &made->database);
  return {};
}

// Compares the bucket with what this node remembers of it, and remembers the new state. An unreachable server
// proves nothing; an alarm is final until the operator has removed the file. `write_later`: what is on disk
// is of this bucket; a node that starts may be what everybody waits for, and has better things to do than an
// fsync.
Status App::Impl::check_bucket(const Context& context, bool write_later) {
  bucket_checked_ = base::system_clock().boot_time();
  const auto state = log_->bucket->state(context.with_timeout(bucket_check_timeout));
  if (!state && state.error().code() != ErrorCode::not_found) return {};
  bucket_guard_->observe(state ? std::optional(*state) : std::nullopt);
  if (auto status = bucket_guard_->status(options_.sqlite->bucket); !status) return status;
  if (write_later) {
    bucket_checked_ -= bucket_check_interval - bucket_check_soon;
    return {};
  }
  const std::string text = log::to_string(*bucket_guard_->remembered());
  return base::write_file_durably(bucket_state_path(*options_.sqlite), base::as_bytes(text));
}

Status App::Impl::open_backend() {
  if (options_.vip) {
    const auto address = vip::parse_address(options_.vip->address);
    if (!address) return std::unexpected(address.error());
    vip_ = std::make_unique<vip::VirtualAddress>(options_.vip->interface, *address, [this] {
      const auto lease = lease_store();
      return lease && lease->leads();
    });
    if (const auto left = vip_->remove_leftover(); !left) return std::unexpected(left.error());
  }
  if (!options_.backend) return {};
  auto setup = app::set_up_backend(*options_.backend, guard);
  if (!setup) return std::unexpected(setup.error());
  backend_ = std::move(*setup);
  backend_.backend->on_failure([this](const Error& error) { wish_step_down(error.message()); });
  return {};
}

Status App::Impl::start_members(const Context& context) {
  const nats::JetStream jetstream(connection_);
  auto bucket = app::patiently(context, "waiting for the coordination bucket", [&] {
    return nats::KeyValue::open_or_create(context, jetstream,
                                          membership::coordination_bucket(options_.cluster));
  });
  if (!bucket) return std::unexpected(bucket.error());
  auto service = membership::Service::create(*bucket, {.node = options_.node,
                                                       .mode = options_.mode,
                                                       .heartbeat = options_.heartbeat,
                                                       .addresses = options_.addresses,
                                                       .labels = options_.labels,
                                                       .version = LITECLUSTER_VERSION});
  if (!service) return std::unexpected(service.error());
  {
    const base::MutexLock lock(mutex_);
    members_ = std::move(*service);
  }
  members_->report("hooks", {});
  members_->add_listener([this](const membership::ServiceEvent& event) { member_event(event); });

  election::LeaseStoreOptions lease;
  lease.elector.node = options_.node;
  lease.elector.incarnation = guard != nullptr ? guard->incarnation() : election::Incarnation::random();
  lease.elector.lease_ttl = options_.lease_ttl;
  lease.elector.heartbeat = options_.heartbeat;
  if (options_.cooldown) lease.elector.cooldown = *options_.cooldown;
  lease.listener = [this](const election::LeaseEvent& event) { lease_event(event); };
  if (guard != nullptr) lease.shared_deadline = &guard->lease_deadline();
  auto store = election::LeaseStore::start(*bucket, connection_, std::move(lease));
  if (!store) return std::unexpected(store.error());
  {
    const base::MutexLock lock(mutex_);
    lease_ = std::move(*store);
  }
  prober_ = std::make_unique<app::HealthProber>(
      probes, app::HealthProberOptions{
                  .report = [weak = std::weak_ptr(members_)](const std::string& name, HealthResult result) {
                    if (const auto members = weak.lock()) members->report(name, std::move(result));
                  }});
  members_->start();
  return members_->wait_joined(context);
}

void App::Impl::stop_everything() {
  // In the opposite order of start(); listeners of each are silent once it is gone.
  prober_.reset();
  std::shared_ptr<election::LeaseStore> lease;
  std::shared_ptr<membership::Service> members;
  {
    const base::MutexLock lock(mutex_);
    lease = std::exchange(lease_, nullptr);
    members = std::exchange(members_, nullptr);
  }
  lease.reset();
  if (members) {
    static_cast<void>(members->leave(Context::background().with_timeout(std::chrono::seconds(2))));
    members->stop();
  }
  vip_.reset();
  backend_.reset();
  database_.reset();
  beacon_.reset();
  log_.reset();
  connection_.reset();
  hooks_.reset();
}

}  // namespace litecluster
