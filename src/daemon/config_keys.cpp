// The table of keys: the only place that knows which settings exist.
#include <limits>
#include <utility>

#include "daemon/config.hpp"
#include "daemon/scalar.hpp"

namespace litecluster::daemon {

namespace {

using Values = std::vector<std::string>;
using Setter = std::function<Status(Config&, const Values&)>;

std::unexpected<Error> bad(const std::string& value, const std::string& accepted) {
  return failure(ErrorCode::invalid_argument, "", "", "'" + value + "' is not " + accepted);
}

// The setters below take an accessor that returns a reference to the field in a Config.

template <typename Field>
Setter text(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    field(config) = values.front();
    return {};
  };
}

template <typename Field>
Setter texts(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    field(config) = values;
    return {};
  };
}

template <typename Field>
Setter pairs(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    for (const std::string& value : values) {
      const std::size_t equals = value.find('=');
      if (equals == 0 || equals == std::string::npos) return bad(value, "of the form name=value");
      field(config)[value.substr(0, equals)] = value.substr(equals + 1);
    }
    return {};
  };
}

template <typename Field>
Setter duration(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    const auto parsed = parse_duration(values.front());
    if (!parsed) return bad(values.front(), "a duration such as 250ms, 10s, 5m, 1h or 7d");
    field(config) = *parsed;
    return {};
  };
}

template <typename Field>
Setter size(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    const auto parsed = parse_size(values.front());
    if (!parsed) return bad(values.front(), "a size such as 4096, 64KiB, 10MiB or 2GiB");
    field(config) = *parsed;
    return {};
  };
}

template <typename Number, typename Field>
Setter number(Field field, std::uint64_t max) {
  return [field, max](Config& config, const Values& values) -> Status {
    const auto parsed = parse_number(values.front(), max);
    if (!parsed) return bad(values.front(), "a whole number from 0 to " + std::to_string(max));
    field(config) = static_cast<Number>(*parsed);
    return {};
  };
}

template <typename Field>
Setter on_off(Field field) {
  return [field](Config& config, const Values& values) -> Status {
    const auto parsed = parse_switch(values.front());
    if (!parsed) return bad(values.front(), "true or false");
    field(config) = *parsed;
    return {};
  };
}

template <typename Value, typename Field>
Setter choice(Field field, std::vector<std::pair<std::string, Value>> choices) {
  return [field, choices = std::move(choices)](Config& config, const Values& values) -> Status {
    std::string names;
    for (const auto& [name, value] : choices) {
      if (values.front() == name) {
        field(config) = value;
        return {};
      }
      names += (names.empty() ? "" : ", ") + name;
    }
    return bad(values.front(), "one of " + names);
  };
}

AppOptions& app(Config& config) {
  return config.app;
}
NatsOptions& nats(Config& config) {
  return config.app.nats;
}
TlsOptions& tls(Config& config) {
  return config.app.nats.tls;
}

// A section that is optional comes to life with the first of its keys.
template <typename Section>
Section& present(std::optional<Section>& section) {
  return section ? *section : section.emplace();
}
Sqlite& sqlite(Config& config) {
  return present(config.app.sqlite);
}
Backend& backend(Config& config) {
  return present(config.app.backend);
}
Vip& vip(Config& config) {
  return present(config.app.vip);
}

Status set_compaction_levels(Config& config, const Values& values) {
  std::vector<CompactionLevel> levels;
  for (const std::string& value : values) {
    const std::size_t equals = value.find('=');
    const auto level = parse_number(std::string_view(value).substr(0, equals), 8);
    const auto interval = equals == std::string::npos
                              ? std::nullopt
                              : parse_duration(std::string_view(value).substr(equals + 1));
    // Level 0 is the raw log: naming it is allowed and says nothing.
    if (level && *level == 0) continue;
    if (!level || !interval || interval->count() == 0)
      return bad(value, "a level from 1 to 8 with an interval");
    levels.push_back({.level = static_cast<int>(*level), .interval = *interval});
  }
  sqlite(config).compaction_levels = std::move(levels);
  return {};
}

