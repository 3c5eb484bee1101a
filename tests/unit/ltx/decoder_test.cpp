#include "ltx/decoder.hpp"

#include <gtest/gtest.h>

#include "ltx/page_codec.hpp"
#include "ltx/page_index.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using namespace ltx::test;  // NOLINT: the helpers of these tests

/// Builds files that our encoder would refuse to write, with all checksums right, so that only the rule under
/// test is broken.
class RawFile {
 public:
  explicit RawFile(const Header& header) : page_size_(header.page_size) {
    const auto head = serialize(header);
    append(head);
  }

  RawFile& page(std::uint32_t number, char content = 'x', PageEncoding encoding = PageEncoding::block) {
    return frame(number, filled(page_size_, content), encoding);
  }

  RawFile& frame(std::uint32_t number, const Bytes& page, PageEncoding encoding = PageEncoding::block) {
    Bytes packed(page_frame_size_max(page.size()));
    packed.resize(pack_page(encoding, PageNo(number), page, packed));
    const std::size_t hashed = hashed_prefix_size(load_page_header(packed).flags);
    crc_ = crc64(page, crc64(ByteView(packed).first(hashed), crc_));
    append_index_entry(index_, {PageNo(number), bytes_.size(), packed.size()});
    base::append_bytes(bytes_, packed);
    return *this;
  }

  /// Bytes that count for the checksum as they are.
  RawFile& raw(const Bytes& bytes) {
    append(bytes);
    return *this;
  }

  Bytes finish(std::optional<Bytes> index = std::nullopt, std::uint64_t post_apply = 0) {
    append(Bytes(page_header_size));
    if (index) index_ = *index;
    append_varint(index_, 0);
    base::append_big_endian(index_, std::uint64_t{index_.size()});
    append(index_);
    Bytes post;
    base::append_big_endian(post, post_apply);
    append(post);
    base::append_big_endian(bytes_, Checksum(crc_).value());
    return bytes_;
  }

 private:
  void append(ByteView bytes) {
    crc_ = crc64(bytes, crc_);
    base::append_bytes(bytes_, bytes);
  }

  std::uint32_t page_size_;
  Bytes bytes_;
  Bytes index_;
  std::uint64_t crc_ = 0;
};

Bytes small_file(PageEncoding encoding = PageEncoding::block) {
  return encode(make_header(2, 2, 9), {{1, filled(512, 'a')}, {7, filled(512, 'b')}}, encoding);
}

TEST(Decoder, ReadsWhatTheRawBuilderOfTheseTestsMakes) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).page(1).page(3).finish()), "");
}

TEST(Decoder, ReadsBothEncodingsMixedInOneFile) {
  const Bytes file = RawFile(make_header(2, 2, 9))
                         .page(1, 'a', PageEncoding::frame)
                         .page(3, 'b')
                         .page(4, 'c', PageEncoding::frame)
                         .finish();
  const auto decoded = decode(file);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(decoded->pages, (Pages{{1, filled(512, 'a')}, {3, filled(512, 'b')}, {4, filled(512, 'c')}}));
}

TEST(Decoder, ReadsAStreamThatArrivesByteByByte) {
  for (const auto encoding : {PageEncoding::block, PageEncoding::frame}) {
    const Bytes file = small_file(encoding);
    for (const std::size_t step : {1U, 3U, 100U, 100000U}) {
      TricklingSource source(file, step);
      const auto decoded = decode(source);
      ASSERT_TRUE(decoded) << decoded.error().message();
      EXPECT_EQ(decoded->pages.size(), 2U);
      EXPECT_EQ(decoded->info.size_bytes, file.size());
    }
  }
}

TEST(Decoder, StaysAtTheEndAndStaysFailed) {
  const Bytes file = small_file();
  MemorySource good(file, "test.ltx");
  Decoder at_end(good);
  ASSERT_TRUE(at_end.skip_to_end());
  EXPECT_FALSE(*at_end.next_page());
  EXPECT_EQ(at_end.read_header()->commit, 9U);
  MemorySource cut(ByteView(file).first(120), "test.ltx");
  Decoder failed(cut);
  const auto status = failed.skip_to_end();
  ASSERT_FALSE(status);
  EXPECT_EQ(failed.next_page().error(), status.error());
  EXPECT_EQ(failed.read_header().error(), status.error());
}

