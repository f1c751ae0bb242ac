#include "frame_session.hpp"

#include <chrono>
#include <utility>

#include "ethostream/errors.hpp"
#include "messages.hpp"
#include "requests.hpp"

namespace ethostream {

FrameSession::FrameSession(std::shared_ptr<const Connection> connection, const Bundles& bundles,
                           const SessionOptions& options)
    : connection_(std::move(connection)),
      start_(requests::session_start(bundles, options)),
      color_(options.color) {}

FrameAnswers FrameSession::analyze(const Image& image, const FrameOptions& options) {
  const std::lock_guard calling(calling_);
  const std::uint64_t index = options.frame_index.value_or(next_index_);
  const std::int64_t capture_time_ns = options.capture_time_ns.value_or(requests::now_ns());
  v1::AnalyzeFrameRequest request;
  *request.mutable_frame() = requests::frame(image, {index, capture_time_ns, color_}, options,
                                             connection_->max_message_bytes());
  next_index_ = index + 1;
  const auto began = std::chrono::steady_clock::now();
  const v1::AnalyzeFrameResponse response = call(std::move(request));
  if (!response.has_outcome()) {
    throw ServerFailed("the server gave no outcome of frame " + std::to_string(index) +
                       "; report this");
  }
  const std::chrono::nanoseconds round_trip = std::chrono::steady_clock::now() - began;
  FrameAnswers answers{
      messages::outcome(response.outcome(), round_trip.count()), behaviors(response), {}};
  for (const auto& one : response.triggers()) {
    if (auto event = messages::trigger_event(one)) {
      answers.triggers.push_back(std::move(*event));
    }
  }
  return answers;
}

std::vector<BehaviorResult> FrameSession::end() {
  const std::lock_guard calling(calling_);
  if (session_id().empty()) {
    return {};
  }
  v1::AnalyzeFrameRequest request;
  request.set_end_session(true);
  std::vector<BehaviorResult> owed = behaviors(call(std::move(request)));
  const std::lock_guard lock(mutex_);
  session_id_.clear();
  return owed;
}

std::string FrameSession::session_id() const {
  const std::lock_guard lock(mutex_);
  return session_id_;
}

std::vector<BundleInfo> FrameSession::bundles() const {
  const std::lock_guard lock(mutex_);
  return bundles_;
}

std::vector<std::uint32_t> FrameSession::strides() const {
  const std::lock_guard lock(mutex_);
  return strides_;
}

v1::AnalyzeFrameResponse FrameSession::call(v1::AnalyzeFrameRequest request) {
  request.set_session_id(session_id());
  if (request.session_id().empty()) {
    *request.mutable_start() = start_;
  }
  v1::AnalyzeFrameResponse response;
  connection_->call([&](grpc::ClientContext* context) {
    return connection_->inference().AnalyzeFrame(context, request, &response);
  });
  const std::lock_guard lock(mutex_);
  if (response.has_started()) {
    bundles_ = messages::bundle_infos(response.started().bundles());
    strides_.assign(response.started().strides().begin(), response.started().strides().end());
  }
  session_id_ = response.session_id();
  return response;
}

std::vector<BehaviorResult> FrameSession::behaviors(
    const v1::AnalyzeFrameResponse& response) const {
  const std::lock_guard lock(mutex_);
  std::vector<BehaviorResult> results;
  for (const auto& one : response.behaviors()) {
    std::vector<std::string> names;
    for (const auto& info : bundles_) {
      if (info.behavior && info.name == one.bundle().name() &&
          info.version == one.bundle().version()) {
        names = info.behavior->behaviors;
      }
    }
    results.push_back(messages::behavior_result(one, names));
  }
  return results;
}

}  // namespace ethostream
