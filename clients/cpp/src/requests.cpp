#include "requests.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <sstream>

#include "ethostream/errors.hpp"

namespace ethostream::requests {

namespace {

constexpr std::array<std::uint8_t, 3> JPEG = {0xff, 0xd8, 0xff};
constexpr std::array<std::uint8_t, 8> PNG = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a};
constexpr std::size_t FIELD_BYTES = 1024;  // the fields around the pixels
constexpr std::size_t MAX_VERSION_DIGITS = 9;

template <typename Magic>
bool begins_like(const Bytes& data, const Magic& magic) {
  return data.size() >= magic.size() && std::equal(magic.begin(), magic.end(), data.data());
}

template <typename Message>
void set_crop(Message& message, const std::optional<Crop>& crop) {
  if (!crop) {
    return;
  }
  if (crop->x_px < 0 || crop->y_px < 0 || crop->width_px < 1 || crop->height_px < 1) {
    std::ostringstream text;
    text << "the crop " << crop->width_px << "x" << crop->height_px << " at (" << crop->x_px << ", "
         << crop->y_px << ") px lies outside any frame; x, y from 0, width, height from 1 px";
    throw InvalidFrame(text.str());
  }
  auto& region = *message.mutable_crop();
  region.set_x_px(static_cast<std::uint32_t>(crop->x_px));
  region.set_y_px(static_cast<std::uint32_t>(crop->y_px));
  region.set_width_px(static_cast<std::uint32_t>(crop->width_px));
  region.set_height_px(static_cast<std::uint32_t>(crop->height_px));
}

/// The crops, the rate and the bundles, which streams and videos have in common; the server checks
/// the values of the dynamic crop.
template <typename Message, typename Options>
void set_common(Message& message, const Bundles& bundles, const Options& options) {
  if (bundles.selections().empty()) {
    throw InvalidRequest("no bundle is given; name at least one, such as 'openfield-mouse'");
  }
  for (const auto& one : bundles.selections()) {
    auto& selection = *message.add_bundles();
    *selection.mutable_bundle() = reference(one.name);
    selection.mutable_thresholds()->insert(one.thresholds.begin(), one.thresholds.end());
    selection.mutable_min_bout_frames()->insert(one.min_bout_frames.begin(),
                                                one.min_bout_frames.end());
    selection.set_bout_events(one.bout_events);
  }
  if (!(options.frame_rate_hz >= 0 &&
        options.frame_rate_hz <= std::numeric_limits<double>::max())) {
    std::ostringstream text;
    text << "frame_rate_hz is " << options.frame_rate_hz << "; give 0 (the bundle's) or more";
    throw InvalidRequest(text.str());
  }
  message.set_frame_rate_hz(options.frame_rate_hz);
  set_crop(message, options.crop);
  if (options.dynamic_crop) {
    auto& dynamic = *message.mutable_dynamic_crop();
    if (const auto margin_px = options.dynamic_crop->margin_px) {
      dynamic.set_margin_px(*margin_px);
    }
    if (const auto cutoff = options.dynamic_crop->confidence_cutoff) {
      dynamic.set_confidence_cutoff(*cutoff);
    }
    if (const auto zoom = options.dynamic_crop->max_zoom) {
      dynamic.set_max_zoom(*zoom);
    }
  }
}

void set_pixels(v1::Frame& frame, const Pixels& pixels, Color color) {
  const auto size = [&] {
    return std::to_string(pixels.width_px) + "x" + std::to_string(pixels.height_px) + " px";
  };
  if (pixels.width_px < 1 || pixels.height_px < 1) {
    throw InvalidFrame("a frame of " + size() + "; give whole numbers from 1");
  }
  const auto count =
      static_cast<std::size_t>(pixels.width_px) * static_cast<std::size_t>(pixels.height_px);
  if (pixels.data.size() != count && pixels.data.size() != 3 * count) {
    throw InvalidFrame(std::to_string(pixels.data.size()) + " bytes are no frame of " + size() +
                       "; give " + std::to_string(count) + " (gray) or " +
                       std::to_string(3 * count) + " (color)");
  }
  const auto color_encoding =
      color == Color::rgb ? v1::FRAME_ENCODING_RGB24 : v1::FRAME_ENCODING_BGR24;
  const bool is_gray = pixels.data.size() == count;
  frame.set_encoding(is_gray ? v1::FRAME_ENCODING_GRAY8 : color_encoding);
  frame.set_width_px(static_cast<std::uint32_t>(pixels.width_px));
  frame.set_height_px(static_cast<std::uint32_t>(pixels.height_px));
}

void check_size(const std::string& what, const Bytes& data, std::size_t max_message_bytes,
                const std::string& remedy) {
  const std::size_t limit = max_message_bytes - std::min(max_message_bytes, FIELD_BYTES);
  if (data.size() > limit) {
    throw InvalidFrame(what + " holds " + std::to_string(data.size()) +
                       " bytes, over the client's limit of " + std::to_string(limit) + "; " +
                       remedy + ", or raise max_message_bytes here and on the server");
  }
}

void add_trigger(v1::StreamStart& start, const Trigger& trigger) {
  if (trigger.frames_on < 1 || trigger.frames_off < 1) {
    throw InvalidRequest("trigger " + trigger.name + " has frames_on " +
                         std::to_string(trigger.frames_on) + " and frames_off " +
                         std::to_string(trigger.frames_off) + "; give 1 or more");
  }
  auto& message = *start.add_triggers();
  message.set_name(trigger.name);
  *message.mutable_condition() = trigger.condition.message();
  message.set_frames_on(trigger.frames_on);
  message.set_frames_off(trigger.frames_off);
}

/// The server checks its values.
void set_prediction(v1::ForwardPrediction& message, const ForwardPrediction& prediction) {
  message.set_ahead_ms(prediction.ahead_ms);
  if (const auto sd_px = prediction.measurement_sd_px) {
    message.set_measurement_sd_px(*sd_px);
  }
  if (const auto sd_px_s2 = prediction.acceleration_sd_px_s2) {
    message.set_acceleration_sd_px_s2(*sd_px_s2);
  }
  if (const auto time_s = prediction.acceleration_time_s) {
    message.set_acceleration_time_s(*time_s);
  }
}

v1::FrameEncoding file_encoding(const Bytes& data) {
  if (begins_like(data, JPEG)) {
    return v1::FRAME_ENCODING_JPEG;
  }
  if (begins_like(data, PNG)) {
    return v1::FRAME_ENCODING_PNG;
  }
  throw InvalidFrame(std::to_string(data.size()) +
                     " bytes that begin neither like JPEG nor like PNG; send such a file, or "
                     "pixels as Pixels(data, width_px, height_px)");
}

}  // namespace

