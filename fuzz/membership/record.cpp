// Whatever stands under `members.*` is decoded without harm, and what is accepted can be written again.
#include "membership/record.hpp"

#include <cstdlib>

#include "base/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  namespace lc = litecluster;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto record = lc::membership::decode(lc::base::as_text(bytes));
  if (!record) return 0;
  const auto text = lc::membership::encode(*record);
  // Texts that are longer than what encode() allows are accepted from newer versions, not written.
  if (!text) return 0;
  if (!lc::membership::decode(*text)) std::abort();
  return 0;
}
