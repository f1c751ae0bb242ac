/// The analysis of a video: its result chunks as they come, or all of them gathered.
///
/// Axes: T frames, N animals, K keypoints, C behaviors; columns are row-major.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ethostream/answers.hpp"
#include "ethostream/bundles.hpp"

namespace ethostream {

class VideoAnalysis;

/// A video below one of the server's roots.
struct ServerVideo {
  std::string path;
};

/// A video file here; it is uploaded first.
struct LocalVideo {
  std::string path;
};

/// A video that was uploaded earlier.
struct UploadedVideo {
  std::string upload_id;
};

/// Where a video is.
using VideoSource = std::variant<ServerVideo, LocalVideo, UploadedVideo>;

/// A video that was uploaded.
struct Upload {
  std::string upload_id;
  std::uint64_t size_bytes = 0;
  /// Hexadecimal, of the bytes that the server received; equals that of the bytes sent.
  std::string sha256;
};

/// What the server knows of a video before it decodes it.
struct VideoInfo {
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  /// Average rate; 0 where the container does not say.
  double frame_rate_hz = 0;
  /// Number of frames that the container claims; 0 where it does not say.
  std::uint64_t claimed_frames = 0;
  /// Such as h264.
  std::string codec;
  /// Such as pyav.
  std::string decoder;
};

/// An analysis begins.
struct VideoStarted {
  VideoInfo info;
  /// With resolved versions.
  std::vector<BundleInfo> bundles;
  /// Behavior bundles: every how many-th frame is looked at, in the order of `bundles`.
  std::vector<std::uint32_t> strides;
};

/// An analysis is complete.
struct VideoFinished {
  /// Rows sent.
  std::uint64_t frames = 0;
  /// Of these, decoded.
  std::uint64_t frames_ok = 0;
  /// Of these, missing or damaged.
  std::uint64_t frames_failed = 0;
  /// What was wrong with the file; empty when nothing was.
  std::string message;
  /// Wall time on the server, ns.
  std::int64_t total_ns = 0;
  /// Of `frames_ok`, shown again by the container.
  std::uint64_t frames_repeated = 0;
  /// Of `frames_failed`, not in the file.
  std::uint64_t frames_missing = 0;
  /// Of `frames_failed`, in the file but damaged.
  std::uint64_t frames_corrupt = 0;
};

/// What decoding a frame of a file gave.
enum class FrameStatus : std::uint8_t {
  ok = 1,
  /// Shown again by the container; the pixels are those of the frame before.
  repeated = 2,
  /// A frame should be here and is not; no results.
  missing = 3,
  /// There, but damaged; no results.
  corrupt = 4,
};

/// Poses of T frames by one bundle; NaN in rows without a result.
struct PoseColumns {
  std::string bundle;
  std::uint32_t version = 0;
  /// N.
  std::uint32_t animals = 0;
  /// K.
  std::uint32_t keypoints = 0;
  /// (T, N, K) px of the video's frame.
  std::vector<float> x_px;
  /// (T, N, K) px of the video's frame.
  std::vector<float> y_px;
  /// (T, N, K) in [0, 1].
  std::vector<float> confidence;
};

/// Behavior of T frames by one bundle; NaN and 0 in rows without context.
struct BehaviorColumns {
  std::string bundle;
  std::uint32_t version = 0;
  /// C.
  std::uint32_t behaviors = 0;
  /// (T,) what each row rests on.
  std::vector<BehaviorStatus> status;
  /// (T, C) in [0, 1].
  std::vector<float> probabilities;
  /// (T, C) 1 where present by threshold, without the bout rule.
  std::vector<std::uint8_t> present;
  /// What these frames decided, in order, where the selection asked for bout events.
  std::vector<BoutEvent> bouts;
};

/// Why a frame of a file has no pixels.
struct FrameFault {
  /// In presentation order of the file, from 0.
  std::uint64_t frame_index = 0;
  /// missing or corrupt.
  FrameStatus status = FrameStatus::missing;
  /// What decoding met.
  std::string reason;
};

/// Results of T consecutive frames of a video.
struct ResultChunk {
  /// (T,) in presentation order of the file, from 0.
  std::vector<std::uint64_t> frame_index;
  /// (T,) presentation times, ns.
  std::vector<std::int64_t> pts_ns;
  /// (T,) what decoding gave.
  std::vector<FrameStatus> status;
  /// One per pose bundle.
  std::vector<PoseColumns> poses;
  /// One per behavior bundle.
  std::vector<BehaviorColumns> behaviors;
  /// Why the rows without pixels have none, one each.
  std::vector<FrameFault> faults;
};

/// All results of one video; every column has a row for each of its T frames.
struct VideoResults {
  VideoStarted started;
  VideoFinished finished;
  /// All chunks joined.
  ResultChunk rows;
};

/// The analysis of one video; made by `Client::analyze_video`. For one thread at a time.
class Analysis {
 public:
  Analysis(Analysis&&) noexcept;
  Analysis& operator=(Analysis&&) noexcept;
  /// Stops the analysis where it is not complete.
  ~Analysis();

  /// Uploads where asked to, and waits until the server has opened the video; the first `next`
  /// does it, too.
  ///
  /// \throws EthostreamError The server refuses or is not there.
  const VideoStarted& open();

  /// Waits for the next results; nothing after the last ones.
  ///
  /// \throws EthostreamError The analysis failed.
  std::optional<ResultChunk> next();

  /// Counts and what was wrong with the file; set after the last results.
  const std::optional<VideoFinished>& finished() const;

  /// Reads the results that are left and joins them.
  ///
  /// \throws EthostreamError The analysis failed.
  VideoResults gather();

 private:
  friend class Client;
  explicit Analysis(std::unique_ptr<VideoAnalysis> analysis);

  std::unique_ptr<VideoAnalysis> analysis_;
};

}  // namespace ethostream
