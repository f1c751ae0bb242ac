/// How a session of single calls works.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "connection.hpp"
#include "ethostream/session.hpp"

namespace ethostream {

/// What `Session` hands its calls to; it documents them.
class FrameSession {
 public:
  FrameSession(std::shared_ptr<const Connection> connection, const Bundles& bundles,
               const SessionOptions& options);

  FrameAnswers analyze(const Image& image, const FrameOptions& options);
  std::vector<BehaviorResult> end();

  std::string session_id() const;
  std::vector<BundleInfo> bundles() const;
  std::vector<std::uint32_t> strides() const;

 private:
  v1::AnalyzeFrameResponse call(v1::AnalyzeFrameRequest request);
  std::vector<BehaviorResult> behaviors(const v1::AnalyzeFrameResponse& response) const;

  const std::shared_ptr<const Connection> connection_;
  const v1::StreamStart start_;
  const Color color_;

  std::mutex calling_;  // one call after the other; taken before `mutex_`
  std::uint64_t next_index_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  std::string session_id_;
  std::vector<BundleInfo> bundles_;
  std::vector<std::uint32_t> strides_;
};

}  // namespace ethostream
