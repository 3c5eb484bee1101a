#include "ltx/page_order.hpp"

#include <gtest/gtest.h>

#include "unit/ltx/ltx_support.hpp"

namespace litecluster::ltx {
namespace {

using test::make_header;

/// A snapshot's order that has taken all pages before the lock page of 64 KiB pages.
PageOrder up_to_lock_page(std::uint32_t commit) {
  PageOrder order(make_header(1, 1, commit, 65536));
  for (std::uint32_t number = 1; number <= 16384; ++number) EXPECT_FALSE(order.accept(PageNo(number)));
  return order;
}

TEST(PageOrder, LetsASnapshotJumpOverTheLockPageAndNothingElse) {
  PageOrder order = up_to_lock_page(16387);
  EXPECT_EQ(order.accept(PageNo(16385)), "page 16385 is the lock page");
  EXPECT_EQ(order.accept(PageNo(16387)), "nonsequential page numbers in a snapshot: 16387 after 16384");
  EXPECT_FALSE(order.accept(PageNo(16386)));
  EXPECT_EQ(order.finish(), "the snapshot ends at page 16386 but its commit is 16387 pages");
  EXPECT_FALSE(order.accept(PageNo(16387)));
  EXPECT_FALSE(order.finish());
}

TEST(PageOrder, LetsASnapshotEndAtTheLockPage) {
  EXPECT_TRUE(up_to_lock_page(16386).finish());
  EXPECT_FALSE(up_to_lock_page(16385).finish());
  EXPECT_FALSE(up_to_lock_page(16384).finish());
}

TEST(PageOrder, LetsAnIncrementHaveAnyAscendingPages) {
  PageOrder order(make_header(2, 2, 0xFFFF'FFFE, 512));
  EXPECT_FALSE(order.accept(PageNo(3)));
  EXPECT_FALSE(order.accept(PageNo(0xFFFF'FFFE)));
  EXPECT_TRUE(order.accept(PageNo(0xFFFF'FFFF)));
  EXPECT_TRUE(order.accept(PageNo(4)));
  EXPECT_FALSE(order.finish());
}

}  // namespace
}  // namespace litecluster::ltx
