/// What a caller gives, made into messages: frames, options, digests; no server is needed.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "ethostream/ethostream.hpp"
#include "made.hpp"
#include "requests.hpp"
#include "sha256.hpp"
#include "status.hpp"

namespace {

using ethostream::Bundles;
using ethostream::Bytes;
using ethostream::Client;
using ethostream::ClientOptions;
using ethostream::InvalidFrame;
using ethostream::InvalidRequest;
using ethostream::Pixels;
namespace requests = ethostream::requests;
namespace v1 = ethostream::v1;

const std::vector<std::uint8_t> GRAY(6, 7);
const std::vector<std::uint8_t> COLOR(18, 7);

v1::Frame framed(const ethostream::Image& image, const ethostream::FrameOptions& options = {},
                 std::size_t max_message_bytes = 4096) {
  return requests::frame(image, {3, 5, ethostream::Color::rgb}, options, max_message_bytes);
}

std::string refusal(const ethostream::Image& image, const ethostream::FrameOptions& options = {},
                    std::size_t max_message_bytes = 4096) {
  try {
    framed(image, options, max_message_bytes);
  } catch (const InvalidFrame& error) {
    EXPECT_EQ(error.status(), "INVALID_ARGUMENT");
    return error.what();
  }
  return "";
}

TEST(Frame, tells_gray_and_color_by_the_number_of_bytes) {
  const v1::Frame gray = framed(Pixels(GRAY, 3, 2));
  EXPECT_EQ(gray.encoding(), v1::FRAME_ENCODING_GRAY8);
  EXPECT_EQ(gray.frame_index(), 3U);
  EXPECT_EQ(gray.capture_time_ns(), 5);
  EXPECT_EQ(gray.width_px(), 3U);
  EXPECT_EQ(gray.height_px(), 2U);
  EXPECT_EQ(gray.data(), std::string(6, '\7'));
  EXPECT_EQ(framed(Pixels(COLOR, 3, 2)).encoding(), v1::FRAME_ENCODING_RGB24);
  ethostream::FrameOptions options;
  options.color = ethostream::Color::bgr;
  options.crop = ethostream::Crop{1, 0, 2, 2};
  const v1::Frame bgr = framed(Pixels(COLOR, 3, 2), options);
  EXPECT_EQ(bgr.encoding(), v1::FRAME_ENCODING_BGR24);
  EXPECT_EQ(bgr.crop().x_px(), 1U);
}

TEST(Frame, tells_files_by_their_first_bytes) {
  EXPECT_EQ(framed(Bytes(std::string("\xff\xd8\xff\xe0"))).encoding(), v1::FRAME_ENCODING_JPEG);
  EXPECT_EQ(framed(Bytes(std::string("\x89PNG\r\n\x1a\n"))).encoding(), v1::FRAME_ENCODING_PNG);
}

TEST(Frame, says_why_an_image_cannot_be_sent) {
  const auto holds = [](const std::string& text, const std::string& words) {
    EXPECT_NE(text.find(words), std::string::npos) << text;
  };
  holds(refusal(Pixels(GRAY, 3, 3)), "6 bytes are no frame of 3x3 px; give 9 (gray) or 27 (color)");
  holds(refusal(Pixels(GRAY, 3, -1)), "3x-1 px");
  holds(refusal(GRAY), "6 bytes that begin neither like JPEG nor like PNG");
  holds(refusal(std::string()), "0 bytes");
  ethostream::FrameOptions outside;
  outside.crop = ethostream::Crop{0, -1, 8, 8};
  holds(refusal(Pixels(GRAY, 3, 2), outside), "the crop 8x8 at (0, -1) px lies outside any frame");
  holds(refusal(Pixels(GRAY, 3, 2), {}, 1029), "over the client's limit of 5; send JPEG");
  EXPECT_EQ(refusal(Pixels(GRAY, 3, 2), {}, 1030), "");
}

TEST(Options, outside_their_range_are_refused) {
  const Client client("127.0.0.1:1");
  ethostream::StreamOptions options;
  options.freshness = ethostream::Freshness::deadline;
  EXPECT_THROW(client.stream("a", options), InvalidRequest);
  options.max_age_ms = 5;
  EXPECT_NO_THROW(client.stream("a", options));
  options.frame_rate_hz = -1;
  EXPECT_THROW(client.stream("a", options), InvalidRequest);
  ethostream::AnalysisOptions analysis;
  analysis.frame_rate_hz = std::nan("");
  EXPECT_THROW(client.analyze_video(ethostream::ServerVideo{"a"}, "a", analysis), InvalidRequest);
}

TEST(Options, name_bundles_with_or_without_version) {
  const Client client("127.0.0.1:1");
  for (const char* name : {"a@", "a@0", "a@b", "a@1@2", "a@-1", "a@99999999999"}) {
    EXPECT_THROW(client.stream(name), InvalidRequest) << name;
  }
  EXPECT_THROW(client.stream(std::vector<ethostream::BundleSelection>{}), InvalidRequest);
  EXPECT_EQ(requests::reference("mouse@12").version(), 12U);
  EXPECT_EQ(Bundles({"a", "b@2"}).selections().size(), 2U);
  EXPECT_EQ(Bundles("a").selections().at(0).name, "a");
}

TEST(Options, of_a_connection_are_refused_where_they_cannot_work) {
  ClientOptions options;
  options.token = "secret-token\n";
  try {
    Client("127.0.0.1:1", options);
    FAIL();
  } catch (const InvalidRequest& error) {
    EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos);
  }
  options.token.clear();
  options.tls = ethostream::TlsOptions{};
  options.tls->root_certificate = "/nowhere/ca.pem";
  EXPECT_THROW(Client("127.0.0.1:1", options), InvalidRequest);
  options.tls->root_certificate.clear();
  options.tls->certificate = "/nowhere/client.pem";
  EXPECT_THROW(Client("127.0.0.1:1", options), InvalidRequest);
  options.tls.reset();
  options.timeout_seconds = 0;
  EXPECT_THROW(Client("127.0.0.1:1", options), InvalidRequest);
}

