/// What a closed loop needs, on real servers: triggers with their events, and predictions.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "ethostream/ethostream.hpp"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::Condition;
using ethostream::InvalidRequest;
using ethostream::TriggerEvent;
using ethostream::TriggerKind;

class Loop : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static std::unique_ptr<Server> server_;
  ethostream::Client client_{server_->address()};
};

std::unique_ptr<Server> Loop::server_;

using Switches = std::vector<std::pair<TriggerKind, std::uint64_t>>;

Switches switches(const std::vector<TriggerEvent>& events, const std::string& trigger) {
  Switches found;
  for (const auto& one : events) {
    if (one.trigger == trigger) {
      found.emplace_back(one.kind, one.frame_index);
    }
  }
  return found;
}

TEST_F(Loop, triggers_tell_when_a_keypoint_enters_and_leaves_in_streams_and_sessions) {
  constexpr std::uint64_t frames = 12;
  constexpr float radius_px = 5;
  ethostream::Stream plain = client_.stream("vector-points");
  for (const auto number : numbers_below(frames)) {
    plain.send(MadeFrame(number).image());
  }
  plain.finish();
  std::vector<std::pair<float, float>> places;
  for (const auto& one : read_all(plain).outcomes) {
    const auto& pose = one.poses.at(0).poses.at(0);
    places.emplace_back(pose.x_px[0], pose.y_px[0]);
  }
  ASSERT_EQ(places.size(), frames);
  const auto [x_px, y_px] = places[4];
  Switches expected;
  bool was_in = false;
  for (std::uint64_t number = 0; number < frames; ++number) {
    const bool is_in =
        std::hypot(places[number].first - x_px, places[number].second - y_px) <= radius_px;
    if (is_in != was_in) {
      expected.emplace_back(is_in ? TriggerKind::on : TriggerKind::off, number);
    }
    was_in = is_in;
  }
  ASSERT_GE(expected.size(), 2U);

  ethostream::Keypoint bright = "bright";
  bright.min_confidence = 0;
  ethostream::Keypoint dark = "dark";
  dark.min_confidence = 0;
  const auto near = Condition::in_region(bright, ethostream::Circle{x_px, y_px, radius_px});
  const auto apart = Condition::distance(bright, dark, {0.5});
  ethostream::StreamOptions options;
  options.triggers = {{"near", near},
                      {"never", Condition::all_of({near, Condition::negation(apart)})},
                      {"late", Condition::any_of({apart, near}), 3}};
  ethostream::Stream stream = client_.stream("vector-points", options);
  ethostream::Session session = client_.session("vector-points", options);
  std::vector<TriggerEvent> called;
  for (const auto number : numbers_below(frames)) {
    ethostream::FrameOptions frame;
    frame.capture_time_ns = 1000 + static_cast<std::int64_t>(number);
    stream.send(MadeFrame(number).image(), frame);
    const auto answers = session.analyze(MadeFrame(number).image(), frame);
    called.insert(called.end(), answers.triggers.begin(), answers.triggers.end());
  }
  stream.finish();
  session.end();
  const Answers answers = read_all(stream);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(frames));
  for (const auto& events : {answers.events, called}) {
    EXPECT_EQ(switches(events, "near"), expected);
    EXPECT_TRUE(switches(events, "never").empty());
    EXPECT_EQ(switches(events, "late"), (Switches{{TriggerKind::on, 2}}));
    for (const auto& one : events) {
      EXPECT_EQ(one.capture_time_ns, 1000 + static_cast<std::int64_t>(one.frame_index));
      EXPECT_GT(one.latency_ns, 0);
    }
  }
}

TEST_F(Loop, triggers_that_cannot_be_decided_are_refused) {
  const auto refusal_of = [&](const Condition& condition) -> std::string {
    ethostream::StreamOptions options;
    options.triggers = {{"near", condition}};
    try {
      client_.stream("vector-points", options).open();
    } catch (const InvalidRequest& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  const ethostream::Circle circle{20, 10, 5};
  const std::string unknown = refusal_of(Condition::in_region("tail", circle));
  EXPECT_NE(unknown.find("tail"), std::string::npos) << unknown;
  const std::string line =
      refusal_of(Condition::in_region("bright", ethostream::Polygon{{{0, 0}}}));
  EXPECT_NE(line.find("corners"), std::string::npos) << line;
}

TEST_F(Loop, predictions_are_made_of_one_animal_and_refused_of_several) {
  ethostream::StreamOptions options;
  options.prediction = ethostream::ForwardPrediction{50};
  try {
    client_.stream("vector-points", options).open();
    FAIL();
  } catch (const InvalidRequest& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("2 animals"), std::string::npos) << text;
  }
  const Server shipped({"--models", in_repository("deploy/models"), "--load", "openfield-mouse"});
  const ethostream::Client client(shipped.address());
  ethostream::Session session = client.session("openfield-mouse", options);
  std::vector<std::uint8_t> levels(320 * 240);
  for (std::size_t place = 0; place < levels.size(); ++place) {
    levels[place] = static_cast<std::uint8_t>(place % 251);
  }
  for (int count = 0; count < 2; ++count) {
    const auto answers = session.analyze(ethostream::Pixels(levels, 320, 240));
    ASSERT_EQ(answers.outcome.poses.size(), 1U) << answers.outcome.message;
    const auto& pose = answers.outcome.poses[0];
    ASSERT_EQ(pose.predicted.size(), 1U);
    EXPECT_EQ(pose.predicted[0].x_px.size(), pose.poses.at(0).x_px.size());
    EXPECT_GT(pose.predicted[0].y_px.size(), 1U);
    EXPECT_EQ(pose.predicted[0].confidence, pose.poses[0].confidence);
  }
  session.end();
}

}  // namespace
