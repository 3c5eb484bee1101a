// The LTX codec beside the bare work that it cannot avoid, in one run: look at the ratios.
//
//   build/release/bench/ltx/bench_ltx --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
#include <benchmark/benchmark.h>
#include <lz4.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "ltx/compactor.hpp"
#include "ltx/crc64.hpp"
#include "ltx/decoder.hpp"
#include "ltx/encoder.hpp"
#include "ltx/verified_object.hpp"

namespace {

using namespace litecluster;  // NOLINT: a program of one file
using base::Bytes;
using base::ByteView;

constexpr std::uint32_t page_size = 4096;
constexpr std::uint32_t page_count = 4096;  // 16 MiB

template <typename Value>
Value must(Result<Value> result) {
  if (!result) std::abort();
  return std::move(*result);
}
void must(const Status& status) {
  if (!status) std::abort();
}

/// Pages that look like b-tree leaves: cells of words and numbers from the end on, free space in the middle.
const Bytes& database() {
  static const Bytes pages = [] {
    std::mt19937 random(1);
    const std::vector<std::string> words = {"alpha",   "bravo", "charlie", "delta", "echo",
                                            "foxtrot", "golf",  "hotel",   "india", "juliet"};
    Bytes bytes(std::size_t{page_size} * page_count);
    for (std::uint32_t page = 0; page < page_count; ++page) {
      std::byte* start = bytes.data() + std::size_t{page} * page_size;
      start[0] = std::byte{0x0D};
      std::size_t end = page_size;
      std::size_t slot = 8;
      while (end > slot + 300) {
        std::string cell = std::to_string(random()) + ' ';
        for (int word = 0; word < 6; ++word) cell += words[random() % words.size()] + ' ';
        cell += std::to_string(random());
        end -= cell.size();
        std::memcpy(start + end, cell.data(), cell.size());
        base::store_big_endian(start + slot, static_cast<std::uint16_t>(end));
        slot += 2;
      }
    }
    return bytes;
  }();
  return pages;
}

ByteView page_at(std::uint32_t index) {
  return ByteView(database()).subspan(std::size_t{index} * page_size, page_size);
}

ltx::Header header(std::uint64_t txid, std::uint32_t commit) {
  ltx::Header made;
  made.page_size = page_size;
  made.commit = commit;
  made.min_txid = Txid(txid);
  made.max_txid = Txid(txid);
  made.wal_offset = ltx::wal_offset_first;
  return made;
}

class NullSink final : public ltx::Sink {
 public:
  Status write(ByteView bytes) override {
    size += bytes.size();
    return {};
  }
  std::uint64_t size = 0;
};

Bytes encode_all(ltx::PageEncoding encoding, bool checksums = false) {
  Bytes bytes;
  ltx::BytesSink sink(bytes);
  ltx::Encoder encoder(encoding);
  auto head = header(2, page_count);
  head.no_checksum = !checksums;
  if (checksums) head.pre_apply = Checksum();
  must(encoder.begin(head, sink));
  for (std::uint32_t page = 0; page < page_count; ++page)
    must(encoder.add_page(PageNo(page + 1), page_at(page)));
  must(encoder.finish(checksums ? std::optional(Checksum()) : std::nullopt));
  return bytes;
}

void count_bytes(benchmark::State& state, std::size_t per_iteration) {
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                          static_cast<std::int64_t>(per_iteration));
}

template <auto Function>
void crc64(benchmark::State& state) {
  const ByteView bytes = ByteView(database()).first(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(Function(bytes, 0));
  count_bytes(state, bytes.size());
}
BENCHMARK(crc64<ltx::crc64>)->Arg(4096)->Arg(65536)->Arg(1 << 20);
BENCHMARK(crc64<ltx::crc64_clmul>)->Arg(4096)->Arg(65536)->Arg(1 << 20);
BENCHMARK(crc64<ltx::crc64_portable>)->Arg(4096)->Arg(65536)->Arg(1 << 20);

void encode_bare_lz4(benchmark::State& state) {
  Bytes destination(static_cast<std::size_t>(LZ4_compressBound(page_size)));
  for (auto _ : state) {
    for (std::uint32_t page = 0; page < page_count; ++page) {
      benchmark::DoNotOptimize(LZ4_compress_default(reinterpret_cast<const char*>(page_at(page).data()),
                                                    reinterpret_cast<char*>(destination.data()), page_size,
                                                    static_cast<int>(destination.size())));
    }
  }
  count_bytes(state, database().size());
}
BENCHMARK(encode_bare_lz4)->Unit(benchmark::kMillisecond);

void encode_ltx(benchmark::State& state, ltx::PageEncoding encoding) {
  ltx::Encoder encoder(encoding);
  NullSink sink;
  for (auto _ : state) {
    must(encoder.begin(header(2, page_count), sink));
    for (std::uint32_t page = 0; page < page_count; ++page) {
      must(encoder.add_page(PageNo(page + 1), page_at(page)));
    }
    benchmark::DoNotOptimize(must(encoder.finish()));
  }
  count_bytes(state, database().size());
}
BENCHMARK_CAPTURE(encode_ltx, block, ltx::PageEncoding::block)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode_ltx, frame, ltx::PageEncoding::frame)->Unit(benchmark::kMillisecond);

