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

/// The replica reached this TXID, written in epoch 1 unless said otherwise.
LogEnd reached(std::uint64_t txid, std::uint64_t epoch = 1) {
  if (txid == 0) return {};
  return {.txid = Txid(txid), .author = author(epoch)};
}

ErrorCode error_of(const FenceProtocol& protocol) {
  const auto* error = std::get_if<Error>(&protocol.action());
  return error == nullptr ? ErrorCode::internal : error->code();
}

TEST(FenceProtocol, AppliesToTheEndAndAppendsTheNext) {
  FenceProtocol protocol(author(2), view_of(raw(1), raw(2)));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(2));
  protocol.applied(reached(2));
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(3));
  protocol.appended();
  EXPECT_EQ(txid_of<FenceProtocol::Done>(protocol), Txid(3));
}

TEST(FenceProtocol, BeginsAnEmptyLogWithTxidOne) {
  FenceProtocol protocol(author(1), LogView());
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(0));
  protocol.applied(reached(0));
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(1));
}

TEST(FenceProtocol, TakesInWhatTheOldLeaderStillAppended) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.applied(reached(1));
  protocol.taken(raw(2, 1));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(2));
  protocol.applied(reached(2));
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(3));
  protocol.taken(raw(3, 0));
  // The log has gone on meanwhile, and so did the replica.
  protocol.applied(reached(7));
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(8));
}

TEST(FenceProtocol, GivesWayToANewerEpoch) {
  EXPECT_EQ(error_of(FenceProtocol(author(2), view_of(raw(1, 3)))), ErrorCode::deposed);
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.applied(reached(1));
  protocol.taken(raw(2, 3));
  EXPECT_EQ(error_of(protocol), ErrorCode::deposed);
  FenceProtocol late(author(2), view_of(raw(1)));
  late.applied(reached(5, 3));
  EXPECT_EQ(error_of(late), ErrorCode::deposed);
}

TEST(FenceProtocol, RefusesAnEpochThatSomebodyElseUsed) {
  Object other = raw(1, 2);
  other.author = author(2, "node-2");
  EXPECT_EQ(error_of(FenceProtocol(author(2), view_of(other))), ErrorCode::deposed);
}

TEST(FenceProtocol, RecognisesItsOwnFence) {
  FenceProtocol again(author(2), view_of(raw(1), raw(2, 2)));
  again.applied(reached(2, 2));
  EXPECT_EQ(txid_of<FenceProtocol::Done>(again), Txid(2));
  FenceProtocol retry(author(2), view_of(raw(1)));
  retry.applied(reached(1));
  retry.taken(raw(2, 2));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(retry), Txid(2));
  retry.applied(reached(2, 2));
  EXPECT_EQ(txid_of<FenceProtocol::Done>(retry), Txid(2));
}

TEST(FenceProtocol, GivesUpInTheEnd) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  for (std::uint64_t txid = 2; txid <= 1001; ++txid) {
    protocol.applied(reached(txid - 1));
    protocol.taken(raw(txid, 1));
  }
  EXPECT_EQ(error_of(protocol), ErrorCode::unavailable);
}

TEST(FenceProtocol, UsesTheNameOfAStaleObjectThatIsRemoved) {
  FenceProtocol protocol(author(3), view_of(raw(1)));
  protocol.removed();
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(1)) << "nothing was taken yet";
  protocol.applied(reached(1));
  protocol.taken(raw(2, 1));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(2));
  protocol.removed();
  EXPECT_EQ(txid_of<FenceProtocol::Append>(protocol), Txid(2));
}

TEST(FenceProtocol, IgnoresEventsThatDoNotFit) {
  FenceProtocol protocol(author(2), view_of(raw(1)));
  protocol.appended();
  protocol.taken(raw(2, 1));
  protocol.applied(reached(0));
  EXPECT_EQ(txid_of<FenceProtocol::Apply>(protocol), Txid(1));
}

}  // namespace
}  // namespace litecluster::log