// Shorthand for an accessor: FIELD(sqlite, path) is [](Config& c) -> auto& { return sqlite(c).path; }.
// A member's name cannot stand in parentheses. NOLINTNEXTLINE(bugprone-macro-parentheses)
#define LITECLUSTER_FIELD(section, member) [](Config& config) -> auto& { return section(config).member; }

void add_node_keys(std::vector<ConfigKey>& keys) {
  keys.push_back({"cluster", "name shared by all nodes that serve one application", false,
                  text(LITECLUSTER_FIELD(app, cluster))});
  keys.push_back(
      {"node", "name of this node, unique in the cluster", false, text(LITECLUSTER_FIELD(app, node))});
  keys.push_back(
      {"mode", "active_passive, pool or ring", false,
       choice<Mode>(LITECLUSTER_FIELD(app, mode),
                    {{"active_passive", Mode::active_passive}, {"pool", Mode::pool}, {"ring", Mode::ring}})});
  keys.push_back({"lease_ttl", "how long a silent leader is waited for, at least 1s", false,
                  duration(LITECLUSTER_FIELD(app, lease_ttl))});
  keys.push_back({"heartbeat", "how often the lease is renewed, at most a third of lease_ttl", false,
                  duration(LITECLUSTER_FIELD(app, heartbeat))});
  keys.push_back({"cooldown", "how long a node that stepped down stays out; default lease_ttl", false,
                  duration(LITECLUSTER_FIELD(app, cooldown))});
  keys.push_back(
      {"hook_timeout", "longest time for one hook", false, duration(LITECLUSTER_FIELD(app, hook_timeout))});
  keys.push_back(
      {"labels", "name=value pairs shown to the other members", true, pairs(LITECLUSTER_FIELD(app, labels))});
  keys.push_back({"addresses", "where this node's service can be reached", true,
                  texts(LITECLUSTER_FIELD(app, addresses))});
  keys.push_back({"data_directory", "state of this node; default: the database's directory", false,
                  [](Config& config, const Values& values) -> Status {
                    config.data_directory = values.front();
                    return {};
                  }});
  keys.push_back({"socket", "control socket; default: <data_directory>/litecluster-<node>.sock", false,
                  [](Config& config, const Values& values) -> Status {
                    config.socket = values.front();
                    return {};
                  }});
  keys.push_back({"http_listen", "address:port of /health, /ready and /metrics; default: off", false,
                  [](Config& config, const Values& values) -> Status {
                    config.http_listen = values.front();
                    return {};
                  }});
}

void add_nats_keys(std::vector<ConfigKey>& keys) {
  keys.push_back({"nats.urls", "servers; without one `run` starts a private server on loopback", true,
                  texts(LITECLUSTER_FIELD(nats, urls))});
  keys.push_back(
      {"nats.credentials_file", ".creds file", false, text(LITECLUSTER_FIELD(nats, credentials_file))});
  keys.push_back({"nats.user", "user name", false, text(LITECLUSTER_FIELD(nats, user))});
  keys.push_back({"nats.password", "password", false, text(LITECLUSTER_FIELD(nats, password))});
  keys.push_back({"nats.token", "token", false, text(LITECLUSTER_FIELD(nats, token))});
  keys.push_back({"nats.nkey", "public nkey of the user", false, text(LITECLUSTER_FIELD(nats, nkey))});
  keys.push_back({"nats.nkey_seed_file", "file with the nkey's seed", false,
                  text(LITECLUSTER_FIELD(nats, nkey_seed_file))});
  keys.push_back({"nats.domain", "JetStream domain", false, text(LITECLUSTER_FIELD(nats, domain))});
  keys.push_back({"nats.replicas", "copies of each bucket; default 1, or 3 on a cluster of three or more",
                  false, number<int>(LITECLUSTER_FIELD(nats, replicas), 5)});
  keys.push_back({"nats.connect_timeout", "longest wait for the first connection", false,
                  duration(LITECLUSTER_FIELD(nats, connect_timeout))});
  keys.push_back({"nats.request_timeout", "longest wait for one answer", false,
                  duration(LITECLUSTER_FIELD(nats, request_timeout))});
  keys.push_back({"nats.tls.enabled", "use TLS", false, on_off(LITECLUSTER_FIELD(tls, enabled))});
  keys.push_back(
      {"nats.tls.ca_file", "PEM file of the authorities", false, text(LITECLUSTER_FIELD(tls, ca_file))});
  keys.push_back({"nats.tls.certificate_file", "PEM file of our certificate", false,
                  text(LITECLUSTER_FIELD(tls, certificate_file))});
  keys.push_back({"nats.tls.key_file", "PEM file of our key", false, text(LITECLUSTER_FIELD(tls, key_file))});
  keys.push_back({"nats.tls.expected_hostname", "name expected in the server's certificate", false,
                  text(LITECLUSTER_FIELD(tls, expected_hostname))});
}

