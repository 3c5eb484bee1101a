#include "nats/ordered_tracker.hpp"

#include <gtest/gtest.h>

namespace litecluster::nats {
namespace {

StreamInfo stream(std::uint64_t last, int made = 1) {
  StreamInfo info;
  info.last_sequence = last;
  info.created = ServerTime(std::chrono::seconds(made));
  return info;
}

DeliveryPosition at(std::uint64_t consumer, std::uint64_t sequence) {
  DeliveryPosition position;
  position.consumer_sequence = consumer;
  position.stream_sequence = sequence;
  return position;
}

TEST(DeliveryPosition, IsReadFromBothFormsOfTheReplySubject) {
  for (const char* reply :
       {"$JS.ACK.S.C.1.17.5.1700000000000000001.3", "$JS.ACK.domain.hash.S.C.1.17.5.1700000000000000001.3",
        "$JS.ACK.domain.hash.S.C.1.17.5.1700000000000000001.3.token"}) {
    const auto position = parse_delivery_position(reply);
    ASSERT_TRUE(position.has_value()) << reply;
    EXPECT_EQ(position->stream_sequence, 17);
    EXPECT_EQ(position->consumer_sequence, 5);
    EXPECT_EQ(position->time.time_since_epoch().count(), 1700000000000000001);
    EXPECT_EQ(position->pending, 3);
  }
}

TEST(DeliveryPosition, RefusesOtherSubjects) {
  for (const char* reply : {"", "$JS.ACK", "_INBOX.x", "$JS.ACK.S.C.1.x.5.1.3", "$JS.ACK.S.C.1.17.5.1",
                            "$JS.FC.S.C.1.17.5.1.3", "$JS.ACK.d.S.C.1.17.5.1.3", "$JS.ACK.S.C.1.-17.5.1.3"}) {
    EXPECT_FALSE(parse_delivery_position(reply).has_value()) << reply;
  }
}

TEST(OrderedTracker, TakesMessagesWithoutHolesOnly) {
  OrderedTracker tracker{StartAll{}};
  ASSERT_EQ(tracker.check(stream(100)), History::same);
  tracker.consumer_made();
  EXPECT_TRUE(tracker.accept(at(1, 5)));
  EXPECT_TRUE(tracker.heartbeat(1));
  EXPECT_FALSE(tracker.heartbeat(2)) << "a message is missing";
  EXPECT_TRUE(tracker.accept(at(2, 9)));
  EXPECT_FALSE(tracker.accept(at(4, 11)));
  EXPECT_FALSE(tracker.accept(at(2, 9)));
  EXPECT_EQ(tracker.last_sequence(), 9);
}

TEST(OrderedTracker, KnowsWhereAMessageCanHaveBeenPassedOver) {
  OrderedTracker all{StartAll{}};
  ASSERT_EQ(all.check(stream(2)), History::same);
  all.consumer_made();
  EXPECT_EQ(all.unread_before(2), std::nullopt) << "it was there already, nothing has moved the consumer";
  EXPECT_EQ(all.unread_before(5), 1);
  ASSERT_TRUE(all.accept(at(1, 5)));
  EXPECT_EQ(all.unread_before(6), std::nullopt);
  EXPECT_EQ(all.unread_before(9), 6);
  all.nothing_before(9);
  EXPECT_EQ(all.unread_before(9), std::nullopt);
  EXPECT_EQ(all.unread_before(10), 9);
  all.consumer_made();
  EXPECT_EQ(all.unread_before(9), 6) << "another consumer may find what the one before did not have";
}

TEST(OrderedTracker, ExpectsOnlyTheNewestOfEachSubjectWhenItBegan) {
  OrderedTracker last{StartLastPerSubject{}};
  ASSERT_EQ(last.check(stream(100)), History::same);
  last.consumer_made();
  ASSERT_TRUE(last.accept(at(1, 40)));
  EXPECT_EQ(last.unread_before(101), std::nullopt);
  EXPECT_EQ(last.unread_before(102), 101);
  OrderedTracker from{StartAtSequence{51}};
  ASSERT_EQ(from.check(stream(52)), History::same);
  from.consumer_made();
  EXPECT_EQ(from.unread_before(51), std::nullopt);
  EXPECT_EQ(from.unread_before(60), 51);
}

TEST(OrderedTracker, ResumesBehindTheLastMessage) {
  OrderedTracker tracker{StartLastPerSubject{}};
  EXPECT_TRUE(std::holds_alternative<StartLastPerSubject>(tracker.resume()));
  ASSERT_EQ(tracker.check(stream(100)), History::same);
  tracker.consumer_made();
  EXPECT_TRUE(std::holds_alternative<StartLastPerSubject>(tracker.resume()));
  ASSERT_TRUE(tracker.accept(at(1, 40)));
  EXPECT_EQ(std::get<StartAtSequence>(tracker.resume()).sequence, 41);
  tracker.consumer_made();
  EXPECT_FALSE(tracker.accept(at(1, 40))) << "delivered before";
  EXPECT_TRUE(tracker.accept(at(1, 41)));
}

TEST(OrderedTracker, NailsNewDownToAPlace) {
  OrderedTracker tracker{StartNew{}};
  ASSERT_EQ(tracker.check(stream(100)), History::same);
  ASSERT_EQ(tracker.check(stream(120)), History::same);
  EXPECT_EQ(std::get<StartAtSequence>(tracker.resume()).sequence, 101);
}

TEST(OrderedTracker, NoticesThatTheStreamIsAnotherOrLostItsEnd) {
  OrderedTracker tracker{StartAll{}};
  ASSERT_EQ(tracker.check(stream(100)), History::same);
  EXPECT_EQ(tracker.check(stream(99)), History::shorter);
  EXPECT_EQ(tracker.check(stream(200, 2)), History::another);
  EXPECT_EQ(tracker.check(stream(100)), History::same);
  tracker.consumer_made();
  ASSERT_TRUE(tracker.accept(at(1, 150)));
  EXPECT_EQ(tracker.check(stream(149)), History::shorter);
}

TEST(OrderedTracker, NoticesThatTheLastMessageIsAnotherOne) {
  OrderedTracker tracker{StartAll{}};
  EXPECT_FALSE(tracker.was_rewritten(ServerTime(std::chrono::seconds(1)))) << "nothing was read yet";
  ASSERT_EQ(tracker.check(stream(100)), History::same);
  tracker.consumer_made();
  DeliveryPosition last = at(1, 90);
  last.time = ServerTime(std::chrono::seconds(5));
  ASSERT_TRUE(tracker.accept(last));
  EXPECT_FALSE(tracker.was_rewritten(last.time));
  EXPECT_FALSE(tracker.was_rewritten(std::nullopt)) << "it may have been deleted";
  EXPECT_TRUE(tracker.was_rewritten(ServerTime(std::chrono::seconds(6))));
}

TEST(OrderedTracker, NoticesThatThePlaceToBeginIsBeyondTheEnd) {
  OrderedTracker tracker{StartAtSequence{51}};
  EXPECT_EQ(tracker.check(stream(49)), History::shorter);
  EXPECT_EQ(tracker.check(stream(50)), History::same);
}

TEST(ConsumerCreateJson, AsksForWhatIsWanted) {
  OrderedConsumerOptions options;
  options.stream = "S";
  options.filter = "a.>";
  const auto json = consumer_create_json(options, StartAtSequence{0}, "inbox");
  for (const char* part :
       {R"("stream_name":"S")", R"("filter_subject":"a.>")", R"("opt_start_seq":1)", R"("flow_control":true)",
        R"("deliver_subject":"inbox")", R"("ack_policy":"none")"}) {
    EXPECT_NE(json.find(part), std::string::npos) << part;
  }
  EXPECT_NE(consumer_create_json({}, StartNew{}, "i").find(R"("deliver_policy":"new")"), std::string::npos);
}

}  // namespace
}  // namespace litecluster::nats
