#include "daemon/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/file.hpp"

namespace litecluster::daemon {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* whole_file = R"(
cluster: myapp
node: node-1
nats:
  urls: [nats://a:4222, nats://b:4222]
  tls: { ca_file: /etc/ca.pem }
sqlite:
  path: /data/app.db
  snapshot_interval: 30m
  compaction_levels:
    - { level: 0 }
    - { level: 1, interval: 10s }
    - { level: 2, interval: 5m }
lease_ttl: 4s
heartbeat: 1s
labels: { zone: a, rack: "7" }
backend:
  command: [/usr/bin/app, --db, /data/app.db]
  environment: { MODE: production }
  health: { http: "http://127.0.0.1:8080/health" }
hooks:
  on_active: /usr/bin/notify leader
)";

Error error_of(const std::string& yaml) {
  Config config;
  const auto read = read_yaml(config, yaml, "test.yaml");
  return read ? Error(ErrorCode::internal, "", "", "accepted") : read.error();
}

TEST(Config, ReadsAWholeFile) {
  Config config;
  const auto read = read_yaml(config, whole_file, "test.yaml");
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(config.app.cluster, "myapp");
  EXPECT_THAT(config.app.nats.urls, ElementsAre("nats://a:4222", "nats://b:4222"));
  EXPECT_EQ(config.app.nats.tls.ca_file, "/etc/ca.pem");
  ASSERT_TRUE(config.app.sqlite);
  EXPECT_EQ(config.app.sqlite->snapshot_interval, 30min);
  ASSERT_EQ(config.app.sqlite->compaction_levels.size(), 2U);
  EXPECT_EQ(config.app.sqlite->compaction_levels[1].level, 2);
  EXPECT_EQ(config.app.sqlite->compaction_levels[1].interval, 5min);
  EXPECT_EQ(config.app.labels.at("rack"), "7");
  EXPECT_THAT(config.app.backend->command, ElementsAre("/usr/bin/app", "--db", "/data/app.db"));
  EXPECT_EQ(config.app.backend->environment.at("MODE"), "production");
  EXPECT_THAT(config.hooks.at("on_active"), ElementsAre("/usr/bin/notify", "leader"));
  EXPECT_TRUE(validate(config)) << validate(config).error().message();
}

TEST(Config, DbIsAnAliasOfSqliteAndMayBeJustAPath) {
  for (const char* yaml : {"db: /data/app.db", "sqlite: /data/app.db", "db: { path: /data/app.db }"}) {
    Config config;
    ASSERT_TRUE(read_yaml(config, yaml, "test.yaml"));
    EXPECT_EQ(config.app.sqlite->path, "/data/app.db") << yaml;
  }
}

TEST(Config, AnUnknownKeyIsRefusedWithItsLineAndTheNearestKnownOne) {
  const Error error = error_of("cluster: a\nsqlite:\n  snapshot_intervall: 1h\n");
  EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  EXPECT_THAT(error.message(), HasSubstr("test.yaml:3"));
  EXPECT_THAT(error.message(), HasSubstr("did you mean 'sqlite.snapshot_interval'?"));
  EXPECT_THAT(error_of("clutser: a").message(), HasSubstr("did you mean 'cluster'?"));
  EXPECT_THAT(error_of("sqlite: {compaction_levels: [{levl: 1, interval: 1s}]}").message(),
              HasSubstr("unknown key"));
}

TEST(Config, AWrongValueIsRefusedWithWhatWouldBeAccepted) {
  EXPECT_THAT(error_of("lease_ttl: soon").message(), HasSubstr("lease_ttl: 'soon' is not a duration"));
  EXPECT_THAT(error_of("mode: both").message(), HasSubstr("one of active_passive, pool, ring"));
  EXPECT_THAT(error_of("sqlite: [a, b]").message(), HasSubstr("takes keys below it"));
  EXPECT_THAT(error_of("lease_ttl: [1s, 2s]").message(), HasSubstr("takes one value"));
  EXPECT_THAT(error_of("sqlite: {compaction_levels: [{level: 9, interval: 1s}]}").message(),
              HasSubstr("1 to 8"));
  EXPECT_THAT(error_of("cluster: a\ncluster: b").message(), HasSubstr("given twice"));
}

TEST(Config, ACommandIsSplitTheSameWayInAllPlaces) {
  const auto key = std::ranges::find(config_keys(), "backend.command", &ConfigKey::name);
  ASSERT_NE(key, config_keys().end());
  EXPECT_THAT(key->values_of({"/usr/bin/app --db /data/app.db"}),
              ElementsAre("/usr/bin/app", "--db", "/data/app.db"));
  EXPECT_THAT(key->values_of({"/usr/bin/app,--db,/data/app.db"}),
              ElementsAre("/usr/bin/app", "--db", "/data/app.db"));
  EXPECT_THAT(key->values_of({"/usr/bin/app  --tags a,b"}), ElementsAre("/usr/bin/app", "--tags", "a,b"));
  EXPECT_THAT(key->values_of({"/bin/sh", "-c", "sleep 1, maybe"}),
              ElementsAre("/bin/sh", "-c", "sleep 1, maybe"));
  for (const char* yaml :
       {"backend: {command: /usr/bin/app --db x}", "backend: {command: '/usr/bin/app,--db,x'}",
        "backend: {command: [/usr/bin/app, --db, x]}"}) {
    Config config;
    ASSERT_TRUE(read_yaml(config, yaml, "test.yaml"));
    EXPECT_THAT(config.app.backend->command, ElementsAre("/usr/bin/app", "--db", "x")) << yaml;
  }
}

TEST(Config, AValueThatWouldStopEveryLeaderIsRefusedByName) {
  const auto refusal = [](const std::string& more) {
    Config config;
    const std::string yaml = "cluster: a\nnode: n\n" + more;
    const auto read = read_yaml(config, yaml, "test.yaml");
    if (!read) return read.error().message();
    const auto checked = validate(config);
    return checked ? std::string("accepted") : checked.error().message();
  };
  const std::string sqlite = "sqlite: {path: /data/app.db";
  EXPECT_EQ(refusal(sqlite + "}"), "accepted");
  EXPECT_THAT(refusal(sqlite + ", snapshot_interval: 0s}"), HasSubstr("sqlite.snapshot_interval"));
  EXPECT_THAT(refusal(sqlite + ", retention: 0s}"), HasSubstr("sqlite.retention"));
  EXPECT_THAT(refusal(sqlite + ", min_sync_interval: 0s}"), HasSubstr("sqlite.min_sync_interval"));
  EXPECT_THAT(refusal(sqlite + ", checkpoint_pages: 0}"), HasSubstr("sqlite.checkpoint_pages"));
  EXPECT_EQ(refusal(sqlite + ", scrub_interval: 0s}"), "accepted");
  EXPECT_THAT(refusal(sqlite + ", compaction_levels: '1=1s,2=500ms'}"),
              HasSubstr("sqlite.compaction_levels"));
  EXPECT_THAT(refusal(sqlite + ", compaction_levels: '2=1m,1=1s'}"), HasSubstr("sqlite.compaction_levels"));
  const std::string backend = "backend: {command: [/bin/app]";
  EXPECT_EQ(refusal(backend + "}"), "accepted");
  EXPECT_THAT(refusal(backend + ", start_timeout: 0s}"), HasSubstr("backend.start_timeout"));
  EXPECT_THAT(refusal(backend + ", health: {interval: 0s}}"), HasSubstr("backend.health.interval"));
  EXPECT_THAT(refusal(backend + ", health: {timeout: 0s}}"), HasSubstr("backend.health.timeout"));
  EXPECT_THAT(refusal(backend + ", health: {failures_max: 0}}"), HasSubstr("backend.health.failures_max"));
  EXPECT_EQ(refusal(backend + ", stop_timeout: 0s, restarts_max: 0}"), "accepted");
}

TEST(Config, BrokenYamlIsAnErrorWithItsLine) {
  EXPECT_THAT(error_of("cluster: a\nnode: [").message(), HasSubstr("test.yaml:"));
  EXPECT_THAT(error_of("just text").message(), HasSubstr("not a map"));
}

TEST(Config, AVariableThatMeansAKeyWithoutNamingItIsAnError) {
  const auto refusal = [](const std::string& name) {
    const auto checked = check_variables({"LITECLUSTER_NODE=n1", name + "=1"});
    return checked ? "" : checked.error().message();
  };
  EXPECT_THAT(refusal("LITECLUSTER_NOED"), HasSubstr("did you mean 'LITECLUSTER_NODE'?"));
  EXPECT_THAT(refusal("LITECLUSTER_CLUSTRE"), HasSubstr("did you mean 'LITECLUSTER_CLUSTER'?"));
  EXPECT_THAT(refusal("LITECLUSTER_LEASE_TLL"), HasSubstr("did you mean 'LITECLUSTER_LEASE_TTL'?"));
  EXPECT_THAT(refusal("LITECLUSTER_NATS_URL"), HasSubstr("did you mean 'LITECLUSTER_NATS_URLS'?"));
  EXPECT_THAT(refusal("LITECLUSTER_RETENTION"), HasSubstr("did you mean 'LITECLUSTER_SQLITE_RETENTION'?"));
  EXPECT_THAT(refusal("LITECLUSTER_BUCKET"), HasSubstr("did you mean 'LITECLUSTER_SQLITE_BUCKET'?"));
  EXPECT_THAT(refusal("LITECLUSTER_DB"), HasSubstr("did you mean 'LITECLUSTER_SQLITE_PATH'?"));
  EXPECT_THAT(refusal("LITECLUSTER_NATS"), HasSubstr("did you mean 'LITECLUSTER_NATS_URLS'?"));
}

TEST(Config, VariablesOfOthersAreLeftAlone) {
  for (const std::string name :
       {"HOME", "LITECLUSTER_CONFIG", "LITECLUSTER_NATS_SERVER", "LITECLUSTER_FENCING_TOKEN",
        "LITECLUSTER_LEADER", "LITECLUSTER_MEMBER", "LITECLUSTER_PARTITIONS", "LITECLUSTER_HEALTH",
        "LITECLUSTER_HEALTH_REASON", "LITECLUSTER_FAULT", "LITECLUSTER_FAULT_DIRECTORY", "LITECLUSTER_BUILD",
        "LITECLUSTER_PARTNERS", "LITECLUSTER_MEMORY_MIB", "LITECLUSTER_FLAPS", "LITECLUSTER_TEST_CLOCK",
        // What Kubernetes sets in each container when a service is called litecluster.
        "LITECLUSTER_SERVICE_HOST", "LITECLUSTER_SERVICE_PORT", "LITECLUSTER_PORT",
        "LITECLUSTER_PORT_4222_TCP", "LITECLUSTER_PORT_4222_TCP_ADDR"}) {
    EXPECT_TRUE(check_variables({name + "=1"})) << name;
  }
}

TEST(Config, EveryKeyHasHelpAndItsOwnFlagAndVariable) {
  std::set<std::string> flags;
  std::set<std::string> variables;
  for (const ConfigKey& key : config_keys()) {
    EXPECT_FALSE(key.help.empty()) << key.name;
    EXPECT_TRUE(flags.insert(key.flag()).second) << key.name;
    EXPECT_TRUE(variables.insert(key.environment_variable()).second) << key.name;
  }
}

TEST(Config, TheDocumentationNamesEveryKeyWithItsMeaning) {
  const auto page =
      base::read_file(std::filesystem::path(LITECLUSTER_SOURCE_DIR) / "docs/configuration.md", 1U << 20U);
  ASSERT_TRUE(page);
  for (const ConfigKey& key : config_keys()) {
    EXPECT_THAT(base::as_text(*page), HasSubstr("| `" + key.name + "` | " + key.help + " |"));
  }
}

TEST(Config, ValidateRefusesWhatCannotWorkTogether) {
  Config good;
  ASSERT_TRUE(read_yaml(good, whole_file, "test.yaml"));
  const auto refused = [&](const auto& change) {
    Config config = good;
    change(config);
    return !validate(config).has_value();
  };
  EXPECT_TRUE(refused([](Config& config) { config.app.cluster = "my.app"; }));
  EXPECT_TRUE(refused([](Config& config) { config.app.node.clear(); }));
  EXPECT_TRUE(refused([](Config& config) { config.app.lease_ttl = 999ms; }));
  EXPECT_TRUE(refused([](Config& config) { config.app.heartbeat = 2s; }));
  EXPECT_TRUE(refused([](Config& config) { config.app.sqlite->replica = config.app.sqlite->path; }));
  EXPECT_TRUE(refused([](Config& config) { config.app.mode = Mode::ring; }));
  EXPECT_TRUE(refused([](Config& config) { config.app.backend->systemd_unit = "app.service"; }));
  EXPECT_TRUE(
      refused([](Config& config) { config.app.vip = Vip{.address = "10.0.0.1/24", .interface = ""}; }));
}

}  // namespace
}  // namespace litecluster::daemon
