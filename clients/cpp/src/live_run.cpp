/// The thread of a live stream: connect, talk, and connect again until the stream is over.
#include <algorithm>
#include <cmath>
#include <utility>

#include "ethostream/errors.hpp"
#include "live_stream.hpp"
#include "messages.hpp"
#include "status.hpp"

namespace ethostream {

namespace {

constexpr const char* BROKE = "the connection broke before the answer";

/// A stopped, killed or unreachable server.
bool is_broken(grpc::StatusCode code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED;
}

/// A server that just began may still load its bundles, or count the old stream as open.
bool is_not_ready(grpc::StatusCode code) {
  return code == grpc::StatusCode::NOT_FOUND || code == grpc::StatusCode::FAILED_PRECONDITION ||
         code == grpc::StatusCode::RESOURCE_EXHAUSTED;
}

std::chrono::steady_clock::duration seconds(double value) {
  constexpr double longest = 1e9;  // more would not fit
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(std::min(value, longest)));
}

}  // namespace

void LiveStream::run() {
  std::exception_ptr failure;
  try {
    while (may_reconnect(talk())) {
    }
  } catch (const EthostreamError&) {
    failure = std::current_exception();
  } catch (const std::exception& error) {
    failure = std::make_exception_ptr(ServerFailed("an answer of " + connection_->address() +
                                                   " cannot be read: " + error.what()));
  }
  const std::lock_guard lock(mutex_);
  if (!failure_) {
    failure_ = failure;
  }
  call_.reset();
  is_connected_ = false;
  is_over_ = true;
  answers_.push(ledger_.close("the stream was closed before the answer"));
  answers_.close();
  changed_.notify_all();
}

LiveStream::End LiveStream::talk() {
  v1::StreamFramesRequest first;
  *first.mutable_start() = start_;
  first.mutable_start()->set_resumes_session_id(session_id());
  auto made = std::make_unique<FrameCall>(connection_, std::move(first));
  FrameCall& call = *made;
  {
    const std::lock_guard lock(mutex_);
    call_ = std::move(made);
    is_draining_ = false;
    if (is_finishing_) {
      call.half_close();
    }
    if (is_closing_) {
      call.cancel();
    }
  }
  const auto tick = std::min<std::chrono::milliseconds>(silence_ / 20, std::chrono::seconds(1));
  auto heard = Clock::now();
  bool is_given_up = false;
  v1::StreamFramesResponse response;
  for (auto event = FrameCall::Event::waited; event != FrameCall::Event::ended;) {
    event = call.next(response, std::chrono::system_clock::now() + tick);
    if (event == FrameCall::Event::response) {
      heard = Clock::now();
      take(response);
    } else if (event == FrameCall::Event::waited && !is_owed()) {
      heard = Clock::now();  // the camera pauses
    } else if (event == FrameCall::Event::waited && Clock::now() - heard >= silence_) {
      is_given_up = true;
      call.cancel();
    }
  }
  const grpc::Status status = call.status();
  const std::lock_guard lock(mutex_);
  call_.reset();
  if (is_given_up) {
    const auto waited = std::chrono::duration<double>(silence_).count();
    return {grpc::StatusCode::UNAVAILABLE,
            std::make_exception_ptr(Unavailable(connection_->address() + " owed an answer for " +
                                                std::to_string(std::lround(waited)) + " s"))};
  }
  return {status.error_code(), status.ok() ? nullptr : typed_error(status, connection_->address())};
}

bool LiveStream::is_owed() const {
  const std::lock_guard lock(mutex_);
  return !is_connected_ || is_finishing_ || is_draining_ || ledger_.in_flight() > 0;
}

