#include "cli/log_session.hpp"

#include <fmt/format.h>

#include <array>

namespace litecluster::cli {

Result<log::OpenedBucket> open_log(const Context& context, const ConnectionOptions& options) {
  const auto settings = resolve(options);
  if (!settings) return std::unexpected(settings.error());
  if (settings->bucket.empty() && settings->cluster.empty()) {
    return failure(ErrorCode::invalid_argument, "open bucket", "", "give --cluster NAME or --bucket BUCKET");
  }
  const std::string bucket =
      settings->bucket.empty() ? log::default_bucket(settings->cluster) : settings->bucket;
  return log::open_bucket(context, settings->nats, bucket, false);
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace litecluster::cli
