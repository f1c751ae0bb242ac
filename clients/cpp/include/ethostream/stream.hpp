/// A live stream: frames or chunks in, one outcome a frame out, across broken connections.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ethostream/answers.hpp"
#include "ethostream/bundles.hpp"
#include "ethostream/frame.hpp"

namespace ethostream {

class LiveStream;

/// One camera's frames in, answers out; made by `Client::stream`.
///
/// Sending and reading may go on in two threads, or in turn. Every frame that `send` took gets
/// exactly one `FrameOutcome`, and one `BehaviorResult` per behavior bundle, each kind in the order
/// of the frames, also when the connection breaks: what the server owed then arrives as error
/// `lost`, and behavior results as status `error`. Encoded video goes by `send_chunk` instead.
/// Every function may be called from any thread.
class Stream {
 public:
  Stream(Stream&&) noexcept;
  Stream& operator=(Stream&&) noexcept;
  /// Ends the stream now, as `close` does; call `finish` before to have all frames answered.
  ~Stream();

  /// Connects and waits until the server agrees; the first `send` or `next` does it, too.
  ///
  /// \throws EthostreamError The server is not there or refuses.
  void open();

  /// Sends a frame and returns its number; its bytes may be reused afterwards.
  ///
  /// With freshness `all` this waits until the server has room for the frame. Otherwise a frame
  /// that finds no room is answered as skipped (`no_credit`) at once; nothing piles up.
  ///
  /// \throws InvalidFrame The image cannot be sent, or its number does not follow the last one.
  /// \throws AnswersUnread Nobody read an answer for 10 s and the buffer for them is full.
  /// \throws EthostreamError The stream failed, was finished, or sends chunks.
  std::uint64_t send(const Image& image, const FrameOptions& options = {});

  /// Sends a piece of encoded video and returns its number; its bytes may be reused afterwards.
  ///
  /// This waits while as many chunks as there are credits have no acknowledgement, whatever the
  /// freshness: later pictures rest on earlier ones. Each chunk gets one `ChunkAcknowledgement`,
  /// each frame decoded one `FrameOutcome`, numbered from 0 in the order of presentation. After a
  /// break, pictures come again with the next key frame.
  ///
  /// \param data Bytes in stream order, cut anywhere, usually one picture: Annex B for h264 and
  ///   hevc, JPEGs in a row for mjpeg.
  /// \throws InvalidFrame The chunk cannot be sent, or its number does not follow the last one.
  /// \throws AnswersUnread Nobody read an answer for 10 s and the buffer for them is full.
  /// \throws EthostreamError The stream failed, was finished, or sends frames or another codec.
  std::uint64_t send_chunk(const Bytes& data, ChunkCodec codec, const ChunkOptions& options = {});

  /// Waits for the next answer; nothing once the stream is finished and all are read.
  ///
  /// \throws EthostreamError The stream failed; all answers before that were given.
  std::optional<Answer> next();

  /// Has every answer given to `on_answer`, on a thread of the stream, instead of by `next`.
  ///
  /// `finish` returns after the last one. What `on_answer` throws ends the stream, and `send` and
  /// `finish` throw it, too. It must not destroy the stream.
  ///
  /// \throws InvalidRequest The stream has a listener already.
  void listen(std::function<void(const Answer&)> on_answer);

  /// Tells the server that no more frames come, and waits until all are answered.
  ///
  /// Answers that were not read yet can still be read afterwards.
  ///
  /// \throws EthostreamError The stream had failed.
  LedgerCounts finish();

  /// Ends the stream now; frames in flight are closed as lost.
  void close();

  /// What was taken and what became of it; after a break it is closed.
  LedgerCounts ledger() const;
  /// Id of the session on the server; another one after each reconnect.
  std::string session_id() const;
  /// The bundles with resolved versions.
  std::vector<BundleInfo> bundles() const;
  /// Behavior bundles: every how many-th frame is looked at, in the order of `bundles`.
  std::vector<std::uint32_t> strides() const;
  /// Frames that may be in flight.
  std::uint32_t credits() const;
  /// How often the connection was made again.
  std::uint32_t reconnects() const;

 private:
  friend class Client;
  explicit Stream(std::unique_ptr<LiveStream> live);

  std::unique_ptr<LiveStream> live_;
};

}  // namespace ethostream