void LiveStream::take(const v1::StreamFramesResponse& response) {
  const std::lock_guard lock(mutex_);
  switch (response.response_case()) {
    case v1::StreamFramesResponse::kOutcome: {
      backoff_.reset();
      const auto& message = response.outcome();
      const auto number = ledger_.number(message.frame_index(), message.capture_time_ns());
      FrameOutcome outcome = messages::outcome(message, ledger_.round_trip_ns(number));
      outcome.frame_index = number;
      answers_.push(ledger_.settle(std::move(outcome)));
      changed_.notify_all();
      break;
    }
    case v1::StreamFramesResponse::kBehavior: {
      const auto& message = response.behavior();
      const auto& bundle = message.bundle();
      BehaviorResult result =
          messages::behavior_result(message, ledger_.behaviors_of(bundle.name(), bundle.version()));
      result.frame_index = ledger_.number(message.frame_index(), message.capture_time_ns());
      for (auto& bout : result.bouts) {
        bout.frame_index = ledger_.number(bout.frame_index, message.capture_time_ns());
      }
      answers_.push(ledger_.settle_behavior(std::move(result)));
      break;
    }
    case v1::StreamFramesResponse::kChunk:
      backoff_.reset();
      answers_.push(ledger_.acknowledge(messages::acknowledgement(response.chunk())));
      changed_.notify_all();
      break;
    case v1::StreamFramesResponse::kTrigger:
      if (auto event = messages::trigger_event(response.trigger())) {
        event->frame_index = ledger_.number(event->frame_index, event->capture_time_ns);
        answers_.push({std::move(*event)});
      }
      break;
    case v1::StreamFramesResponse::kStarted:
      begin(response.started());
      break;
    case v1::StreamFramesResponse::kDrain:
      is_draining_ = true;
      call_->half_close();  // the server flushes what it owes
      changed_.notify_all();
      break;
    default:
      break;
  }
}

void LiveStream::begin(const v1::StreamStarted& started) {
  // Frames that were skipped while there was no connection are still owed behavior results.
  answers_.push(ledger_.close(BROKE));
  reconnects_ += session_id_.empty() ? 0 : 1;
  session_id_ = started.session_id();
  bundles_ = messages::bundle_infos(started.bundles());
  strides_.assign(started.strides().begin(), started.strides().end());
  credits_ = started.credits();
  std::vector<BehaviorBundle> owed;
  for (const auto& info : bundles_) {
    if (info.behavior) {
      owed.push_back({info.name, info.version, info.behavior->behaviors});
    }
  }
  ledger_.set_behavior_bundles(owed);
  is_connected_ = true;
  changed_.notify_all();
}

bool LiveStream::may_reconnect(End end) {
  Lock lock(mutex_);
  const bool was_connected = std::exchange(is_connected_, false);
  const bool was_drained = is_draining_ && !end.error;
  if (is_closing_) {
    return false;
  }
  answers_.push(ledger_.close(BROKE));
  const std::string server = "the server at " + connection_->address();
  if (!end.error && !was_drained && !is_finishing_) {
    end = {grpc::StatusCode::UNAVAILABLE,
           std::make_exception_ptr(Unavailable(server + " ended the stream"))};
  }
  const bool is_new = session_id_.empty();
  const bool is_retried = is_broken(end.code) || (is_not_ready(end.code) && !was_connected);
  if (end.error && (is_new || !is_retried)) {
    std::rethrow_exception(end.error);
  }
  if (is_finishing_) {
    return false;  // nothing is open any more; the ledger tells what was lost
  }
  if (!options_.reconnect) {
    std::rethrow_exception(
        end.error ? end.error : std::make_exception_ptr(Unavailable(server + " is stopping")));
  }
  const auto now = Clock::now();
  if (was_connected) {
    disconnected_ = now;
  }
  const auto resumes = now + seconds(backoff_.next_seconds());
  if (end.error && resumes - disconnected_ > seconds(options_.reconnect_seconds)) {
    std::rethrow_exception(end.error);
  }
  changed_.wait_until(lock, resumes, [&] { return is_finishing_; });
  return !is_finishing_;
}

}  // namespace ethostream
