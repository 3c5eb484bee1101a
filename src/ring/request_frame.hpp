// The bytes of a request to the owner of a key, on `<cluster>.ctl.<node>.ring`, and of its reply.
//
//   request: version (1 byte, 1), length of the key (4 bytes, big-endian), key, payload
//   reply:   status (1 byte, ReplyStatus), then the answer, or for `failed`: the name of the error's code, a
//            zero byte, and its reason
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <litecluster/error.hpp>

#include "base/bytes.hpp"

namespace litecluster::ring {

constexpr std::size_t key_bytes_max = 65'536;

enum class ReplyStatus : std::uint8_t {
  done = 0,
  not_owner = 1,  ///< not executed: the node does not own the partition now
  failed = 2,     ///< the handler returned an error
  busy = 3,       ///< not executed: too many requests wait
};

struct RequestFrame {
  std::string_view key;
  std::string_view payload;
};
struct ReplyFrame {
  ReplyStatus status = ReplyStatus::done;
  std::string answer;          ///< done
  std::optional<Error> error;  ///< failed
};

[[nodiscard]] base::Bytes encode_request(std::string_view key, std::string_view payload);
/// nullopt when it is not one of ours. Views into `bytes`.
[[nodiscard]] std::optional<RequestFrame> decode_request(base::ByteView bytes);
[[nodiscard]] base::Bytes encode_reply(ReplyStatus status, std::string_view answer = {});
[[nodiscard]] base::Bytes encode_reply(const Error& error);
[[nodiscard]] std::optional<ReplyFrame> decode_reply(base::ByteView bytes);

}  // namespace litecluster::ring
