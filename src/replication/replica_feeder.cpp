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

// The file against its name and its metadata.
Status check_identity(const log::Object& object, const ltx::FileInfo& info) {
  const auto refuse = [&](std::string reason) {
    return failure(ErrorCode::corrupt, "verify", to_string(object.name), std::move(reason));
  };
  const ltx::Header& header = info.header;
  if (header.min_txid != object.name.min || header.max_txid != object.name.max) {
    return refuse("the file holds TXIDs " + to_string(header.min_txid) + " to " + to_string(header.max_txid));
  }
  const auto post_apply = info.trailer.post_apply;
  if (object.checksum && post_apply && *object.checksum != *post_apply) {
    return refuse("its metadata says checksum " + to_string(*object.checksum) + ", the file says " +
                  to_string(*post_apply));
  }
  return {};
}

AppliedState state_of(const db::Replica& replica) {
  return {replica.position().checksum, replica.position().file};
}

}  // namespace

ReplicaFeeder::ReplicaFeeder(ReplicaFeederOptions options, db::Replica replica, log::ObjectBucket& bucket)
    : options_(std::move(options)), replica_(std::move(replica)), bucket_(bucket) {}

std::unexpected<Error> ReplicaFeeder::unusable(const log::Object& object, const Error& error, bool for_good) {
  if (options_.on_unusable) options_.on_unusable({object, error, for_good});
  return std::unexpected(error);
}

FollowWork ReplicaFeeder::plan(const log::LogView& view) const {
  const db::ReplicaState state = replica_.state();
  const Txid applied = state == db::ReplicaState::empty ? Txid(0) : replica_.position().txid;
  const auto known = replica_.position_is_doubtful() ? std::nullopt : std::optional(state_of(replica_));
  FollowWork work = plan_follow(view, applied, state != db::ReplicaState::quarantined, known);
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
  replica_.note_log_end(view.end().txid);
  return carry_out(context, plan(view));
}

// Once in a quarantine: reading everything again and again would not make it better.
bool ReplicaFeeder::recovered_by_itself() {
  const bool quarantined = replica_.state() == db::ReplicaState::quarantined;
  if (!quarantined) content_checked_ = false;
  if (!quarantined || content_checked_ || replica_.position().txid.is_zero()) return false;
  content_checked_ = true;
  if (!replica_.verify()) return false;
  base::log_info("the replica's content is what it should be; it goes on",
                 {{"txid", to_string(replica_.position().txid)}});
  return true;
}

Result<Advance> ReplicaFeeder::carry_out(const Context& context, const FollowWork& work) {
  if (recovered_by_itself()) return Advance::progress;
  if (std::holds_alternative<UpToDate>(work)) {
    if (!replica_.position_is_doubtful()) return Advance::up_to_date;
    // The log has lost what would replace the pages in question.
    replica_.distrust("the log ends before the last position that it could be at");
    return Advance::progress;
  }
  if (const auto* stuck = std::get_if<Stuck>(&work)) return std::unexpected(stuck->reason);
  if (const auto* again = std::get_if<Reseed>(&work)) {
    base::log_info("seeding the replica", {{"reason", again->reason}});
    if (auto seeded = seed(context, std::nullopt); !seeded) return std::unexpected(seeded.error());
    return Advance::progress;
  }
  auto applied = apply_objects(context, std::get<ApplyObjects>(work).objects);
  if (!applied && applied.error().code() == ErrorCode::too_large) {
    base::log_info("seeding the replica", {{"reason", applied.error().message()}});
    applied = seed(context, std::nullopt);
  }
  if (!applied) return std::unexpected(applied.error());
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
  if (replica_.position().txid == txid) {
    return check_same_state(view, txid, state_of(replica_));
  }
  return failure(ErrorCode::failed_precondition, "catch up", "TXID " + to_string(txid),
                 "the replica is beyond it, at TXID " + to_string(replica_.position().txid));
}

Status ReplicaFeeder::apply_objects(const Context& context, const std::vector<log::Object>& objects) {
  return bucket_.get_many(
      context, objects, options_.in_flight_max, [&](std::size_t index, Result<base::Bytes> bytes) -> Status {
        const log::Object& object = objects[index];
        base::log_debug("object fetched", {{"object", to_string(object.name)}, {"bytes", object.size}});
        if (bytes) return apply(object, *bytes);
        if (bytes.error().code() == ErrorCode::not_found || bytes.error().code() == ErrorCode::corrupt) {
          return unusable(object, bytes.error(), false);
        }
        return std::unexpected(bytes.error());
      });
}

