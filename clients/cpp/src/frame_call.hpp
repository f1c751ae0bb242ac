/// One call of a live stream, whose writes never block.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/support/async_stream.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>

#include "connection.hpp"

namespace ethostream {

/// Writes from any thread, reads in one: the thread that calls `next` moves the call on.
///
/// Requests wait in a queue until the network takes them; the stream's credits bound it.
class FrameCall {
 public:
  enum class Event { response, waited, ended };

  /// Begins the call; `first` is its first request.
  FrameCall(std::shared_ptr<const Connection> connection, v1::StreamFramesRequest first);
  FrameCall(const FrameCall&) = delete;
  FrameCall& operator=(const FrameCall&) = delete;
  /// Cancels the call where it has not ended.
  ~FrameCall();

  /// Queues a request; one after the end is dropped.
  void write(v1::StreamFramesRequest request);

  /// Tells the server, after what is queued, that no more requests come.
  void half_close();

  /// Ends the call now; `next` tells the end.
  void cancel();

  /// Waits for a response, for the end, or until a time.
  Event next(v1::StreamFramesResponse& response, std::chrono::system_clock::time_point until);

  /// With what the call ended; after `next` told the end.
  const grpc::Status& status() const { return status_; }

 private:
  /// Begins the next write where none is under way; `writing_` is held.
  void write_next();
  /// Takes no more writes.
  void stop_writing();

  std::shared_ptr<const Connection> connection_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::ClientAsyncReaderWriter<v1::StreamFramesRequest, v1::StreamFramesResponse>>
      call_;
  v1::StreamFramesResponse incoming_;
  grpc::Status status_;
  bool has_status_ = false;

  std::mutex writing_;  // guards what follows
  std::deque<v1::StreamFramesRequest> outbox_;
  bool can_write_ = false;
  bool is_writing_ = false;
  bool is_half_closing_ = false;
};

}  // namespace ethostream