/// What one commit of a leader costs: a file of three pages.
void encode_three_pages(benchmark::State& state) {
  ltx::Encoder encoder;
  Bytes bytes;
  for (auto _ : state) {
    bytes.clear();
    ltx::BytesSink sink(bytes);
    must(encoder.begin(header(2, page_count), sink));
    for (const std::uint32_t page : {1U, 7U, 300U}) must(encoder.add_page(PageNo(page), page_at(page)));
    benchmark::DoNotOptimize(must(encoder.finish()));
  }
}
BENCHMARK(encode_three_pages);

void decode_bare_lz4(benchmark::State& state) {
  std::vector<Bytes> packed;
  for (std::uint32_t page = 0; page < page_count; ++page) {
    Bytes bytes(static_cast<std::size_t>(LZ4_compressBound(page_size)));
    bytes.resize(static_cast<std::size_t>(LZ4_compress_default(
        reinterpret_cast<const char*>(page_at(page).data()), reinterpret_cast<char*>(bytes.data()), page_size,
        static_cast<int>(bytes.size()))));
    packed.push_back(std::move(bytes));
  }
  Bytes page(page_size);
  for (auto _ : state) {
    for (const Bytes& bytes : packed) {
      benchmark::DoNotOptimize(LZ4_decompress_safe(reinterpret_cast<const char*>(bytes.data()),
                                                   reinterpret_cast<char*>(page.data()),
                                                   static_cast<int>(bytes.size()), page_size));
    }
  }
  count_bytes(state, database().size());
}
BENCHMARK(decode_bare_lz4)->Unit(benchmark::kMillisecond);

void decode_ltx(benchmark::State& state, ltx::PageEncoding encoding) {
  const Bytes file = encode_all(encoding);
  for (auto _ : state) {
    ltx::MemorySource source(file, "bench");
    benchmark::DoNotOptimize(must(ltx::verify(source)));
  }
  count_bytes(state, database().size());
}
BENCHMARK_CAPTURE(decode_ltx, block, ltx::PageEncoding::block)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_ltx, frame, ltx::PageEncoding::frame)->Unit(benchmark::kMillisecond);

/// The standby's path: verify all, then hand out all pages.
void verify_and_visit(benchmark::State& state) {
  const Bytes file = encode_all(ltx::PageEncoding::block);
  for (auto _ : state) {
    auto object = must(ltx::VerifiedObject::verify(file, "bench"));
    while (const auto page = must(object.next_page())) benchmark::DoNotOptimize(page->bytes.data());
  }
  count_bytes(state, database().size());
}
BENCHMARK(verify_and_visit)->Unit(benchmark::kMillisecond);

/// Joins that many files of 64 pages each, half of which are replaced by the next file.
void compact(benchmark::State& state) {
  const auto files = static_cast<std::uint32_t>(state.range(0));
  std::vector<Bytes> inputs;
  for (std::uint32_t file = 0; file < files; ++file) {
    Bytes bytes;
    ltx::BytesSink sink(bytes);
    ltx::Encoder encoder;
    must(encoder.begin(header(file + 2, page_count), sink));
    for (std::uint32_t page = 0; page < 64; ++page) {
      const std::uint32_t index = (file * 32 + page) % (page_count - 64);
      must(encoder.add_page(PageNo(file * 32 % (page_count - 64) + page + 1), page_at(index)));
    }
    must(encoder.finish());
    inputs.push_back(std::move(bytes));
  }
  for (auto _ : state) {
    std::vector<ltx::MemorySource> sources;
    sources.reserve(inputs.size());
    for (const Bytes& input : inputs) sources.emplace_back(input, "bench");
    std::vector<ltx::Source*> pointers;
    for (auto& source : sources) pointers.push_back(&source);
    NullSink sink;
    benchmark::DoNotOptimize(must(ltx::compact(pointers, sink)));
  }
  count_bytes(state, std::size_t{files} * 64 * page_size);
}
BENCHMARK(compact)->Arg(2)->Arg(16)->Arg(256)->Unit(benchmark::kMicrosecond);

}  // namespace
