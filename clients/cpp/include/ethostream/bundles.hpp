/// Bundles: which ones a request names, and what the server tells of them.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ethostream {

/// A bundle to run, with what may be changed for this request.
struct BundleSelection {
  /// \param name Its name, or name@version.
  BundleSelection(std::string name) : name(std::move(name)) {}  // NOLINT: a name is a selection
  BundleSelection(const char* name) : name(name) {}             // NOLINT

  /// Its name, or name@version.
  std::string name;
  /// Behavior bundles: thresholds in (0, 1) by behavior name, instead of the bundle's own.
  std::map<std::string, float> thresholds;
  /// Behavior bundles: shortest bouts by behavior name, frames at the bundle's rate, from 1.
  std::map<std::string, std::uint32_t> min_bout_frames;
  /// Behavior bundles: tell onsets and offsets in the `bouts` of the answers.
  bool bout_events = false;
};

/// Bundles to run: one name, `{"name", "name@version"}`, or selections.
class Bundles {
 public:
  Bundles(const char* name) : selections_{name} {}           // NOLINT
  Bundles(const std::string& name) : selections_{name} {}    // NOLINT
  Bundles(const BundleSelection& one) : selections_{one} {}  // NOLINT
  Bundles(std::initializer_list<BundleSelection> all) : selections_(all) {}
  Bundles(std::vector<BundleSelection> all) : selections_(std::move(all)) {}  // NOLINT

  const std::vector<BundleSelection>& selections() const { return selections_; }

 private:
  std::vector<BundleSelection> selections_;
};

/// What kind of question a bundle answers.
enum class Task { pose, behavior };

/// What a pose bundle answers.
struct PoseModel {
  /// Names of the K keypoints; every pose lists them in this order.
  std::vector<std::string> keypoints;
  /// Pairs that are drawn connected.
  std::vector<std::pair<std::string, std::string>> skeleton;
  /// Left and right keypoints.
  std::vector<std::pair<std::string, std::string>> left_right;
  /// Poses in an answer, N; several are detections that are not grouped into animals.
  std::uint32_t max_animals = 0;
  /// Keypoints that exist once in the scene: only in the first pose.
  std::vector<std::string> unique_keypoints;
  /// Confidence in [0, 1] from which a keypoint counts as found.
  float confidence_cutoff = 0;
};

/// What a behavior bundle answers.
struct BehaviorModel {
  /// Names of the C behaviors; every answer lists them in this order.
  std::vector<std::string> behaviors;
  /// True: exactly one behavior a frame.
  bool exclusive = false;
  /// (C,) probability in (0, 1) from which a behavior is present; unused where exclusive.
  std::vector<float> thresholds;
  /// (C,) shortest bouts, frames at `frame_rate_hz`.
  std::vector<std::uint32_t> min_bout_frames;
  /// Rate of the recordings that it was trained on.
  double frame_rate_hz = 0;
  /// Largest relative deviation from a whole multiple of `frame_rate_hz`.
  double frame_rate_tolerance = 0;
  /// Frames of context before an answered one.
  std::uint32_t past_frames = 0;
  /// Look-ahead: frames after an answered one that the answer waits for.
  std::uint32_t future_frames = 0;
  /// Longest run of missing frames that the window bridges.
  std::uint32_t max_gap_frames = 0;
};

/// A bundle as the server describes it.
struct BundleInfo {
  std::string name;
  std::uint32_t version = 0;
  Task task = Task::pose;
  /// One sentence for people.
  std::string description;
  /// available, loading, ready, unloading or failed.
  std::string state;
  /// Why it failed, where it did.
  std::string reason;
  std::uint32_t input_width_px = 0;
  std::uint32_t input_height_px = 0;
  /// Engine and device, such as openvino:cpu; empty while not loaded.
  std::string engine;
  /// Such as bf16; empty while not loaded.
  std::string precision;
  /// Set for pose bundles.
  std::optional<PoseModel> pose;
  /// Set for behavior bundles.
  std::optional<BehaviorModel> behavior;
  /// Held-out figures of the card by name.
  std::map<std::string, double> metrics;
  /// Hexadecimal; names the weights beyond doubt.
  std::string manifest_sha256;
  /// Markdown; only `Client::model` fills it.
  std::string card;
  /// JSON; only `Client::model` fills it.
  std::string parity_json;
};

}  // namespace ethostream
