/// How a live stream works: one thread reads answers, connects again, and watches for silence.
#pragma once

#include <grpcpp/support/status.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "answer_queue.hpp"
#include "backoff.hpp"
#include "connection.hpp"
#include "ethostream/stream.hpp"
#include "frame_call.hpp"
#include "ledger.hpp"

namespace ethostream {

/// What `Stream` hands its calls to; it documents them.
class LiveStream {
 public:
  /// \param silence A server that owes an answer and is silent this long is given up.
  LiveStream(std::shared_ptr<const Connection> connection, const Bundles& bundles,
             const StreamOptions& options,
             std::chrono::milliseconds silence = std::chrono::seconds(60));
  LiveStream(const LiveStream&) = delete;
  LiveStream& operator=(const LiveStream&) = delete;
  ~LiveStream();

  void open();
  std::uint64_t send(const Image& image, const FrameOptions& options);
  std::uint64_t send_chunk(const Bytes& data, ChunkCodec codec, const ChunkOptions& options);
  std::optional<Answer> next();
  void listen(std::function<void(const Answer&)> on_answer);
  LedgerCounts finish();
  void close();

  LedgerCounts ledger() const;
  std::string session_id() const;
  std::vector<BundleInfo> bundles() const;
  std::vector<std::uint32_t> strides() const;
  std::uint32_t credits() const;
  std::uint32_t reconnects() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Clock = std::chrono::steady_clock;

  /// With what a connection ended.
  struct End {
    grpc::StatusCode code = grpc::StatusCode::OK;
    std::exception_ptr error;  // not set where it ended well
  };

  void run();
  End talk();
  bool is_owed() const;
  void take(const v1::StreamFramesResponse& response);
  void begin(const v1::StreamStarted& started);
  bool may_reconnect(End end);

  void wait_until_open(Lock& lock);
  void wait_until_over(Lock& lock);
  void wait_for_room(Lock& lock);
  void check_index(const char* kind, std::uint64_t index) const;
  std::uint64_t skip(std::uint64_t index, std::int64_t capture_time_ns);
  void end_now(const std::exception_ptr& failure);
  bool has_credit() const;
  bool takes_no_more() const { return failure_ || is_finishing_ || is_over_; }
  void throw_failure() const;
  void throw_if_over() const;

  const std::shared_ptr<const Connection> connection_;
  const StreamOptions options_;
  const v1::StreamStart start_;
  const std::chrono::milliseconds silence_;

  std::mutex sending_;               // one `send` after the other; taken before `mutex_`
  std::uint64_t next_index_ = 0;     // of the next frame, or of the next chunk
  std::optional<ChunkCodec> codec_;  // where chunks are sent

  mutable std::mutex mutex_;         // guards what follows
  std::condition_variable changed_;  // credits, connection or intention changed
  Ledger ledger_;
  AnswerQueue answers_{ledger_};
  std::unique_ptr<FrameCall> call_;  // the runner alone makes and ends it
  std::exception_ptr failure_;
  std::string session_id_;
  std::vector<BundleInfo> bundles_;
  std::vector<std::uint32_t> strides_;
  std::uint32_t credits_ = 0;
  std::uint32_t reconnects_ = 0;
  Clock::time_point disconnected_;
  bool is_connected_ = false;
  bool is_draining_ = false;
  bool is_finishing_ = false;
  bool is_closing_ = false;
  bool is_over_ = false;
  bool is_listening_ = false;
  std::thread runner_;
  std::thread listener_;

  Backoff backoff_;  // of `runner_` alone
};

}  // namespace ethostream
