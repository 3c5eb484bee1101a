#include "nats/nats_error.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <nats/nats.h>

#include "nats/jetstream.hpp"

namespace litecluster::nats {
namespace {

constexpr std::string_view code_prefix = " (JetStream error ";

struct NativeMeaning {
  natsStatus status;
  ErrorCode code;
  std::string_view advice;
};

constexpr std::array native_meanings{
    NativeMeaning{NATS_NO_SERVER, ErrorCode::unavailable,
                  "no NATS server answers; is nats-server running and is the URL right?"},
    NativeMeaning{NATS_CONNECTION_CLOSED, ErrorCode::unavailable, "the connection is closed"},
    NativeMeaning{NATS_CONNECTION_DISCONNECTED, ErrorCode::unavailable,
                  "the connection broke; whether the server acted is unknown"},
    NativeMeaning{NATS_INSUFFICIENT_BUFFER, ErrorCode::unavailable, "there is no connection to a server now"},
    NativeMeaning{NATS_NOT_YET_CONNECTED, ErrorCode::unavailable, "there is no connection to a server yet"},
    NativeMeaning{NATS_STALE_CONNECTION, ErrorCode::unavailable, "the server stopped answering pings"},
    NativeMeaning{NATS_IO_ERROR, ErrorCode::unavailable, "the connection to the server broke"},
    NativeMeaning{NATS_TIMEOUT, ErrorCode::unavailable, "the server did not answer or take the data in time"},
    NativeMeaning{NATS_CONNECTION_AUTH_FAILED, ErrorCode::permission_denied,
                  "the server refuses these credentials; check user, password, token, nkey or .creds file"},
    NativeMeaning{NATS_NOT_PERMITTED, ErrorCode::permission_denied,
                  "the server's permissions for this user do not allow it"},
    NativeMeaning{NATS_SECURE_CONNECTION_REQUIRED, ErrorCode::permission_denied,
                  "the server demands TLS; enable it in the TLS options"},
    NativeMeaning{NATS_SECURE_CONNECTION_WANTED, ErrorCode::unavailable,
                  "TLS was asked for, but the server does not offer it"},
    NativeMeaning{NATS_SSL_ERROR, ErrorCode::permission_denied,
                  "TLS failed; check CA, certificate, key and host name"},
    NativeMeaning{NATS_PROTOCOL_ERROR, ErrorCode::unavailable,
                  "the server ended the connection before it was ready: it is about to stop, or it demands a "
                  "client certificate"},
    NativeMeaning{NATS_MAX_PAYLOAD, ErrorCode::too_large,
                  "the message is larger than the server's max_payload; raise it there or send less"},
    NativeMeaning{NATS_INVALID_SUBJECT, ErrorCode::invalid_argument, "this is not a subject"},
    NativeMeaning{NATS_INVALID_ARG, ErrorCode::invalid_argument, "the client library rejects the argument"},
    NativeMeaning{NATS_NO_SERVER_SUPPORT, ErrorCode::unsupported,
                  "the server is too old for this (no headers)"},
    NativeMeaning{NATS_NO_MEMORY, ErrorCode::resource_exhausted, "out of memory"},
    NativeMeaning{NATS_NO_RESPONDERS, ErrorCode::unavailable, "nobody serves this subject"},
};

struct ApiMeaning {
  int err_code;
  ErrorCode code;
  std::string_view advice;
};

constexpr std::array api_meanings{
    ApiMeaning{10071, ErrorCode::conflict, "the subject has another last sequence than expected"},
    ApiMeaning{10070, ErrorCode::conflict, "the stream has another last message id than expected"},
    ApiMeaning{10158, ErrorCode::unavailable,
               "an earlier copy of this message is still being stored; is the cluster without a quorum?"},
    ApiMeaning{10164, ErrorCode::conflict, "the subject has another last sequence than expected"},
    ApiMeaning{10059, ErrorCode::not_found, "the stream does not exist; create the bucket first"},
    ApiMeaning{10037, ErrorCode::not_found, {}},
    ApiMeaning{10043, ErrorCode::not_found, {}},
    ApiMeaning{10014, ErrorCode::not_found, {}},
    ApiMeaning{10058, ErrorCode::already_exists, "a stream of this name exists with other settings"},
    ApiMeaning{10065, ErrorCode::already_exists, "another stream takes these subjects"},
    ApiMeaning{10039, ErrorCode::unavailable,
               "JetStream is not enabled for this account; enable it in the server"},
    ApiMeaning{10076, ErrorCode::unavailable, "JetStream is not enabled; start nats-server with -js"},
    ApiMeaning{10035, ErrorCode::permission_denied, {}},
    ApiMeaning{10077, ErrorCode::resource_exhausted,
               "the stream is at its limit or the server's disk is full; raise max_bytes or free space"},
    ApiMeaning{10053, ErrorCode::resource_exhausted, "a limit of the stream is reached"},
    ApiMeaning{10054, ErrorCode::too_large, "the message is larger than the stream's max_msg_size"},
    ApiMeaning{10002, ErrorCode::resource_exhausted, "the account's limits are reached"},
    ApiMeaning{10023, ErrorCode::resource_exhausted,
               "the servers do not have the storage that is asked for; check max_bytes and disk space"},
    ApiMeaning{10047, ErrorCode::resource_exhausted, "the account's storage limit is reached"},
    ApiMeaning{10028, ErrorCode::resource_exhausted, "the account's memory limit is reached"},
    ApiMeaning{10026, ErrorCode::resource_exhausted, "the account's limit of consumers is reached"},
    ApiMeaning{10027, ErrorCode::resource_exhausted, "the account's limit of streams is reached"},
    ApiMeaning{10113, ErrorCode::failed_precondition, "the account demands a limit; set max_bytes"},
    ApiMeaning{10122, ErrorCode::failed_precondition, "max_bytes is above the account's limit"},
    ApiMeaning{10005, ErrorCode::unavailable,
               "too few servers for the replicas that are asked for; start them or ask for fewer replicas"},
    ApiMeaning{10008, ErrorCode::unavailable,
               "JetStream is not available now: the cluster has no quorum or elects a leader"},
    ApiMeaning{10009, ErrorCode::unavailable, "the cluster has no quorum or elects a leader"},
    ApiMeaning{10004, ErrorCode::unavailable, "not all servers answered"},
    ApiMeaning{10118, ErrorCode::unavailable, "the servers that hold the stream are offline"},
    ApiMeaning{10074, ErrorCode::failed_precondition,
               "a single server cannot hold more than one replica; ask for 1 or use a cluster"},
    ApiMeaning{10109, ErrorCode::failed_precondition, "the stream is sealed"},
    ApiMeaning{10110, ErrorCode::failed_precondition, "the stream does not allow purges"},
    ApiMeaning{10111, ErrorCode::failed_precondition, "the stream does not allow rollups"},
    ApiMeaning{10052, ErrorCode::invalid_argument, {}},
    ApiMeaning{10025, ErrorCode::internal, {}},
};

// Whatever keeps the server from deleting a message has this one number; only the text tells more.
constexpr int delete_failed = 10057;

struct DeleteMeaning {
  std::string_view description;
  ErrorCode code;
  std::string_view advice;
};

constexpr std::array delete_meanings{
    DeleteMeaning{"no message found", ErrorCode::not_found, {}},
    DeleteMeaning{"stream store EOF", ErrorCode::not_found, "the stream ends before this sequence"},
    DeleteMeaning{"snapshot in progress", ErrorCode::unavailable,
                  "a backup of the stream is being taken, and nothing is deleted meanwhile"},
    DeleteMeaning{"message delete not permitted", ErrorCode::failed_precondition,
                  "the stream denies that messages are deleted (deny_delete)"},
};

ErrorCode by_status(int code) {
  switch (code) {
    case 400: return ErrorCode::invalid_argument;
    case 401:
    case 403: return ErrorCode::permission_denied;
    case 404: return ErrorCode::not_found;
    case 408:
    case 503: return ErrorCode::unavailable;
    default: return ErrorCode::internal;
  }
}

// Limits share one number with other failures to store; the text tells them apart.
bool says_limit(std::string_view description) {
  return description.find("maximum") != std::string_view::npos ||
         description.find("no space") != std::string_view::npos ||
         description.find("insufficient") != std::string_view::npos ||
         description.find("exceeded") != std::string_view::npos;
}

struct Meaning {
  ErrorCode code;
  std::string_view advice;
};

Meaning meaning_of(int code, int err_code, std::string_view description) {
  if (err_code == delete_failed) {
    const auto* found = std::ranges::find(delete_meanings, description, &DeleteMeaning::description);
    if (found != delete_meanings.end()) return {found->code, found->advice};
  }
  const auto* known = std::ranges::find(api_meanings, err_code, &ApiMeaning::err_code);
  if (known != api_meanings.end()) return {known->code, known->advice};
  return {says_limit(description) ? ErrorCode::resource_exhausted : by_status(code), {}};
}

}  // namespace

Error native_error(int status, std::string operation, std::string subject) {
  const auto kind = static_cast<natsStatus>(status);
  natsStatus last = NATS_OK;
  const char* detail = nats_GetLastError(&last);
  std::string reason = natsStatus_GetText(kind);
  if (last == kind && detail != nullptr && *detail != '\0') reason = detail;
  const auto* meaning = std::ranges::find(native_meanings, kind, &NativeMeaning::status);
  if (meaning == native_meanings.end()) {
    return {ErrorCode::internal, std::move(operation), std::move(subject), std::move(reason)};
  }
  return {meaning->code, std::move(operation), std::move(subject),
          fmt::format("{} ({})", meaning->advice, reason)};
}

Error jetstream_error(int code, int err_code, std::string_view description, std::string operation,
                      std::string subject) {
  const auto [kind, advice] = meaning_of(code, err_code, description);
  std::string reason(description);
  if (!advice.empty()) reason = fmt::format("{}: {}", description, advice);
  if (err_code != 0) reason += fmt::format("{}{})", code_prefix, err_code);
  return {kind, std::move(operation), std::move(subject), std::move(reason)};
}

Error no_responders_error(std::string operation, std::string subject) {
  return {
      ErrorCode::unavailable, std::move(operation), std::move(subject),
      "nobody answers: JetStream is off on this server or for this account, its cluster has no quorum, or no "
      "stream takes the subject"};
}

int api_error_code(const Error& error) {
  const std::string& reason = error.reason();
  const std::size_t at = reason.rfind(code_prefix);
  if (at == std::string::npos) return 0;
  int number = 0;
  const char* const begin = reason.data() + at + code_prefix.size();
  std::from_chars(begin, reason.data() + reason.size(), number);
  return number;
}

}  // namespace litecluster::nats
