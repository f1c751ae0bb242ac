/// What the caller asks for, checked and made into messages for the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ethostream/bundles.hpp"
#include "ethostream/frame.hpp"
#include "ethostream/options.hpp"
#include "ethostream/v1/inference_service.pb.h"
#include "ethostream/video.hpp"

namespace ethostream::requests {

/// A bundle, from `name` or `name@version`.
///
/// \throws InvalidRequest The version is not a whole number from 1.
v1::BundleReference reference(const std::string& bundle);

/// The message that opens a session.
///
/// \throws InvalidRequest No bundle is given, or an option is outside its range.
v1::StreamStart session_start(const Bundles& bundles, const SessionOptions& options);

/// The message that opens a live stream.
///
/// \throws InvalidRequest No bundle is given, or an option is outside its range.
v1::StreamStart stream_start(const Bundles& bundles, const StreamOptions& options);

/// The request for an analysis, but for its source.
///
/// \throws InvalidRequest No bundle is given, or an option is outside its range.
v1::AnalyzeVideoRequest analysis(const Bundles& bundles, const AnalysisOptions& options);

/// What goes with the pixels of a frame.
struct FrameFields {
  std::uint64_t frame_index;
  std::int64_t capture_time_ns;
  /// Order of the channels where the frame's options do not say.
  Color color;
};

/// A frame; its bytes are copied.
///
/// \throws InvalidFrame The image fits no encoding, or not into a message.
v1::Frame frame(const Image& image, const FrameFields& fields, const FrameOptions& options,
                std::size_t max_message_bytes);

/// What goes with the bytes of a chunk.
struct ChunkFields {
  std::uint64_t chunk_index;
  std::int64_t capture_time_ns;
  ChunkCodec codec;
};

/// A piece of encoded video; its bytes are copied.
///
/// \throws InvalidFrame It does not fit into a message.
v1::VideoChunk chunk(const Bytes& data, const ChunkFields& fields, std::size_t max_message_bytes);

/// Ns since 1970.
std::int64_t now_ns();

}  // namespace ethostream::requests
