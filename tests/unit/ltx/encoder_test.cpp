#include "ltx/encoder.hpp"

#include <gtest/gtest.h>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

std::string refusal_of(const Header& header, const Pages& pages,
                       std::optional<Checksum> post_apply = std::nullopt) {
  const auto bytes = try_encode(header, pages, PageEncoding::block, post_apply);
  if (bytes) return {};
  EXPECT_EQ(bytes.error().code(), ErrorCode::invalid_argument);
  return bytes.error().reason();
}

/// Adds pages in the order given, which a map cannot.
std::string refusal_in_order(const Header& header, const std::vector<std::uint32_t>& numbers) {
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder;
  if (const auto begun = encoder.begin(header, sink); !begun) return begun.error().reason();
  for (const std::uint32_t number : numbers) {
    if (const auto added = encoder.add_page(PageNo(number), filled(header.page_size, 'x')); !added) {
      return added.error().reason();
    }
  }
  const auto info = encoder.finish();
  return info ? "" : info.error().reason();
}

TEST(Encoder, WritesAPageOfOneByteInTheKnownNumberOfBytes) {
  const Bytes file = encode(make_header(2, 2, 1, 1024), {{1, filled(1024, 'x')}});
  EXPECT_EQ(file.size(), 100U + 24 + 6 + 4 + 8 + 16);
}

TEST(Encoder, WritesAFileWithoutPages) {
  const Bytes file = encode(make_header(2, 2, 1), {});
  EXPECT_EQ(file.size(), file_size_min);
  const auto decoded = decode(file);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_TRUE(decoded->pages.empty());
}

TEST(Encoder, SaysWhatItWrote) {
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder;
  ASSERT_TRUE(encoder.begin(make_header(3, 4, 9), sink));
  ASSERT_TRUE(encoder.add_page(PageNo(9), filled(512, 'x')));
  const auto info = encoder.finish();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->size_bytes, bytes.size());
  EXPECT_EQ(info->page_count, 1U);
  const auto decoded = decode(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->info.trailer, info->trailer);
}

TEST(Encoder, ServesManyFilesAndForgetsAnAbandonedOne) {
  Encoder encoder;
  Bytes lost;
  BytesSink lost_sink(lost);
  ASSERT_TRUE(encoder.begin(make_header(2, 2, 9, 65536), lost_sink));
  ASSERT_TRUE(encoder.add_page(PageNo(5), filled(65536, 'l')));
  EXPECT_FALSE(encoder.add_page(PageNo(5), filled(65536, 'l')));
  for (std::uint64_t txid = 3; txid < 6; ++txid) {
    Bytes bytes;
    BytesSink sink(bytes);
    ASSERT_TRUE(encoder.begin(make_header(txid, txid, 9), sink));
    ASSERT_TRUE(encoder.add_page(PageNo(2), filled(512, 'x')));
    ASSERT_TRUE(encoder.finish());
    EXPECT_EQ(bytes, encode(make_header(txid, txid, 9), {{2, filled(512, 'x')}}));
  }
}

TEST(Encoder, StaysFailedUntilTheNextFile) {
  Bytes bytes;
  BytesSink sink(bytes);
  Encoder encoder;
  EXPECT_FALSE(encoder.finish());
  ASSERT_TRUE(encoder.begin(make_header(2, 2, 9), sink));
  const auto first = encoder.add_page(PageNo(10), filled(512, 'x'));
  ASSERT_FALSE(first);
  EXPECT_EQ(encoder.add_page(PageNo(1), filled(512, 'x')), first);
  EXPECT_EQ(encoder.finish().error(), first.error());
  ASSERT_TRUE(encoder.begin(make_header(2, 2, 9), sink));
  EXPECT_TRUE(encoder.finish());
  EXPECT_FALSE(encoder.finish());
  EXPECT_FALSE(encoder.add_page(PageNo(1), filled(512, 'x')));
}

TEST(Encoder, RefusesAnInvalidHeader) {
  EXPECT_EQ(refusal_of(make_header(0, 1, 1), {}), "min TXID is 0");
}

