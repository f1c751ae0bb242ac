/// Images and encoded video as a camera gives them, and how they are sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace ethostream {

/// A view of bytes that stay the caller's; they need to live only as long as the call.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  Bytes(const std::vector<std::uint8_t>& data)  // NOLINT: a vector is bytes
      : Bytes(data.data(), data.size()) {}
  Bytes(const std::string& data)  // NOLINT: such as a file that was read
      : Bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size()) {}

  const std::uint8_t* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

/// Raw pixels, rows from top to bottom without padding: W x H bytes are gray, W x H x 3 color.
struct Pixels {
  Pixels(Bytes data, int width_px, int height_px)
      : data(data), width_px(width_px), height_px(height_px) {}

  Bytes data;
  int width_px;
  int height_px;
};

/// Raw pixels, or the bytes of a JPEG or PNG file.
using Image = std::variant<Pixels, Bytes>;

/// Order of the channels of color pixels; OpenCV's is bgr.
enum class Color { rgb, bgr };

/// A part of a frame, px of the frame as sent; (0, 0) is the top-left pixel.
struct Crop {
  /// Left edge, from 0.
  int x_px = 0;
  /// Top edge, from 0.
  int y_px = 0;
  /// From 1.
  int width_px = 0;
  /// From 1.
  int height_px = 0;
};

/// Crops each frame around the animal, where it was in an earlier frame; one-animal bundles only.
struct DynamicCrop {
  /// Added on each side of the keypoints' box, px; by default the server's, 50.
  std::optional<float> margin_px;
  /// Confidence in [0, 1] from which a keypoint counts as found; by default the bundle's own.
  std::optional<float> confidence_cutoff;
  /// Largest magnification against the whole frame, at least 1; by default the server's, 2.5.
  std::optional<float> max_zoom;
};

/// How a frame is sent.
struct FrameOptions {
  /// Number of the frame, greater than the last one; by default one more.
  std::optional<std::uint64_t> frame_index;
  /// Time of capture on the camera's clock, ns; by default now, ns since 1970.
  std::optional<std::int64_t> capture_time_ns;
  /// Order of the channels of this frame, instead of the stream's.
  std::optional<Color> color;
  /// Part of the frame that the models look at, instead of the stream's.
  std::optional<Crop> crop;
};

/// How encoded video is to be read: Annex B byte streams, or JPEGs in a row.
enum class ChunkCodec : std::uint8_t { h264 = 1, hevc = 2, mjpeg = 3 };

/// How a piece of encoded video is sent.
struct ChunkOptions {
  /// Number of the chunk, greater than the last one; by default one more.
  std::optional<std::uint64_t> chunk_index;
  /// Time of capture of its first frame on the camera's clock, ns; by default now, ns since 1970.
  std::optional<std::int64_t> capture_time_ns;
};

}  // namespace ethostream
