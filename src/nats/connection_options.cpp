// From NatsOptions to the client library's options, and its connection callbacks.
#include <algorithm>
#include <filesystem>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/backoff.hpp"
#include "base/random.hpp"
#include "nats/connection_core.hpp"
#include "nats/nats_error.hpp"
#include "nats/server_probe.hpp"

namespace litecluster::nats {
namespace {

constexpr std::chrono::milliseconds attempt_timeout_max{2000};

// Of the library's reader and writer. A chunk of an object fits in whole with its headers: it is sent by one
// system call instead of three, and received by a few. What is not used costs no memory.
constexpr int io_buffer_size = 256 << 10;

// ---- callbacks
// -----------------------------------------------------------------------------------------------

// A callback holds `mutex` while it runs: unregister_session() therefore waits for it. Callbacks are short
// and take no lock that is held while a session is unregistered.
struct Register {
  base::Mutex mutex;
  std::unordered_map<std::uint64_t, std::weak_ptr<SharedState>> sessions LITECLUSTER_GUARDED_BY(mutex);
  std::uint64_t next LITECLUSTER_GUARDED_BY(mutex) = 1;
};

Register& session_register() {
  // Never destroyed: the library's threads may outlive static destructors.
  static auto* const instance = new Register;
  return *instance;
}

template <typename Action>
void with_session(void* closure, Action action) {
  const auto session = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(closure));
  Register& all = session_register();
  const base::MutexLock lock(all.mutex);
  const auto found = all.sessions.find(session);
  if (found == all.sessions.end()) return;
  if (const auto state = found->second.lock()) action(*state, session);
}

std::string last_error_text(natsConnection* connection) {
  const char* text = nullptr;
  natsConnection_GetLastError(connection, &text);
  return text == nullptr ? std::string() : std::string(text);
}

void disconnected(natsConnection* connection, void* closure) {
  const std::string text = last_error_text(connection);
  with_session(closure,
               [&](SharedState& state, std::uint64_t session) { state.on_disconnected(session, text); });
}

void reconnected(natsConnection* /*connection*/, void* closure) {
  with_session(closure, [](SharedState& state, std::uint64_t session) { state.on_reconnected(session); });
}

void closed(natsConnection* connection, void* closure) {
  const std::string text = last_error_text(connection);
  with_session(closure, [&](SharedState& state, std::uint64_t session) { state.on_given_up(session, text); });
}

void problem(natsConnection* connection, natsSubscription* /*subscription*/, natsStatus status,
             void* closure) {
  const std::string text = last_error_text(connection);
  with_session(closure,
               [&](SharedState& state, std::uint64_t session) { state.on_problem(session, status, text); });
}

struct ReconnectDelays {
  std::chrono::milliseconds first;
  std::chrono::milliseconds cap;
};

// The library calls this with the number of rounds over all servers so far. The two waits are packed into the
// closure's bits, since nothing that it could point to is sure to outlive the library's threads.
int64_t reconnect_delay(natsConnection* /*connection*/, int attempts, void* closure) {
  const auto packed = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(closure));
  base::Backoff backoff(std::chrono::milliseconds(packed >> 32U),
                        std::chrono::milliseconds(packed & 0xFFFF'FFFFU));
  base::Duration delay{};
  const int rounds = std::clamp(attempts, 1, 32);
  for (int round = 0; round < rounds; ++round) delay = backoff.next(base::random_u64());
  return std::max<int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
}

void* pack_delays(const ReconnectDelays& delays) {
  const auto bits = [](std::chrono::milliseconds value) {
    return static_cast<std::uint64_t>(std::clamp<std::int64_t>(value.count(), 1, 0x7FFF'FFFF));
  };
  return reinterpret_cast<void*>(static_cast<std::uintptr_t>((bits(delays.first) << 32U) | bits(delays.cap)));
}

// ---- options
// -------------------------------------------------------------------------------------------------

Status check_file(const std::string& path, std::string_view what) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) return {};
  return failure(ErrorCode::invalid_argument, "connect to NATS", path,
                 fmt::format("the {} does not exist or cannot be read", what));
}

Status check_files(const NatsOptions& options) {
  const std::pair<const std::string&, std::string_view> files[] = {
      {options.credentials_file, "credentials file"},
      {options.nkey_seed_file, "nkey seed file"},
      {options.tls.ca_file, "CA file"},
      {options.tls.certificate_file, "client certificate"},
      {options.tls.key_file, "client key"},
  };
  for (const auto& [path, what] : files) {
    if (path.empty()) continue;
    if (auto status = check_file(path, what); !status) return status;
  }
  if (options.tls.certificate_file.empty() != options.tls.key_file.empty()) {
    return failure(ErrorCode::invalid_argument, "connect to NATS", options.tls.certificate_file,
                   "a client certificate and its key are given together or not at all");
  }
  if (options.nkey.empty() != options.nkey_seed_file.empty()) {
    return failure(ErrorCode::invalid_argument, "connect to NATS", options.nkey_seed_file,
                   "an nkey is given as the public key and the file of its seed, both");
  }
  return {};
}

natsStatus set_authentication(natsOptions* native, const NatsOptions& options) {
  if (!options.credentials_file.empty()) {
    return natsOptions_SetUserCredentialsFromFiles(native, options.credentials_file.c_str(), nullptr);
  }
  if (!options.nkey.empty()) {
    return natsOptions_SetNKeyFromSeed(native, options.nkey.c_str(), options.nkey_seed_file.c_str());
  }
  if (!options.token.empty()) return natsOptions_SetToken(native, options.token.c_str());
  if (!options.user.empty())
    return natsOptions_SetUserInfo(native, options.user.c_str(), options.password.c_str());
  return NATS_OK;
}

natsStatus set_tls(natsOptions* native, const TlsOptions& tls, bool url_says_tls) {
  natsStatus status = NATS_OK;
  const bool wanted = tls.enabled || url_says_tls || !tls.ca_file.empty() || !tls.certificate_file.empty();
  if (!wanted) return status;
  status = natsOptions_SetSecure(native, true);
  if (status == NATS_OK && !tls.ca_file.empty()) {
    status = natsOptions_LoadCATrustedCertificates(native, tls.ca_file.c_str());
  }
  if (status == NATS_OK && !tls.certificate_file.empty()) {
    status = natsOptions_LoadCertificatesChain(native, tls.certificate_file.c_str(), tls.key_file.c_str());
  }
  if (status == NATS_OK && !tls.expected_hostname.empty()) {
    status = natsOptions_SetExpectedHostname(native, tls.expected_hostname.c_str());
  }
  if (status == NATS_OK && tls.skip_verification) status = natsOptions_SkipServerVerification(native, true);
  return status;
}

natsStatus set_behaviour(natsOptions* native, const NatsOptions& options) {
  const auto attempt = std::min(options.connect_timeout, attempt_timeout_max).count();
  natsStatus status = natsOptions_SetTimeout(native, std::max<std::int64_t>(1, attempt));
  if (status == NATS_OK) status = natsOptions_SetWriteDeadline(native, write_timeout.count());
  if (status == NATS_OK) status = natsOptions_SetPingInterval(native, options.ping_interval.count());
  if (status == NATS_OK) status = natsOptions_SetMaxPingsOut(native, 2);
  if (status == NATS_OK) status = natsOptions_SetAllowReconnect(native, true);
  if (status == NATS_OK) status = natsOptions_SetMaxReconnect(native, -1);
  // No buffer: a publish during an outage fails and never surfaces later.
  if (status == NATS_OK) status = natsOptions_SetReconnectBufSize(native, 0);
  if (status == NATS_OK) status = natsOptions_SetIOBufSize(native, io_buffer_size);
  // Without this a flusher thread holds small messages back for up to a millisecond.
  if (status == NATS_OK) status = natsOptions_SetSendAsap(native, true);
  if (status == NATS_OK) {
    status = natsOptions_SetCustomReconnectDelay(
        native, reconnect_delay, pack_delays({options.reconnect_wait, options.reconnect_wait_max}));
  }
  return status;
}

natsStatus set_callbacks(natsOptions* native, std::uint64_t session) {
  void* const closure = reinterpret_cast<void*>(static_cast<std::uintptr_t>(session));
  natsStatus status = natsOptions_SetDisconnectedCB(native, disconnected, closure);
  if (status == NATS_OK) status = natsOptions_SetReconnectedCB(native, reconnected, closure);
  if (status == NATS_OK) status = natsOptions_SetClosedCB(native, closed, closure);
  if (status == NATS_OK) status = natsOptions_SetErrorHandler(native, problem, closure);
  return status;
}

}  // namespace

std::uint64_t register_session(std::weak_ptr<SharedState> state) {
  Register& all = session_register();
  const base::MutexLock lock(all.mutex);
  const std::uint64_t session = all.next++;
  all.sessions.emplace(session, std::move(state));
  return session;
}

void unregister_session(std::uint64_t session) {
  Register& all = session_register();
  const base::MutexLock lock(all.mutex);
  all.sessions.erase(session);
}

std::string servers_text(const NatsOptions& options) {
  std::string text;
  for (const std::string& url : options.urls) {
    text += (text.empty() ? "" : ",") + without_credentials(url);
  }
  return text;
}

Result<native::Options> make_native_options(const NatsOptions& options, std::uint64_t session) {
  if (auto status = check_files(options); !status) return std::unexpected(status.error());
  natsOptions* created = nullptr;
  natsStatus status = natsOptions_Create(&created);
  native::Options native(created);
  std::vector<const char*> urls;
  urls.reserve(options.urls.size() + 1);
  for (const std::string& url : options.urls) urls.push_back(url.c_str());
  if (urls.empty()) urls.push_back("nats://127.0.0.1:4222");
  const bool tls_url =
      std::ranges::any_of(urls, [](const char* url) { return std::string_view(url).starts_with("tls://"); });
  if (status == NATS_OK) status = natsOptions_SetServers(created, urls.data(), static_cast<int>(urls.size()));
  if (status != NATS_OK)
    return std::unexpected(native_error(status, "connect to NATS", servers_text(options)));
  const std::string name = options.name.empty() ? "litecluster" : options.name;
  status = natsOptions_SetName(created, name.c_str());
  if (status == NATS_OK) status = set_authentication(created, options);
  if (status == NATS_OK) status = set_tls(created, options.tls, tls_url);
  if (status == NATS_OK) status = set_behaviour(created, options);
  if (status == NATS_OK) status = set_callbacks(created, session);
  if (status != NATS_OK)
    return std::unexpected(native_error(status, "connect to NATS", servers_text(options)));
  return native;
}

}  // namespace litecluster::nats
