/// Encoded video against the real server: the answers of its pictures.
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "ethostream/ethostream.hpp"
#include "ethostream/v1/frame.pb.h"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::ChunkCodec;

class Chunks : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_.reset(); }

  /// Chunks give the answers of their pictures: picture n has its brightest point at (4 + 2 n, 10).
  void stream_pictures(ChunkCodec codec) const;

  static std::unique_ptr<Server> server_;
  ethostream::Client client_{server_->address()};
};

std::unique_ptr<Server> Chunks::server_;

/// The first pictures of the test vectors, one in each chunk.
std::vector<std::string> encoded(ChunkCodec codec, std::uint64_t count) {
  static const std::map<ChunkCodec, std::string> names = {
      {ChunkCodec::h264, "h264"}, {ChunkCodec::hevc, "hevc"}, {ChunkCodec::mjpeg, "mjpeg"}};
  const TemporaryFolder folder;
  const std::string command = "cd '" + in_repository("") + "' && '" + python() +
                              "' -m clients.testdata.encode_chunks " + names.at(codec) + " " +
                              std::to_string(count) + " > '" + (folder / "chunks") + "'";
  if (std::system(command.c_str()) != 0) {
    throw std::runtime_error("failed: " + command);
  }
  std::istringstream lines(read_file(folder / "chunks"));
  std::vector<std::string> chunks;
  for (std::string line; std::getline(lines, line);) {
    ethostream::v1::VideoChunk chunk;  // JSON has bytes in base64
    const std::string json = "{\"data\": \"" + line + "\"}";
    const auto status = google::protobuf::util::JsonStringToMessage(json, &chunk);
    if (!status.ok()) {
      throw std::runtime_error(status.ToString());
    }
    chunks.push_back(chunk.data());
  }
  return chunks;
}

void Chunks::stream_pictures(ChunkCodec codec) const {
  constexpr std::uint64_t pictures = 12;
  ethostream::StreamOptions options;
  options.frame_rate_hz = 30;
  ethostream::Stream stream = client_.stream(BUNDLES, options);
  for (const auto& data : encoded(codec, pictures)) {
    ethostream::ChunkOptions chunk;
    chunk.capture_time_ns = static_cast<std::int64_t>(stream.ledger().chunks);
    stream.send_chunk(data, codec, chunk);
  }
  const auto counts = stream.finish();
  const Answers answers = read_all(stream);
  ASSERT_EQ(answers.outcome_numbers(), numbers_below(pictures));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(pictures));
  EXPECT_EQ(answers.chunk_numbers(), numbers_below(pictures));
  for (const auto& one : answers.chunks) {
    EXPECT_FALSE(one.is_lost);
    EXPECT_EQ(one.packets_corrupt, 0U) << one.message;
    EXPECT_EQ(one.capture_time_ns, static_cast<std::int64_t>(one.chunk_index));
  }
  EXPECT_EQ(counts.results, pictures);
  EXPECT_EQ(counts.chunks_acknowledged, pictures);
  EXPECT_EQ(counts.chunks_lost + counts.in_flight() + counts.unexpected, 0U);
  for (const auto& one : answers.outcomes) {
    EXPECT_EQ(one.capture_time_ns, static_cast<std::int64_t>(one.frame_index));
    const ethostream::Pose& brightest = one.poses.at(0).poses.at(0);
    EXPECT_EQ(brightest.x_px[0], 4.5F + 2 * static_cast<float>(one.frame_index));
    EXPECT_EQ(brightest.y_px[0], 10.5F);  // a point is 2 x 2 px
  }
}

TEST_F(Chunks, of_h264_give_the_answers_of_their_pictures) { stream_pictures(ChunkCodec::h264); }

TEST_F(Chunks, of_hevc_give_the_answers_of_their_pictures) { stream_pictures(ChunkCodec::hevc); }