TEST(Decoder, RefusesATruncatedFileAndSaysWhatIsMissing) {
  const Bytes file = small_file();
  const auto cut = [&file](std::size_t size) { return refusal(ByteView(file).first(size)); };
  EXPECT_EQ(cut(0), "offset 0: truncated header: 0 of 100 bytes");
  EXPECT_EQ(cut(99), "offset 99: truncated header: 99 of 100 bytes");
  EXPECT_EQ(cut(100), "offset 100: truncated page header: 0 of 6 bytes");
  EXPECT_EQ(cut(108), "offset 108: truncated page size field: 8 of 10 bytes");
  EXPECT_NE(cut(112).find("offset 112: page 1: truncated page data: 2 of "), std::string::npos);
  EXPECT_EQ(cut(file.size() - 1),
            "offset " + std::to_string(file.size() - 1) + ": truncated trailer: 15 of 16 bytes");
  EXPECT_EQ(cut(file.size() - 16),
            "offset " + std::to_string(file.size() - 16) + ": truncated trailer: 0 of 16 bytes");
  EXPECT_NE(cut(file.size() - 17).find("truncated page index size: 7 of 8 bytes"), std::string::npos);
  EXPECT_NE(cut(file.size() - 25).find("page index: number cut off or too large"), std::string::npos);
}

TEST(Decoder, RefusesTruncationAtEveryOffset) {
  for (const auto encoding : {PageEncoding::block, PageEncoding::frame}) {
    const Bytes file = small_file(encoding);
    for (std::size_t size = 0; size < file.size(); ++size)
      EXPECT_NE(refusal(ByteView(file).first(size)), "") << size;
  }
}

TEST(Decoder, RefusesExtraBytesAfterTheTrailer) {
  Bytes file = small_file();
  const std::size_t size = file.size();
  file.push_back(std::byte{0});
  EXPECT_EQ(refusal(file), "offset " + std::to_string(size) + ": extra bytes after the trailer");
}

TEST(Decoder, RefusesUnknownPageFlags) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000001 0003")).finish()),
            "offset 100: unknown page flags 0x0003");
}

TEST(Decoder, RefusesPageZeroWithFlags) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000000 0001")).finish()),
            "offset 100: page number required");
}

TEST(Decoder, RefusesPagesOutOfOrderTwiceOrBeyondTheCommit) {
  EXPECT_NE(refusal(RawFile(make_header(2, 2, 9)).page(3).page(2).finish())
                .find("page numbers out of order: 2 after 3"),
            std::string::npos);
  EXPECT_NE(refusal(RawFile(make_header(2, 2, 9)).page(3).page(3).finish())
                .find("page numbers out of order: 3 after 3"),
            std::string::npos);
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).page(10).finish()),
            "offset 100: page 10 is beyond the commit of 9 pages");
}

TEST(Decoder, RefusesTheLockPage) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 20000, 65536)).page(16385).finish()),
            "offset 100: page 16385 is the lock page");
}

TEST(Decoder, RefusesASnapshotWithAGapOrAnEarlyEnd) {
  EXPECT_NE(refusal(RawFile(make_header(1, 2, 3)).page(1).page(3).finish())
                .find("nonsequential page numbers in a snapshot: 3 after 1"),
            std::string::npos);
  EXPECT_NE(refusal(RawFile(make_header(1, 2, 3)).page(1).page(2).finish())
                .find("the snapshot ends at page 2 but its commit is 3 pages"),
            std::string::npos);
}

TEST(Decoder, RefusesPageDataOfTheWrongLength) {
  const Bytes file = RawFile(make_header(2, 2, 9)).frame(1, filled(511, 'x')).finish();
  EXPECT_EQ(refusal(file), "offset 110: page 1: page unpacks to 511 bytes instead of 512");
  const Bytes longer = RawFile(make_header(2, 2, 9)).frame(1, filled(513, 'x')).finish();
  EXPECT_EQ(refusal(longer), "offset 110: page 1: damaged LZ4 block");
  const Bytes legacy = RawFile(make_header(2, 2, 9)).frame(1, filled(511, 'x'), PageEncoding::frame).finish();
  EXPECT_EQ(refusal(legacy), "offset 106: page 1: page unpacks to 511 bytes instead of 512");
}

TEST(Decoder, RefusesAnEmptyBlock) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000001 0001 00000000")).finish()),
            "offset 110: page 1: damaged LZ4 block");
}

TEST(Decoder, RefusesABlockLargerThanAnyPageNeedsBeforeItLooksForIt) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000001 0001 ffffffff")).finish()),
            "offset 106: page 1: packed page of 4294967295 bytes, the most that a page of 512 needs is 530");
}

TEST(Decoder, RefusesDamagedLz4) {
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000001 0001 00000004 ffffffff")).finish()),
            "offset 110: page 1: damaged LZ4 block");
  EXPECT_EQ(refusal(RawFile(make_header(2, 2, 9)).raw(from_hex("00000001 0000 00000000 00000000")).finish()),
            "offset 106: page 1: no LZ4 frame where one has to be");
}

