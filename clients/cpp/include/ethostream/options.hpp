/// How a client connects, and how a session or a live stream is run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ethostream/frame.hpp"
#include "ethostream/triggers.hpp"

namespace ethostream {

/// How to reach a server over TLS; all files are PEM, an empty path leaves one out.
struct TlsOptions {
  /// Who is trusted to sign the server's certificate; by default the roots that gRPC knows.
  std::string root_certificate;
  /// This client's certificate chain, where the server asks for one.
  std::string certificate;
  /// The key of `certificate`.
  std::string private_key;
  /// Name that the server's certificate must hold, where it is not the host of the address.
  std::string server_name;
};

/// How to reach a server, and the limits of a connection.
struct ClientOptions {
  /// Sent with every call as `authorization: Bearer ...`; give `tls` too on a network.
  std::string token;
  /// How to reach a server over TLS; by default without.
  std::optional<TlsOptions> tls;
  /// Largest message in either direction, up to 2 GiB - 1.
  std::size_t max_message_bytes = std::size_t{64} << 20;
  /// A dead connection is noticed this long after the last traffic, plus 10 s; 0 = never.
  double keepalive_seconds = 30;
  /// Longest wait for the answer of a single call; streams are not limited.
  double timeout_seconds = 60;
};

/// Says where keypoints are expected some time after a frame was captured: the time that a pose
/// takes from the camera to the rig is paid back. Only for bundles of one animal.
struct ForwardPrediction {
  /// Time after the capture, in (0, 1000] ms.
  double ahead_ms = 0;
  /// Standard deviation of a position at confidence 1, px; by default the server's, 1.5.
  std::optional<double> measurement_sd_px = std::nullopt;
  /// Standard deviation of the acceleration along each axis, px/s²; by default the server's, 3000.
  std::optional<double> acceleration_sd_px_s2 = std::nullopt;
  /// Time in which the acceleration forgets itself to 1/e, s; by default the server's, 0.1.
  std::optional<double> acceleration_time_s = std::nullopt;
};

/// How a session of single calls is run.
struct SessionOptions {
  /// Rate of the camera; 0 = the behavior bundles' own.
  double frame_rate_hz = 0;
  /// Part of every frame that the models look at.
  std::optional<Crop> crop;
  /// Name of the camera for logs and metrics, UTF-8.
  std::string camera;
  /// Channel order of color pixels.
  Color color = Color::rgb;
  /// Crop each frame around the animal, within `crop`, where it was in the newest answered frame.
  std::optional<DynamicCrop> dynamic_crop;
  /// Events to wait for, at most 32: a `TriggerEvent` each time one switches.
  std::vector<Trigger> triggers;
  /// Say where the keypoints will be: `PoseResult::predicted`.
  std::optional<ForwardPrediction> prediction;
};

/// What to do when frames come faster than they are answered.
enum class Freshness {
  /// Every frame is answered; `send` is slowed down.
  all,
  /// Frames that newer ones overtake are left out.
  latest,
  /// Frames that waited longer than `max_age_ms` are left out.
  deadline,
};

/// How a live stream is run.
struct StreamOptions : SessionOptions {
  Freshness freshness = Freshness::all;
  /// Freshness `deadline`: longest wait of a frame, from 1 ms.
  std::uint32_t max_age_ms = 0;
  /// Frames to have in flight; 0 = the server's default.
  std::uint32_t max_frames_in_flight = 0;
  /// Connect again after a break, with growing waits; frames that were in flight are answered as
  /// lost, and numbers go on.
  bool reconnect = true;
  /// Give up when this long without connection.
  double reconnect_seconds = 60;
};

/// How a video is analyzed.
struct AnalysisOptions {
  /// Part of every frame that the models look at.
  std::optional<Crop> crop;
  /// First frame to analyze; behavior context begins here.
  std::uint64_t first_frame = 0;
  /// Go on with an analysis that broke off: rows before this frame are there already and are not
  /// sent again; 0 = from `first_frame` on. Not with `dynamic_crop`, nor with bout events.
  std::uint64_t resume_frame = 0;
  /// Number of frames to analyze; 0 = up to the end.
  std::uint64_t frame_limit = 0;
  /// Frames in a result chunk; 0 = the server's default.
  std::uint32_t frames_per_chunk = 0;
  /// Rate to assume where the container's is wrong; 0 = the container's.
  double frame_rate_hz = 0;
  /// Crop each frame around the animal, within `crop`, where it was in the frame before.
  std::optional<DynamicCrop> dynamic_crop;
};

}  // namespace ethostream