TEST(Options, of_a_closed_loop_become_those_of_the_protocol) {
  using ethostream::Condition;
  ethostream::Keypoint snout = "snout";
  snout.bundle = "mouse";
  snout.animal = 1;
  snout.min_confidence = 0.25F;
  snout.predicted = true;
  const auto square = Condition::in_region(snout, ethostream::Polygon{{{0, 1}, {2, 3}, {4, 5}}});
  const auto circle = Condition::in_region("tail", ethostream::Circle{6, 7, 8});
  ethostream::SessionOptions options;
  options.triggers = {
      {"place", Condition::any_of({square, Condition::negation(circle)}), 3, 2},
      {"form", Condition::all_of({Condition::distance("snout", "tail", {1.0, 2.0}),
                                  Condition::angle("snout", "neck", "tail", {30.0})})},
      {"deed", Condition::speed("snout", {std::nullopt, 9.0})},
      {"act", Condition::behavior("rearing", {0.5}, "cage")}};
  options.prediction = ethostream::ForwardPrediction{50, std::nullopt, 4000};
  const v1::StreamStart start = requests::session_start("mouse", options);
  ASSERT_EQ(start.triggers_size(), 4);
  const auto& place = start.triggers(0);
  EXPECT_EQ(place.name(), "place");
  EXPECT_EQ(place.frames_on(), 3U);
  EXPECT_EQ(place.frames_off(), 2U);
  const auto& inside = place.condition().any_of().conditions(0).in_region();
  EXPECT_EQ(inside.keypoint().keypoint(), "snout");
  EXPECT_EQ(inside.keypoint().bundle(), "mouse");
  EXPECT_EQ(inside.keypoint().animal(), 1U);
  EXPECT_EQ(inside.keypoint().min_confidence(), 0.25F);
  EXPECT_TRUE(inside.keypoint().predicted());
  ASSERT_EQ(inside.polygon().corners_size(), 3);
  EXPECT_EQ(inside.polygon().corners(2).x_px(), 4);
  EXPECT_EQ(inside.polygon().corners(2).y_px(), 5);
  const auto& outside = place.condition().any_of().conditions(1).negation().in_region();
  EXPECT_FALSE(outside.keypoint().has_min_confidence());
  EXPECT_EQ(outside.circle().center().x_px(), 6);
  EXPECT_EQ(outside.circle().center().y_px(), 7);
  EXPECT_EQ(outside.circle().radius_px(), 8);
  const auto& form = start.triggers(1).condition().all_of();
  EXPECT_EQ(form.conditions(0).distance().second().keypoint(), "tail");
  EXPECT_EQ(form.conditions(0).distance().px().at_most(), 2);
  EXPECT_EQ(form.conditions(1).angle().vertex().keypoint(), "neck");
  EXPECT_EQ(form.conditions(1).angle().deg().at_least(), 30);
  EXPECT_FALSE(form.conditions(1).angle().deg().has_at_most());
  EXPECT_EQ(start.triggers(1).frames_on(), 1U);
  EXPECT_EQ(start.triggers(2).condition().speed().px_per_s().at_most(), 9);
  const auto& act = start.triggers(3).condition().behavior();
  EXPECT_EQ(act.behavior(), "rearing");
  EXPECT_EQ(act.bundle(), "cage");
  EXPECT_EQ(act.probability().at_least(), 0.5);
  EXPECT_EQ(start.prediction().ahead_ms(), 50);
  EXPECT_FALSE(start.prediction().has_measurement_sd_px());
  EXPECT_EQ(start.prediction().acceleration_sd_px_s2(), 4000);
  options.triggers[0].frames_on = 0;
  EXPECT_THROW(Client("127.0.0.1:1").session("mouse", options), InvalidRequest);
}

