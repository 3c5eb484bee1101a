#include "log/maintenance.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.hpp"
#include "log/object_stream.hpp"
#include "log/payload.hpp"
#include "ltx/compactor.hpp"
#include "ltx/stream.hpp"

namespace litecluster::log {
namespace {

/// That our disk is full must not look like a bucket that is full.
std::unexpected<Error> of_the_disk(const Error& error) {
  const bool full = error.code() == ErrorCode::resource_exhausted;
  return failure(full ? ErrorCode::io : error.code(), error.operation(), error.subject(), error.reason());
}

/// One input of a merge, in memory or in a file without a name.
class SpooledInput final : public ltx::BufferedSource {
 public:
  explicit SpooledInput(const ObjectName& name) : name_(to_string(name)) {}
  SpooledInput(const ObjectName& name, base::FileDescriptor file)
      : name_(to_string(name)), file_(std::move(file)) {}

  Status fill(ltx::Source& source) {
    while (true) {
      const auto window = source.peek(window_bytes);
      if (!window) return std::unexpected(window.error());
      if (window->empty()) return {};
      if (auto kept = keep(*window); !kept) return kept;
      source.skip(window->size());
    }
  }

  std::string_view name() const override { return name_; }

 protected:
  Result<std::size_t> read(std::span<std::byte> destination) override {
    std::size_t count = 0;
    if (file_) {
      const auto got = base::read_at(file_.get(), destination, read_, name_);
      if (!got) return got;
      count = *got;
    } else {
      count = std::min<std::uint64_t>(destination.size(), memory_.size() - read_);
      std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(read_), count, destination.begin());
    }
    read_ += count;
    return count;
  }

 private:
  static constexpr std::size_t window_bytes = std::size_t{64} << 10U;

  Status keep(base::ByteView bytes) {
    if (!file_) {
      base::append_bytes(memory_, bytes);
      return {};
    }
    auto written = base::write_at(file_.get(), bytes, written_, name_);
    if (!written) return of_the_disk(written.error());
    written_ += bytes.size();
    return {};
  }

  std::string name_;
  base::FileDescriptor file_;
  base::Bytes memory_;
  std::uint64_t written_ = 0;
  std::uint64_t read_ = 0;
};

using Inputs = std::vector<std::unique_ptr<SpooledInput>>;

Result<Inputs> fetch_inputs(const Context& context, ObjectBucket& bucket, const CompactionJob& job,
                            const MaintenanceOptions& options) {
  Inputs inputs;
  std::uint64_t in_memory = 0;
  ObjectStream stream(context, bucket, job.inputs);
  while (ltx::Source* source = stream.next()) {
    const Object& object = stream.current();
    if (in_memory + object.size <= options.input_memory_max) {
      in_memory += object.size;
      inputs.push_back(std::make_unique<SpooledInput>(object.name));
    } else {
      auto file = open_spool_file(options.spool_directory);
      if (!file) return of_the_disk(file.error());
      inputs.push_back(std::make_unique<SpooledInput>(object.name, std::move(*file)));
    }
    auto filled = inputs.back()->fill(*source);
    if (filled) filled = stream.finish();
    if (!filled) return std::unexpected(filled.error().within("fetch input", to_string(object.name)));
  }
  return inputs;
}

/// An input was not there, although the view holds it: a removal that the watch missed. Without this the same
/// job would come again and again.
Status forget_missing(const Context& context, ObjectBucket& bucket, LogWatcher& watcher,
                      const CompactionJob& job) {
  for (const Object& input : job.inputs) {
    const auto found = bucket.newest_info(context, input.name);
    if (found) continue;
    if (found.error().code() != ErrorCode::not_found) return std::unexpected(found.error());
    watcher.forget(input.name);
  }
  return {};
}

/// The merged file has to be what its name will say.
Status check_output(const ObjectName& name, const ltx::Header& header) {
  if (header.min_txid == name.min && header.max_txid == name.max) return {};
  return failure(ErrorCode::corrupt, "compact", to_string(name),
                 fmt::format("the files inside hold TXIDs {} to {}", to_string(header.min_txid),
                             to_string(header.max_txid)));
}

/// Whether the next object may fare better.
bool concerns_one(const Error& error) {
  return error.code() == ErrorCode::internal || error.code() == ErrorCode::corrupt ||
         error.code() == ErrorCode::not_found;
}

/// A merge that failed is in the report; errors are those of run_maintenance().
Status compact_all(const Context& context, Maintenance& maintenance, LogWatcher& watcher,
                   const CompactionSchedule& schedule, base::WallTime now, MaintenanceReport& report) {
  while (true) {
    if (auto status = context.status("maintain the log"); !status) return status;
    Status leads;
    const auto job = watcher.with_view([&](const LogView& view) {
      leads = maintenance.check_leadership(view);
      return schedule.next(view, now);
    });
    if (!leads) return leads;
    if (!job) return {};
    const auto object = maintenance.compact(context, *job);
    if (!object) {
      auto error = object.error();
      if (error.code() == ErrorCode::not_found) {
        auto forgotten = forget_missing(context, maintenance.bucket(), watcher, *job);
        if (!forgotten) error = forgotten.error();
      }
      report.failed_compaction = FailedCompaction{*job, std::move(error)};
      return context.status("maintain the log");
    }
    watcher.add(*object);
    ++report.compactions;
  }
}

/// A compacted object among the inputs may be the one that cannot be read. Then the raw objects, as far as
/// they are still there, are all that holds what it repeats.
void keep_raw_inputs(const FailedCompaction& failed, std::vector<Object>& removals) {
  if (!failed.is_unreadable() || failed.job.inputs.front().name.level == raw_level) return;
  const ObjectName range = failed.job.output();
  std::erase_if(removals, [&range](const Object& object) {
    return object.name.level == raw_level && object.name.max >= range.min && object.name.min <= range.max;
  });
}

Status retain(const Context& context, Maintenance& maintenance, LogWatcher& watcher,
              const RetentionPolicy& policy, const RetentionTimes& times, Revision settled,
              MaintenanceReport& report) {
  auto removals = plan_retention(watcher.view(), policy, times, settled);
  if (!removals) return std::unexpected(removals.error());
  if (report.failed_compaction) keep_raw_inputs(*report.failed_compaction, *removals);
  auto removed = maintenance.remove(context, *removals,
                                    [&watcher](const Object& object) { watcher.forget(object.name); });
  if (removed) report.removals = removals->size();
  return removed;
}

}  // namespace

