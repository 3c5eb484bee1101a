#include "log/fence_protocol.hpp"

#include <gtest/gtest.h>

#include "unit/log/make_object.hpp"

namespace litecluster::log {
namespace {

using test::author;
using test::raw;
using test::view_of;

template <typename Action>
Txid txid_of(const FenceProtocol& protocol) {
  const auto* action = std::get_if<Action>(&protocol.action());
  return action == nullptr ? Txid(0xBAD) : action->txid;
}

ErrorCode error_of(const FenceProtocol& protocol) {
  const auto* error = std::get_if<Error>(&protocol.action());
  return error == nullptr ? ErrorCode::internal : error->code();
}

TEST(FenceProtocol, AppliesToTheEndAndAppendsTheNext) {
  FenceProtocol protocol(author(2), view_of(raw(1), raw(2)));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(2));
  protocol.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(3));
  protocol.appended();
  EXPECT_EQ(txid_of<FenceProtocol::Done>(protocol), Txid(3));
}

TEST(FenceProtocol, BeginsAnEmptyLogWithTxidOne) {
  FenceProtocol protocol(author(1), LogView());
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(0));
  protocol.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(1));
}

TEST(FenceProtocol, TakesInWhatTheOldLeaderStillAppended) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.applied();
  protocol.taken(raw(2, 1));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(2));
  protocol.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(3));
  protocol.taken(raw(3, 0));
  protocol.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(4));
}

TEST(FenceProtocol, GivesWayToANewerEpoch) {
  EXPECT_EQ(error_of(FenceProtocol(author(2), view_of(raw(1, 3)))), ErrorCode::deposed);
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.applied();
  protocol.taken(raw(2, 3));
  EXPECT_EQ(error_of(protocol), ErrorCode::deposed);
}

TEST(FenceProtocol, RefusesAnEpochThatSomebodyElseUsed) {
  Object other = raw(1, 2);
  other.author = author(2, "node-2");
  EXPECT_EQ(error_of(FenceProtocol(author(2), view_of(other))), ErrorCode::deposed);
}

TEST(FenceProtocol, RecognisesItsOwnFence) {
  FenceProtocol again(author(2), view_of(raw(1), raw(2, 2)));
  again.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Done>(again), Txid(2));
  FenceProtocol retry(author(2), view_of(raw(1)));
  retry.applied();
  retry.taken(raw(2, 2));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(retry), Txid(2));
  retry.applied();
  EXPECT_EQ(txid_of<FenceProtocol::Done>(retry), Txid(2));
}

TEST(FenceProtocol, GivesUpInTheEnd) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  for (std::uint64_t txid = 2; txid <= 1001; ++txid) {
    protocol.applied();
    protocol.taken(raw(txid, 1));
  }
  EXPECT_EQ(error_of(protocol), ErrorCode::unavailable);
}

TEST(FenceProtocol, IgnoresEventsThatDoNotFit) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.appended();
  protocol.taken(raw(2, 1));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(1));
}

}  // namespace
}  // namespace litecluster::log
