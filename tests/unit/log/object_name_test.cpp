#include "log/object_name.hpp"

#include <gtest/gtest.h>

namespace litecluster::log {
namespace {

TEST(ObjectName, IsWrittenAsLitestreamWritesIt) {
  EXPECT_EQ(to_string(ObjectName::raw(Txid(1))), "ltx/0/0000000000000001-0000000000000001.ltx");
  EXPECT_EQ(to_string(ObjectName{1, Txid(1), Txid(30)}), "ltx/1/0000000000000001-000000000000001e.ltx");
  EXPECT_EQ(to_string(ObjectName::snapshot(Txid(1000))), "ltx/9/0000000000000001-00000000000003e8.ltx");
}

TEST(ObjectName, ReadsBackWhatItWrites) {
  for (int level = 0; level < level_count; ++level) {
    const ObjectName name{level, Txid(0xABCDEF), Txid(0xFFFF'FFFF'FFFF'FFFF)};
    EXPECT_EQ(parse_object_name(to_string(name)), name);
  }
}

TEST(ObjectName, RefusesForeignNames) {
  for (const char* key :
       {"", "ltx", "ltx/0/", "ltx/0/0000000000000001.ltx", "ltx/10/0000000000000001-0000000000000001.ltx",
        "ltx/a/0000000000000001-0000000000000001.ltx", "ltx/0/000000000000000A-000000000000000b.ltx",
        "ltx/0/0000000000000000-0000000000000001.ltx", "ltx/0/0000000000000002-0000000000000001.ltx",
        "ltx/0/0000000000000001_0000000000000001.ltx", "ltx/0/0000000000000001-0000000000000001.ltx.tmp",
        "ltx/0/0000000000000001-000000000000001.ltxx", "/tx/0/0000000000000001-0000000000000001.ltx",
        "ltx/0/ 000000000000001-0000000000000001.ltx", "ltx/0/0x00000000000001-0000000000000001.ltx"}) {
    EXPECT_FALSE(parse_object_name(key)) << key;
  }
}

}  // namespace
}  // namespace litecluster::log
