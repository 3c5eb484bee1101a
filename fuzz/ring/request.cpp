// Requests and replies of other nodes are decoded without harm.
#include "ring/request_frame.hpp"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  namespace ring = litecluster::ring;
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto request = ring::decode_request(bytes)) {
    const auto again = ring::encode_request(request->key, request->payload);
    if (!ring::decode_request(again)) std::abort();
  }
  static_cast<void>(ring::decode_reply(bytes));
  return 0;
}