TEST_F(Chunks, of_mjpeg_give_the_answers_of_their_pictures) { stream_pictures(ChunkCodec::mjpeg); }

TEST_F(Chunks, go_on_after_the_server_was_killed) {
  auto server = std::make_unique<Server>();
  const std::string address = server->address();
  const ethostream::Client client(address);
  ethostream::StreamOptions options;
  options.frame_rate_hz = 30;
  options.reconnect_seconds = 240;  // of a machine that has much else to do
  ethostream::Stream stream = client.stream(BUNDLES, options);
  for (const auto& data : encoded(ChunkCodec::h264, 40)) {
    const bool is_last = stream.ledger().chunks == 15;
    if (is_last) {
      while (stream.ledger().chunks_acknowledged < 15 || stream.ledger().in_flight() > 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      server->signal(SIGSTOP);  // so that this one is not acknowledged
    }
    stream.send_chunk(data, ChunkCodec::h264);
    if (is_last) {
      server->stop(SIGKILL);
      server = std::make_unique<Server>(std::vector<std::string>{}, address);
    }
  }
  const auto counts = stream.finish();
  const Answers answers = read_all(stream);
  EXPECT_EQ(stream.reconnects(), 1U);
  ASSERT_EQ(answers.chunk_numbers(), numbers_below(40));
  EXPECT_TRUE(answers.chunks[15].is_lost);
  EXPECT_EQ(answers.chunks[15].message, "the connection broke before the answer");
  EXPECT_EQ(counts.chunks_lost, 1U);
  EXPECT_EQ(counts.chunks_acknowledged, 39U);
  EXPECT_EQ(answers.outcome_numbers(), numbers_below(counts.accepted));
  EXPECT_EQ(answers.behavior_numbers(), numbers_below(counts.accepted));
  EXPECT_GE(counts.results, 14U + 24U);  // the last picture was still held back; 16 is a key frame
  EXPECT_EQ(counts.in_flight() + counts.unexpected, 0U);
}

TEST_F(Chunks, that_cannot_be_sent_are_told_at_once_and_the_stream_goes_on) {
  const auto message = [](const auto& act) -> std::string {
    try {
      act();
    } catch (const ethostream::InvalidRequest& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  const auto chunks = encoded(ChunkCodec::mjpeg, 2);
  ethostream::ChunkOptions third;
  third.chunk_index = 3;
  ethostream::Stream stream = client_.stream(BUNDLES);
  EXPECT_EQ(stream.send_chunk(chunks.at(0), ChunkCodec::mjpeg, third), 3U);
  EXPECT_EQ(message([&] { stream.send_chunk(chunks.at(1), ChunkCodec::mjpeg, third); }),
            "chunk 3 after chunk 3; numbers only grow");
  EXPECT_EQ(message([&] { stream.send_chunk(chunks.at(1), ChunkCodec::hevc); }),
            "this stream sends mjpeg chunks; open another one for hevc chunks");
  EXPECT_EQ(message([&] { stream.send(FRAME.image()); }),
            "this stream sends chunks; open another one for frames");
  EXPECT_EQ(stream.send_chunk(chunks.at(1), ChunkCodec::mjpeg), 4U);
  EXPECT_EQ(stream.finish().results, 2U);
  EXPECT_THROW(stream.send_chunk(chunks.at(1), ChunkCodec::mjpeg), ethostream::StreamClosed);

  ethostream::Stream frames = client_.stream(BUNDLES);
  frames.send(FRAME.image());
  EXPECT_EQ(message([&] { frames.send_chunk(chunks.at(1), ChunkCodec::h264); }),
            "this stream sends frames; open another one for h264 chunks");
  EXPECT_EQ(message([&] { frames.send_chunk(chunks.at(1), static_cast<ChunkCodec>(9)); }),
            "unknown codec 9; choose one of h264, hevc, mjpeg");
  EXPECT_EQ(frames.finish().results, 1U);
}

}  // namespace
