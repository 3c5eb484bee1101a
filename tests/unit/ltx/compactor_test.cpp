#include "ltx/compactor.hpp"

#include <gtest/gtest.h>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

Bytes page(char content) {
  return filled(512, content);
}

Decoded must_compact(const std::vector<Bytes>& files, const CompactionOptions& options = {}) {
  const auto output = try_compact(files, options);
  EXPECT_TRUE(output) << output.error().message();
  auto decoded = decode(output ? *output : Bytes{});
  EXPECT_TRUE(decoded);
  return decoded ? *decoded : Decoded{};
}

TEST(Compactor, LetsTheLatestVersionOfAPageWin) {
  const auto result =
      must_compact({encode(make_header(2, 2, 9), {{1, page('a')}, {3, page('a')}, {9, page('a')}}),
                    encode(make_header(3, 3, 9), {{3, page('b')}, {4, page('b')}}),
                    encode(make_header(4, 4, 9), {{1, page('c')}, {4, page('c')}})});
  EXPECT_EQ(result.pages, (Pages{{1, page('c')}, {3, page('b')}, {4, page('c')}, {9, page('a')}}));
}

TEST(Compactor, TakesItsHeaderFromFirstAndLast) {
  Header first = make_header(2, 4, 9);
  first.timestamp = base::WallTime(std::chrono::milliseconds(100));
  first.wal_offset = 32;
  first.wal_size = 10;
  first.wal_salt1 = 5;
  first.node_id = 6;
  Header last = make_header(5, 7, 8);
  last.timestamp = base::WallTime(std::chrono::milliseconds(50));
  last.wal_offset = 42;
  const auto result = must_compact({encode(first, {{1, page('a')}}), encode(last, {{2, page('b')}})});
  Header expected = make_header(2, 7, 8);
  expected.timestamp = last.timestamp;
  EXPECT_EQ(result.info.header, expected);
}

TEST(Compactor, DropsPagesBeyondTheLastCommit) {
  const auto result =
      must_compact({encode(make_header(2, 2, 9), {{3, page('a')}, {8, page('a')}, {9, page('a')}}),
                    encode(make_header(3, 3, 8), {{3, page('b')}})});
  EXPECT_EQ(result.pages, (Pages{{3, page('b')}, {8, page('a')}}));
}

TEST(Compactor, MakesASnapshotOfASnapshotAndWhatFollows) {
  const auto result =
      must_compact({encode(make_header(1, 1, 2), {{1, page('a')}, {2, page('a')}}, PageEncoding::frame),
                    encode(make_header(2, 2, 4), {{2, page('b')}, {3, page('b')}, {4, page('b')}})});
  EXPECT_TRUE(result.info.header.is_snapshot());
  EXPECT_EQ(result.pages, (Pages{{1, page('a')}, {2, page('b')}, {3, page('b')}, {4, page('b')}}));
}

TEST(Compactor, NoticesAHoleInASnapshot) {
  const auto output = try_compact(
      {encode(make_header(1, 1, 1), {{1, page('a')}}), encode(make_header(2, 2, 3), {{3, page('b')}})});
  ASSERT_FALSE(output);
  EXPECT_EQ(output.error().code(), ErrorCode::corrupt);
  EXPECT_NE(output.error().message().find("nonsequential page numbers"), std::string::npos);
}

TEST(Compactor, AcceptsOverlapButNeitherGapNorContainment) {
  const auto file = [](std::uint64_t min, std::uint64_t max) {
    return encode(make_header(min, max, 9), {{1, page('a')}});
  };
  EXPECT_TRUE(try_compact({file(2, 5), file(6, 6)}));
  EXPECT_TRUE(try_compact({file(2, 5), file(4, 6)}));
  for (const auto& files : {std::vector{file(2, 5), file(7, 7)}, std::vector{file(2, 5), file(3, 5)},
                            std::vector{file(2, 5), file(3, 4)}, std::vector{file(6, 6), file(5, 5)}}) {
    const auto output = try_compact(files);
    ASSERT_FALSE(output);
    EXPECT_EQ(output.error().code(), ErrorCode::gap);
  }
  EXPECT_TRUE(try_compact({file(2, 5), file(7, 7)}, {.allow_gaps = true}));
}

TEST(Compactor, RefusesNothingAndMixedPageSizes) {
  EXPECT_EQ(try_compact({}).error().code(), ErrorCode::invalid_argument);
  const auto output =
      try_compact({encode(make_header(2, 2, 9, 512), {}), encode(make_header(3, 3, 9, 1024), {})});
  EXPECT_EQ(output.error().code(), ErrorCode::invalid_argument);
}

TEST(Compactor, DoesNotSucceedWhenAnyInputIsBad) {
  for (const std::size_t bad : {0U, 1U}) {
    std::vector<Bytes> files = {encode(make_header(2, 2, 9), {{1, page('a')}, {2, page('a')}}),
                                encode(make_header(3, 3, 9), {{1, page('b')}, {2, page('b')}})};
    files[bad].back() ^= std::byte{1};
    const auto output = try_compact(files);
    ASSERT_FALSE(output);
    EXPECT_EQ(output.error().code(), ErrorCode::corrupt);
    EXPECT_EQ(output.error().subject(), "input-" + std::to_string(bad));
  }
}

TEST(Compactor, KeepsDatabaseChecksumsOnRequest) {
  const Pages before = {{1, page('a')}, {2, page('a')}};
  const Pages after = {{1, page('a')}, {2, page('b')}, {3, page('b')}};
  Header first = make_header(1, 1, 2);
  first.no_checksum = false;
  Header second = make_header(2, 2, 3);
  second.no_checksum = false;
  second.pre_apply = checksum_of(before);
  const std::vector<Bytes> files = {
      encode(first, before, PageEncoding::block, checksum_of(before)),
      encode(second, {{2, page('b')}, {3, page('b')}}, PageEncoding::block, checksum_of(after))};

  const auto with = must_compact(files, {.keep_checksums = true});
  EXPECT_EQ(with.info.trailer.post_apply, checksum_of(after));
  const auto without = must_compact(files);
  EXPECT_TRUE(without.info.header.no_checksum);
  EXPECT_EQ(without.info.trailer.post_apply, std::nullopt);
  EXPECT_EQ(without.pages, after);

  const auto mixed =
      try_compact({files[0], encode(make_header(2, 2, 2), {{1, page('c')}})}, {.keep_checksums = true});
  EXPECT_EQ(mixed.error().code(), ErrorCode::invalid_argument);
}

TEST(Compactor, StopsWhenCancelled) {
  const Bytes file = encode(make_header(2, 2, 9), {{1, page('a')}});
  MemorySource source(file, "input");
  Source* input = &source;
  Bytes output;
  BytesSink sink(output);
  const auto context = Context::background().with_cancel();
  context.cancel();
  EXPECT_EQ(compact({&input, 1}, sink, {}, context).error().code(), ErrorCode::cancelled);
}

}  // namespace
}  // namespace litecluster::ltx
