#include "replication/promotion.hpp"

#include <optional>
#include <system_error>
#include <utility>

#include "base/clock.hpp"
#include "base/fault_point.hpp"
#include "base/logging.hpp"
#include "log/fence.hpp"
#include "log/log_watcher.hpp"
#include "log/restore.hpp"
#include "ltx/format.hpp"

namespace litecluster::replication {

Result<log::Object> fence_with_replica(const Context& context, log::ObjectBucket& bucket,
                                       log::Appender& appender, ReplicaFeeder& feeder,
                                       std::optional<log::LogView> view) {
  std::optional<log::NewFile> file;
  const auto advance_to = [&](const Context& inner, const log::LogView& log, Txid txid) {
    return feeder.advance_to(inner, log, txid);
  };
  const auto make_file = [&](const Context&, Txid txid) -> Result<log::NewFile> {
    const auto page = feeder.replica().read_page(PageNo(1));
    if (!page) return std::unexpected(page.error());
    auto bytes = log::make_fence_file(txid, feeder.replica().page_count(), *page,
                                      base::system_clock().wall_time(), ltx::PageEncoding::block);
    if (!bytes) return std::unexpected(bytes.error());
    const Checksum checksum = feeder.replica().position().checksum;
    file = log::NewFile{.payload = std::move(*bytes), .pre_apply = checksum, .checksum = checksum};
    return *file;
  };
  LITECLUSTER_FAULT_POINT("promote.fence");
  auto fence = log::fence_log(context, bucket, appender, {.apply = advance_to, .make_file = make_file},
                              std::move(view));
  if (!fence) return fence;
  LITECLUSTER_FAULT_POINT("promote.fenced");
  base::log_info("the log is fenced",
                 {{"epoch", appender.author().epoch.value()}, {"txid", to_string(fence->name.max)}});
  if (feeder.replica().position().txid >= fence->name.max) return fence;
  // When the fence stood already, by an attempt of ours before, the file was not made again.
  if (file) {
    if (auto applied = feeder.apply(*fence, file->payload.memory()); !applied)
      return std::unexpected(applied.error());
    return fence;
  }
  const auto log = log::read_log(context, bucket);
  if (!log) return std::unexpected(log.error());
  if (auto applied = feeder.advance_to(context, *log, fence->name.max); !applied) {
    return std::unexpected(applied.error());
  }
  return fence;
}

Result<Promotion> promote(const Context& context, std::unique_ptr<Follower> follower,
                          log::ObjectBucket& bucket, PromotionOptions options) {
  if (auto caught_up = follower->catch_up(context); !caught_up) return std::unexpected(caught_up.error());
  const auto feeder = follower->stop();
  follower.reset();
  log::LogWatcher watcher(bucket, [] {});
  if (auto complete = watcher.wait_complete(context); !complete) return std::unexpected(complete.error());
  if (options.author.epoch == Epoch(0)) {
    options.author.epoch =
        watcher.with_view([](const log::LogView& view) { return view.highest_epoch().next(); });
  }
  log::Appender appender(bucket, options.author, watcher.read_end());
  auto fence = fence_with_replica(context, bucket, appender, *feeder, watcher.view());
  if (!fence) return std::unexpected(fence.error().within("promote"));
  const auto position_path = feeder->replica().position_path();
  LITECLUSTER_FAULT_POINT("promote.seal");
  auto database = feeder->replica().hand_over(options.full_check, options.reader_patience);
  if (!database) return std::unexpected(database.error().within("promote"));
  LITECLUSTER_FAULT_POINT("promote.handed_over");
  std::error_code ignored;
  std::filesystem::remove(position_path, ignored);
  return Promotion{.fence = std::move(*fence), .database = std::move(*database)};
}

}  // namespace litecluster::replication
