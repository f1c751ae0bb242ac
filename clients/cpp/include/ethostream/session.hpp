/// A session of single calls, for programs that want one answer at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ethostream/answers.hpp"
#include "ethostream/bundles.hpp"
#include "ethostream/frame.hpp"

namespace ethostream {

class FrameSession;

/// The answers to one frame of a session.
struct FrameAnswers {
  FrameOutcome outcome;
  /// Behavior results that are ready by now, for this frame or for earlier ones.
  std::vector<BehaviorResult> behaviors;
  /// Triggers that have switched by now.
  std::vector<TriggerEvent> triggers;
};

/// Frames in, one call each; made by `Client::session`.
///
/// Simpler than a stream, and about half as fast. Calls of one session are made one after the
/// other, from any thread. A session without a call for the server's limit, 60 s by default, ends
/// by itself, and later calls are refused with `NotFound`.
class Session {
 public:
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  /// Leaves the session to the server's limit; call `end` before for what is still owed.
  ~Session();

  /// Sends a frame and waits for its answers; the first call opens the session.
  ///
  /// \throws InvalidFrame The image cannot be sent.
  /// \throws EthostreamError The server refuses, or is not there.
  FrameAnswers analyze(const Image& image, const FrameOptions& options = {});

  /// Ends the session and returns the behavior results that were still owed.
  ///
  /// \throws EthostreamError The server is not there, or forgot the session.
  std::vector<BehaviorResult> end();

  /// Id of the session on the server; empty before the first answer and after `end`.
  std::string session_id() const;
  /// The bundles with resolved versions; empty before the first answer.
  std::vector<BundleInfo> bundles() const;
  /// Behavior bundles: every how many-th frame is looked at, in the order of `bundles`.
  std::vector<std::uint32_t> strides() const;

 private:
  friend class Client;
  explicit Session(std::unique_ptr<FrameSession> session);

  std::unique_ptr<FrameSession> session_;
};

}  // namespace ethostream