void add_sqlite_keys(std::vector<ConfigKey>& keys) {
  keys.push_back({"sqlite.path", "the database that the leader's application opens", false,
                  text(LITECLUSTER_FIELD(sqlite, path))});
  keys.push_back({"sqlite.replica", "a standby's readable copy; default: <path>-replica", false,
                  text(LITECLUSTER_FIELD(sqlite, replica))});
  keys.push_back({"sqlite.bucket", "object store bucket of the log; default: <cluster>-wal", false,
                  text(LITECLUSTER_FIELD(sqlite, bucket))});
  keys.push_back({"sqlite.snapshot_interval", "how often a snapshot is taken", false,
                  duration(LITECLUSTER_FIELD(sqlite, snapshot_interval))});
  keys.push_back({"sqlite.retention", "how far back any point in time can be restored", false,
                  duration(LITECLUSTER_FIELD(sqlite, retention))});
  keys.push_back({"sqlite.compaction_levels", "list of {level, interval}; as text 1=10s,2=5m,3=1h", true,
                  set_compaction_levels});
  keys.push_back({"sqlite.page_encoding", "block, or frame for Litestream 0.5.15 and older", false,
                  choice<PageEncoding>(LITECLUSTER_FIELD(sqlite, page_encoding),
                                       {{"block", PageEncoding::block}, {"frame", PageEncoding::frame}})});
  keys.push_back({"sqlite.min_sync_interval", "time between two log objects under load, on average", false,
                  duration(LITECLUSTER_FIELD(sqlite, min_sync_interval))});
  keys.push_back({"sqlite.checkpoint_pages", "WAL pages after which it is checkpointed", false,
                  number<std::uint32_t>(LITECLUSTER_FIELD(sqlite, checkpoint_pages),
                                        std::numeric_limits<std::uint32_t>::max())});
  keys.push_back({"sqlite.wal_bytes_max", "WAL size that raises an alarm", false,
                  size(LITECLUSTER_FIELD(sqlite, wal_bytes_max))});
  keys.push_back({"sqlite.scrub_interval", "how often a standby reads its replica through; 0: once", false,
                  duration(LITECLUSTER_FIELD(sqlite, scrub_interval))});
  keys.push_back({"sqlite.spool_bytes_max", "log objects kept on disk while NATS is away (replicate only)",
                  false, size(LITECLUSTER_FIELD(sqlite, spool_bytes_max))});
}

