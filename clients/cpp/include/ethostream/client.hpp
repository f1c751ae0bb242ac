/// The client: live streams, sessions, analyses of videos, uploads and models of one server.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ethostream/bundles.hpp"
#include "ethostream/options.hpp"
#include "ethostream/session.hpp"
#include "ethostream/stream.hpp"
#include "ethostream/video.hpp"

namespace ethostream {

class Connection;

/// A connection to a server; it connects with the first call.
///
/// All functions may be called from any thread. Streams, sessions and analyses that it made may
/// live longer than the client.
class Client {
 public:
  /// \param address HOST:PORT of the server.
  /// \throws InvalidRequest A certificate cannot be read, or the token fits into no header.
  explicit Client(const std::string& address = "127.0.0.1:50051",
                  const ClientOptions& options = {});

  /// A live stream of one camera.
  ///
  /// \throws InvalidRequest An option is outside its range.
  Stream stream(const Bundles& bundles, const StreamOptions& options = {}) const;

  /// A session of single calls: simpler than a stream, and about half as fast.
  ///
  /// \throws InvalidRequest An option is outside its range.
  Session session(const Bundles& bundles, const SessionOptions& options = {}) const;

  /// The analysis of a video; read its results with `next` or `gather`.
  ///
  /// \throws InvalidRequest An option is outside its range.
  Analysis analyze_video(const VideoSource& source, const Bundles& bundles,
                         const AnalysisOptions& options = {}) const;

  /// Uploads a video file, to analyze it by the id of the answer.
  ///
  /// \throws InvalidRequest The file cannot be read.
  /// \throws ServerFailed The server received other bytes than were sent.
  Upload upload_video(const std::string& path) const;

  /// All bundles of the server, loaded or not, by name and version.
  std::vector<BundleInfo> models() const;

  /// One bundle, `name` or `name@version`, with its card and parity report.
  BundleInfo model(const std::string& bundle) const;

  /// Loads a bundle beside those that run, and waits until it answers requests.
  ///
  /// \param bundle `name` takes the highest version of the model folder, which is read anew.
  /// \param timeout_seconds Longest wait; compiling for a device may take minutes.
  BundleInfo load(const std::string& bundle, double timeout_seconds = 600) const;

  /// Takes a bundle out of service, `name` all its versions; open streams keep it until they end.
  std::vector<BundleInfo> unload(const std::string& bundle) const;

  /// Tells every bundle as it is now, then each change, until `on_change` returns false.
  void watch(const std::function<bool(const BundleInfo&)>& on_change) const;

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace ethostream
