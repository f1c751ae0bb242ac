/// The recorded test vectors: the same bytes, and the same results to the last digit.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <typeinfo>

#include "cases.hpp"
#include "connection.hpp"
#include "ethostream/ethostream.hpp"
#include "made.hpp"
#include "server.hpp"

namespace {

using ethostream::BehaviorStatus;
using ethostream::OutcomeKind;
namespace v1 = ethostream::v1;

// Poses are exact by construction; probabilities go through NumPy's exp of the server's machine.
constexpr float TOLERANCE = 2e-7F;

class Vectors : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = std::make_unique<Server>(); }
  static void TearDownTestSuite() { server_.reset(); }

  static std::unique_ptr<Server> server_;
  ethostream::Client client_{server_->address()};
};

std::unique_ptr<Server> Vectors::server_;

ethostream::Image image(const v1::Frame& frame) {
  if (frame.width_px() == 0) {
    return ethostream::Bytes(frame.data());
  }
  return ethostream::Pixels(frame.data(), static_cast<int>(frame.width_px()),
                            static_cast<int>(frame.height_px()));
}

ethostream::Crop crop(const v1::CropRegion& region) {
  return {static_cast<int>(region.x_px()), static_cast<int>(region.y_px()),
          static_cast<int>(region.width_px()), static_cast<int>(region.height_px())};
}

ethostream::FrameOptions frame_options(const v1::Frame& frame) {
  ethostream::FrameOptions options;
  options.frame_index = frame.frame_index();
  options.capture_time_ns = frame.capture_time_ns();
  if (frame.encoding() == v1::FRAME_ENCODING_BGR24) {
    options.color = ethostream::Color::bgr;
  }
  if (frame.has_crop()) {
    options.crop = crop(frame.crop());
  }
  return options;
}

void expect_equal(const std::vector<float>& found,
                  const google::protobuf::RepeatedField<float>& recorded) {
  EXPECT_EQ(found, std::vector<float>(recorded.begin(), recorded.end()));
}

template <typename Values>
void expect_close(const std::vector<float>& found, const Values& recorded) {
  ASSERT_EQ(found.size(), static_cast<std::size_t>(recorded.size()));
  for (std::size_t place = 0; place < found.size(); ++place) {
    const float wanted = recorded[static_cast<int>(place)];
    EXPECT_TRUE((std::isnan(found[place]) && std::isnan(wanted)) ||
                std::abs(found[place] - wanted) <= TOLERANCE)
        << found[place] << " instead of " << wanted << " at " << place;
  }
}

void expect_outcome(const ethostream::FrameOutcome& found, const v1::FrameOutcome& recorded) {
  EXPECT_EQ(found.frame_index, recorded.frame_index());
  EXPECT_EQ(found.capture_time_ns, recorded.capture_time_ns());
  EXPECT_EQ(found.kind == OutcomeKind::error, recorded.has_error());
  EXPECT_EQ(found.kind == OutcomeKind::result, recorded.has_result());
  EXPECT_EQ(found.message, recorded.error().message());
  static const std::map<v1::FrameErrorCode, std::string> reasons = {
      {v1::FRAME_ERROR_CODE_UNSPECIFIED, ""},
      {v1::FRAME_ERROR_CODE_INVALID_FRAME, "invalid_frame"},
      {v1::FRAME_ERROR_CODE_DECODE_FAILED, "decode_failed"}};
  EXPECT_EQ(found.reason, reasons.at(recorded.error().code()));
  const auto& poses = recorded.result().poses();
  ASSERT_EQ(found.poses.size(), static_cast<std::size_t>(poses.size()));
  for (int place = 0; place < poses.size(); ++place) {
    const auto& wanted = poses[place];
    const auto& pose = found.poses[static_cast<std::size_t>(place)];
    EXPECT_EQ(pose.bundle, "vector-points");
    EXPECT_EQ(pose.version, 1U);
    ASSERT_EQ(pose.crop.has_value(), wanted.has_crop());
    if (pose.crop) {
      const auto region = crop(wanted.crop());
      EXPECT_EQ(pose.crop->x_px, region.x_px);
      EXPECT_EQ(pose.crop->y_px, region.y_px);
      EXPECT_EQ(pose.crop->width_px, region.width_px);
      EXPECT_EQ(pose.crop->height_px, region.height_px);
    }
    ASSERT_EQ(pose.poses.size(), static_cast<std::size_t>(wanted.poses_size()));
    for (int animal = 0; animal < wanted.poses_size(); ++animal) {
      const auto& one = pose.poses[static_cast<std::size_t>(animal)];
      expect_equal(one.x_px, wanted.poses(animal).x_px());
      expect_equal(one.y_px, wanted.poses(animal).y_px());
      expect_equal(one.confidence, wanted.poses(animal).confidence());
    }
  }
}