TEST(Decoder, RefusesAnIndexThatDoesNotMatchTheFrames) {
  // Two frames of 22 bytes each: 100..122 and 122..144.
  const auto with_index = [](const std::vector<IndexEntry>& entries) {
    Bytes index;
    for (const IndexEntry& entry : entries) append_index_entry(index, entry);
    return refusal(RawFile(make_header(2, 2, 9)).page(1).page(3).finish(index));
  };
  EXPECT_EQ(with_index({{PageNo(1), 100, 22}, {PageNo(3), 122, 22}}), "");
  EXPECT_NE(with_index({{PageNo(1), 100, 22}}).find("lists 1 pages, the file has 2"), std::string::npos);
  EXPECT_NE(with_index({}).find("lists 0 pages, the file has 2"), std::string::npos);
  EXPECT_NE(
      with_index({{PageNo(1), 100, 22}, {PageNo(3), 122, 22}, {PageNo(4), 144, 22}}).find("lists more pages"),
      std::string::npos);
  EXPECT_NE(with_index({{PageNo(1), 100, 22}, {PageNo(2), 122, 22}}).find("does not match"),
            std::string::npos);
  EXPECT_NE(with_index({{PageNo(1), 100, 21}, {PageNo(3), 121, 23}}).find("does not match"),
            std::string::npos);
  EXPECT_NE(with_index({{PageNo(1), 101, 22}, {PageNo(3), 123, 22}}).find("said to be at offset 101"),
            std::string::npos);
  EXPECT_NE(with_index({{PageNo(3), 100, 22}, {PageNo(1), 122, 22}}).find("page 1 after 3"),
            std::string::npos);
  EXPECT_NE(with_index({{PageNo(1), 100, 0}, {PageNo(3), 100, 22}}).find("said to take 0 bytes"),
            std::string::npos);
}

TEST(Decoder, RefusesAnIndexOfTheWrongStatedSize) {
  Bytes file = small_file();
  file[file.size() - 17] ^= std::byte{1};
  EXPECT_NE(refusal(file).find("page index has 7 bytes, its size field says 6"), std::string::npos)
      << refusal(file);
}

TEST(Decoder, RefusesPostApplyChecksumsThatBreakTheRules) {
  EXPECT_NE(
      refusal(RawFile(make_header(2, 2, 9)).page(1).finish(std::nullopt, Checksum(3).value()))
          .find("post-apply checksum not allowed in a file without database checksums: 8000000000000003"),
      std::string::npos);
  Header header = make_header(1, 1, 1);
  header.no_checksum = false;
  EXPECT_NE(refusal(RawFile(header).page(1).finish(std::nullopt, 0))
                .find("invalid post-apply checksum 0000000000000000"),
            std::string::npos);
  EXPECT_NE(refusal(RawFile(header).page(1).finish(std::nullopt, Checksum(3).value()))
                .find("post-apply checksum mismatch: stored 8000000000000003, computed "),
            std::string::npos);
  header = make_header(2, 2, 0);
  header.no_checksum = false;
  header.pre_apply = Checksum(1);
  EXPECT_NE(
      refusal(RawFile(header).finish(std::nullopt, Checksum(3).value())).find("of a database without pages"),
      std::string::npos);
}

TEST(Decoder, RefusesAWrongFileChecksumAndNamesBoth) {
  Bytes file = small_file();
  const auto stored = base::load_big_endian<std::uint64_t>(file.data() + file.size() - 8);
  file.back() ^= std::byte{1};
  EXPECT_EQ(refusal(file), "offset " + std::to_string(file.size() - 8) + ": file checksum mismatch: stored " +
                               to_string(Checksum(stored ^ 1U)) + ", computed " +
                               to_string(Checksum(stored)));
  file = small_file();
  file[file.size() - 8] &= std::byte{0x7F};
  EXPECT_NE(refusal(file).find("invalid file checksum"), std::string::npos);
}

TEST(Decoder, CountsReservedHeaderBytesInTheChecksum) {
  Bytes file = small_file();
  file[85] = std::byte{1};
  EXPECT_NE(refusal(file).find("file checksum mismatch"), std::string::npos);
}

TEST(Decoder, HandsTheErrorOfItsSourceThrough) {
  class BrokenSource final : public BufferedSource {
   public:
    [[nodiscard]] std::string_view name() const override { return "broken"; }

   protected:
    [[nodiscard]] Result<std::size_t> read(std::span<std::byte> /*destination*/) override {
      return failure(ErrorCode::unavailable, "read", "broken", "connection lost");
    }
  };
  BrokenSource source;
  EXPECT_EQ(Decoder(source).skip_to_end().error().code(), ErrorCode::unavailable);
}

}  // namespace
}  // namespace litecluster::ltx