void add_backend_keys(std::vector<ConfigKey>& keys) {
  keys.push_back({"backend.command",
                  "program and arguments; runs on the leader, in pools and rings on every node", true,
                  texts(LITECLUSTER_FIELD(backend, command))});
  keys.push_back({"backend.systemd_unit",
                  "unit with Restart=no, not enabled; runs on the leader, in pools and rings on every node",
                  false, text(LITECLUSTER_FIELD(backend, systemd_unit))});
  keys.push_back(
      {"backend.directory", "its working directory", false, text(LITECLUSTER_FIELD(backend, directory))});
  keys.push_back({"backend.environment", "name=value pairs added to our environment", true,
                  pairs(LITECLUSTER_FIELD(backend, environment))});
  keys.push_back({"backend.stop_timeout", "from TERM to KILL", false,
                  duration(LITECLUSTER_FIELD(backend, stop_timeout))});
  keys.push_back({"backend.start_timeout", "leadership is given up when it is not healthy by then", false,
                  duration(LITECLUSTER_FIELD(backend, start_timeout))});
  keys.push_back(
      {"backend.restarts_max",
       "restarts within start_timeout, or a minute if that is longer, before leadership is given up", false,
       number<int>(LITECLUSTER_FIELD(backend, restarts_max), 1000)});
  keys.push_back({"backend.health.tcp", "host:port that has to accept", false,
                  text(LITECLUSTER_FIELD(backend, health.tcp))});
  keys.push_back({"backend.health.http", "URL that has to answer 2xx or 3xx", false,
                  text(LITECLUSTER_FIELD(backend, health.http))});
  keys.push_back({"backend.health.command", "program that has to exit with 0", true,
                  texts(LITECLUSTER_FIELD(backend, health.command))});
  keys.push_back({"backend.health.interval", "time between checks", false,
                  duration(LITECLUSTER_FIELD(backend, health.interval))});
  keys.push_back({"backend.health.timeout", "longest time for one check", false,
                  duration(LITECLUSTER_FIELD(backend, health.timeout))});
  keys.push_back({"backend.health.failures_max", "failures in a row that make it unhealthy", false,
                  number<int>(LITECLUSTER_FIELD(backend, health.failures_max), 1000)});
}

void add_other_keys(std::vector<ConfigKey>& keys) {
  keys.push_back({"vip.address", "address with prefix length that follows the leader: 10.0.0.10/24", false,
                  text(LITECLUSTER_FIELD(vip, address))});
  keys.push_back(
      {"vip.interface", "network interface it is put on", false, text(LITECLUSTER_FIELD(vip, interface))});
  keys.push_back({"ring.partitions", "1 to 4096, the same on every node", false,
                  number<std::uint32_t>(LITECLUSTER_FIELD(app, ring.partitions), 4096)});
  keys.push_back({"log.level", "debug, info, warning, error or off", false,
                  choice<base::LogLevel>([](Config& config) -> auto& { return config.log_level; },
                                         {{"debug", base::LogLevel::debug},
                                          {"info", base::LogLevel::info},
                                          {"warning", base::LogLevel::warning},
                                          {"error", base::LogLevel::error},
                                          {"off", base::LogLevel::off}})});
  keys.push_back({"log.format", "auto, text or json; auto is text on a terminal", false,
                  choice<base::LogFormat>([](Config& config) -> auto& { return config.log_format; },
                                          {{"auto", base::LogFormat::automatic},
                                           {"text", base::LogFormat::text},
                                           {"json", base::LogFormat::json}})});
  for (const char* hook : {"on_active", "on_passive", "on_leader_change", "on_start", "on_stop", "on_own",
                           "on_release", "on_member_join", "on_member_leave", "on_health_change"}) {
    keys.push_back({std::string("hooks.") + hook, "program and arguments run at this hook", true,
                    [hook](Config& config, const Values& values) -> Status {
                      config.hooks[hook] = values;
                      return {};
                    }});
  }
}

#undef LITECLUSTER_FIELD

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> keys = [] {
    std::vector<ConfigKey> made;
    add_node_keys(made);
    add_nats_keys(made);
    add_sqlite_keys(made);
    add_backend_keys(made);
    add_other_keys(made);
    return made;
  }();
  return keys;
}

}  // namespace litecluster::daemon
