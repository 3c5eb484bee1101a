// A database that a test knows by heart: it is changed page by page, gives each change as an L0 file, and
// keeps what the file has to look like after every TXID.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <litecluster/types.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "ltx/checksum.hpp"
#include "ltx/encoder.hpp"
#include "ltx/stream.hpp"

namespace litecluster::test {

/// Not thread-safe. Pages hold text after a header that looks like SQLite's.
class ModelDatabase {
 public:
  explicit ModelDatabase(unsigned seed = 1, std::uint32_t page_size = 512)
      : random_(seed), page_size_(page_size) {}

  /// One transaction: changes some pages, sometimes grows or shrinks. Returns its L0 file; all files together
  /// are the log.
  base::Bytes commit(base::WallTime time) {
    const bool first = states_.size() == 1;
    std::map<std::uint32_t, bool> dirty;
    std::uint32_t count = page_count();
    if (first) count = 8;
    if (!first && pick(10) == 0) count += pick(5) + 1;
    if (!first && pick(15) == 0 && count > 4) count -= pick(count - 3);
    for (std::uint32_t page = page_count() + 1; page <= count; ++page) dirty[page] = true;
    pages_.resize(static_cast<std::size_t>(count) * page_size_);
    dirty[1] = true;
    for (std::uint32_t changes = pick(4); changes > 0; --changes) dirty[pick(count) + 1] = true;
    for (const auto& [page, ignored] : dirty) write_page(page);
    states_.push_back(pages_);
    return encode(Txid(states_.size() - 1), Txid(states_.size() - 1), dirty, time);
  }

  /// The whole database as it is now, as an LTX file of TXIDs 1 to txid().
  base::Bytes snapshot(base::WallTime time) {
    std::map<std::uint32_t, bool> all;
    for (std::uint32_t page = 1; page <= page_count(); ++page) all[page] = true;
    return encode(Txid(1), txid(), all, time);
  }

  [[nodiscard]] Txid txid() const { return Txid(states_.size() - 1); }
  [[nodiscard]] std::uint32_t page_count() const {
    return static_cast<std::uint32_t>(pages_.size() / page_size_);
  }
  [[nodiscard]] base::ByteView page(std::uint32_t number) const {
    return base::ByteView(pages_).subspan(static_cast<std::size_t>(number - 1) * page_size_, page_size_);
  }
  /// The content of the file after this TXID.
  [[nodiscard]] const base::Bytes& state(Txid txid) const { return states_.at(txid.value()); }
  /// Takes in a fence: a TXID that changes nothing.
  void repeat_state() { states_.push_back(pages_); }

  [[nodiscard]] Checksum checksum() const {
    Checksum sum;
    for (std::uint32_t number = 1; number <= page_count(); ++number) {
      sum = sum.toggled(ltx::page_checksum(PageNo(number), page(number)));
    }
    return sum;
  }

 private:
  std::uint32_t pick(std::uint32_t below) {
    return std::uniform_int_distribution<std::uint32_t>(0, below - 1)(random_);
  }

  void write_page(std::uint32_t number) {
    std::byte* page = pages_.data() + static_cast<std::size_t>(number - 1) * page_size_;
    for (std::uint32_t index = 0; index < page_size_; index += 8) {
      const std::uint64_t value = index % 64 == 0 ? random_() : 0;
      std::memcpy(page + index, &value, sizeof value);
    }
    if (number != 1) return;
    std::memcpy(page, "SQLite format 3", 16);
    base::store_big_endian(page + 16, static_cast<std::uint16_t>(page_size_ == 65536 ? 1 : page_size_));
    page[18] = page[19] = std::byte{2};
  }

  base::Bytes encode(Txid min, Txid max, const std::map<std::uint32_t, bool>& numbers, base::WallTime time) {
    ltx::Header header;
    header.page_size = page_size_;
    header.commit = page_count();
    header.min_txid = min;
    header.max_txid = max;
    header.timestamp = time;
    header.wal_offset = ltx::wal_offset_first;
    base::Bytes bytes;
    ltx::BytesSink sink(bytes);
    bool good = encoder_.begin(header, sink).has_value();
    for (const auto& [number, ignored] : numbers) {
      good = good && encoder_.add_page(PageNo(number), page(number)).has_value();
    }
    good = good && encoder_.finish().has_value();
    if (!good) std::abort();
    return bytes;
  }

  std::mt19937_64 random_;
  std::uint32_t page_size_;
  base::Bytes pages_;
  std::vector<base::Bytes> states_{{}};
  ltx::Encoder encoder_;
};

}  // namespace litecluster::test
