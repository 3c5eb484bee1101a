// Any bytes as a page index, and as a file that is read page by page through its index.
#include <algorithm>

#include "fuzz_support.hpp"
#include "ltx/page_index.hpp"
#include "ltx/page_reader.hpp"

namespace {

using namespace litecluster;       // NOLINT: a program of one file
using namespace litecluster::ltx;  // NOLINT
using fuzz::Bytes;
using fuzz::ByteView;
using fuzz::require;

void check_index(ByteView input) {
  const auto entries = parse_index(input, 0, "fuzz");
  if (!entries) return;
  require(entries->size() * 3 < input.size());
  Bytes again;
  for (const IndexEntry& entry : *entries) append_index_entry(again, entry);
  append_varint(again, 0);
  require(again.size() <= input.size());  // only shorter where a varint was longer than it needs to be
  require(parse_index(again, 0, "fuzz") == *entries);
}

void check_reader(ByteView input) {
  MemoryRandomAccess access(input, "fuzz");
  auto reader = PageReader::open(access);
  const auto decoded = fuzz::decode(input);
  if (!reader) {
    require(!decoded.has_value());  // a good file can be read either way
    return;
  }
  constexpr std::size_t pages_max = 64;
  const auto listed = reader->entries();
  const std::vector<IndexEntry> entries(listed.begin(), listed.end());
  for (std::size_t index = 0; index < std::min(entries.size(), pages_max); ++index) {
    const PageNo number = entries[index].number;
    const auto page = reader->read_page(number);
    if (page) require(page->size() == reader->header().page_size);
    if (decoded) require(page && std::ranges::equal(*page, decoded->pages.at(number)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  check_index(input);
  check_reader(input);
  Bytes repaired(input.begin(), input.end());
  fuzz::repair_checksums(repaired);
  check_reader(repaired);
  return 0;
}
