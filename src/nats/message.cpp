#include "nats/message.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "nats/native.hpp"

namespace litecluster::nats {
namespace {

template <typename Owner>
natsMsg* as_native(const Owner& owner) {
  return static_cast<natsMsg*>(owner.get());
}

std::string_view view(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

constexpr const char* status_header = "Status";
constexpr const char* description_header = "Description";

}  // namespace

void Message::Deleter::operator()(void* native) const {
  natsMsg_Destroy(static_cast<natsMsg*>(native));
}

Message::Message(void* native) : native_(native) {}

std::string_view Message::subject() const {
  return view(natsMsg_GetSubject(as_native(native_)));
}

std::string_view Message::reply() const {
  return view(natsMsg_GetReply(as_native(native_)));
}

base::ByteView Message::data() const {
  natsMsg* const message = as_native(native_);
  return base::as_bytes({natsMsg_GetData(message), static_cast<std::size_t>(natsMsg_GetDataLength(message))});
}

std::optional<std::string_view> Message::header(const char* name) const {
  const char* value = nullptr;
  if (natsMsgHeader_Get(as_native(native_), name, &value) != NATS_OK) return std::nullopt;
  return view(value);
}

std::optional<std::uint64_t> Message::header_number(const char* name) const {
  const auto text = header(name);
  return text ? parse_number(*text) : std::nullopt;
}

Headers Message::headers() const {
  Headers headers;
  natsMsg* const message = as_native(native_);
  const char** keys = nullptr;
  int key_count = 0;
  if (natsMsgHeader_Keys(message, &keys, &key_count) != NATS_OK) return headers;
  for (int key = 0; key < key_count; ++key) {
    if (std::strcmp(keys[key], status_header) == 0 || std::strcmp(keys[key], description_header) == 0)
      continue;
    const char** values = nullptr;
    int value_count = 0;
    if (natsMsgHeader_Values(message, keys[key], &values, &value_count) != NATS_OK) continue;
    for (int value = 0; value < value_count; ++value) {
      headers.push_back({std::string(keys[key]), std::string(view(values[value]))});
    }
    std::free(static_cast<void*>(values));
  }
  std::free(static_cast<void*>(keys));
  return headers;
}

int Message::status() const {
  const auto text = header(status_header);
  return text ? static_cast<int>(parse_number(*text).value_or(0)) : 0;
}

std::string_view Message::status_text() const {
  return header(description_header).value_or(std::string_view());
}

}  // namespace litecluster::nats
