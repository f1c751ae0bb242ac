/// Uploads of video files.
#pragma once

#include <string>

#include "connection.hpp"
#include "ethostream/video.hpp"

namespace ethostream {

/// Uploads a video file.
///
/// \throws InvalidRequest The file cannot be read.
/// \throws ServerFailed The server received other bytes than were sent.
Upload upload_video(const Connection& connection, const std::string& path);

}  // namespace ethostream
