#include "daemon/preflight.hpp"

#include <array>
#include <charconv>

#include <fmt/format.h>

namespace litecluster::daemon {

namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20U;
constexpr std::uint64_t chunk_bytes = 128 * 1024;
constexpr std::uint64_t headers_bytes = 4096;
constexpr std::uint64_t open_files_min = 1024;
constexpr std::chrono::seconds short_lease{3};

Finding passing(std::string name, std::string detail) {
  return {.name = std::move(name), .level = HealthLevel::passing, .detail = std::move(detail), .advice = {}};
}

Finding warning(std::string name, std::string detail, std::string advice) {
  return {.name = std::move(name),
          .level = HealthLevel::warning,
          .detail = std::move(detail),
          .advice = std::move(advice)};
}

Finding critical(std::string name, std::string detail, std::string advice) {
  return {.name = std::move(name),
          .level = HealthLevel::critical,
          .detail = std::move(detail),
          .advice = std::move(advice)};
}

}  // namespace

Version parse_version(std::string_view text) {
  std::array<int, 3> parts{};
  for (int& part : parts) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), part);
    if (error != std::errc{}) break;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (text.empty() || text.front() != '.') break;
    text.remove_prefix(1);
  }
  return {.major = parts[0], .minor = parts[1], .patch = parts[2]};
}

Finding judge_nats_version(std::string_view version) {
  const std::string name = "nats version";
  const std::string seen(version);
  if (parse_version(version) < Version{.major = 2, .minor = 9, .patch = 0}) {
    return critical(name, seen, "2.9 is the least that the log needs; 2.12.3 or newer is advised");
  }
  if (parse_version(version) < Version{.major = 2, .minor = 12, .patch = 3}) {
    return warning(
        name, seen,
        "works, but versions before 2.12.3 have known ways of losing acknowledged messages; use a newer "
        "one in production");
  }
  return passing(name, seen);
}

Finding judge_max_payload(std::uint64_t bytes) {
  const std::string seen = fmt::format("{} KiB", bytes / 1024);
  if (bytes < chunk_bytes + headers_bytes) {
    return critical("max_payload", seen,
                    "the log's chunks have 128 KiB; set max_payload to 1MB, the default");
  }
  return passing("max_payload", seen);
}

std::vector<Finding> judge_bucket(const std::string& what, const nats::StreamInfo& info, bool clustered) {
  std::vector<Finding> findings;
  const int copies = info.config.replicas;
  const std::string name = what + " replicas";
  if (!clustered) {
    findings.push_back(warning(name, fmt::format("{} on a single server", copies),
                               "the server is one point of failure: in production use a cluster of three"));
  } else if (copies < 3) {
    findings.push_back(warning(name, std::to_string(copies),
                               fmt::format("nats stream edit {} --replicas 3", info.config.name)));
  } else {
    findings.push_back(passing(name, std::to_string(copies)));
  }
  const bool limited =
      info.config.max_bytes > 0 || info.config.max_messages > 0 || info.config.max_age.count() > 0;
  if (limited && info.config.discard != "new") {
    findings.push_back(critical(what + " limit", "at its limit the server drops what is oldest",
                                fmt::format("nats stream edit {} --discard new", info.config.name)));
  } else if (info.config.max_age.count() > 0) {
    findings.push_back(critical(what + " limit", "messages vanish when they have reached an age",
                                "recreate the bucket without a TTL; retention is litecluster's"));
  } else if (info.config.max_bytes <= 0) {
    findings.push_back(
        warning(what + " limit", "none: it can fill the server's disk",
                fmt::format("nats stream edit {} --max-bytes SIZE --discard new", info.config.name)));
  } else {
    findings.push_back(passing(what + " limit",
                               fmt::format("{} of {} MiB are used; refused when full", info.bytes / mebibyte,
                                           static_cast<std::uint64_t>(info.config.max_bytes) / mebibyte)));
  }
  return findings;
}

Finding judge_sync(const std::optional<std::string>& interval) {
  if (!interval) {
    return passing(
        "sync_interval",
        "cannot be seen from this account; unless it is 'always', a power cut of all servers at once "
        "loses what was acknowledged in the last two minutes");
  }
  if (*interval == "always") return passing("sync_interval", *interval);
  return warning("sync_interval", *interval,
                 "a power cut of all servers at once loses what was acknowledged since: set jetstream { "
                 "sync_interval: always }");
}

Finding judge_sqlite_version(std::string_view version) {
  const Version seen = parse_version(version);
  const bool race = seen >= Version{.major = 3, .minor = 7, .patch = 0} &&
                    seen < Version{.major = 3, .minor = 51, .patch = 3};
  if (!race) return passing("sqlite version", std::string(version));
  return warning(
      "sqlite version", fmt::format("{} (of litecluster; look at the application's as well)", version),
      "3.7.0 to 3.51.2 have a rare race at a WAL reset that can damage a database; while litecluster is "
      "attached it cannot be entered, without it, it can: 3.51.3 or newer is best");
}

Finding judge_disk(std::uint64_t free_bytes, std::uint64_t total_bytes) {
  const std::string seen =
      fmt::format("{} of {} MiB are free", free_bytes / mebibyte, total_bytes / mebibyte);
  if (free_bytes < 64 * mebibyte) return critical("disk", seen, "make room before anything is started");
  if (free_bytes < total_bytes / 20) return warning("disk", seen, "less than 5 %: make room");
  return passing("disk", seen);
}

Finding judge_clock(bool synchronised) {
  if (synchronised) return passing("clock", "kept by a time service");
  return warning(
      "clock", "not kept by a time service",
      "leases do not need it, but restoring to a point in time does: run chrony or systemd-timesyncd");
}

Finding judge_open_files(std::uint64_t limit) {
  if (limit >= open_files_min) return passing("open files", std::to_string(limit));
  return warning("open files", std::to_string(limit), "ulimit -n 1024, or LimitNOFILE= in the unit");
}

Finding judge_unit(std::string_view unit, std::string_view restart) {
  if (restart.empty()) {
    return warning("backend", fmt::format("unit {}, which cannot be looked at", unit),
                   "systemctl has to be found in PATH and has to know the unit");
  }
  const std::string seen = fmt::format("unit {}, Restart={}", unit, restart);
  if (restart == "no") return passing("backend", seen);
  return warning("backend", seen, "Restart=no: only litecluster knows whether it may run here");
}

Finding judge_lease(std::chrono::milliseconds lease_ttl) {
  const std::string seen = fmt::format("{} ms", lease_ttl.count());
  if (lease_ttl >= short_lease) return passing("lease_ttl", seen);
  return warning(
      "lease_ttl", seen,
      "below 3 s the term ends whenever NATS or this host pauses for longer than that; only for hosts "
      "that are never starved");
}

}  // namespace litecluster::daemon
