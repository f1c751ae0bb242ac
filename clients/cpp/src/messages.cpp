#include "messages.hpp"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <utility>

namespace ethostream::messages {

namespace {

using google::protobuf::RepeatedPtrField;

/// What follows the prefix of an enum's value, in lower case; a value of a newer server has none.
std::string lower(const std::string& name, const std::string& prefix) {
  if (name.size() <= prefix.size()) {
    return "unspecified";
  }
  std::string rest = name.substr(prefix.size());
  std::transform(rest.begin(), rest.end(), rest.begin(),
                 [](unsigned char one) { return static_cast<char>(std::tolower(one)); });
  return rest;
}

template <typename Messages>
auto copied(const Messages& values) {
  return std::vector<typename Messages::value_type>(values.begin(), values.end());
}

std::vector<std::pair<std::string, std::string>> pairs(
    const RepeatedPtrField<v1::KeypointPair>& messages) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& one : messages) {
    found.emplace_back(one.first(), one.second());
  }
  return found;
}

PoseModel pose_model(const v1::PoseModel& message) {
  PoseModel model;
  model.keypoints = copied(message.keypoints());
  model.skeleton = pairs(message.skeleton());
  model.left_right = pairs(message.left_right());
  model.max_animals = message.max_animals();
  model.unique_keypoints = copied(message.unique_keypoints());
  model.confidence_cutoff = message.confidence_cutoff();
  return model;
}

BehaviorModel behavior_model(const v1::BehaviorModel& message) {
  BehaviorModel model;
  model.behaviors = copied(message.behaviors());
  model.exclusive = message.exclusive();
  model.thresholds = copied(message.thresholds());
  model.min_bout_frames = copied(message.min_bout_frames());
  model.frame_rate_hz = message.frame_rate_hz();
  model.frame_rate_tolerance = message.frame_rate_tolerance();
  model.past_frames = message.past_frames();
  model.future_frames = message.future_frames();
  model.max_gap_frames = message.max_gap_frames();
  return model;
}

std::vector<Pose> copied_poses(const RepeatedPtrField<v1::Pose>& messages) {
  std::vector<Pose> poses;
  for (const auto& one : messages) {
    poses.push_back({copied(one.x_px()), copied(one.y_px()), copied(one.confidence())});
  }
  return poses;
}

PoseResult pose_result(const v1::PoseResult& message) {
  PoseResult result;
  result.bundle = message.bundle().name();
  result.version = message.bundle().version();
  result.poses = copied_poses(message.poses());
  result.predicted = copied_poses(message.predicted());
  if (message.has_crop()) {
    const auto& crop = message.crop();
    result.crop = Crop{static_cast<int>(crop.x_px()), static_cast<int>(crop.y_px()),
                       static_cast<int>(crop.width_px()), static_cast<int>(crop.height_px())};
  }
  return result;
}

std::vector<BoutEvent> bout_events(const RepeatedPtrField<v1::BoutEvent>& messages) {
  std::vector<BoutEvent> bouts;
  for (const auto& one : messages) {
    // A newer server may tell more.
    if (one.kind() == v1::BOUT_EVENT_KIND_ONSET || one.kind() == v1::BOUT_EVENT_KIND_OFFSET) {
      const bool begins = one.kind() == v1::BOUT_EVENT_KIND_ONSET;
      bouts.push_back(
          {one.behavior(), begins ? BoutKind::onset : BoutKind::offset, one.frame_index()});
    }
  }
  return bouts;
}

StageTimings stage_timings(const v1::StageTimings& message) {
  StageTimings timings;
  timings.queue_ns = message.queue_ns();
  timings.decode_ns = message.decode_ns();
  timings.preprocess_ns = message.preprocess_ns();
  timings.batch_wait_ns = message.batch_wait_ns();
  timings.engine_ns = message.engine_ns();
  timings.postprocess_ns = message.postprocess_ns();
  timings.total_ns = message.total_ns();
  timings.batch_size = message.batch_size();
  return timings;
}

}  // namespace

BundleInfo bundle_info(const v1::BundleInfo& message) {
  BundleInfo info;
  info.name = message.bundle().name();
  info.version = message.bundle().version();
  info.task = message.has_pose() ? Task::pose : Task::behavior;
  info.description = message.description();
  info.state = lower(v1::BundleState_Name(message.state()), "BUNDLE_STATE_");
  info.reason = message.reason();
  info.input_width_px = message.input_width_px();
  info.input_height_px = message.input_height_px();
  info.engine = message.engine();
  info.precision = message.precision();
  if (message.has_pose()) {
    info.pose = pose_model(message.pose());
  }
  if (message.has_behavior()) {
    info.behavior = behavior_model(message.behavior());
  }
  for (const auto& one : message.metrics()) {
    info.metrics.emplace(one.first, one.second);
  }
  info.manifest_sha256 = message.manifest_sha256();
  info.card = message.card();
  info.parity_json = message.parity_json();
  return info;
}

