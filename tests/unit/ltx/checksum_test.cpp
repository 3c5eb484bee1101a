#include "ltx/checksum.hpp"

#include <gtest/gtest.h>

#include "ltx/format.hpp"
#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using test::checksum_of;
using test::filled;

TEST(DatabaseChecksum, EqualsThePublishedValues) {
  EXPECT_EQ(to_string(checksum_of({{1, filled(512, '1')}})), "eb1a999231044ddd");
  EXPECT_EQ(to_string(checksum_of({{1, filled(512, '2')}, {2, filled(512, '3')}})), "8b87423eeeeeeeee");
  EXPECT_EQ(to_string(checksum_of({{1, filled(1024, '2')}, {2, filled(1024, '3')}})), "e1899b6d587aaaaa");
  EXPECT_EQ(
      to_string(checksum_of({{1, filled(1024, 0x81U)}, {2, filled(1024, 0x82U)}, {3, filled(1024, 0x83U)}})),
      "8a249272ad9f7dea");
  EXPECT_EQ(
      to_string(checksum_of({{1, filled(1024, 0x91U)}, {2, filled(1024, 0x82U)}, {3, filled(1024, 0x93U)}})),
      "8a249272ad9f7dea");
  EXPECT_EQ(to_string(checksum_of({{1, filled(1024, 0x81U)}})), "eb953fc47685d740");
  EXPECT_EQ(to_string(page_checksum(PageNo(1), filled(512, 0U))), "efb1f44fecd99000");
}

TEST(DatabaseChecksum, EqualsThePublishedValueOfADatabaseWithALockPage) {
  const auto page = filled(4096, 'x');
  Checksum checksum;
  for (std::uint32_t number = 1; number <= 262155; ++number) {
    if (PageNo(number) == lock_page(4096)) continue;
    checksum = checksum.toggled(page_checksum(PageNo(number), page));
  }
  EXPECT_EQ(to_string(checksum), "c19b668c376662c7");
}

TEST(DatabaseChecksum, ChangesPageByPage) {
  const Checksum before = checksum_of({{1, filled(512, 'a')}, {2, filled(512, 'b')}});
  const Checksum after = checksum_of({{1, filled(512, 'a')}, {2, filled(512, 'c')}});
  const PageNo second(2);
  EXPECT_EQ(before.toggled(page_checksum(second, filled(512, 'b')))
                .toggled(page_checksum(second, filled(512, 'c'))),
            after);
}

TEST(LockPage, LiesAtOneGibibyte) {
  EXPECT_EQ(lock_page(512), PageNo(2097153));
  EXPECT_EQ(lock_page(1024), PageNo(1048577));
  EXPECT_EQ(lock_page(2048), PageNo(524289));
  EXPECT_EQ(lock_page(4096), PageNo(262145));
  EXPECT_EQ(lock_page(8192), PageNo(131073));
  EXPECT_EQ(lock_page(16384), PageNo(65537));
  EXPECT_EQ(lock_page(32768), PageNo(32769));
  EXPECT_EQ(lock_page(65536), PageNo(16385));
}

}  // namespace
}  // namespace litecluster::ltx