TEST(Encoder, RefusesAPageOfTheWrongLength) {
  EXPECT_EQ(refusal_of(make_header(2, 2, 1), {{1, filled(511, 'x')}}), "page 1 has 511 bytes instead of 512");
}

TEST(Encoder, RefusesPageZero) {
  EXPECT_EQ(refusal_in_order(make_header(2, 2, 1), {0}), "page number 0");
}

TEST(Encoder, RefusesAPageBeyondTheCommit) {
  EXPECT_EQ(refusal_in_order(make_header(2, 2, 1), {2}), "page 2 is beyond the commit of 1 pages");
}

TEST(Encoder, RefusesTheLockPage) {
  EXPECT_EQ(refusal_in_order(make_header(2, 2, 20000, 65536), {16385}), "page 16385 is the lock page");
}

TEST(Encoder, RefusesPagesOutOfOrder) {
  EXPECT_EQ(refusal_in_order(make_header(2, 2, 9), {3, 3}), "page numbers out of order: 3 after 3");
  EXPECT_EQ(refusal_in_order(make_header(2, 2, 9), {3, 2}), "page numbers out of order: 2 after 3");
}

TEST(Encoder, RefusesASnapshotWithAGap) {
  EXPECT_EQ(refusal_in_order(make_header(1, 2, 3), {2}),
            "nonsequential page numbers in a snapshot: 2 after 0");
  EXPECT_EQ(refusal_in_order(make_header(1, 2, 3), {1, 3}),
            "nonsequential page numbers in a snapshot: 3 after 1");
}

TEST(Encoder, RefusesASnapshotThatEndsBeforeItsCommit) {
  EXPECT_EQ(refusal_in_order(make_header(1, 2, 3), {1, 2}),
            "the snapshot ends at page 2 but its commit is 3 pages");
  EXPECT_EQ(refusal_in_order(make_header(1, 2, 3), {}),
            "the snapshot ends at page 0 but its commit is 3 pages");
}

TEST(Encoder, WantsDatabaseChecksumsExactlyWhenTheHeaderSaysSo) {
  const Pages pages = {{1, filled(512, 'x')}};
  EXPECT_EQ(refusal_of(make_header(2, 2, 1), pages, Checksum()),
            "post-apply checksum not allowed in a file without database checksums");
  Header header = make_header(1, 1, 1);
  header.no_checksum = false;
  EXPECT_EQ(refusal_of(header, pages), "post-apply checksum missing in a file with database checksums");
  EXPECT_NE(refusal_of(header, pages, Checksum(5)).find("but that of the snapshot's pages is"),
            std::string::npos);
  const Bytes file = encode(header, pages, PageEncoding::block, checksum_of(pages));
  const auto decoded = decode(file);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->info.trailer.post_apply, checksum_of(pages));
}

TEST(Encoder, WritesADeletionOnlyWithTheChecksumOfNothing) {
  Header header = make_header(5, 5, 0);
  EXPECT_NE(refusal_of(header, {}), "");
  header.no_checksum = false;
  header.pre_apply = Checksum(77);
  EXPECT_NE(refusal_of(header, {}, Checksum(1)), "");
  const auto decoded = decode(encode(header, {}, PageEncoding::block, Checksum()));
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->info.header.commit, 0U);
}

TEST(Encoder, HandsTheErrorOfItsSinkThrough) {
  class FullSink final : public Sink {
   public:
    Status write(base::ByteView bytes) override {
      room_ -= static_cast<std::int64_t>(bytes.size());
      if (room_ >= 0) return {};
      return failure(ErrorCode::resource_exhausted, "write", "disk", "full");
    }

   private:
    std::int64_t room_ = 110;
  };
  FullSink sink;
  Encoder encoder;
  ASSERT_TRUE(encoder.begin(make_header(2, 2, 9), sink));
  EXPECT_EQ(encoder.add_page(PageNo(1), filled(512, 'x')).error().code(), ErrorCode::resource_exhausted);
  EXPECT_EQ(encoder.finish().error().code(), ErrorCode::resource_exhausted);
}

}  // namespace
}  // namespace litecluster::ltx
