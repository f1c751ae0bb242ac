#include "frame_call.hpp"

#include <cstdint>
#include <utility>

namespace ethostream {

namespace {

/// What an operation of the call is for; the completion queue gives it back.
enum Operation : std::intptr_t { STARTED = 1, READ, WROTE, ENDED };

void* tag(Operation operation) { return reinterpret_cast<void*>(operation); }

}  // namespace

FrameCall::FrameCall(std::shared_ptr<const Connection> connection, v1::StreamFramesRequest first)
    : connection_(std::move(connection)) {
  connection_->authorize(context_);
  outbox_.push_back(std::move(first));
  call_ = connection_->inference().PrepareAsyncStreamFrames(&context_, &queue_);
  call_->StartCall(tag(STARTED));
}

FrameCall::~FrameCall() {
  context_.TryCancel();
  stop_writing();
  queue_.Shutdown();
  void* operation = nullptr;
  bool is_ok = false;
  while (queue_.Next(&operation, &is_ok)) {
    // What was under way must end before the memory that it uses.
  }
}

void FrameCall::write(v1::StreamFramesRequest request) {
  const std::lock_guard lock(writing_);
  outbox_.push_back(std::move(request));
  write_next();
}

void FrameCall::half_close() {
  const std::lock_guard lock(writing_);
  is_half_closing_ = true;
  write_next();
}

void FrameCall::cancel() { context_.TryCancel(); }

FrameCall::Event FrameCall::next(v1::StreamFramesResponse& response,
                                 std::chrono::system_clock::time_point until) {
  bool is_writing = true;
  while (!has_status_ || is_writing) {
    void* operation = nullptr;
    bool is_ok = false;
    if (queue_.AsyncNext(&operation, &is_ok, until) != grpc::CompletionQueue::GOT_EVENT) {
      return Event::waited;
    }
    switch (static_cast<Operation>(reinterpret_cast<std::intptr_t>(operation))) {
      case STARTED:
        if (is_ok) {
          const std::lock_guard lock(writing_);
          can_write_ = true;
          write_next();
          call_->Read(&incoming_, tag(READ));
        } else {
          call_->Finish(&status_, tag(ENDED));
        }
        break;
      case READ:
        if (is_ok) {
          response.Swap(&incoming_);
          call_->Read(&incoming_, tag(READ));
          return Event::response;
        }
        stop_writing();
        call_->Finish(&status_, tag(ENDED));
        break;
      case WROTE: {
        const std::lock_guard lock(writing_);
        is_writing_ = false;
        can_write_ = can_write_ && is_ok;
        write_next();
        break;
      }
      case ENDED:
        has_status_ = true;
        break;
    }
    const std::lock_guard lock(writing_);
    is_writing = is_writing_;
  }
  return Event::ended;
}

void FrameCall::write_next() {
  if (!can_write_ || is_writing_) {
    return;
  }
  if (!outbox_.empty()) {
    is_writing_ = true;
    call_->Write(outbox_.front(), tag(WROTE));
    outbox_.pop_front();
  } else if (is_half_closing_) {
    is_writing_ = true;
    can_write_ = false;
    call_->WritesDone(tag(WROTE));
  }
}

void FrameCall::stop_writing() {
  const std::lock_guard lock(writing_);
  can_write_ = false;
}

}  // namespace ethostream