std::vector<BundleInfo> bundle_infos(const RepeatedPtrField<v1::BundleInfo>& messages) {
  std::vector<BundleInfo> infos;
  std::transform(messages.begin(), messages.end(), std::back_inserter(infos), bundle_info);
  return infos;
}

FrameOutcome outcome(const v1::FrameOutcome& message, std::int64_t round_trip_ns) {
  FrameOutcome outcome;
  outcome.frame_index = message.frame_index();
  outcome.capture_time_ns = message.capture_time_ns();
  outcome.arrival_time_ns = message.arrival_time_ns();
  outcome.round_trip_ns = round_trip_ns;
  if (message.has_timings()) {
    outcome.timings = stage_timings(message.timings());
  }
  switch (message.outcome_case()) {
    case v1::FrameOutcome::kResult:
      for (const auto& one : message.result().poses()) {
        outcome.poses.push_back(pose_result(one));
      }
      break;
    case v1::FrameOutcome::kSkipped:
      outcome.kind = OutcomeKind::skipped;
      outcome.reason = lower(v1::SkipReason_Name(message.skipped().reason()), "SKIP_REASON_");
      break;
    case v1::FrameOutcome::kError:
      outcome.kind = OutcomeKind::error;
      outcome.reason = lower(v1::FrameErrorCode_Name(message.error().code()), "FRAME_ERROR_CODE_");
      outcome.message = message.error().message();
      break;
    default:  // of a newer server
      outcome.kind = OutcomeKind::error;
      outcome.reason = "unspecified";
  }
  return outcome;
}

BehaviorResult behavior_result(const v1::BehaviorResult& message,
                               const std::vector<std::string>& behaviors) {
  BehaviorResult result;
  result.frame_index = message.frame_index();
  result.capture_time_ns = message.capture_time_ns();
  result.bundle = message.bundle().name();
  result.version = message.bundle().version();
  result.behaviors = behaviors;
  result.status = static_cast<BehaviorStatus>(message.status());
  result.probabilities = copied(message.probabilities());
  result.present = copied(message.present());
  result.latency_ns = message.latency_ns();
  result.background = message.background();
  result.bouts = bout_events(message.bouts());
  return result;
}

ChunkAcknowledgement acknowledgement(const v1::ChunkAcknowledgement& message) {
  ChunkAcknowledgement answer;
  answer.chunk_index = message.chunk_index();
  answer.frames_decoded = message.frames_decoded();
  answer.packets_corrupt = message.packets_corrupt();
  answer.message = message.message();
  return answer;
}

std::optional<TriggerEvent> trigger_event(const v1::TriggerEvent& message) {
  if (message.kind() != v1::TRIGGER_EVENT_KIND_ON && message.kind() != v1::TRIGGER_EVENT_KIND_OFF) {
    return std::nullopt;
  }
  const bool begins = message.kind() == v1::TRIGGER_EVENT_KIND_ON;
  return TriggerEvent{message.trigger(), begins ? TriggerKind::on : TriggerKind::off,
                      message.frame_index(), message.capture_time_ns(), message.latency_ns()};
}

VideoStarted video_started(const v1::VideoStarted& message) {
  const auto& video = message.video();
  VideoStarted started;
  started.info = {video.width_px(),       video.height_px(), video.frame_rate_hz(),
                  video.claimed_frames(), video.codec(),     video.decoder()};
  started.bundles = bundle_infos(message.bundles());
  started.strides = copied(message.strides());
  return started;
}

VideoFinished video_finished(const v1::VideoFinished& message) {
  return {message.frames(),         message.frames_ok(),     message.frames_failed(),
          message.message(),        message.total_ns(),      message.frames_repeated(),
          message.frames_missing(), message.frames_corrupt()};
}

ResultChunk result_chunk(const v1::ResultChunk& message) {
  ResultChunk chunk;
  chunk.frame_index = copied(message.frame_index());
  chunk.pts_ns = copied(message.pts_ns());
  for (const int one : message.status()) {
    chunk.status.push_back(static_cast<FrameStatus>(one));
  }
  for (const auto& one : message.poses()) {
    chunk.poses.push_back({one.bundle().name(), one.bundle().version(), one.animals(),
                           one.keypoints(), copied(one.x_px()), copied(one.y_px()),
                           copied(one.confidence())});
  }
  for (const auto& one : message.behaviors()) {
    BehaviorColumns columns;
    columns.bundle = one.bundle().name();
    columns.version = one.bundle().version();
    columns.behaviors = one.behaviors();
    for (const int status : one.status()) {
      columns.status.push_back(static_cast<BehaviorStatus>(status));
    }
    columns.probabilities = copied(one.probabilities());
    columns.present.assign(one.present().begin(), one.present().end());
    columns.bouts = bout_events(one.bouts());
    chunk.behaviors.push_back(std::move(columns));
  }
  for (const auto& one : message.faults()) {
    chunk.faults.push_back(
        {one.frame_index(), static_cast<FrameStatus>(one.status()), one.reason()});
  }
  return chunk;
}

}  // namespace ethostream::messages
