// Whatever stands under `ring.assignment` is decoded without harm, and what is accepted comes back the same.
#include "ring/assignment.hpp"

#include <cstdlib>

#include "base/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  namespace lc = litecluster;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto assignment = lc::ring::decode(lc::base::as_text(bytes));
  if (!assignment) return 0;
  const auto again = lc::ring::decode(lc::ring::encode(*assignment));
  if (!again || again->slots != assignment->slots) std::abort();
  return 0;
}
