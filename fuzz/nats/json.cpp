// Everything that this layer parses of what a server or another client wrote: object metadata, answers of the
// JetStream API, delivery subjects, header blocks, times, the server's greeting.
// Input: a byte that chooses, then the text. Object metadata that is accepted has to survive being written
// and read.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "nats/jetstream_json.hpp"
#include "nats/object_metadata.hpp"
#include "nats/ordered_tracker.hpp"
#include "nats/server_probe.hpp"

namespace {

using namespace litecluster::nats;  // NOLINT: a program of one file

void require(bool condition) {
  if (!condition) std::abort();
}

void check_metadata(std::string_view text) {
  // The subject of the name that it claims, so that the parser gets past that check.
  const std::size_t begin = text.find("\"name\":\"");
  std::string name = "x";
  if (begin != std::string_view::npos) name = text.substr(begin + 8, text.find('"', begin + 8) - begin - 8);
  const std::string subject = metadata_subject("b", name);
  const auto info = parse_object_info(text, subject);
  if (!info) return;
  require(info->nuid.find_first_of(".*> ") == std::string::npos);
  const auto json = to_json(*info, "b");
  require(json.has_value());
  auto again = parse_object_info(*json, subject);
  require(again.has_value());
  require(again->name == info->name && again->size == info->size && again->chunks == info->chunks &&
          again->headers == info->headers && again->digest == info->digest &&
          again->deleted == info->deleted);
}

void check_answers(std::string_view text) {
  static_cast<void>(find_api_error(text, "fuzz", "fuzz"));
  static_cast<void>(parse_publish_answer(text, "publish", "subject"));
  static_cast<void>(parse_stream_info(text));
  static_cast<void>(parse_subject_page(text));
  static_cast<void>(parse_account_info(text));
  static_cast<void>(parse_purged(text));
  static_cast<void>(parse_stored_message(text));
  static_cast<void>(parse_consumer_info(text));
  static_cast<void>(merge_stream_config(text, StreamConfig{}));
}

void check_time(std::string_view text) {
  const auto time = parse_time(text);
  if (time && *time != ServerTime{}) require(parse_time(format_time(*time)) == time);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 6) {
    case 0: check_metadata(text); break;
    case 1: check_answers(text); break;
    case 2: static_cast<void>(parse_delivery_position(text)); break;
    case 3: static_cast<void>(parse_header_block(text)); break;
    case 4: check_time(text); break;
    default: static_cast<void>(parse_server_info(text)); break;
  }
  return 0;
}
