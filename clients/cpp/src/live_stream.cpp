#include "live_stream.hpp"

#include <string>
#include <utility>

#include "ethostream/errors.hpp"
#include "requests.hpp"

namespace ethostream {

namespace {

std::string codec_name(ChunkCodec codec) {
  switch (codec) {
    case ChunkCodec::h264:
      return "h264";
    case ChunkCodec::hevc:
      return "hevc";
    case ChunkCodec::mjpeg:
      return "mjpeg";
  }
  throw InvalidRequest("unknown codec " + std::to_string(static_cast<int>(codec)) +
                       "; choose one of h264, hevc, mjpeg");
}

}  // namespace

LiveStream::LiveStream(std::shared_ptr<const Connection> connection, const Bundles& bundles,
                       const StreamOptions& options, std::chrono::milliseconds silence)
    : connection_(std::move(connection)),
      options_(options),
      start_(requests::stream_start(bundles, options)),
      silence_(silence) {}

LiveStream::~LiveStream() {
  end_now(nullptr);
  if (listener_.joinable()) {
    listener_.join();
  }
  if (runner_.joinable()) {
    runner_.join();
  }
}

void LiveStream::open() {
  Lock lock(mutex_);
  wait_until_open(lock);
  throw_failure();
}

std::uint64_t LiveStream::send(const Image& image, const FrameOptions& options) {
  const std::int64_t capture_time_ns = options.capture_time_ns.value_or(requests::now_ns());
  const std::lock_guard sending(sending_);
  if (codec_) {
    throw InvalidRequest("this stream sends chunks; open another one for frames");
  }
  const std::uint64_t index = options.frame_index.value_or(next_index_);
  const bool waits = options_.freshness == Freshness::all;
  {
    Lock lock(mutex_);
    wait_for_room(lock);
    check_index("frame", index);
    if (!waits && !has_credit()) {
      return skip(index, capture_time_ns);
    }
  }
  v1::StreamFramesRequest request;
  *request.mutable_frame() = requests::frame(image, {index, capture_time_ns, options_.color},
                                             options, connection_->max_message_bytes());
  Lock lock(mutex_);
  changed_.wait(lock, [&] { return has_credit() || !waits || takes_no_more(); });
  throw_if_over();
  if (!has_credit()) {
    return skip(index, capture_time_ns);
  }
  next_index_ = index + 1;
  ledger_.send(index, capture_time_ns);
  call_->write(std::move(request));
  return index;
}

std::uint64_t LiveStream::send_chunk(const Bytes& data, ChunkCodec codec,
                                     const ChunkOptions& options) {
  const std::int64_t capture_time_ns = options.capture_time_ns.value_or(requests::now_ns());
  const std::lock_guard sending(sending_);
  const std::string wanted = codec_name(codec);
  if (next_index_ > 0 && codec_ != codec) {
    const std::string sends = codec_ ? codec_name(*codec_) + " chunks" : "frames";
    throw InvalidRequest("this stream sends " + sends + "; open another one for " + wanted +
                         " chunks");
  }
  const std::uint64_t index = options.chunk_index.value_or(next_index_);
  check_index("chunk", index);
  v1::StreamFramesRequest request;
  *request.mutable_chunk() =
      requests::chunk(data, {index, capture_time_ns, codec}, connection_->max_message_bytes());
  Lock lock(mutex_);
  wait_for_room(lock);
  changed_.wait(lock, [&] { return has_credit() || takes_no_more(); });
  throw_if_over();
  codec_ = codec;
  next_index_ = index + 1;
  ledger_.send_chunk(index, capture_time_ns);
  call_->write(std::move(request));
  return index;
}

void LiveStream::wait_for_room(Lock& lock) {
  if (!runner_.joinable()) {
    wait_until_open(lock);
  }
  throw_if_over();
  answers_.wait_for_room(lock);
  throw_if_over();
}

void LiveStream::check_index(const char* kind, std::uint64_t index) const {
  if (index < next_index_) {
    throw InvalidFrame(std::string(kind) + " " + std::to_string(index) + " after " + kind + " " +
                       std::to_string(next_index_ - 1) + "; numbers only grow");
  }
}

std::uint64_t LiveStream::skip(std::uint64_t index, std::int64_t capture_time_ns) {
  next_index_ = index + 1;
  answers_.push(ledger_.skip(index, capture_time_ns));
  return index;
}

std::optional<Answer> LiveStream::next() {
  Lock lock(mutex_);
  if (!runner_.joinable()) {
    wait_until_open(lock);
    throw_failure();
  }
  std::optional<Answer> answer = answers_.next(lock);
  if (!answer) {
    throw_failure();
  }
  return answer;
}

void LiveStream::listen(std::function<void(const Answer&)> on_answer) {
  const std::lock_guard lock(mutex_);
  if (listener_.joinable()) {
    throw InvalidRequest("the stream has a listener already; give it one");
  }
  is_listening_ = true;
  listener_ = std::thread([this, on_answer = std::move(on_answer)] {
    try {
      while (const std::optional<Answer> answer = next()) {
        on_answer(*answer);
      }
    } catch (...) {  // the stream failed already, or this is why it fails
      end_now(std::current_exception());
    }
    const std::lock_guard ended(mutex_);
    is_listening_ = false;
    changed_.notify_all();
  });
}

LedgerCounts LiveStream::finish() {
  Lock lock(mutex_);
  is_finishing_ = true;
  if (call_) {
    call_->half_close();
  }
  changed_.notify_all();
  wait_until_over(lock);
  if (std::this_thread::get_id() != listener_.get_id()) {
    changed_.wait(lock, [&] { return !is_listening_; });
  }
  throw_failure();
  return ledger_.counts();
}

void LiveStream::close() {
  end_now(nullptr);
  Lock lock(mutex_);
  wait_until_over(lock);
}

void LiveStream::end_now(const std::exception_ptr& failure) {
  const std::lock_guard lock(mutex_);
  if (!failure_) {
    failure_ = failure;
  }
  is_finishing_ = is_closing_ = true;
  if (call_) {
    call_->cancel();
  }
  changed_.notify_all();
}

LedgerCounts LiveStream::ledger() const {
  const std::lock_guard lock(mutex_);
  return ledger_.counts();
}

std::string LiveStream::session_id() const {
  const std::lock_guard lock(mutex_);
  return session_id_;
}

std::vector<BundleInfo> LiveStream::bundles() const {
  const std::lock_guard lock(mutex_);
  return bundles_;
}

std::vector<std::uint32_t> LiveStream::strides() const {
  const std::lock_guard lock(mutex_);
  return strides_;
}

std::uint32_t LiveStream::credits() const {
  const std::lock_guard lock(mutex_);
  return credits_;
}

std::uint32_t LiveStream::reconnects() const {
  const std::lock_guard lock(mutex_);
  return reconnects_;
}

void LiveStream::wait_until_open(Lock& lock) {
  if (!runner_.joinable()) {
    runner_ = std::thread([this] { run(); });
  }
  changed_.wait(lock, [&] { return is_connected_ || is_over_; });
}

void LiveStream::wait_until_over(Lock& lock) {
  changed_.wait(lock, [&] { return is_over_ || !runner_.joinable(); });
}

bool LiveStream::has_credit() const {
  const bool is_open = call_ && is_connected_;  // the call may have ended just now
  return is_open && !is_draining_ && !is_finishing_ && ledger_.in_flight() < credits_;
}

void LiveStream::throw_failure() const {
  if (failure_) {
    std::rethrow_exception(failure_);
  }
}

void LiveStream::throw_if_over() const {
  throw_failure();
  if (is_finishing_ || is_over_) {
    throw StreamClosed("the stream is finished and takes no more frames; open a new one");
  }
}

}  // namespace ethostream
