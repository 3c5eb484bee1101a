// Object names, time stamps, headers and the stored bucket state: whatever is accepted must survive being
// written again. The first byte says which of them the rest is.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "log/bucket_guard.hpp"
#include "log/object.hpp"
#include "log/object_name.hpp"
#include "log/timestamp.hpp"

namespace {

using namespace litecluster::log;

void require(bool condition) {
  if (!condition) std::abort();
}

void read_as_headers(std::string_view text) {
  Object object;
  const std::string value(text);
  const Headers headers{
      {std::string(timestamp_header), value},     {std::string(epoch_header), value},
      {std::string(node_header), value},          {std::string(incarnation_header), value},
      {std::string(checksum_header), value},      {std::string(pre_apply_header), value},
      {std::string(previous_file_header), value}, {std::string(file_checksum_header), value}};
  read_headers(headers, {}, object);
  const bool has_year = object.created_at >= parse_timestamp("0000-01-01T00:00:00Z") &&
                        object.created_at <= parse_timestamp("9999-12-31T23:59:59.999Z");
  if (!has_year) return;
  Object again;
  read_headers(make_headers({.created_at = object.created_at,
                             .author = object.author,
                             .checksum = object.checksum,
                             .pre_apply = object.pre_apply,
                             .previous_file = object.previous_file,
                             .file_checksum = object.file_checksum}),
               {}, again);
  require(again.defect.empty());
  // What could not be read is not written again.
  object.defect.clear();
  require(again == object);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      if (const auto name = parse_object_name(text)) require(to_string(*name) == text);
      break;
    case 1: read_as_headers(text); break;
    default:
      if (const auto state = parse_bucket_state(text))
        require(parse_bucket_state(to_string(*state)) == state);
  }
  return 0;
}
