// Any bytes as a WAL: a scan ends, stays within the bytes, and goes on from where it ended with the same
// result.
#include <algorithm>
#include <cstdlib>

#include "wal/scanner.hpp"

namespace {

using litecluster::Result;
namespace base = litecluster::base;
namespace wal = litecluster::wal;

class Input final : public wal::ByteSource {
 public:
  explicit Input(base::ByteView bytes) : bytes_(bytes) {}
  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> destination) override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto part =
        bytes_.subspan(offset, std::min<std::size_t>(destination.size(), bytes_.size() - offset));
    std::copy(part.begin(), part.end(), destination.begin());
    return part.size();
  }

 private:
  base::ByteView bytes_;
};

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const base::ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  Input input(bytes);
  base::Bytes frames;
  const auto whole = wal::scan(input, {}, {}, &frames);
  require(whole.has_value());
  require(whole->position.offset <= size);
  require(std::is_sorted(whole->pages.begin(), whole->pages.end()));
  for (const wal::PageFrame& page : whole->pages) require(page.frame <= whole->frame_count);
  if (whole->commit_count == 0) return 0;
  require(frames.size() == whole->frame_count * wal::frame_size(whole->header.page_size));
  const auto first = wal::scan(input, {}, {.bytes_max = 1});
  const auto rest = wal::scan(input, first->position, {});
  require(first->frame_count + rest->frame_count == whole->frame_count);
  require(rest->position == whole->position);
  return 0;
}