v1::BundleReference reference(const std::string& bundle) {
  v1::BundleReference reference;
  const auto at = bundle.find('@');
  reference.set_name(bundle.substr(0, at));
  if (at == std::string::npos) {
    return reference;
  }
  const std::string number = bundle.substr(at + 1);
  const bool is_number = number.find_first_not_of("0123456789") == std::string::npos;
  if (number.empty() || !is_number || number[0] == '0' || number.size() > MAX_VERSION_DIGITS) {
    throw InvalidRequest("'" + bundle + "' names no version; write name or name@2, from 1");
  }
  reference.set_version(static_cast<std::uint32_t>(std::stoul(number)));
  return reference;
}

v1::StreamStart session_start(const Bundles& bundles, const SessionOptions& options) {
  v1::StreamStart start;
  set_common(start, bundles, options);
  start.set_freshness(v1::FRESHNESS_POLICY_ALL);
  start.set_camera(options.camera);
  for (const auto& one : options.triggers) {
    add_trigger(start, one);
  }
  if (options.prediction) {
    set_prediction(*start.mutable_prediction(), *options.prediction);
  }
  return start;
}

v1::StreamStart stream_start(const Bundles& bundles, const StreamOptions& options) {
  v1::StreamStart start = session_start(bundles, options);
  switch (options.freshness) {
    case Freshness::all:
      break;
    case Freshness::latest:
      start.set_freshness(v1::FRESHNESS_POLICY_LATEST);
      break;
    case Freshness::deadline:
      start.set_freshness(v1::FRESHNESS_POLICY_DEADLINE);
      if (options.max_age_ms < 1) {
        throw InvalidRequest("max_age_ms is 0; freshness deadline needs 1 or more");
      }
      break;
  }
  if (!(options.reconnect_seconds >= 0)) {
    throw InvalidRequest("reconnect_seconds is " + std::to_string(options.reconnect_seconds) +
                         "; give 0 or more");
  }
  start.set_max_age_ms(options.max_age_ms);
  start.set_max_frames_in_flight(options.max_frames_in_flight);
  return start;
}

v1::AnalyzeVideoRequest analysis(const Bundles& bundles, const AnalysisOptions& options) {
  v1::AnalyzeVideoRequest request;
  set_common(request, bundles, options);
  request.set_first_frame(options.first_frame);
  request.set_resume_frame(options.resume_frame);
  request.set_frame_limit(options.frame_limit);
  request.set_frames_per_chunk(options.frames_per_chunk);
  return request;
}

v1::Frame frame(const Image& image, const FrameFields& fields, const FrameOptions& options,
                std::size_t max_message_bytes) {
  v1::Frame frame;
  frame.set_frame_index(fields.frame_index);
  frame.set_capture_time_ns(fields.capture_time_ns);
  const auto* pixels = std::get_if<Pixels>(&image);
  const Bytes& data = pixels != nullptr ? pixels->data : std::get<Bytes>(image);
  if (pixels != nullptr) {
    set_pixels(frame, *pixels, options.color.value_or(fields.color));
  } else {
    frame.set_encoding(file_encoding(data));
  }
  set_crop(frame, options.crop);
  check_size("frame " + std::to_string(fields.frame_index), data, max_message_bytes, "send JPEG");
  frame.set_data(data.data(), data.size());
  return frame;
}

v1::VideoChunk chunk(const Bytes& data, const ChunkFields& fields, std::size_t max_message_bytes) {
  check_size("chunk " + std::to_string(fields.chunk_index), data, max_message_bytes,
             "send smaller pieces");
  v1::VideoChunk chunk;
  chunk.set_chunk_index(fields.chunk_index);
  chunk.set_capture_time_ns(fields.capture_time_ns);
  chunk.set_codec(static_cast<v1::VideoCodec>(fields.codec));
  chunk.set_data(data.data(), data.size());
  return chunk;
}

std::int64_t now_ns() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since).count();
}

}  // namespace ethostream::requests
