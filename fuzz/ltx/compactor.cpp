// Any bytes as up to four LTX files to join. Input: for each file a size (u16), then its bytes; the last
// takes the rest. What comes out of a success has to be a good file with the pages that applying the inputs
// in order leaves.
#include <vector>

#include "fuzz_support.hpp"
#include "ltx/compactor.hpp"

namespace {

using namespace litecluster;       // NOLINT: a program of one file
using namespace litecluster::ltx;  // NOLINT
using fuzz::Bytes;
using fuzz::ByteView;
using fuzz::require;

std::vector<Bytes> split(ByteView input) {
  constexpr std::size_t files_max = 4;
  std::vector<Bytes> files;
  base::ByteReader reader(input);
  while (files.size() < files_max) {
    const auto size = reader.read_big_endian<std::uint16_t>();
    if (!size) break;
    const auto bytes = reader.take(std::min<std::size_t>(*size, reader.remaining()));
    files.emplace_back(bytes->begin(), bytes->end());
    fuzz::repair_checksums(files.back());
  }
  return files;
}

/// The pages that a reader of the last commit sees.
fuzz::Pages merged(const std::vector<Bytes>& files) {
  fuzz::Pages pages;
  std::uint32_t commit = 0;
  for (const Bytes& file : files) {
    const auto decoded = fuzz::decode(file);
    require(decoded.has_value());
    commit = decoded->info.header.commit;
    for (const auto& [number, page] : decoded->pages) pages[number] = page;
  }
  std::erase_if(pages, [commit](const auto& entry) { return entry.first.value() > commit; });
  return pages;
}

void check(const std::vector<Bytes>& files, const CompactionOptions& options) {
  std::vector<MemorySource> sources;
  sources.reserve(files.size());
  for (const Bytes& file : files) sources.emplace_back(file, "fuzz");
  std::vector<Source*> inputs;
  for (MemorySource& source : sources) inputs.push_back(&source);
  Bytes output;
  BytesSink sink(output);
  const auto info = compact(inputs, sink, options);
  if (!info) return;
  const auto decoded = fuzz::decode(output);
  require(decoded.has_value());
  require(decoded->pages == merged(files));
  require(decoded->info.trailer == info->trailer && decoded->info.header == info->header);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto files = split(std::as_bytes(std::span(data, size)));
  check(files, {});
  check(files, {.encoding = PageEncoding::frame, .allow_gaps = true});
  check(files, {.keep_checksums = true});
  return 0;
}
