/// Every error that the client throws on purpose, mapped from the server's gRPC status.
///
/// EthostreamError                 `status()` names the gRPC status, `what()` is the server's text
/// ├── InvalidRequest              the request cannot be served as it is
/// │   └── InvalidFrame            an image that cannot be sent, or a frame number out of order
/// ├── NotFound                    no such bundle, video, upload or session
/// ├── Overloaded                  a limit of the server is reached: a size, a queue, open streams
/// ├── PermissionDenied            the token lacks a scope, or the path is outside the roots
/// ├── Unauthenticated             no token, or an unknown one
/// ├── FailedPrecondition          a damaged bundle, an engine that is not installed
/// ├── Unavailable                 no server answers at the address, or it is stopping
/// │   └── StreamClosed            the stream was finished or closed and takes no more frames
/// ├── DeadlineExceeded            no answer within the time allowed
/// ├── ServerFailed                the server, its engine or its decoder failed
/// └── AnswersUnread               the caller sends frames but reads no answers
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ethostream {

/// Base of all errors of the client; its text says what happened, the value, and what to do.
class EthostreamError : public std::runtime_error {
 public:
  explicit EthostreamError(const std::string& message, std::string status = "UNKNOWN")
      : std::runtime_error(message), status_(std::move(status)) {}

  /// Name of the gRPC status, such as NOT_FOUND.
  const std::string& status() const noexcept { return status_; }

 private:
  std::string status_;
};

/// The request cannot be served as it is; sending it again will not help.
class InvalidRequest : public EthostreamError {
 public:
  explicit InvalidRequest(const std::string& message, std::string status = "INVALID_ARGUMENT")
      : EthostreamError(message, std::move(status)) {}
};

/// An image that no encoding fits, or a frame number that does not follow the last one.
class InvalidFrame : public InvalidRequest {
 public:
  using InvalidRequest::InvalidRequest;
};

/// Something that the request names does not exist.
class NotFound : public EthostreamError {
 public:
  explicit NotFound(const std::string& message, std::string status = "NOT_FOUND")
      : EthostreamError(message, std::move(status)) {}
};

/// A limit of the server is reached; the message says which.
class Overloaded : public EthostreamError {
 public:
  explicit Overloaded(const std::string& message, std::string status = "RESOURCE_EXHAUSTED")
      : EthostreamError(message, std::move(status)) {}
};

/// The caller may not do this.
class PermissionDenied : public EthostreamError {
 public:
  explicit PermissionDenied(const std::string& message, std::string status = "PERMISSION_DENIED")
      : EthostreamError(message, std::move(status)) {}
};

/// No token was sent, or an unknown one.
class Unauthenticated : public EthostreamError {
 public:
  explicit Unauthenticated(const std::string& message, std::string status = "UNAUTHENTICATED")
      : EthostreamError(message, std::move(status)) {}
};

/// The server is not in a state to do this, such as with a damaged bundle.
class FailedPrecondition : public EthostreamError {
 public:
  explicit FailedPrecondition(const std::string& message,
                              std::string status = "FAILED_PRECONDITION")
      : EthostreamError(message, std::move(status)) {}
};

/// No server answers at the address, or it is stopping.
class Unavailable : public EthostreamError {
 public:
  explicit Unavailable(const std::string& message, std::string status = "UNAVAILABLE")
      : EthostreamError(message, std::move(status)) {}
};

/// The stream was finished or closed and takes no more frames.
class StreamClosed : public Unavailable {
 public:
  using Unavailable::Unavailable;
};

/// No answer came within the time allowed.
class DeadlineExceeded : public EthostreamError {
 public:
  explicit DeadlineExceeded(const std::string& message, std::string status = "DEADLINE_EXCEEDED")
      : EthostreamError(message, std::move(status)) {}
};

/// The server, its engine or its decoder failed.
class ServerFailed : public EthostreamError {
 public:
  explicit ServerFailed(const std::string& message, std::string status = "INTERNAL")
      : EthostreamError(message, std::move(status)) {}
};

/// The caller sends frames but reads no answers, and the buffer for them is full.
class AnswersUnread : public EthostreamError {
 public:
  explicit AnswersUnread(const std::string& message, std::string status = "RESOURCE_EXHAUSTED")
      : EthostreamError(message, std::move(status)) {}
};

}  // namespace ethostream
