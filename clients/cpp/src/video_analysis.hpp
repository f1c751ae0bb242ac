/// How the analysis of a video works.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <memory>
#include <optional>

#include "connection.hpp"
#include "ethostream/video.hpp"

namespace ethostream {

/// What `Analysis` hands its calls to; it documents them.
class VideoAnalysis {
 public:
  VideoAnalysis(std::shared_ptr<const Connection> connection, VideoSource source,
                v1::AnalyzeVideoRequest request);
  VideoAnalysis(const VideoAnalysis&) = delete;
  VideoAnalysis& operator=(const VideoAnalysis&) = delete;
  ~VideoAnalysis();

  const VideoStarted& open();
  std::optional<ResultChunk> next();
  const std::optional<VideoFinished>& finished() const { return finished_; }
  VideoResults gather();

 private:
  const std::shared_ptr<const Connection> connection_;
  const VideoSource source_;
  v1::AnalyzeVideoRequest request_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::AnalyzeVideoResponse>> call_;
  std::optional<VideoStarted> started_;
  std::optional<VideoFinished> finished_;
  bool has_ended_ = false;
};

}  // namespace ethostream