Maintenance::Maintenance(ObjectBucket& bucket, Author author, MaintenanceOptions options)
    : bucket_(bucket), author_(std::move(author)), options_(std::move(options)) {}

Status Maintenance::check_leadership(const LogView& view) const {
  if (view.highest_epoch() <= author_.epoch) return {};
  return failure(
      ErrorCode::deposed, "maintain the log", bucket_.name(),
      fmt::format("epoch {} owns it, ours is {}", view.highest_epoch().value(), author_.epoch.value()));
}

Result<Object> Maintenance::put_once(const Context& context, const NewObject& object,
                                     const ByteProducer& producer) {
  auto stored = put_produced(context, bucket_, object, producer);
  if (stored || stored.error().code() != ErrorCode::already_exists) return stored;
  auto found = bucket_.newest_info(context, object.name);
  if (found || found.error().code() != ErrorCode::not_found) return found;
  return failure(ErrorCode::already_exists, "put object", to_string(object.name),
                 "its name is taken, but nothing is to be found under it: a tombstone of another program, "
                 "which goes with the orphans");
}

Result<Object> Maintenance::compact(const Context& context, const CompactionJob& job) {
  const ObjectName name = job.output();
  auto inputs = fetch_inputs(context, bucket_, job, options_);
  if (!inputs) return std::unexpected(inputs.error().within("compact", to_string(name)));
  std::vector<ltx::Source*> sources;
  for (const auto& input : *inputs) sources.push_back(input.get());
  const Object& first = job.inputs.front();
  const Object& last = job.inputs.back();
  auto stored = put_once(context,
                         {.name = name,
                          .created_at = last.created_at,
                          .author = author_,
                          .checksum = last.checksum,
                          .pre_apply = first.pre_apply,
                          .previous_file = first.previous_file},
                         [&](ltx::Sink& sink) -> Status {
                           const ltx::CompactionOptions options{.encoding = options_.encoding};
                           const auto info = ltx::compact(sources, sink, options, context);
                           if (!info) return std::unexpected(info.error());
                           return check_output(name, info->header);
                         });
  if (!stored) return std::unexpected(stored.error().within("compact", to_string(name)));
  return stored;
}

Result<Object> Maintenance::put_snapshot(const Context& context, Txid txid, base::WallTime created_at,
                                         std::optional<Checksum> checksum, const ByteProducer& producer) {
  const ObjectName name = ObjectName::snapshot(txid);
  auto stored = put_once(
      context, {.name = name, .created_at = created_at, .author = author_, .checksum = checksum}, producer);
  if (!stored) return std::unexpected(stored.error().within("write snapshot", to_string(name)));
  return stored;
}

Status Maintenance::remove(const Context& context, std::span<const Object> objects,
                           const std::function<void(const Object&)>& on_removed) {
  std::atomic<std::size_t> next{0};
  base::Mutex mutex;
  Status status;
  const auto work = [&] {
    for (std::size_t index = next++; index < objects.size(); index = next++) {
      auto removed = bucket_.remove(context, objects[index]);
      if (removed) {
        if (on_removed) on_removed(objects[index]);
        continue;
      }
      const base::MutexLock lock(mutex);
      if (status) status = std::unexpected(removed.error().within("remove", to_string(objects[index].name)));
      if (!concerns_one(removed.error())) next = objects.size();
    }
  };
  {
    std::vector<std::jthread> workers;
    const std::size_t count = std::min(options_.removals_in_flight, objects.size());
    for (std::size_t worker = 1; worker < count; ++worker) workers.emplace_back(work);
    work();
  }
  return status;
}

bool FailedCompaction::is_unreadable() const {
  // All but the first: files that are whole, and do not follow each other.
  return error.code() == ErrorCode::corrupt || error.code() == ErrorCode::gap ||
         error.code() == ErrorCode::invalid_argument;
}

Status MaintenanceReport::status() const {
  if (failed_compaction) return std::unexpected(failed_compaction->error);
  return retention;
}

Result<MaintenanceReport> run_maintenance(const Context& context, Maintenance& maintenance,
                                          LogWatcher& watcher, const CompactionSchedule& schedule,
                                          const RetentionPolicy& policy, const RetentionTimes& times,
                                          Revision settled) {
  MaintenanceReport report;
  auto compacted = compact_all(context, maintenance, watcher, schedule, times.now, report);
  if (!compacted) return std::unexpected(compacted.error());
  report.retention = retain(context, maintenance, watcher, policy, times, settled, report);
  if (auto status = context.status("maintain the log"); !status) return std::unexpected(status.error());
  return report;
}

}  // namespace litecluster::log
