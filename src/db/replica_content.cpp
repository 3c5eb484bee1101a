#include "db/replica_content.hpp"

#include <algorithm>

#include "ltx/checksum.hpp"
#include "ltx/format.hpp"

namespace litecluster::db {

std::optional<Checksum> PageChecksums::get(PageNo number) const {
  const std::size_t index = number.value() - 1;
  const std::size_t chunk = index / chunk_pages;
  if (chunk >= chunks_.size() || !chunks_[chunk]) return std::nullopt;
  const std::uint64_t value = (*chunks_[chunk])[index % chunk_pages];
  if (value == 0) return std::nullopt;
  return Checksum(value);
}

void PageChecksums::set(PageNo number, Checksum checksum) {
  const std::size_t index = number.value() - 1;
  const std::size_t chunk = index / chunk_pages;
  if (chunk >= chunks_.size()) chunks_.resize(chunk + 1);
  if (!chunks_[chunk]) chunks_[chunk] = std::make_unique<Chunk>();
  (*chunks_[chunk])[index % chunk_pages] = checksum.value();
}

std::vector<std::uint64_t> PageChecksums::all(std::uint32_t page_count) const {
  std::vector<std::uint64_t> values(page_count, 0);
  for (std::size_t chunk = 0; chunk < chunks_.size() && chunk * chunk_pages < page_count; ++chunk) {
    if (!chunks_[chunk]) continue;
    const std::size_t first = chunk * chunk_pages;
    const std::size_t count = std::min<std::size_t>(chunk_pages, page_count - first);
    std::copy_n(chunks_[chunk]->begin(), count, values.begin() + static_cast<std::ptrdiff_t>(first));
  }
  return values;
}

void PageChecksums::truncate(std::uint32_t page_count) {
  const std::size_t kept = (page_count + chunk_pages - 1) / chunk_pages;
  if (chunks_.size() > kept) chunks_.resize(kept);
  const std::size_t rest = page_count % chunk_pages;
  if (rest != 0 && chunks_.size() == kept && chunks_.back()) {
    std::fill(chunks_.back()->begin() + static_cast<std::ptrdiff_t>(rest), chunks_.back()->end(), 0);
  }
}

Result<Checksum> checksum_of_page(PageChecksums& known, WalWriter& writer, PageNo number,
                                  std::uint32_t frame_max) {
  if (const auto checksum = known.get(number)) return *checksum;
  base::Bytes page(writer.page_size());
  if (auto read = writer.read_page(number, frame_max, page); !read) return std::unexpected(read.error());
  const Checksum checksum = ltx::page_checksum(number, page);
  known.set(number, checksum);
  return checksum;
}

Result<Checksum> scan_database(PageChecksums& known, WalWriter& writer, std::uint32_t frame_max,
                               std::uint32_t page_count) {
  constexpr std::uint32_t bytes_at_once = 1U << 20U;
  const std::uint32_t page_size = writer.page_size();
  const std::uint32_t pages_at_once = std::max(1U, bytes_at_once / page_size);
  const PageNo lock_page = ltx::lock_page(page_size);
  const auto in_wal = writer.pages_in_wal(frame_max);
  if (!in_wal) return std::unexpected(in_wal.error());
  auto next_in_wal = in_wal->begin();
  base::Bytes buffer(std::size_t{pages_at_once} * page_size);
  Checksum sum;
  for (std::uint64_t first = 1; first <= page_count; first += pages_at_once) {
    const auto pages = std::min<std::uint64_t>(pages_at_once, page_count - first + 1);
    // Short at the end of the file: what is missing there lies in the WAL.
    const auto count =
        read_file_handle(writer.connection().database_file(), std::span(buffer).first(pages * page_size),
                         (first - 1) * page_size, writer.connection().path());
    if (!count) return std::unexpected(count.error());
    for (std::uint64_t index = 0; index < pages; ++index) {
      const PageNo number(static_cast<std::uint32_t>(first + index));
      const auto page = std::span(buffer).subspan(index * page_size, page_size);
      if (next_in_wal != in_wal->end() && next_in_wal->first == number) {
        const std::uint32_t frame = next_in_wal->second;
        if (auto read = writer.read_frame(frame, page); !read) return std::unexpected(read.error());
        ++next_in_wal;
      }
      if (number == lock_page) continue;
      const Checksum checksum = ltx::page_checksum(number, page);
      known.set(number, checksum);
      sum = sum.toggled(checksum);
    }
  }
  return sum;
}

}  // namespace litecluster::db
