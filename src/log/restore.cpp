#include "log/restore.hpp"

#include <fmt/format.h>

#include <system_error>
#include <utility>

#include "base/logging.hpp"
#include "log/object_stream.hpp"
#include "ltx/database_builder.hpp"

namespace litecluster::log {
namespace {

constexpr const char* operation = "restore";

class Restorer {
 public:
  Restorer(const Context& context, ObjectBucket& bucket, const RestoreOptions& options)
      : context_(context), bucket_(bucket), options_(options) {}

  Result<RestoreReport> run() {
    if (auto checked = check_output(); !checked) return std::unexpected(checked.error());
    while (true) {
      if (auto planned = plan(); !planned) return std::unexpected(planned.error());
      auto applied = apply_plan();
      if (applied) return finish();
      if (applied.error().code() != ErrorCode::not_found) return std::unexpected(applied.error());
      if (report_.replans++ == options_.replans_max) {
        return failure(
            ErrorCode::unavailable, operation, bucket_.name(),
            "objects keep vanishing while they are read; the last was " + applied.error().subject());
      }
      base::log_info("planning the restore again", {{"reason", applied.error().message()}});
    }
  }

 private:
  Status check_output() const {
    std::error_code error;
    const auto size = std::filesystem::file_size(options_.output, error);
    const bool in_the_way = !error && size > 0;
    if (in_the_way && !options_.overwrite) return refuse_to_replace("there is a file already");
    return {};
  }

  Status refuse_to_replace(const std::string& what) const {
    return failure(ErrorCode::already_exists, operation, options_.output.string(),
                   what + "; it is replaced only when asked for (--force)");
  }

  /// Plans from what the builder has so far when a chain leads on from there, else from the start.
  Status plan() {
    auto view = read_log(context_, bucket_);
    if (!view) return std::unexpected(view.error().within(operation, bucket_.name()));
    // Still listed, but not there: its bytes are lost, or the listing is old.
    for (const ObjectName& name : missing_) view->forget(name);
    for (const Object& bad : options_.without) {
      const Object* found = view->find_any(bad.name);
      if (found != nullptr && found->sequence == bad.sequence) view->forget(bad.name);
    }
    if (builder_ && builder_->txid()) {
      if (auto onward = plan_onward(*view, last_, options_.target)) {
        set_plan(std::move(*onward));
        return {};
      }
    }
    auto plan = options_.as_far_as_possible ? plan_reachable(*view) : plan_restore(*view, options_.target);
    if (!plan) return std::unexpected(plan.error().within(operation, bucket_.name()));
    // The old temporary file goes before the new one comes: there may be room for one only.
    builder_.reset();
    tracked_ = plan->checksum().has_value();
    const ltx::BuilderOptions builder_options{.track_checksum = tracked_};
    auto builder = ltx::DatabaseBuilder::create(options_.output, builder_options);
    if (!builder) return std::unexpected(builder.error());
    builder_.emplace(std::move(*builder));
    set_plan(std::move(*plan));
    return {};
  }

  void set_plan(RestorePlan plan) {
    plan_ = std::move(plan);
    bytes_before_ = progress_.bytes_done;
    progress_.objects_total = progress_.objects_done + plan_.objects.size();
    progress_.bytes_total = progress_.bytes_done + plan_.size();
    report_progress();
  }

  void report_progress() const {
    if (options_.on_progress) options_.on_progress(progress_);
  }