void expect_behavior(const ethostream::BehaviorResult& found, const v1::BehaviorResult& recorded) {
  EXPECT_EQ(found.bundle, "vector-motion");
  EXPECT_EQ(found.behaviors, (std::vector<std::string>{"bright", "brightening"}));
  EXPECT_EQ(found.frame_index, recorded.frame_index());
  EXPECT_EQ(found.capture_time_ns, recorded.capture_time_ns());
  EXPECT_EQ(static_cast<int>(found.status), static_cast<int>(recorded.status()));
  EXPECT_EQ(found.present, std::vector<bool>(recorded.present().begin(), recorded.present().end()));
  expect_close(found.probabilities, recorded.probabilities());
  EXPECT_EQ(found.background, recorded.background());
  ASSERT_EQ(found.bouts.size(), static_cast<std::size_t>(recorded.bouts_size()));
  for (int place = 0; place < recorded.bouts_size(); ++place) {
    const auto& bout = found.bouts[static_cast<std::size_t>(place)];
    EXPECT_EQ(bout.behavior, recorded.bouts(place).behavior());
    EXPECT_EQ(bout.kind == ethostream::BoutKind::onset,
              recorded.bouts(place).kind() == v1::BOUT_EVENT_KIND_ONSET);
    EXPECT_EQ(bout.frame_index, recorded.bouts(place).frame_index());
  }
}

TEST_F(Vectors, the_recorded_stream_gets_the_recorded_answers) {
  const Case recorded = read_case("stream");
  const auto requests = parsed<v1::StreamFramesRequest>(recorded.requests);
  const auto& start = requests.at(0).start();
  std::vector<ethostream::BundleSelection> bundles;
  for (const auto& one : start.bundles()) {
    auto& selection = bundles.emplace_back(one.bundle().name());
    selection.thresholds = {one.thresholds().begin(), one.thresholds().end()};
    selection.min_bout_frames = {one.min_bout_frames().begin(), one.min_bout_frames().end()};
    selection.bout_events = one.bout_events();
  }
  ethostream::StreamOptions options;
  options.frame_rate_hz = start.frame_rate_hz();
  options.max_frames_in_flight = start.max_frames_in_flight();
  options.camera = start.camera();
  ethostream::Stream stream = client_.stream(bundles, options);
  for (std::size_t place = 1; place < requests.size(); ++place) {
    const auto& frame = requests[place].frame();
    stream.send(image(frame), frame_options(frame));
  }
  const auto counts = stream.finish();
  const Answers answers = read_all(stream);
  std::size_t outcomes = 0;
  std::size_t behaviors = 0;
  for (const auto& response : parsed<v1::StreamFramesResponse>(recorded.responses)) {
    if (response.has_outcome()) {
      expect_outcome(answers.outcomes.at(outcomes++), response.outcome());
    } else if (response.has_behavior()) {
      expect_behavior(answers.behaviors.at(behaviors++), response.behavior());
    } else if (response.has_ended()) {
      EXPECT_EQ(counts.results, response.ended().frames_result());
      EXPECT_EQ(counts.errors, response.ended().frames_error());
    }
  }
  EXPECT_EQ(answers.outcomes.size(), outcomes);
  EXPECT_EQ(answers.behaviors.size(), behaviors);
  EXPECT_GT(outcomes, 0U);
}

