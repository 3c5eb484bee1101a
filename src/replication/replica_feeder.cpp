#include "replication/replica_feeder.hpp"

#include <fcntl.h>

#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "base/file.hpp"
#include "base/logging.hpp"
#include "log/restore.hpp"
#include "ltx/decoder.hpp"
#include "ltx/format.hpp"
#include "ltx/verified_object.hpp"

namespace litecluster::replication {

namespace {

// Removes the file of a seed when the scope ends, however it ends.
class SeedFile {
 public:
  explicit SeedFile(std::filesystem::path path) : path_(std::move(path)) { remove(); }
  SeedFile(const SeedFile&) = delete;
  SeedFile& operator=(const SeedFile&) = delete;
  ~SeedFile() { remove(); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void remove() const {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  std::filesystem::path path_;
};

Status check_name(const log::Object& object, const ltx::Header& header) {
  if (header.min_txid == object.name.min && header.max_txid == object.name.max) return {};
  return failure(ErrorCode::corrupt, "verify", to_string(object.name),
                 "the file holds TXIDs " + to_string(header.min_txid) + " to " + to_string(header.max_txid));
}

}  // namespace

ReplicaFeeder::ReplicaFeeder(ReplicaFeederOptions options, db::Replica replica, log::ObjectBucket& bucket)
    : options_(std::move(options)), replica_(std::move(replica)), bucket_(bucket) {}

void ReplicaFeeder::unusable(const log::ObjectName& name) {
  if (options_.on_unusable) options_.on_unusable(name);
}

FollowWork ReplicaFeeder::plan(const log::LogView& view) const {
  const db::ReplicaState state = replica_.state();
  const Txid applied = state == db::ReplicaState::empty ? Txid(0) : replica_.position().txid;
  FollowWork work = plan_follow(view, applied, state != db::ReplicaState::quarantined);
  if (const auto* apply = std::get_if<ApplyObjects>(&work)) {
    for (const log::Object& object : apply->objects) {
      if (object.size > options_.object_bytes_max) {
        return Reseed{.objects = {}, .reason = "an object on the way is too large to be applied from memory"};
      }
    }
  }
  return work;
}

Result<Advance> ReplicaFeeder::advance(const Context& context, const log::LogView& view) {
  return carry_out(context, plan(view));
}

Result<Advance> ReplicaFeeder::carry_out(const Context& context, const FollowWork& work) {
  if (std::holds_alternative<UpToDate>(work)) return Advance::up_to_date;
  if (const auto* stuck = std::get_if<Stuck>(&work)) return std::unexpected(stuck->reason);
  if (const auto* again = std::get_if<Reseed>(&work)) {
    base::log_info("seeding the replica", {{"reason", again->reason}});
    if (auto seeded = seed(context, std::nullopt); !seeded) return std::unexpected(seeded.error());
    return Advance::progress;
  }
  if (auto applied = apply_objects(context, std::get<ApplyObjects>(work).objects); !applied) {
    return std::unexpected(applied.error());
  }
  return Advance::progress;
}

Status ReplicaFeeder::advance_to(const Context& context, const log::LogView& view, Txid txid) {
  while (replica_.state() != db::ReplicaState::ready || replica_.position().txid < txid) {
    if (auto alive = context.status("catch up"); !alive) return alive;
    FollowWork work = plan(view);
    if (auto* apply = std::get_if<ApplyObjects>(&work)) {
      std::erase_if(apply->objects, [&](const log::Object& object) { return object.name.max > txid; });
      if (!apply->objects.empty()) {
        if (auto applied = apply_objects(context, apply->objects); !applied) return applied;
        continue;
      }
    }
    if (const auto* stuck = std::get_if<Stuck>(&work)) return std::unexpected(stuck->reason);
    if (auto seeded = seed(context, txid); !seeded) return seeded;
  }
  if (replica_.position().txid == txid) return {};
  return failure(ErrorCode::failed_precondition, "catch up", "TXID " + to_string(txid),
                 "the replica is beyond it, at TXID " + to_string(replica_.position().txid));
}

Status ReplicaFeeder::apply_objects(const Context& context, const std::vector<log::Object>& objects) {
  return bucket_.get_many(
      context, objects, options_.in_flight_max, [&](std::size_t index, Result<base::Bytes> bytes) -> Status {
        const log::Object& object = objects[index];
        if (bytes) return apply(object, *bytes);
        if (bytes.error().code() == ErrorCode::not_found || bytes.error().code() == ErrorCode::corrupt) {
          unusable(object.name);
        }
        return std::unexpected(bytes.error());
      });
}

Status ReplicaFeeder::apply(const log::Object& object, base::ByteView bytes) {
  auto verified = ltx::VerifiedObject::verify(bytes, to_string(object.name));
  if (!verified) {
    unusable(object.name);
    return std::unexpected(verified.error());
  }
  const ltx::Header& header = verified->header();
  if (auto named = check_name(object, header); !named) {
    unusable(object.name);
    return named;
  }
  std::vector<db::ReplicaPage> pages;
  base::Bytes buffer(verified->info().page_count * header.page_size);
  pages.reserve(verified->info().page_count);
  while (true) {
    const auto page = verified->next_page();
    if (!page) return std::unexpected(page.error());
    if (!*page) break;
    const auto destination = std::span(buffer).subspan(pages.size() * header.page_size, header.page_size);
    std::ranges::copy((*page)->bytes, destination.begin());
    pages.push_back({(*page)->number, destination});
  }
  const auto applied =
      replica_.apply({.txid_first = header.min_txid,
                      .txid_last = header.max_txid,
                      .epoch = object.author ? std::optional(object.author->epoch) : std::nullopt,
                      .page_size = header.page_size,
                      .page_count = header.commit,
                      .pages = pages,
                      .checksum = object.checksum ? object.checksum : verified->info().trailer.post_apply});
  if (!applied && applied.error().code() == ErrorCode::already_exists) return {};
  if (!applied && applied.error().code() == ErrorCode::corrupt)
    return judge_mismatch(object, applied.error());
  if (!applied && applied.error().code() == ErrorCode::deposed) unusable(object.name);
  if (applied && options_.on_applied) options_.on_applied(replica_.position());
  return applied;
}

// The checksum after the object would be wrong: is it the object's fault or the replica's?
Status ReplicaFeeder::judge_mismatch(const log::Object& object, const Error& error) {
  if (replica_.state() != db::ReplicaState::quarantined || replica_.verify()) {
    unusable(object.name);
    base::log_error("an object in the log is bad and is passed over", {{"reason", error.message()}});
  } else {
    base::log_error("the replica's content is not what it should be", {{"reason", error.message()}});
  }
  return std::unexpected(error);
}

Status ReplicaFeeder::seed(const Context& context, const std::optional<Txid>& target) {
  const SeedFile file(options_.seed_path);
  const auto report =
      log::restore(context, bucket_,
                   {.output = file.path(),
                    .target = target ? log::RestoreTarget::at(*target) : log::RestoreTarget::latest(),
                    .overwrite = true,
                    .on_progress = {},
                    .check = {}});
  if (!report) return std::unexpected(report.error().within("seed the replica"));
  const auto descriptor = base::open_file(file.path(), O_RDONLY);
  if (!descriptor) return std::unexpected(descriptor.error());
  const auto read_page = [&](PageNo number, std::span<std::byte> page) -> Status {
    const std::uint64_t offset = std::uint64_t{number.value() - 1} * report->page_size;
    const auto count = base::read_at(descriptor->get(), page, offset, file.path());
    if (!count) return std::unexpected(count.error());
    if (*count == page.size()) return {};
    return failure(ErrorCode::io, "read", file.path().string(), "the file ends early");
  };
  // The epoch is that of the last object; what follows will not be below it.
  const auto info = bucket_.info(context, log::ObjectName::raw(report->txid));
  const Epoch epoch = info && info->author ? info->author->epoch : Epoch(0);
  const auto seeded = replica_.seed({.txid = report->txid,
                                     .epoch = epoch,
                                     .page_size = report->page_size,
                                     .page_count = report->page_count,
                                     .checksum = report->checksum},
                                    read_page);
  if (!seeded) return std::unexpected(seeded.error().within("seed the replica"));
  base::log_info("replica seeded", {{"txid", to_string(report->txid)}, {"bytes", report->bytes}});
  if (options_.on_applied) options_.on_applied(replica_.position());
  return {};
}

}  // namespace litecluster::replication
