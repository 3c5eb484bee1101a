// The public face of App::Impl.
#include <litecluster/app.hpp>

#include <utility>

#include "app/node.hpp"
#include "app/option_check.hpp"
#include "kv/kv_impl.hpp"
#include "locks/client_impl.hpp"
#include "locks/lock_impl.hpp"
#include "log/restore.hpp"

namespace litecluster {

class Wal::Impl {
 public:
  explicit Impl(std::weak_ptr<const App::Impl> node) : node_(std::move(node)) {}
  /// Empty when there is none. The node stays as long as what is returned.
  [[nodiscard]] std::shared_ptr<app::DatabaseRole> database() const {
    const auto node = node_.lock();
    auto database = node ? node->database() : nullptr;
    if (!database) return nullptr;
    const auto both = std::make_shared<std::pair<std::shared_ptr<const App::Impl>, decltype(database)>>(
        node, std::move(database));
    return {both, both->second.get()};
  }
  [[nodiscard]] Result<std::shared_ptr<log::ObjectBucket>> bucket() const {
    const auto node = node_.lock();
    if (node) return node->bucket();
    return failure(ErrorCode::failed_precondition, "use the log", "", "the App is gone");
  }

 private:
  std::weak_ptr<const App::Impl> node_;
};

namespace {

std::unexpected<Error> no_database(const char* what) {
  return failure(ErrorCode::failed_precondition, what, "", "the App does not run, or has no database");
}

Snapshot to_snapshot(const log::Object& object) {
  return {.id = to_string(object.name.max),
          .txid = object.name.max,
          .created_at = object.created_at,
          .size_bytes = object.size};
}

}  // namespace

Result<Position> Wal::position() const {
  const auto database = impl_ ? impl_->database() : nullptr;
  if (!database) return no_database("tell position");
  return database->position().value_or(Position{});
}

Lag Wal::lag() const {
  const auto database = impl_ ? impl_->database() : nullptr;
  return database ? database->lag() : Lag{};
}

Status Wal::sync(const Context& context) const {
  const auto database = impl_ ? impl_->database() : nullptr;
  if (!database) return no_database("sync");
  return database->sync(context);
}

Result<Snapshot> Snapshots::create(const Context& context) const {
  const auto database = impl_ ? impl_->database() : nullptr;
  if (!database) return no_database("create snapshot");
  const auto object = database->snapshot(context);
  if (!object) return std::unexpected(object.error());
  return to_snapshot(*object);
}

Result<std::vector<Snapshot>> Snapshots::list(const Context& context) const {
  if (!impl_) return no_database("list snapshots");
  const auto bucket = impl_->bucket();
  if (!bucket) return std::unexpected(bucket.error());
  const auto view = log::read_log(context, **bucket);
  if (!view) return std::unexpected(view.error());
  std::vector<Snapshot> snapshots;
  const auto& level = view->level(log::snapshot_level);
  for (auto entry = level.rbegin(); entry != level.rend(); ++entry)
    snapshots.push_back(to_snapshot(entry->second));
  return snapshots;
}

Result<Snapshot> Snapshots::latest(const Context& context) const {
  const auto all = list(context);
  if (!all) return std::unexpected(all.error());
  if (all->empty()) return failure(ErrorCode::not_found, "find snapshot", "", "there is none yet");
  return all->front();
}

Status Snapshots::restore(const Context& context, std::string_view id,
                          const std::filesystem::path& destination) const {
  if (!impl_) return no_database("restore snapshot");
  const auto bucket = impl_->bucket();
  if (!bucket) return std::unexpected(bucket.error());
  const auto txid = parse_txid(id);
  if (!txid)
    return failure(ErrorCode::invalid_argument, "restore snapshot", std::string(id), "is no snapshot's id");
  const auto report = log::restore(
      context, **bucket,
      {.output = destination, .target = log::RestoreTarget::at(*txid), .on_progress = {}, .check = {}});
  if (!report) return std::unexpected(report.error());
  return {};
}

Result<App> App::create(AppOptions options) {
  if (auto checked = app::check_options(options); !checked) return std::unexpected(checked.error());
  return App(std::make_shared<Impl>(std::move(options)));
}

App::App(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
App::App(App&&) noexcept = default;
App& App::operator=(App&&) noexcept = default;
App::~App() = default;

void App::on_active(std::function<Status(Context&)> hook) {
  impl_->hooks.on_active = std::move(hook);
}
void App::on_passive(std::function<Status(Context&)> hook) {
  impl_->hooks.on_passive = std::move(hook);
}
void App::on_leader_change(std::function<Status(Context&, const std::string&)> hook) {
  impl_->hooks.on_leader_change = std::move(hook);
}
void App::on_start(std::function<Status(Context&)> hook) {
  impl_->hooks.on_start = std::move(hook);
}
void App::on_stop(std::function<Status(Context&)> hook) {
  impl_->hooks.on_stop = std::move(hook);
}
void App::on_own(std::function<Status(Context&, std::span<const Partition>)> hook) {
  impl_->hooks.on_own = std::move(hook);
}
void App::on_release(std::function<Status(Context&, std::span<const Partition>)> hook) {
  impl_->hooks.on_release = std::move(hook);
}
void App::on_member_join(std::function<Status(Context&, const Member&)> hook) {
  impl_->hooks.on_member_join = std::move(hook);
}
void App::on_member_leave(std::function<Status(Context&, const Member&)> hook) {
  impl_->hooks.on_member_leave = std::move(hook);
}
void App::on_health_change(std::function<Status(Context&, const Health&)> hook) {
  impl_->hooks.on_health_change = std::move(hook);
}
void App::add_health_check(std::string name, HealthProbe probe) {
  impl_->probes.insert_or_assign(std::move(name), std::move(probe));
}

Status App::run(const Context& context) {
  return impl_->run(context);
}
bool App::is_leader() const {
  return impl_->is_leader();
}
std::string App::leader() const {
  return impl_->leader();
}
Epoch App::epoch() const {
  return impl_->epoch();
}
Status App::step_down(const Context& context, std::string_view successor) {
  return impl_->step_down(context, successor);
}
std::vector<Member> App::members() const {
  return impl_->members();
}
Health App::health() const {
  return impl_->health();
}
NodeStatus App::status() const {
  return impl_->status();
}
Kv App::kv() const {
  const auto client = impl_->client();
  if (client) return (*client)->kv_on_first_use();
  return kv::make_kv(
      [error = client.error()](const Context&) -> Result<nats::KeyValue> { return std::unexpected(error); });
}
Lock App::lock(std::string_view name, const LockOptions& options) const {
  const auto client = impl_->client();
  return client ? (*client)->lock(name, options) : locks::make_broken_lock(client.error());
}
Ring App::ring() const {
  return Ring(impl_->ring());
}
Wal App::wal() const {
  return Wal(std::make_shared<Wal::Impl>(impl_));
}
Snapshots App::snapshots() const {
  return Snapshots(std::make_shared<Wal::Impl>(impl_));
}

}  // namespace litecluster
