// How to reach NATS: servers, credentials, TLS, waits. One struct for everything in the library that
// connects.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace litecluster {

/// TLS towards the server. It is used when `enabled`, when a file below is named, or when a URL says
/// `tls://`.
struct TlsOptions {
  bool enabled = false;
  /// PEM file with the authorities that may have signed the server's certificate. Empty: the system's.
  std::string ca_file{};
  /// PEM files of the client's own certificate and key; both or neither.
  std::string certificate_file{};
  std::string key_file{};
  /// Name expected in the server's certificate. Empty: the host of the URL.
  std::string expected_hostname{};
  /// Accepts any certificate. For experiments only.
  bool skip_verification = false;
};

/// At most one way to authenticate is used, in this order: credentials_file, nkey, token, user and password.
struct NatsOptions {
  /// `nats://host:port`, `tls://host:port`; user and password or token may stand in the URL. Tried in random
  /// order, forever. Empty: `nats://127.0.0.1:4222`.
  std::vector<std::string> urls{};
  /// Path of a `.creds` file (user JWT and seed).
  std::string credentials_file{};
  /// Public nkey of the user (starts with `U`), and the path of the file that holds its seed.
  std::string nkey{};
  std::string nkey_seed_file{};
  std::string token{};
  std::string user{};
  std::string password{};
  TlsOptions tls{};
  /// Shown in the server's connection list. Empty: chosen by the library.
  std::string name{};
  /// JetStream domain; empty: none.
  std::string domain{};
  /// Longest wait for the first connection to be established.
  std::chrono::milliseconds connect_timeout{5000};
  /// Longest wait for one answer of the server.
  std::chrono::milliseconds request_timeout{5000};
  /// First and longest pause between attempts to reconnect; jitter is added. Attempts never end.
  std::chrono::milliseconds reconnect_wait{100};
  std::chrono::milliseconds reconnect_wait_max{2000};
  /// An idle connection is declared dead after two unanswered pings, one per interval.
  std::chrono::milliseconds ping_interval{2000};
  /// Copies of each bucket that is created: 1 to 5. Unset: 1 on a single server, 3 on a cluster of three or
  /// more.
  std::optional<int> replicas{};
};

}  // namespace litecluster
