/// A live stream against the real server: every frame answered once, in order.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <stdexcept>
#include <thread>

#include "ethostream/ethostream.hpp"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::OutcomeKind;
using ethostream::StreamOptions;

class Live : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static std::unique_ptr<Server> server_;
  ethostream::Client client_{server_->address()};
};

std::unique_ptr<Server> Live::server_;

TEST_F(Live, tells_its_session_and_where_the_time_of_each_answer_went) {
  StreamOptions options;
  options.max_frames_in_flight = 2;
  options.camera = "top";
  ethostream::Stream stream = client_.stream(BUNDLES, options);
  stream.open();
  EXPECT_FALSE(stream.session_id().empty());
  EXPECT_EQ(stream.credits(), 2U);
  EXPECT_EQ(stream.strides(), (std::vector<std::uint32_t>{1, 1}));
  const auto bundles = stream.bundles();
  ASSERT_EQ(bundles.size(), 2U);
  EXPECT_EQ(bundles[0].name, "vector-points");
  EXPECT_EQ(bundles[0].pose->keypoints, (std::vector<std::string>{"bright", "dark"}));
  EXPECT_EQ(bundles[1].version, 1U);
  stream.send(FRAME.image());
  const auto counts = stream.finish();
  EXPECT_EQ(counts.accepted, 1U);
  EXPECT_EQ(counts.results, 1U);
  EXPECT_EQ(counts.in_flight(), 0U);
  const Answers answers = read_all(stream);
  ASSERT_EQ(answers.outcomes.size(), 1U);
  const auto& outcome = answers.outcomes[0];
  EXPECT_GT(outcome.round_trip_ns, outcome.timings.value().total_ns);
  EXPECT_GT(outcome.capture_time_ns, 1'000'000'000'000'000'000);
  ASSERT_EQ(answers.behaviors.size(), 1U);
  EXPECT_EQ(answers.behaviors[0].behaviors, (std::vector<std::string>{"bright", "brightening"}));
}

TEST_F(Live, has_no_more_frames_in_flight_than_the_server_gave_credits) {
  StreamOptions options;
  options.max_frames_in_flight = 3;
  ethostream::Stream stream = client_.stream(BUNDLES, options);
  std::uint64_t most = 0;
  for (int count = 0; count < 50; ++count) {
    stream.send(FRAME.image());
    most = std::max(most, stream.ledger().in_flight());
  }
  EXPECT_EQ(stream.finish().results, 50U);
  EXPECT_GE(most, 1U);
  EXPECT_LE(most, 3U);
}

TEST_F(Live, with_latest_answers_what_finds_no_room_as_skipped) {
  StreamOptions options;
  options.freshness = ethostream::Freshness::latest;
  options.max_frames_in_flight = 1;
  ethostream::Stream stream = client_.stream(BUNDLES, options);
  for (int count = 0; count < 200; ++count) {
    stream.send(FRAME.image());
  }
  const auto counts = stream.finish();
  const Answers answers = read_all(stream);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(200));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(200));
  EXPECT_EQ(counts.results + counts.skipped, 200U);
  EXPECT_GT(counts.skipped, 0U);
}

TEST_F(Live, gives_every_answer_to_its_listener_before_it_is_finished) {
  ethostream::Stream stream = client_.stream(BUNDLES);
  Answers answers;
  stream.listen([&](const ethostream::Answer& answer) { answers.take(answer); });
  EXPECT_THROW(stream.listen([](const ethostream::Answer&) {}), ethostream::InvalidRequest);
  for (int count = 0; count < 100; ++count) {
    stream.send(FRAME.image());
  }
  EXPECT_EQ(stream.finish().results, 100U);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(100));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(100));
}

TEST_F(Live, ends_with_what_its_listener_throws) {
  ethostream::Stream stream = client_.stream(BUNDLES);
  stream.listen([](const ethostream::Answer&) { throw std::runtime_error("the disk is full"); });
  stream.send(FRAME.image());
  EXPECT_THROW(
      {
        for (;;) {
          stream.send(FRAME.image());
        }
      },
      std::runtime_error);
  EXPECT_THROW(stream.finish(), std::runtime_error);
  EXPECT_EQ(stream.ledger().in_flight(), 0U);
}

TEST_F(Live, lets_one_thread_send_while_another_reads) {
  ethostream::Stream stream = client_.stream(BUNDLES);
  Answers answers;
  std::thread reader([&] { answers = read_all(stream); });
  for (int count = 0; count < 200; ++count) {
    stream.send(FRAME.image());
  }
  stream.finish();
  reader.join();
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(200));
}