  Status apply_plan() {
    ObjectStream stream(context_, bucket_, plan_.objects, [this](std::uint64_t bytes_read) {
      progress_.bytes_done = bytes_before_ + bytes_read;
      report_progress();
    });
    while (ltx::Source* source = stream.next()) {
      const Object& object = stream.current();
      if (!object.defect.empty()) {
        return note_missing(object, Error(ErrorCode::corrupt, "use", to_string(object.name), object.defect));
      }
      // What is missing from the beginning does not harm what was built so far.
      auto begun = source->peek(1);
      if (!begun) return note_missing(object, begun.error());
      const auto info = builder_->apply(*source, context_);
      if (!info) {
        builder_.reset();
        return note_missing(object, info.error());
      }
      if (auto whole = stream.finish(); !whole) {
        builder_.reset();
        return note_missing(object, whole.error());
      }
      if (info->header.min_txid != object.name.min || info->header.max_txid != object.name.max) {
        return note_missing(
            object, Error(ErrorCode::corrupt, "verify", to_string(object.name),
                          fmt::format("the file inside holds TXIDs {} to {}",
                                      to_string(info->header.min_txid), to_string(info->header.max_txid))));
      }
      last_ = object;
      // Where it is kept up to date with every page it costs nothing, and tells which object is bad.
      if (tracked_) {
        if (auto checked = check_checksum(); !checked) return checked;
      }
      ++progress_.objects_done;
      report_progress();
    }
    return {};
  }

  Status note_missing(const Object& object, const Error& error) {
    if (error.code() == ErrorCode::not_found) missing_.push_back(object.name);
    if (error.code() == ErrorCode::corrupt && options_.on_bad) options_.on_bad(object, error);
    return std::unexpected(error.within(operation, to_string(object.name)));
  }

  /// The database after the last object, against what the log says of it.
  Status check_checksum() {
    if (!last_.checksum) return {};
    const auto checksum = builder_->checksum(context_);
    if (!checksum) return std::unexpected(checksum.error());
    if (*checksum == *last_.checksum) return {};
    builder_.reset();
    return note_missing(last_, Error(ErrorCode::corrupt, "verify", to_string(last_.name),
                                     fmt::format("the database's checksum is {}, the log says {}",
                                                 to_string(*checksum), to_string(*last_.checksum))));
  }

  Result<RestoreReport> finish() {
    if (!tracked_) {
      if (auto checked = check_checksum(); !checked) return std::unexpected(checked.error());
    }
    if (options_.check) {
      if (auto checked = options_.check(builder_->temporary_path()); !checked) {
        return std::unexpected(checked.error());
      }
    }
    report_.txid = last_.name.max;
    report_.created_at = last_.created_at;
    report_.checksum = last_.checksum;
    if (last_.name.level == raw_level) report_.file = last_.file_checksum;
    report_.page_size = builder_->page_size();
    report_.page_count = builder_->page_count();
    report_.objects = progress_.objects_done;
    report_.bytes = progress_.bytes_done;
    if (auto committed = commit(); !committed) return std::unexpected(committed.error());
    return report_;
  }

  /// What the first look found may be long ago.
  Status commit() {
    auto committed = builder_->commit(options_.overwrite ? ltx::Existing::replace : ltx::Existing::keep);
    if (committed || committed.error().code() != ErrorCode::already_exists) return committed;
    return refuse_to_replace("a file has appeared there meanwhile");
  }

  const Context& context_;
  ObjectBucket& bucket_;
  const RestoreOptions& options_;
  std::optional<ltx::DatabaseBuilder> builder_;
  RestorePlan plan_;
  std::vector<ObjectName> missing_;
  bool tracked_ = false;
  Object last_;
  RestoreProgress progress_;
  std::uint64_t bytes_before_ = 0;
  RestoreReport report_;
};

}  // namespace

Result<LogView> read_log(const Context& context, ObjectBucket& bucket) {
  auto listing = bucket.list(context, LogView::default_objects_max);
  if (!listing) return std::unexpected(listing.error().within("read the log", bucket.name()));
  LogView view;
  if (auto indexed = view.replace(std::move(*listing)); !indexed) return std::unexpected(indexed.error());
  return view;
}

Result<RestoreReport> restore(const Context& context, ObjectBucket& bucket, const RestoreOptions& options) {
  return Restorer(context, bucket, options).run();
}

}  // namespace litecluster::log
