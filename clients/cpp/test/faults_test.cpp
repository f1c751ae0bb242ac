/// Broken connections, stopping and silent servers, on real servers.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <variant>

#include "ethostream/ethostream.hpp"
#include "live_stream.hpp"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::StreamOptions;
using ethostream::Unavailable;

/// Streams 60 frames to a server that ends after the 21st, and to the one that follows it.
void stream_across_an_end(int signal) {
  auto server = std::make_unique<Server>();
  const std::string address = server->address();
  const ethostream::Client client(address);
  StreamOptions options;
  options.reconnect_seconds = 240;  // of a machine that has much else to do
  ethostream::Stream stream = client.stream(BUNDLES, options);
  for (const auto number : numbers_below(60)) {
    stream.send(FRAME.image());
    if (number == 20) {
      server->stop(signal);
      server = std::make_unique<Server>(std::vector<std::string>{}, address);
    }
  }
  const auto counts = stream.finish();
  const Answers answers = read_all(stream);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(60));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(60));
  EXPECT_EQ(counts.accepted, 60U);
  EXPECT_EQ(counts.in_flight(), 0U);
  EXPECT_EQ(counts.unexpected, 0U);
  EXPECT_EQ(counts.results + counts.lost, 60U);
  EXPECT_GE(counts.results, 39U);
  if (signal == SIGTERM) {
    EXPECT_EQ(counts.lost, 0U);
  }
  EXPECT_EQ(stream.reconnects(), 1U);
}

TEST(Faults, a_stream_goes_on_after_its_server_was_killed) { stream_across_an_end(SIGKILL); }

TEST(Faults, a_stream_goes_on_after_its_server_was_told_to_stop) { stream_across_an_end(SIGTERM); }

TEST(Faults, a_camera_that_sends_all_the_time_does_not_notice_a_killed_server) {
  auto server = std::make_unique<Server>();
  const std::string address = server->address();
  const ethostream::Client client(address);
  StreamOptions options;
  options.freshness = ethostream::Freshness::latest;
  options.reconnect_seconds = 240;
  ethostream::Stream stream = client.stream(BUNDLES, options);
  std::atomic<std::uint64_t> outcomes = 0;
  stream.listen([&](const ethostream::Answer& answer) {
    outcomes += std::holds_alternative<ethostream::FrameOutcome>(answer) ? 1 : 0;
  });
  std::atomic<bool> is_over = false;
  std::thread camera([&] {
    while (!is_over) {
      stream.send(FRAME.image());
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  for (std::uint32_t kills = 0; kills < 2; ++kills) {
    const auto before = stream.ledger().results;
    while (stream.reconnects() < kills || stream.ledger().results == before) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    server->stop(SIGKILL);
    server = std::make_unique<Server>(std::vector<std::string>{}, address);
  }
  is_over = true;
  camera.join();
  const auto counts = stream.finish();
  EXPECT_EQ(counts.accepted, outcomes);
  EXPECT_EQ(counts.in_flight(), 0U);
  EXPECT_EQ(counts.unexpected, 0U);
}

TEST(Faults, without_reconnecting_a_killed_server_is_told_and_all_is_closed) {
  Server server;
  const ethostream::Client client(server.address());
  StreamOptions options;
  options.reconnect = false;
  ethostream::Stream stream = client.stream(BUNDLES, options);
  stream.send(FRAME.image());
  server.stop(SIGKILL);
  EXPECT_THROW(stream.finish(), Unavailable);
  Answers answers;
  EXPECT_THROW(
      {
        for (;;) {
          answers.take(stream.next().value());
        }
      },
      Unavailable);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(1));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(1));
  EXPECT_EQ(stream.ledger().in_flight(), 0U);
  try {
    client.models();
    FAIL();
  } catch (const Unavailable& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.rfind("no server answers at " + server.address(), 0), 0U) << text;
  }
  EXPECT_THROW(client.session(BUNDLES).analyze(FRAME.image()), Unavailable);
}

TEST(Faults, a_server_that_falls_silent_is_given_up_and_the_stream_goes_on_with_it_later) {
  using std::chrono::seconds;
  constexpr seconds silence{20};  // also the time that a busy machine has to answer
  Server server;
  ethostream::ClientOptions client_options;
  client_options.keepalive_seconds = 0;
  StreamOptions options;
  options.reconnect_seconds = 240;
  ethostream::LiveStream stream(
      std::make_shared<ethostream::Connection>(server.address(), client_options), BUNDLES, options,
      silence);
  stream.send(FRAME.image(), {});
  while (stream.ledger().results < 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::this_thread::sleep_for(silence + seconds(2));  // a camera may pause
  stream.send(FRAME.image(), {});
  while (stream.ledger().results < 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(stream.reconnects(), 0U);
  server.signal(SIGSTOP);
  stream.send(FRAME.image(), {});
  while (stream.ledger().lost == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  server.signal(SIGCONT);
  stream.send(FRAME.image(), {});
  const auto counts = stream.finish();
  EXPECT_EQ(counts.results, 3U);
  EXPECT_EQ(counts.lost, 1U);
  EXPECT_EQ(counts.unexpected, 0U);
  EXPECT_EQ(read_all(stream).behavior_numbers(), numbers_below(4));
}

}  // namespace
