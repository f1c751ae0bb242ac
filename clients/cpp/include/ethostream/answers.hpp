/// What the server answers to frames.
///
/// Axes: N animals, K keypoints, C behaviors. Positions are px of the frame as sent; 0 is the
/// center of the first pixel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ethostream/frame.hpp"

namespace ethostream {

/// One animal; the three lists have one entry per keypoint, in the bundle's order.
struct Pose {
  /// (K,) px of the frame as sent.
  std::vector<float> x_px;
  /// (K,) px of the frame as sent.
  std::vector<float> y_px;
  /// (K,) in [0, 1].
  std::vector<float> confidence;
};

/// What one pose bundle found in one frame.
struct PoseResult {
  std::string bundle;
  std::uint32_t version = 0;
  /// (N,) one per animal.
  std::vector<Pose> poses;
  /// The part of the frame that the bundle looked at; not set: all of it.
  std::optional<Crop> crop;
  /// (N,) where the animals are expected, where a `prediction` was asked for; NaN where a keypoint
  /// was not seen for long, and empty where the time of capture does not rise.
  std::vector<Pose> predicted;
};

/// Where the time of a frame went on the server, ns.
struct StageTimings {
  std::int64_t queue_ns = 0;
  std::int64_t decode_ns = 0;
  std::int64_t preprocess_ns = 0;
  std::int64_t batch_wait_ns = 0;
  std::int64_t engine_ns = 0;
  std::int64_t postprocess_ns = 0;
  std::int64_t total_ns = 0;
  /// Frames in the batch that this one was computed in.
  std::uint32_t batch_size = 0;
};

/// What became of a frame.
enum class OutcomeKind { result, skipped, error };

/// The one answer to a frame that `send` took, or that came out of chunks.
struct FrameOutcome {
  std::uint64_t frame_index = 0;
  /// As given to `send`.
  std::int64_t capture_time_ns = 0;
  OutcomeKind kind = OutcomeKind::result;
  /// Answers of the pose bundles, in the order of the stream's bundles; empty unless a result.
  std::vector<PoseResult> poses;
  /// Skipped: replaced, too_old or no_credit (left out by this client because as many frames as
  /// allowed were in flight). Error: invalid_frame, too_large, decode_failed, engine_failed or lost
  /// (the connection broke before the answer).
  std::string reason;
  /// Error: what happened and what to do.
  std::string message;
  /// Not set where the server did not see the frame.
  std::optional<StageTimings> timings;
  /// When the frame arrived, on the server's wall clock, ns since 1970; 0 where it did not.
  std::int64_t arrival_time_ns = 0;
  /// From sending to the answer on this computer's clock, ns; 0 where it was not sent.
  std::int64_t round_trip_ns = 0;
};

/// What a behavior result rests on.
enum class BehaviorStatus : std::uint8_t {
  ok = 1,
  /// The recording runs at a multiple of the bundle's rate: the last evaluated frame's answer.
  held = 2,
  /// Too few frames before this one.
  no_context = 3,
  /// The frame itself was skipped or failed.
  no_frame = 4,
  /// The engine failed on this frame, or the connection broke before the answer.
  error = 5,
};

/// What a bout event tells.
enum class BoutKind { onset, offset };

/// The onset or offset of a bout, told by the frame that decided it.
struct BoutEvent {
  std::string behavior;
  BoutKind kind = BoutKind::onset;
  /// The first frame of the bout, or the first one after it.
  std::uint64_t frame_index = 0;
};

/// What one behavior bundle says of one frame.
struct BehaviorResult {
  std::uint64_t frame_index = 0;
  /// As given to `send`.
  std::int64_t capture_time_ns = 0;
  std::string bundle;
  std::uint32_t version = 0;
  /// (C,) names of the behaviors.
  std::vector<std::string> behaviors;
  BehaviorStatus status = BehaviorStatus::error;
  /// (C,) in [0, 1]; empty without context.
  std::vector<float> probabilities;
  /// (C,) whether each is present; empty without context.
  std::vector<bool> present;
  /// From the frame's arrival to this answer, on the server's clock, ns; 0 without an answer.
  std::int64_t latency_ns = 0;
  /// None of the behaviors is present; false without context.
  bool background = false;
  /// What this frame decided, where the selection asked for bout events.
  std::vector<BoutEvent> bouts;
};

/// The one answer to a chunk that `send_chunk` took; its frames' outcomes come on their own.
struct ChunkAcknowledgement {
  std::uint64_t chunk_index = 0;
  /// As given to `send_chunk`.
  std::int64_t capture_time_ns = 0;
  /// Frames that came out with it; the decoder holds the last picture back until the next one
  /// begins, so these may be of the chunk before.
  std::uint32_t frames_decoded = 0;
  /// Packets and pictures that could not be decoded.
  std::uint32_t packets_corrupt = 0;
  /// On the first of these, or why the chunk is lost; empty when nothing was wrong.
  std::string message;
  /// The connection broke before the server took it in.
  bool is_lost = false;
};

/// What a trigger event tells.
enum class TriggerKind { on, off };

/// A trigger switched; it comes before the last answer to the frame that decided.
struct TriggerEvent {
  /// Its name.
  std::string trigger;
  TriggerKind kind = TriggerKind::on;
  /// The frame that decided.
  std::uint64_t frame_index = 0;
  /// As given to `send`.
  std::int64_t capture_time_ns = 0;
  /// From the frame's arrival until the event was complete, on the server's clock, ns.
  std::int64_t latency_ns = 0;
};

/// What a live stream answers.
using Answer = std::variant<FrameOutcome, BehaviorResult, ChunkAcknowledgement, TriggerEvent>;

/// Frames that were taken, and what became of them.
struct LedgerCounts {
  /// Frames that `send` took, or that came out of chunks.
  std::uint64_t accepted = 0;
  /// Of these, analyzed.
  std::uint64_t results = 0;
  /// Of these, left out by the server or by this client.
  std::uint64_t skipped = 0;
  /// Of these, failed on the server.
  std::uint64_t errors = 0;
  /// Of these, sent, and the connection broke before the answer; delivered as error `lost`.
  std::uint64_t lost = 0;
  /// Answers of the server that fit no open frame or chunk; they are not delivered.
  std::uint64_t unexpected = 0;
  /// Chunks that `send_chunk` took.
  std::uint64_t chunks = 0;
  /// Of these, taken in by the server.
  std::uint64_t chunks_acknowledged = 0;
  /// Of these, sent, and the connection broke before the acknowledgement.
  std::uint64_t chunks_lost = 0;

  /// Frames that have no answer yet.
  std::uint64_t in_flight() const { return accepted - results - skipped - errors - lost; }
};

}  // namespace ethostream