TEST_F(Live, does_not_mix_the_answers_of_four_streams_at_once) {
  std::vector<std::thread> threads;
  std::vector<Answers> found(4);
  for (std::size_t place = 0; place < found.size(); ++place) {
    threads.emplace_back([&, place] {
      ethostream::Stream stream = client_.stream("vector-points");
      for (std::uint64_t number = 10 * place; number < 10 * place + 60; ++number) {
        ethostream::FrameOptions options;
        options.frame_index = number;
        stream.send(MadeFrame(number).image(), options);
      }
      stream.finish();
      found[place] = read_all(stream);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  std::map<std::uint64_t, std::vector<float>> by_frame;
  for (const auto& answers : found) {
    ASSERT_EQ(answers.outcomes.size(), 60U);
    for (const auto& one : answers.outcomes) {
      const auto& x_px = one.poses.at(0).poses.at(0).x_px;
      EXPECT_EQ(by_frame.emplace(one.frame_index, x_px).first->second, x_px);
    }
  }
}

TEST_F(Live, tells_at_once_what_cannot_be_sent_and_goes_on) {
  ethostream::Stream stream = client_.stream("vector-points");
  ethostream::FrameOptions fifth;
  fifth.frame_index = 5;
  stream.send(FRAME.image(), fifth);
  try {
    stream.send(FRAME.image(), fifth);
    FAIL();
  } catch (const ethostream::InvalidFrame& error) {
    EXPECT_STREQ(error.what(), "frame 5 after frame 5; numbers only grow");
  }
  const std::vector<std::uint8_t> few(7);
  EXPECT_THROW(stream.send(ethostream::Pixels(few, 64, 48)), ethostream::InvalidFrame);
  EXPECT_THROW(stream.send(few), ethostream::InvalidFrame);
  EXPECT_EQ(stream.send(FRAME.image()), 6U);
  EXPECT_EQ(stream.finish().results, 2U);
}

TEST_F(Live, takes_no_more_frames_when_it_is_finished) {
  ethostream::Stream stream = client_.stream("vector-points");
  stream.send(FRAME.image());
  stream.finish();
  EXPECT_THROW(stream.send(FRAME.image()), ethostream::StreamClosed);
  EXPECT_EQ(stream.finish().results, 1U);
}

TEST_F(Live, answers_what_was_in_flight_as_lost_when_it_is_closed) {
  StreamOptions options;
  options.max_frames_in_flight = 8;
  ethostream::Stream stream = client_.stream(BUNDLES, options);
  for (int count = 0; count < 20; ++count) {
    stream.send(FRAME.image());
  }
  stream.close();
  EXPECT_EQ(stream.ledger().in_flight(), 0U);
  EXPECT_EQ(read_all(stream).outcome_numbers(), numbers_below(20));
  EXPECT_THROW(stream.send(FRAME.image()), ethostream::StreamClosed);
}

TEST_F(Live, may_be_dropped_in_any_state) {
  { const ethostream::Stream unopened = client_.stream(BUNDLES); }
  {
    ethostream::Stream listening = client_.stream(BUNDLES);
    listening.listen([](const ethostream::Answer&) {});
  }
  ethostream::Stream sending = client_.stream(BUNDLES);
  sending.send(FRAME.image());
  sending = client_.stream(BUNDLES);  // ends the first
  EXPECT_EQ(sending.finish().accepted, 0U);
  EXPECT_FALSE(sending.next().has_value());
}

TEST_F(Live, is_refused_with_types_and_words_that_say_what_to_do) {
  ethostream::Stream unknown = client_.stream("cat");
  try {
    unknown.open();
    FAIL();
  } catch (const ethostream::NotFound& error) {
    EXPECT_EQ(error.status(), "NOT_FOUND");
    const std::string text = error.what();
    EXPECT_EQ(text.rfind("the bundle 'cat' is not loaded; loaded are: vector-motion@1", 0), 0U)
        << text;
  }
  EXPECT_THROW(unknown.send(FRAME.image()), ethostream::NotFound);
  EXPECT_THROW(unknown.next(), ethostream::NotFound);
  EXPECT_THROW(unknown.finish(), ethostream::NotFound);
  StreamOptions options;
  options.frame_rate_hz = 20;
  EXPECT_THROW(client_.stream("vector-motion", options).open(), ethostream::InvalidRequest);
}

}  // namespace
