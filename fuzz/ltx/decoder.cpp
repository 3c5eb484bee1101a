// Any bytes as an LTX file. What the decoder accepts, the encoder has to accept too, and the pages have to
// come out the same on every way: from memory, from a slow stream, from a verified object, written again in
// either encoding.
#include <algorithm>

#include "fuzz_support.hpp"
#include "ltx/verified_object.hpp"

namespace {

using namespace litecluster;       // NOLINT: a program of one file
using namespace litecluster::ltx;  // NOLINT
using fuzz::Bytes;
using fuzz::ByteView;
using fuzz::require;

class SlowSource final : public BufferedSource {
 public:
  explicit SlowSource(ByteView bytes) : bytes_(bytes) {}
  [[nodiscard]] std::string_view name() const override { return "fuzz"; }

 protected:
  [[nodiscard]] Result<std::size_t> read(std::span<std::byte> destination) override {
    const std::size_t count = std::min<std::size_t>({destination.size(), bytes_.size(), 61});
    std::copy_n(bytes_.begin(), count, destination.begin());
    bytes_ = bytes_.subspan(count);
    return count;
  }

 private:
  ByteView bytes_;
};

void check_all_ways(ByteView file) {
  const auto decoded = fuzz::decode(file);
  SlowSource slow(file);
  const auto streamed = fuzz::decode(slow);
  require(decoded.has_value() == streamed.has_value());
  auto object = VerifiedObject::verify(file, "fuzz");
  require(decoded.has_value() == object.has_value());
  if (!decoded) return;
  require(decoded->pages == streamed->pages);
  require(decoded->info.size_bytes == file.size());
  fuzz::Pages seen;
  while (true) {
    const auto page = object->next_page();
    require(page.has_value());
    if (!*page) break;
    seen.emplace((*page)->number, Bytes((*page)->bytes.begin(), (*page)->bytes.end()));
  }
  require(seen == decoded->pages);
  for (const auto encoding : {PageEncoding::block, PageEncoding::frame}) {
    const auto again = fuzz::decode(fuzz::encode(*decoded, encoding));
    require(again.has_value());
    require(again->pages == decoded->pages && again->info.header == decoded->info.header);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  check_all_ways(input);
  Bytes repaired(input.begin(), input.end());
  fuzz::repair_checksums(repaired);
  check_all_ways(repaired);
  return 0;
}
