/// The one place that turns protobuf messages into the client's values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ethostream/answers.hpp"
#include "ethostream/bundles.hpp"
#include "ethostream/v1/inference_service.pb.h"
#include "ethostream/video.hpp"

namespace ethostream::messages {

/// A bundle as the server describes it.
BundleInfo bundle_info(const v1::BundleInfo& message);

/// The bundles that a stream, session or analysis runs.
std::vector<BundleInfo> bundle_infos(
    const google::protobuf::RepeatedPtrField<v1::BundleInfo>& messages);

/// The answer to a frame.
FrameOutcome outcome(const v1::FrameOutcome& message, std::int64_t round_trip_ns);

/// What a behavior bundle says of a frame; `behaviors` are its names.
BehaviorResult behavior_result(const v1::BehaviorResult& message,
                               const std::vector<std::string>& behaviors);

/// What was taken in of a chunk, but for the chunk's time of capture.
ChunkAcknowledgement acknowledgement(const v1::ChunkAcknowledgement& message);

/// What a trigger did; nothing where a newer server tells more.
std::optional<TriggerEvent> trigger_event(const v1::TriggerEvent& message);

/// The beginning of an analysis.
VideoStarted video_started(const v1::VideoStarted& message);

/// The end of an analysis.
VideoFinished video_finished(const v1::VideoFinished& message);

/// Results of T frames.
ResultChunk result_chunk(const v1::ResultChunk& message);

}  // namespace ethostream::messages
