// The queue of a subscription and the table of requests under way, without a server.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "nats/native.hpp"
#include "nats/reply_table.hpp"
#include "nats/subscription_queue.hpp"

namespace litecluster::nats {
namespace {

Message message(const std::string& text, const std::string& subject = "s") {
  // Messages are freed through the library's own collector, which has to be running.
  static const natsStatus opened = nats_Open(-1);
  EXPECT_EQ(opened, NATS_OK);
  natsMsg* created = nullptr;
  EXPECT_EQ(natsMsg_Create(&created, subject.c_str(), nullptr, text.data(), static_cast<int>(text.size())),
            NATS_OK);
  return Message(created);
}

SubscriptionOptions limits(std::size_t messages, std::size_t bytes) {
  SubscriptionOptions options;
  options.messages_max = messages;
  options.bytes_max = bytes;
  return options;
}

Context brief() {
  return Context::background().with_timeout(std::chrono::milliseconds(5));
}

TEST(SubscriptionQueue, GivesMessagesInOrder) {
  SubscriptionQueue queue(1, "s", limits(10, 100));
  queue.push(message("a"));
  queue.push(message("b"));
  EXPECT_EQ(queue.next(brief())->text(), "a");
  EXPECT_EQ(queue.next(brief())->text(), "b");
  EXPECT_EQ(queue.next(brief()).error().code(), ErrorCode::deadline_exceeded);
}

TEST(SubscriptionQueue, ReportsDroppedMessagesAtTheirPlaceOnce) {
  SubscriptionQueue queue(1, "s", limits(2, 100));
  for (const char* text : {"a", "b", "c", "d"}) queue.push(message(text));
  EXPECT_EQ(queue.next(brief())->text(), "a");
  EXPECT_EQ(queue.next(brief())->text(), "b");
  queue.push(message("e"));
  const auto gap = queue.next(brief());
  ASSERT_FALSE(gap.has_value());
  EXPECT_EQ(gap.error().code(), ErrorCode::gap);
  EXPECT_NE(gap.error().reason().find("2 messages"), std::string::npos);
  EXPECT_EQ(queue.next(brief())->text(), "e");
}

TEST(SubscriptionQueue, LimitsBytesAsWell) {
  SubscriptionQueue queue(1, "s", limits(100, 10));
  queue.push(message("123456"));
  queue.push(message("78901"));
  EXPECT_TRUE(queue.next(brief()).has_value());
  EXPECT_EQ(queue.next(brief()).error().code(), ErrorCode::gap);
}

TEST(SubscriptionQueue, ReportsInterruptionsIfAsked) {
  SubscriptionQueue queue(1, "s", limits(10, 100));
  queue.interrupt();
  queue.interrupt();
  EXPECT_EQ(queue.next(brief()).error().code(), ErrorCode::gap);
  EXPECT_EQ(queue.next(brief()).error().code(), ErrorCode::deadline_exceeded);
  SubscriptionOptions options = limits(10, 100);
  options.report_interruptions = false;
  SubscriptionQueue careless(2, "s", options);
  careless.interrupt();
  EXPECT_EQ(careless.next(brief()).error().code(), ErrorCode::deadline_exceeded);
}

TEST(SubscriptionQueue, GivesWhatItHasAfterBeingClosed) {
  SubscriptionQueue queue(1, "s", limits(10, 100));
  queue.push(message("a"));
  queue.close();
  queue.push(message("b"));
  EXPECT_EQ(queue.next(brief())->text(), "a");
  EXPECT_EQ(queue.next(brief()).error().code(), ErrorCode::unavailable);
}

TEST(SubscriptionQueue, WakesAWaiterWhenCancelled) {
  SubscriptionQueue queue(1, "s", limits(10, 100));
  const Context context = Context::background().with_cancel();
  std::jthread canceller([&] { context.cancel(); });
  EXPECT_EQ(queue.next(context).error().code(), ErrorCode::cancelled);
}

TEST(ReplyTable, GivesEachAnswerToItsRequest) {
  ReplyTable table;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto first = table.add("a", deadline);
  const auto second = table.add("b", deadline);
  table.deliver(message("2", "_INBOX.x." + ReplyTable::token(second->id())));
  table.deliver(message("1", "_INBOX.x." + ReplyTable::token(first->id())));
  table.deliver(message("again", "_INBOX.x." + ReplyTable::token(first->id())));
  table.deliver(message("stray", "_INBOX.x.nonsense"));
  EXPECT_TRUE(first->ready());
  EXPECT_EQ(first->wait(brief())->text(), "1");
  EXPECT_EQ(second->wait(brief())->text(), "2");
}

TEST(ReplyTable, FailsAllOrThoseOfASubject) {
  ReplyTable table;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto first = table.add("a", deadline);
  const auto second = table.add("b", deadline);
  table.fail_subject("a", Error(ErrorCode::permission_denied, "publish", "a", "no"));
  EXPECT_EQ(first->wait(brief()).error().code(), ErrorCode::permission_denied);
  EXPECT_FALSE(second->ready());
  table.fail_all("broken");
  EXPECT_EQ(second->wait(brief()).error().code(), ErrorCode::unavailable);
}

TEST(ReplyTable, EndsAWaitAtTheRequestsOwnDeadline) {
  ReplyTable table;
  const auto slot = table.add("a", std::chrono::steady_clock::now());
  EXPECT_EQ(slot->wait(Context::background()).error().code(), ErrorCode::unavailable);
}

}  // namespace
}  // namespace litecluster::nats
