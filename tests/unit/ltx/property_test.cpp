// Random histories of random databases: whatever way is taken through the codec, the same pages come out.
#include <gtest/gtest.h>

#include "ltx/database_builder.hpp"
#include "support/temporary_directory.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

/// A database after each of its transactions, and the transactions as files.
class History {
 public:
  History(std::uint64_t seed, std::size_t transactions, bool checksums)
      : random_(seed), checksums_(checksums) {
    page_size_ = page_size_min << below(5);
    for (std::uint64_t txid = 1; txid <= transactions; ++txid) commit(txid);
  }

  [[nodiscard]] const std::vector<Bytes>& files() const { return files_; }
  [[nodiscard]] const std::vector<Pages>& states() const { return states_; }
  [[nodiscard]] std::uint32_t below(std::uint32_t limit) {
    return static_cast<std::uint32_t>(random_() % limit);
  }

 private:
  Bytes random_page() {
    Bytes page(page_size_, static_cast<std::byte>(random_()));
    const std::size_t noisy = below(4) == 0 ? page_size_ : below(64);
    for (std::size_t index = 0; index < noisy; ++index) page[index] = static_cast<std::byte>(random_());
    return page;
  }

  void commit(std::uint64_t txid) {
    Pages state = states_.empty() ? Pages{} : states_.back();
    const auto before = static_cast<std::uint32_t>(state.size());
    const std::uint32_t after = 1 + below(40);
    Pages changes;
    state.erase(state.upper_bound(after), state.end());
    for (std::uint32_t number = 1; number <= after; ++number) {
      if (number > before || below(4) == 0) state[number] = changes[number] = random_page();
    }
    Header header = make_header(txid, txid, after, page_size_);
    header.no_checksum = !checksums_;
    header.timestamp = base::WallTime(std::chrono::milliseconds(txid * 1000));
    if (checksums_ && txid > 1) header.pre_apply = checksum_of(states_.back());
    files_.push_back(encode(header, changes, below(2) == 0 ? PageEncoding::block : PageEncoding::frame,
                            checksums_ ? std::optional(checksum_of(state)) : std::nullopt));
    states_.push_back(std::move(state));
  }

  std::mt19937_64 random_;
  bool checksums_;
  std::uint32_t page_size_ = 0;
  std::vector<Bytes> files_;
  std::vector<Pages> states_;
};

Bytes joined(const Pages& pages) {
  Bytes bytes;
  for (const auto& [number, page] : pages) base::append_bytes(bytes, page);
  return bytes;
}

class RandomHistory : public testing::TestWithParam<std::uint64_t> {
 protected:
  [[nodiscard]] bool checksums() const { return GetParam() % 2 == 0; }
  History history_{GetParam(), 12, GetParam() % 2 == 0};
};

TEST_P(RandomHistory, IsTheSnapshotOfEachStateWhenCompacted) {
  std::vector<Bytes> prefix;
  for (std::size_t index = 0; index < history_.files().size(); ++index) {
    prefix.push_back(history_.files()[index]);
    const auto output = try_compact(prefix, {.keep_checksums = checksums()});
    ASSERT_TRUE(output) << output.error().message();
    const auto decoded = decode(*output);
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(decoded->pages, history_.states()[index]);
  }
}

TEST_P(RandomHistory, CompactsToTheSameBytesInWhateverSteps) {
  const auto whole = try_compact(history_.files());
  ASSERT_TRUE(whole);
  std::vector<Bytes> files = history_.files();
  while (files.size() > 1) {
    const std::size_t first = history_.below(static_cast<std::uint32_t>(files.size() - 1));
    const auto count = 2 + history_.below(static_cast<std::uint32_t>(files.size() - first - 1));
    const auto begin = files.begin() + static_cast<std::ptrdiff_t>(first);
    const auto merged = try_compact(std::vector<Bytes>(begin, begin + count));
    ASSERT_TRUE(merged) << merged.error().message();
    *begin = *merged;
    files.erase(begin + 1, begin + count);
  }
  EXPECT_EQ(files.front(), *whole);
}

TEST_P(RandomHistory, AppliesInOrderToTheFinalDatabase) {
  const litecluster::test::TemporaryDirectory directory;
  for (const bool track : {false, true}) {
    auto builder = DatabaseBuilder::create(directory / "db", {.track_checksum = track});
    ASSERT_TRUE(builder);
    for (std::size_t index = 0; index < history_.files().size(); ++index) {
      MemorySource source(history_.files()[index], "test.ltx");
      const auto info = builder->apply(source);
      ASSERT_TRUE(info) << info.error().message();
      if (track) {
        EXPECT_EQ(*builder->checksum(), checksum_of(history_.states()[index]));
      }
    }
    EXPECT_EQ(*builder->checksum(), checksum_of(history_.states().back()));
    ASSERT_TRUE(builder->commit());
    EXPECT_EQ(*base::read_file(directory / "db", 1U << 24U), joined(history_.states().back()));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomHistory, testing::Range<std::uint64_t>(1, 21));

class DamagedFile : public testing::TestWithParam<PageEncoding> {
 protected:
  DamagedFile() {
    std::mt19937 random(5);
    Bytes noise(512);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random());
    pages_ = {{1, filled(512, 'a')}, {2, noise}, {3, filled(512, 'c')}};
    file_ = encode(make_header(1, 3, 3), pages_, GetParam());
  }
  Pages pages_;
  Bytes file_;
};

TEST_P(DamagedFile, IsRefusedWhenCutAnywhere) {
  for (std::size_t size = 0; size < file_.size(); ++size) {
    ASSERT_FALSE(decode(ByteView(file_).first(size))) << size;
    TricklingSource source(ByteView(file_).first(size), 7);
    ASSERT_FALSE(decode(source)) << size;
  }
}

TEST_P(DamagedFile, IsRefusedOrDecodesToTheSamePagesWithAnyBitFlipped) {
  for (std::size_t bit = 0; bit < file_.size() * 8; ++bit) {
    Bytes damaged = file_;
    damaged[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    const auto decoded = decode(damaged);
    if (decoded) {
      ASSERT_EQ(decoded->pages, pages_) << bit;
    }
  }
}

TEST_P(DamagedFile, IsRefusedOrDecodesToTheSamePagesWithAnyByteLostOrAdded) {
  for (std::size_t offset = 0; offset < file_.size(); ++offset) {
    Bytes shorter = file_;
    shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(offset));
    ASSERT_FALSE(decode(shorter)) << offset;
    Bytes longer = file_;
    longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(offset), std::byte{0});
    ASSERT_FALSE(decode(longer)) << offset;
  }
}

INSTANTIATE_TEST_SUITE_P(BothEncodings, DamagedFile,
                         testing::Values(PageEncoding::block, PageEncoding::frame));

}  // namespace
}  // namespace litecluster::ltx
