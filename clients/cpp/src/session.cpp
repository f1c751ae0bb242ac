#include "ethostream/session.hpp"

#include <utility>

#include "frame_session.hpp"

namespace ethostream {

Session::Session(std::unique_ptr<FrameSession> session) : session_(std::move(session)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

FrameAnswers Session::analyze(const Image& image, const FrameOptions& options) {
  return session_->analyze(image, options);
}

std::vector<BehaviorResult> Session::end() { return session_->end(); }
std::string Session::session_id() const { return session_->session_id(); }
std::vector<BundleInfo> Session::bundles() const { return session_->bundles(); }
std::vector<std::uint32_t> Session::strides() const { return session_->strides(); }

}  // namespace ethostream