TEST_F(Vectors, the_recorded_session_of_single_calls_gets_the_recorded_answers) {
  const Case recorded = read_case("session");
  const auto requests = parsed<v1::AnalyzeFrameRequest>(recorded.requests);
  const auto responses = parsed<v1::AnalyzeFrameResponse>(recorded.responses);
  std::vector<ethostream::BundleSelection> bundles;
  for (const auto& one : requests.at(0).start().bundles()) {
    bundles.emplace_back(one.bundle().name());
  }
  ethostream::SessionOptions options;
  options.frame_rate_hz = requests[0].start().frame_rate_hz();
  ethostream::Session session = client_.session(bundles, options);
  std::vector<ethostream::BehaviorResult> found;
  std::vector<v1::BehaviorResult> wanted;  // which call brings one is chance
  for (std::size_t place = 0; place < requests.size(); ++place) {
    const auto& frame = requests[place].frame();
    const auto answers = session.analyze(image(frame), frame_options(frame));
    expect_outcome(answers.outcome, responses.at(place).outcome());
    EXPECT_GT(answers.outcome.round_trip_ns, 0);
    found.insert(found.end(), answers.behaviors.begin(), answers.behaviors.end());
    wanted.insert(wanted.end(), responses[place].behaviors().begin(),
                  responses[place].behaviors().end());
  }
  EXPECT_FALSE(session.session_id().empty());
  const auto rest = session.end();
  found.insert(found.end(), rest.begin(), rest.end());
  EXPECT_TRUE(session.session_id().empty());
  EXPECT_EQ(session.strides().size(), bundles.size());
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t place = 0; place < found.size(); ++place) {
    expect_behavior(found[place], wanted[place]);
  }
}

/// The rows of one column in all chunks.
template <typename Rows>
auto joined(const std::vector<v1::ResultChunk>& chunks, const Rows& rows) {
  std::vector<typename std::decay_t<decltype(rows(chunks[0]))>::value_type> all;
  for (const auto& chunk : chunks) {
    all.insert(all.end(), rows(chunk).begin(), rows(chunk).end());
  }
  return all;
}

TEST_F(Vectors, the_recorded_video_gets_the_recorded_columns) {
  const TemporaryFolder folder;
  std::string video;
  for (const auto& one : parsed<v1::UploadVideoRequest>(read_case("upload").requests)) {
    video += one.data();
  }
  write_file(folder / "points.mkv", video);
  ethostream::AnalysisOptions options;
  options.frames_per_chunk = 5;
  ethostream::Analysis analysis = client_.analyze_video(
      ethostream::LocalVideo{folder / "points.mkv"}, {"vector-points", "vector-motion"}, options);
  EXPECT_EQ(analysis.open().info.codec, "ffv1");
  const auto [started, finished, rows] = analysis.gather();
  std::vector<v1::ResultChunk> chunks;
  for (const auto& one : parsed<v1::AnalyzeVideoResponse>(read_case("video").responses)) {
    if (one.has_chunk()) {
      chunks.push_back(one.chunk());
    }
  }
  EXPECT_EQ(started.bundles.size(), 2U);
  EXPECT_EQ(finished.frames, 12U);
  EXPECT_EQ(finished.frames_ok, 12U);
  using Chunk = v1::ResultChunk;
  EXPECT_EQ(rows.frame_index,
            joined(
                chunks, [](const Chunk& one) -> auto& { return one.frame_index(); }));
  EXPECT_EQ(rows.pts_ns, joined(
                             chunks, [](const Chunk& one) -> auto& { return one.pts_ns(); }));
  EXPECT_EQ(rows.status.size(), 12U);
  EXPECT_EQ(rows.status.at(11), ethostream::FrameStatus::ok);
  const auto& poses = rows.poses.at(0);
  EXPECT_EQ(poses.animals * poses.keypoints * 12, poses.x_px.size());
  EXPECT_EQ(poses.x_px, joined(
                            chunks, [](const Chunk& one) -> auto& { return one.poses(0).x_px(); }));
  EXPECT_EQ(poses.y_px, joined(
                            chunks, [](const Chunk& one) -> auto& { return one.poses(0).y_px(); }));
  EXPECT_EQ(poses.confidence,
            joined(
                chunks, [](const Chunk& one) -> auto& { return one.poses(0).confidence(); }));
  const auto& behaviors = rows.behaviors.at(0);
  const auto status = joined(
      chunks, [](const Chunk& one) -> auto& { return one.behaviors(0).status(); });
  ASSERT_EQ(behaviors.status.size(), status.size());
  for (std::size_t place = 0; place < status.size(); ++place) {
    EXPECT_EQ(static_cast<int>(behaviors.status[place]), status[place]);
  }
  const auto present = joined(
      chunks, [](const Chunk& one) -> auto& { return one.behaviors(0).present(); });
  EXPECT_EQ(std::vector<bool>(behaviors.present.begin(), behaviors.present.end()), present);
  expect_close(behaviors.probabilities, joined(
                                            chunks, [](const Chunk& one) -> auto& {
                                              return one.behaviors(0).probabilities();
                                            }));
}

