#include "status.hpp"

#include <array>

#include "ethostream/errors.hpp"

namespace ethostream {

namespace {

constexpr std::array<const char*, 17> NAMES = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

}  // namespace

std::string status_name(grpc::StatusCode code) {
  const auto place = static_cast<std::size_t>(code);
  return place < NAMES.size() ? NAMES[place] : "UNKNOWN";
}

std::exception_ptr typed_error(const grpc::Status& status, const std::string& address) {
  const std::string name = status_name(status.error_code());
  std::string message = status.error_message();
  if (message.empty()) {
    message = "the server at " + address + " gave no reason";
  }
  switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return std::make_exception_ptr(InvalidRequest(message, name));
    case grpc::StatusCode::NOT_FOUND:
      return std::make_exception_ptr(NotFound(message, name));
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return std::make_exception_ptr(Overloaded(message, name));
    case grpc::StatusCode::PERMISSION_DENIED:
      return std::make_exception_ptr(PermissionDenied(message, name));
    case grpc::StatusCode::UNAUTHENTICATED:
      return std::make_exception_ptr(Unauthenticated(message, name));
    case grpc::StatusCode::FAILED_PRECONDITION:
      return std::make_exception_ptr(FailedPrecondition(message, name));
    case grpc::StatusCode::UNAVAILABLE:
      return std::make_exception_ptr(Unavailable(
          "no server answers at " + address + ", or it is stopping (" + message + "); try again"));
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::ABORTED:
      return std::make_exception_ptr(Unavailable(message, name));
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return std::make_exception_ptr(DeadlineExceeded(message, name));
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::DATA_LOSS:
      return std::make_exception_ptr(ServerFailed(message, name));
    default:
      return std::make_exception_ptr(EthostreamError(message, name));
  }
}

}  // namespace ethostream