TEST(Chunk, that_fits_into_no_message_is_refused) {
  const requests::ChunkFields fields = {3, 5, ethostream::ChunkCodec::hevc};
  const v1::VideoChunk made = requests::chunk(GRAY, fields, 1030);
  EXPECT_EQ(made.chunk_index(), 3U);
  EXPECT_EQ(made.capture_time_ns(), 5);
  EXPECT_EQ(made.codec(), v1::VIDEO_CODEC_HEVC);
  EXPECT_EQ(made.data(), std::string(6, '\7'));
  try {
    requests::chunk(GRAY, fields, 1029);
    FAIL();
  } catch (const InvalidFrame& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.rfind("chunk 3 holds 6 bytes, over the client's limit of 5; send smaller", 0),
              0U)
        << text;
  }
}

TEST(Errors, keep_status_and_message) {
  const grpc::Status status(grpc::StatusCode::ABORTED, "try later");
  try {
    std::rethrow_exception(ethostream::typed_error(status, "rig:1"));
  } catch (const ethostream::Unavailable& error) {
    EXPECT_EQ(error.status(), "ABORTED");
    EXPECT_STREQ(error.what(), "try later");
  }
  const grpc::Status newer(grpc::StatusCode::UNIMPLEMENTED, "");
  try {
    std::rethrow_exception(ethostream::typed_error(newer, "rig:1"));
  } catch (const ethostream::EthostreamError& error) {
    EXPECT_EQ(error.status(), "UNIMPLEMENTED");
    EXPECT_STREQ(error.what(), "the server at rig:1 gave no reason");
  }
}

std::string digest(const std::string& text, std::size_t piece = 1000) {
  ethostream::Sha256 sha256;
  for (std::size_t place = 0; place < text.size(); place += piece) {
    sha256.update(text.data() + place, std::min(piece, text.size() - place));
  }
  return sha256.hex_digest();
}

TEST(Sha256, gives_the_published_digests) {
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(digest(std::string(1'000'000, 'a'), 7), digest(std::string(1'000'000, 'a'), 64));
}

}  // namespace