TEST_F(Vectors, the_recorded_bundles_are_told) {
  const auto list = parsed<v1::ListModelsResponse>(read_case("models").responses).at(0);
  const auto found = client_.models();
  ASSERT_EQ(found.size(), static_cast<std::size_t>(list.models_size()));
  for (int place = 0; place < list.models_size(); ++place) {
    const auto& model = found[static_cast<std::size_t>(place)];
    EXPECT_EQ(model.name, list.models(place).bundle().name());
    EXPECT_EQ(model.version, list.models(place).bundle().version());
    EXPECT_EQ(model.manifest_sha256, list.models(place).manifest_sha256());
    EXPECT_EQ(model.precision, list.models(place).precision());
    EXPECT_EQ(model.state, "ready");
  }
  const auto wanted = parsed<v1::GetModelResponse>(read_case("model").responses).at(0);
  const auto model = client_.model("vector-motion@1");
  EXPECT_EQ(model.engine, "onnxruntime:cpu");
  EXPECT_EQ(model.task, ethostream::Task::behavior);
  ASSERT_TRUE(model.behavior.has_value());
  expect_equal(model.behavior->thresholds, wanted.model().behavior().thresholds());
  EXPECT_EQ(model.behavior->behaviors.size(), 2U);
  EXPECT_EQ(model.behavior->future_frames, wanted.model().behavior().future_frames());
}

void expect_same(const google::protobuf::Descriptor& type, const std::vector<std::string>& texts,
                 const std::vector<std::string>& pieces) {
  ASSERT_EQ(texts.size(), pieces.size());
  for (std::size_t place = 0; place < texts.size(); ++place) {
    const auto from_json = made(type);
    const auto status = google::protobuf::util::JsonStringToMessage(texts[place], from_json.get());
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(serialized(*from_json) == pieces[place]) << "message " << place;
    const auto from_binary = made(type);
    ASSERT_TRUE(from_binary->ParseFromString(pieces[place]));
    EXPECT_TRUE(serialized(*from_binary) == pieces[place]) << "message " << place;
  }
}

TEST(Cases, the_json_form_of_each_has_the_bytes_of_its_binary_form) {
  const auto names = case_names();
  EXPECT_GT(names.size(), 10U);
  for (const auto& name : names) {
    SCOPED_TRACE(name);
    const Case recorded = read_case(name);
    expect_same(*recorded.descriptor().input_type(), recorded.json_requests, recorded.requests);
    expect_same(*recorded.descriptor().output_type(), recorded.json_responses, recorded.responses);
  }
}

/// The status of a call with one request that gets no answer.
grpc::Status refusal(const ethostream::Connection& connection, const Case& recorded) {
  grpc::GenericStub stub(connection.channel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/" + recorded.method, &queue);
  void* tag = nullptr;
  bool is_ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &is_ok);
  const grpc::Slice slice(recorded.requests.at(0));
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  queue.Next(&tag, &is_ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  queue.Next(&tag, &is_ok);
  EXPECT_FALSE(is_ok) << "an answer came";
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &is_ok);
  return status;
}

TEST_F(Vectors, refusals_have_the_recorded_status_and_message) {
  const ethostream::Connection connection(server_->address(), {});
  std::size_t refused = 0;
  for (const auto& name : case_names()) {
    const Case recorded = read_case(name);
    if (recorded.status == "OK") {
      continue;  // replayed above
    }
    SCOPED_TRACE(name);
    ++refused;
    try {
      connection.check(refusal(connection, recorded));
      ADD_FAILURE() << "it was not refused";
    } catch (const ethostream::EthostreamError& error) {
      EXPECT_EQ(error.status(), recorded.status);
      EXPECT_EQ(error.what(), recorded.message);
      EXPECT_NE(typeid(error), typeid(ethostream::EthostreamError));
    }
  }
  EXPECT_GE(refused, 10U);
}

}  // namespace
