/// What a rig waits for: conditions that the server decides frame by frame, told as events.
///
/// A condition is true, false, or unknown where a keypoint is not found or a frame has no answer;
/// an unknown one counts as one that does not hold. Positions are px of the frame as sent.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ethostream {

namespace v1 {
class Condition;  // of the protocol
}  // namespace v1

/// One keypoint of one animal.
struct Keypoint {
  Keypoint(std::string name) : name(std::move(name)) {}  // NOLINT: a name is a keypoint
  Keypoint(const char* name) : name(name) {}             // NOLINT

  std::string name;
  /// Name of a pose bundle of the stream; may be left out where it has only one.
  std::string bundle;
  /// Number of the animal, from 0.
  std::uint32_t animal = 0;
  /// Confidence in [0, 1] from which it counts as found; by default the bundle's own.
  std::optional<float> min_confidence;
  /// Look at where it is expected, whether it was found or not; needs a `prediction`.
  bool predicted = false;
};

/// Values between two limits, both included; at least one is set.
struct ValueRange {
  std::optional<double> at_least = std::nullopt;
  std::optional<double> at_most = std::nullopt;
};

/// A point of the frame as sent.
struct Point {
  float x_px = 0;
  float y_px = 0;
};

/// The inside and the edge of a closed line.
struct Polygon {
  /// Three to 1000; the last one is joined to the first.
  std::vector<Point> corners;
};

/// The inside and the edge of a circle.
struct Circle {
  float x_px = 0;
  float y_px = 0;
  /// More than 0.
  float radius_px = 0;
};

/// What is asked of a frame; the server checks names and values when a stream is opened.
class Condition {
 public:
  /// A keypoint is in a region.
  static Condition in_region(const Keypoint& keypoint, const Polygon& region);
  static Condition in_region(const Keypoint& keypoint, const Circle& region);

  /// The distance of two keypoints, px, is in a range.
  static Condition distance(const Keypoint& first, const Keypoint& second, const ValueRange& px);

  /// The angle at `vertex` between the lines to two others, degrees in [0, 180], is in a range.
  static Condition angle(const Keypoint& first, const Keypoint& vertex, const Keypoint& second,
                         const ValueRange& deg);

  /// The speed of a keypoint since it was last found, px a second, is in a range.
  static Condition speed(const Keypoint& keypoint, const ValueRange& px_per_s);

  /// The probability of a behavior, in [0, 1], is in a range.
  ///
  /// \param bundle Name of a behavior bundle; may be left out where the stream has only one.
  static Condition behavior(const std::string& behavior, const ValueRange& probability,
                            const std::string& bundle = "");

  /// All of them hold.
  static Condition all_of(const std::vector<Condition>& conditions);

  /// At least one of them holds.
  static Condition any_of(const std::vector<Condition>& conditions);

  /// It is false; what is unknown stays unknown.
  static Condition negation(const Condition& condition);

  /// The protocol's form.
  const v1::Condition& message() const { return *message_; }

 private:
  explicit Condition(v1::Condition message);

  std::shared_ptr<const v1::Condition> message_;
};

/// Switches on and off with a condition; it is off when a connection begins.
struct Trigger {
  /// Told in its events; each trigger of a stream has its own.
  std::string name;
  Condition condition;
  /// It switches on with the last of so many frames in a row in which the condition holds.
  std::uint32_t frames_on = 1;
  /// It switches off with the last of so many frames in a row in which it does not.
  std::uint32_t frames_off = 1;
};

}  // namespace ethostream
