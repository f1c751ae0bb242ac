/// The client's account: one outcome a frame and one result per behavior bundle, in order.
#include "ledger.hpp"

#include <gtest/gtest.h>

#include <future>
#include <mutex>
#include <utility>

#include "answer_queue.hpp"
#include "backoff.hpp"
#include "ethostream/errors.hpp"
#include "made.hpp"

namespace {

using ethostream::Answer;
using ethostream::BehaviorResult;
using ethostream::BehaviorStatus;
using ethostream::FrameOutcome;
using ethostream::Ledger;
using ethostream::OutcomeKind;

FrameOutcome outcome(std::uint64_t frame_index) {
  FrameOutcome made;
  made.frame_index = frame_index;
  return made;
}

BehaviorResult behavior(std::uint64_t frame_index, const std::string& bundle = "cage") {
  BehaviorResult made;
  made.frame_index = frame_index;
  made.bundle = bundle;
  made.version = 1;
  made.status = BehaviorStatus::ok;
  return made;
}

Answers sorted(std::vector<Answer> given) {
  Answers answers;
  for (auto& one : given) {
    answers.take(std::move(one));
  }
  return answers;
}

Ledger with_cage() {
  Ledger ledger;
  ledger.set_behavior_bundles({{"cage", 1, {"rest", "rear"}}});
  return ledger;
}

TEST(Ledger, delivers_outcomes_in_the_order_of_the_frames) {
  Ledger ledger;
  for (const auto index : numbers_below(3)) {
    ledger.send(index, 0);
  }
  EXPECT_TRUE(ledger.settle(outcome(1)).empty());
  EXPECT_EQ(ledger.in_flight(), 2U);
  EXPECT_EQ(sorted(ledger.settle(outcome(0))).outcome_numbers(), numbers_below(2));
  EXPECT_EQ(ledger.counts().in_flight(), 1U);
}

TEST(Ledger, counts_an_answer_that_nobody_waits_for_and_does_not_deliver_it) {
  Ledger ledger = with_cage();
  ledger.send(0, 0);
  EXPECT_EQ(ledger.settle(outcome(0)).size(), 1U);
  EXPECT_TRUE(ledger.settle(outcome(0)).empty());
  EXPECT_TRUE(ledger.settle(outcome(9)).empty());
  EXPECT_EQ(ledger.settle_behavior(behavior(0)).size(), 1U);
  EXPECT_TRUE(ledger.settle_behavior(behavior(0)).empty());
  EXPECT_TRUE(ledger.settle_behavior(behavior(0, "other")).empty());
  EXPECT_EQ(ledger.counts().unexpected, 4U);
}

TEST(Ledger, owes_a_frame_that_was_left_out_here_a_behavior_result_without_answer) {
  Ledger ledger = with_cage();
  ledger.send(0, 0);
  EXPECT_TRUE(ledger.skip(1, 5).empty());  // after frame 0
  ledger.send(2, 0);
  const auto outcomes = sorted(ledger.settle(outcome(0))).outcomes;
  ASSERT_EQ(outcomes.size(), 2U);
  EXPECT_EQ(outcomes[1].kind, OutcomeKind::skipped);
  EXPECT_EQ(outcomes[1].reason, "no_credit");
  EXPECT_EQ(outcomes[1].capture_time_ns, 5);
  EXPECT_EQ(ledger.settle_behavior(behavior(0)).size(), 1U);
  const auto behaviors = sorted(ledger.settle_behavior(behavior(2))).behaviors;
  ASSERT_EQ(behaviors.size(), 2U);
  EXPECT_EQ(behaviors[0].frame_index, 1U);
  EXPECT_EQ(behaviors[0].status, BehaviorStatus::no_frame);
  EXPECT_EQ(behaviors[1].status, BehaviorStatus::ok);
}

TEST(Ledger, answers_all_that_is_open_as_lost_when_it_is_closed) {
  Ledger ledger = with_cage();
  ledger.send(0, 0);
  ledger.send(1, 0);
  ledger.settle(outcome(1));
  const Answers answers = sorted(ledger.close("gone"));
  ASSERT_EQ(answers.outcome_numbers(), numbers_below(2));
  EXPECT_EQ(answers.outcomes[0].reason, "lost");
  EXPECT_EQ(answers.outcomes[0].message, "gone");
  EXPECT_EQ(answers.outcomes[1].kind, OutcomeKind::result);
  ASSERT_EQ(answers.behavior_numbers(), numbers_below(2));
  EXPECT_EQ(answers.behaviors[0].status, BehaviorStatus::error);
  EXPECT_EQ(answers.behaviors[1].behaviors, (std::vector<std::string>{"rest", "rear"}));
  const auto counts = ledger.counts();
  EXPECT_EQ(counts.accepted, 2U);
  EXPECT_EQ(counts.results, 1U);
  EXPECT_EQ(counts.lost, 1U);
  EXPECT_EQ(counts.in_flight(), 0U);
  EXPECT_EQ(ledger.in_flight(), 0U);
}

TEST(Ledger, takes_frames_of_chunks_with_acknowledgements_or_answers_and_numbers_go_on) {
  Ledger ledger;
  for (const auto index : numbers_below(3)) {
    ledger.send_chunk(index, static_cast<std::int64_t>(10 * index));
  }
  ethostream::ChunkAcknowledgement first;
  first.frames_decoded = 2;
  const auto taken = sorted(ledger.acknowledge(first)).chunks;
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].frames_decoded, 2U);
  EXPECT_FALSE(taken[0].is_lost);
  EXPECT_TRUE(ledger.acknowledge(first).empty());  // of no open chunk
  EXPECT_EQ(ledger.in_flight(), 2U);
  EXPECT_EQ(ledger.number(2, 10), 2U);  // a frame of chunk 1, before its acknowledgement
  EXPECT_GT(ledger.round_trip_ns(2), 0);
  EXPECT_EQ(ledger.in_flight(), 3U);
  EXPECT_EQ(ledger.settle(outcome(0)).size(), 1U);
  const Answers lost = sorted(ledger.close("gone"));
  ASSERT_EQ(lost.outcome_numbers(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(lost.outcomes[1].reason, "lost");
  EXPECT_EQ(lost.outcomes[1].capture_time_ns, 10);
  ASSERT_EQ(lost.chunk_numbers(), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_TRUE(lost.chunks[1].is_lost);
  EXPECT_EQ(lost.chunks[1].capture_time_ns, 20);
  EXPECT_EQ(lost.chunks[1].message, "gone");
  ledger.send_chunk(3, 0);
  EXPECT_EQ(ledger.number(0, 0), 3U);  // the first frame of the next connection
  const auto counts = ledger.counts();
  EXPECT_EQ(counts.accepted, 4U);
  EXPECT_EQ(counts.results, 1U);
  EXPECT_EQ(counts.lost, 2U);
  EXPECT_EQ(counts.unexpected, 1U);
  EXPECT_EQ(counts.chunks, 4U);
  EXPECT_EQ(counts.chunks_acknowledged, 1U);
  EXPECT_EQ(counts.chunks_lost, 2U);
}

TEST(AnswerQueue, lets_a_sender_wait_while_too_many_answers_are_unread) {
  const Ledger ledger;
  ethostream::AnswerQueue queue(ledger);
  std::mutex mutex;
  std::vector<Answer> many(16'384, outcome(0));
  queue.push(many);
  std::promise<void> began;
  auto waiting = std::async(std::launch::async, [&] {
    std::unique_lock lock(mutex);
    began.set_value();
    queue.wait_for_room(lock);
  });
  began.get_future().wait();
  std::unique_lock lock(mutex);
  EXPECT_EQ(waiting.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_TRUE(queue.next(lock).has_value());
  lock.unlock();
  waiting.get();
  lock.lock();
  queue.close();
  std::size_t left = 0;
  while (queue.next(lock)) {
    ++left;
  }
  EXPECT_EQ(left, many.size() - 1);
}

TEST(AnswerQueue, tells_a_sender_that_nobody_reads) {
  const Ledger ledger;
  ethostream::AnswerQueue queue(ledger);
  std::mutex mutex;
  queue.push(std::vector<Answer>(16'384, outcome(0)));
  std::unique_lock lock(mutex);
  EXPECT_THROW(queue.wait_for_room(lock), ethostream::AnswersUnread);
}

TEST(Backoff, doubles_up_to_a_limit_with_jitter) {
  ethostream::Backoff backoff(0.1, 1, [] { return 0.5; });
  for (const double wait : {0.1, 0.2, 0.4, 0.8, 1.0, 1.0}) {
    EXPECT_DOUBLE_EQ(backoff.next_seconds(), wait);
  }
  backoff.reset();
  EXPECT_DOUBLE_EQ(backoff.next_seconds(), 0.1);
}

}  // namespace
