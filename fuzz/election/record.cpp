// A leader record from the bucket: any bytes may be there. What is accepted must survive being written again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "election/record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace litecluster::election;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto record = decode_record(text);
  if (!record) return 0;
  const auto again = decode_record(encode_record(*record));
  if (!again || *again != *record) std::abort();
  return 0;
}
