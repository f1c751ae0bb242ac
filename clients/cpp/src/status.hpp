/// gRPC statuses and the errors that stand for them.
#pragma once

#include <grpcpp/support/status.h>

#include <exception>
#include <string>

namespace ethostream {

/// Name of a gRPC status, such as NOT_FOUND.
std::string status_name(grpc::StatusCode code);

/// The typed error of a failed call to `address`, with its status and the server's message.
std::exception_ptr typed_error(const grpc::Status& status, const std::string& address);

}  // namespace ethostream
