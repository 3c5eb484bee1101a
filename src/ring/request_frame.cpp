#include "ring/request_frame.hpp"

namespace litecluster::ring {
namespace {

constexpr std::uint8_t version = 1;

ErrorCode code_named(std::string_view name) {
  for (int value = 0; value <= static_cast<int>(ErrorCode::internal); ++value) {
    const auto code = static_cast<ErrorCode>(value);
    if (to_string(code) == name) return code;
  }
  return ErrorCode::internal;
}

}  // namespace

base::Bytes encode_request(std::string_view key, std::string_view payload) {
  base::Bytes bytes;
  bytes.reserve(1 + sizeof(std::uint32_t) + key.size() + payload.size());
  base::append_big_endian(bytes, version);
  base::append_big_endian(bytes, static_cast<std::uint32_t>(key.size()));
  base::append_bytes(bytes, base::as_bytes(key));
  base::append_bytes(bytes, base::as_bytes(payload));
  return bytes;
}

std::optional<RequestFrame> decode_request(base::ByteView bytes) {
  base::ByteReader reader(bytes);
  const auto first = reader.read_big_endian<std::uint8_t>();
  const auto length = reader.read_big_endian<std::uint32_t>();
  if (!first || *first != version || !length || *length > key_bytes_max) return std::nullopt;
  const auto key = reader.take(*length);
  if (!key) return std::nullopt;
  return RequestFrame{base::as_text(*key), base::as_text(bytes.subspan(reader.offset()))};
}

base::Bytes encode_reply(ReplyStatus status, std::string_view answer) {
  base::Bytes bytes;
  bytes.reserve(1 + answer.size());
  base::append_big_endian(bytes, static_cast<std::uint8_t>(status));
  base::append_bytes(bytes, base::as_bytes(answer));
  return bytes;
}

base::Bytes encode_reply(const Error& error) {
  std::string text(to_string(error.code()));
  text += '\0';
  text += error.message();
  return encode_reply(ReplyStatus::failed, text);
}

std::optional<ReplyFrame> decode_reply(base::ByteView bytes) {
  base::ByteReader reader(bytes);
  const auto status = reader.read_big_endian<std::uint8_t>();
  if (!status || *status > static_cast<std::uint8_t>(ReplyStatus::busy)) return std::nullopt;
  ReplyFrame frame{.status = static_cast<ReplyStatus>(*status), .answer = {}, .error = {}};
  const std::string_view rest = base::as_text(bytes.subspan(reader.offset()));
  if (frame.status == ReplyStatus::failed) {
    const std::size_t zero = rest.find('\0');
    if (zero == std::string_view::npos) return std::nullopt;
    frame.error.emplace(code_named(rest.substr(0, zero)), "ring request", std::string(),
                        std::string(rest.substr(zero + 1)));
  } else {
    frame.answer = rest;
  }
  return frame;
}

}  // namespace litecluster::ring
