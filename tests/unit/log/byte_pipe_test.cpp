#include "log/byte_pipe.hpp"

#include <gtest/gtest.h>

#include <array>
#include <thread>

namespace litecluster::log {
namespace {

base::Bytes read_all(BytePipe& pipe) {
  base::Bytes all;
  std::array<std::byte, 700> buffer{};
  while (true) {
    const auto count = pipe.read(buffer);
    if (!count || *count == 0) return all;
    base::append_bytes(all, base::ByteView(buffer).first(*count));
  }
}

TEST(BytePipe, CarriesBytesInOrderThroughASmallBuffer) {
  BytePipe pipe(Context::background(), 1000);
  base::Bytes expected;
  for (int index = 0; index < 300'000; ++index) expected.push_back(static_cast<std::byte>(index * 7));
  const std::jthread writer([&] {
    for (std::size_t offset = 0; offset < expected.size();) {
      const std::size_t count = std::min<std::size_t>(1 + offset % 1777, expected.size() - offset);
      EXPECT_TRUE(pipe.write(base::ByteView(expected).subspan(offset, count)));
      offset += count;
    }
    pipe.finish({});
  });
  EXPECT_EQ(read_all(pipe), expected);
}

TEST(BytePipe, CarriesLargeAndSmallPiecesInOrder) {
  BytePipe pipe(Context::background(), 200'000);
  base::Bytes expected;
  for (int index = 0; index < 5'000'000; ++index) expected.push_back(static_cast<std::byte>(index / 3));
  const std::jthread writer([&] {
    constexpr std::array<std::size_t, 4> sizes{131'072, 10, 65'536, 65'535};
    std::size_t turn = 0;
    for (std::size_t offset = 0; offset < expected.size();) {
      const std::size_t count = std::min(sizes[turn++ % sizes.size()], expected.size() - offset);
      EXPECT_TRUE(pipe.write(base::ByteView(expected).subspan(offset, count)));
      offset += count;
    }
    pipe.finish({});
  });
  EXPECT_EQ(read_all(pipe), expected);
}

TEST(BytePipe, HandsTheWritersErrorToTheReader) {
  BytePipe pipe(Context::background(), 1000);
  ASSERT_TRUE(pipe.write(base::as_bytes("abc")));
  pipe.finish(failure(ErrorCode::io, "read", "disk", "broken"));
  std::array<std::byte, 10> buffer{};
  EXPECT_EQ(*pipe.read(buffer), 3U);
  EXPECT_EQ(pipe.read(buffer).error().code(), ErrorCode::io);
}

TEST(BytePipe, HandsTheReadersErrorToAWaitingWriter) {
  BytePipe pipe(Context::background(), 0);
  ASSERT_TRUE(pipe.write(base::as_bytes("abc")));
  const std::jthread reader(
      [&] { pipe.give_up(Error(ErrorCode::resource_exhausted, "put", "bucket", "full")); });
  EXPECT_EQ(pipe.write(base::as_bytes("abc")).error().code(), ErrorCode::resource_exhausted);
}

TEST(BytePipe, WakesBothSidesWhenCancelled) {
  const Context context = Context::background().with_cancel();
  BytePipe full(context, 0);
  BytePipe empty(context, 0);
  ASSERT_TRUE(full.write(base::as_bytes("abc")));
  std::array<std::byte, 10> buffer{};
  const std::jthread canceller([&] { context.cancel(); });
  EXPECT_EQ(full.write(base::as_bytes("abc")).error().code(), ErrorCode::cancelled);
  EXPECT_EQ(empty.read(buffer).error().code(), ErrorCode::cancelled);
}

}  // namespace
}  // namespace litecluster::log
