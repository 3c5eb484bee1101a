// A lock record comes from a bucket that anybody may write to.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "locks/lock_record.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto record = litecluster::locks::parse_lock_record({reinterpret_cast<const char*>(data), size});
  if (record && litecluster::locks::parse_lock_record(litecluster::locks::encode(*record)) != record) {
    std::abort();
  }
  return 0;
}