Status ReplicaFeeder::apply(const log::Object& object, base::ByteView bytes) {
  if (!object.defect.empty()) {
    return unusable(object, Error(ErrorCode::corrupt, "use", to_string(object.name), object.defect), true);
  }
  auto verified = ltx::VerifiedObject::verify(bytes, to_string(object.name));
  if (!verified) return unusable(object, verified.error(), true);
  const ltx::Header& header = verified->header();
  if (auto same = check_identity(object, verified->info()); !same) {
    return unusable(object, same.error(), true);
  }
  const bool continues = header.min_txid == replica_.position().txid.next();
  if (header.pre_apply && continues && *header.pre_apply != replica_.position().checksum) {
    const Error error(ErrorCode::corrupt, "apply", to_string(object.name),
                      "it continues a database with checksum " + to_string(*header.pre_apply) +
                          ", the replica has " + to_string(replica_.position().checksum));
    return judge_mismatch(object, error, true);
  }
  if (auto same = check_made_on(object, replica_.position().txid, state_of(replica_)); !same) {
    if (!replica_.position_is_doubtful()) return same;
    return judge_mismatch(object, same.error(), true);
  }
  if (std::uint64_t{verified->info().page_count} * header.page_size > options_.object_bytes_max) {
    return failure(ErrorCode::too_large, "apply", to_string(object.name),
                   "its pages are too many to be applied from memory");
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
                      .file = object.name.level == log::raw_level ? object.file_checksum : std::nullopt,
                      .page_size = header.page_size,
                      .page_count = header.commit,
                      .pages = pages,
                      .checksum = object.checksum ? object.checksum : verified->info().trailer.post_apply});
  if (!applied && applied.error().code() == ErrorCode::already_exists) return {};
  if (!applied && applied.error().code() == ErrorCode::corrupt) {
    const bool in_doubt = replica_.state() == db::ReplicaState::quarantined;
    return judge_mismatch(object, applied.error().within("apply", to_string(object.name)), in_doubt);
  }
  if (!applied && applied.error().code() == ErrorCode::deposed) {
    return unusable(object, applied.error().within("apply", to_string(object.name)), true);
  }
  if (applied && options_.on_applied) options_.on_applied(replica_.position());
  return applied;
}

// The object does not fit. When a checksum says so it may be the object's fault or the replica's.
Status ReplicaFeeder::judge_mismatch(const log::Object& object, const Error& error, bool in_doubt) {
  if (replica_.position_is_doubtful()) {
    replica_.distrust("what follows its supposed position does not fit: " + error.message());
    return std::unexpected(error);
  }
  if (!in_doubt || replica_.verify()) return unusable(object, error, true);
  content_checked_ = true;
  base::log_error("the replica's content is not what it should be", {{"reason", error.message()}});
  return std::unexpected(error);
}

Result<bool> ReplicaFeeder::scrub() {
  constexpr std::uint32_t pages_at_once = 1024;
  if (replica_.state() != db::ReplicaState::ready) return false;
  return replica_.scrub(pages_at_once);
}

Result<bool> ReplicaFeeder::scrub_again() {
  constexpr std::uint32_t pages_at_once = 128;
  if (replica_.state() != db::ReplicaState::ready) return false;
  return replica_.scrub_again(pages_at_once);
}

Status ReplicaFeeder::seed(const Context& context, const std::optional<Txid>& target) {
  const SeedFile file(options_.seed_path);
  const auto report =
      log::restore(context, bucket_,
                   {.output = file.path(),
                    .target = target ? log::RestoreTarget::at(*target) : log::RestoreTarget::latest(),
                    .overwrite = true,
                    .on_progress = {},
                    .check = {},
                    .without = options_.passed_over ? options_.passed_over() : std::vector<log::Object>(),
                    .as_far_as_possible = !target,
                    .on_bad = [this](const log::Object& object, const Error& error) {
                      static_cast<void>(unusable(object, error, false));
                    }});
  if (!report) return std::unexpected(report.error().within("seed the replica"));
  // A server that lags behind its peers lists less than there is. Readers have seen more.
  const bool all_used = !options_.passed_over || options_.passed_over().empty();
  if (!target && all_used && report->txid < replica_.position().txid) {
    return failure(ErrorCode::unavailable, "seed the replica", "TXID " + to_string(report->txid),
                   "the servers list no more, and the replica was at TXID " +
                       to_string(replica_.position().txid) + " already");
  }
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
                                     .file = report->file,
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
