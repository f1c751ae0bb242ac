/// How the client reaches a server: address, TLS, token, limits, and calls with typed errors.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "ethostream/options.hpp"
#include "ethostream/v1/inference_service.grpc.pb.h"
#include "ethostream/v1/model_service.grpc.pb.h"

namespace ethostream {

/// Calls to one server; it connects with the first one. Safe for several threads.
class Connection {
 public:
  /// \throws InvalidRequest A certificate cannot be read, or the token fits into no header.
  Connection(std::string address, const ClientOptions& options);

  const std::string& address() const { return address_; }
  std::size_t max_message_bytes() const { return max_message_bytes_; }
  v1::InferenceService::Stub& inference() const { return *inference_; }
  v1::ModelService::Stub& models() const { return *models_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  /// Gives a call the token.
  void authorize(grpc::ClientContext& context) const;

  /// Makes a single call within the client's time limit, or within `timeout_seconds`.
  ///
  /// \throws EthostreamError The server refuses, fails or is not there.
  void call(const std::function<grpc::Status(grpc::ClientContext*)>& make) const;
  void call(const std::function<grpc::Status(grpc::ClientContext*)>& make,
            double timeout_seconds) const;

  /// \throws EthostreamError The status is not OK.
  void check(const grpc::Status& status) const;

 private:
  std::string address_;
  std::string token_;
  std::size_t max_message_bytes_;
  double timeout_seconds_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;
  std::unique_ptr<v1::ModelService::Stub> models_;
};

}  // namespace ethostream
