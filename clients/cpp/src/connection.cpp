#include "connection.hpp"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <utility>

#include "ethostream/errors.hpp"
#include "status.hpp"

namespace ethostream {

namespace {

std::string read_pem(const std::string& path) {
  if (path.empty()) {
    return "";
  }
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) {
    throw InvalidRequest("cannot read " + path + "; give a PEM file");
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::shared_ptr<grpc::ChannelCredentials> credentials(const std::optional<TlsOptions>& tls) {
  if (!tls) {
    return grpc::InsecureChannelCredentials();
  }
  if (tls->certificate.empty() != tls->private_key.empty()) {
    throw InvalidRequest("a client certificate and its private key come together; give both");
  }
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = read_pem(tls->root_certificate);
  options.pem_private_key = read_pem(tls->private_key);
  options.pem_cert_chain = read_pem(tls->certificate);
  return grpc::SslCredentials(options);
}

grpc::ChannelArguments arguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(options.max_message_bytes));
  // The live stream decides when to try again; the channel must not be slower.
  arguments.SetInt("grpc.initial_reconnect_backoff_ms", 100);
  arguments.SetInt("grpc.max_reconnect_backoff_ms", 1000);
  arguments.SetInt("grpc.enable_retries", 0);
  // A connection of its own: two clients must not wait for each other's frames.
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);
  if (options.keepalive_seconds > 0) {
    arguments.SetInt("grpc.keepalive_time_ms", static_cast<int>(options.keepalive_seconds * 1000));
    arguments.SetInt("grpc.keepalive_timeout_ms", 10'000);
  }
  if (options.tls && !options.tls->server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls->server_name);
  }
  return arguments;
}

void check_options(const ClientOptions& options) {
  const auto fits = [](char one) { return one >= ' ' && one <= '~'; };
  if (!std::all_of(options.token.begin(), options.token.end(), fits)) {
    throw InvalidRequest(
        "the token holds a character that fits into no header, such as the end of a line; "
        "give it without");
  }
  if (options.max_message_bytes < 1 ||
      options.max_message_bytes > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    throw InvalidRequest("max_message_bytes is " + std::to_string(options.max_message_bytes) +
                         "; give 1 to 2147483647");
  }
  const double longest_seconds = std::numeric_limits<int>::max() / 1000.0;
  if (!(options.keepalive_seconds >= 0 && options.keepalive_seconds <= longest_seconds)) {
    throw InvalidRequest("keepalive_seconds is " + std::to_string(options.keepalive_seconds) +
                         "; give 0 (never) to 2147483");
  }
  if (!(options.timeout_seconds > 0 && options.timeout_seconds <= longest_seconds)) {
    throw InvalidRequest("timeout_seconds is " + std::to_string(options.timeout_seconds) +
                         "; give more than 0, up to 2147483");
  }
}

}  // namespace

Connection::Connection(std::string address, const ClientOptions& options)
    : address_(std::move(address)),
      token_(options.token),
      max_message_bytes_(options.max_message_bytes),
      timeout_seconds_(options.timeout_seconds) {
  check_options(options);
  channel_ = grpc::CreateCustomChannel(address_, credentials(options.tls), arguments(options));
  inference_ = v1::InferenceService::NewStub(channel_);
  models_ = v1::ModelService::NewStub(channel_);
}

void Connection::authorize(grpc::ClientContext& context) const {
  if (!token_.empty()) {
    context.AddMetadata("authorization", "Bearer " + token_);
  }
}

void Connection::call(const std::function<grpc::Status(grpc::ClientContext*)>& make) const {
  call(make, timeout_seconds_);
}

void Connection::call(const std::function<grpc::Status(grpc::ClientContext*)>& make,
                      double timeout_seconds) const {
  grpc::ClientContext context;
  authorize(context);
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::milliseconds(static_cast<std::int64_t>(timeout_seconds * 1e3)));
  check(make(&context));
}

void Connection::check(const grpc::Status& status) const {
  if (!status.ok()) {
    std::rethrow_exception(typed_error(status, address_));
  }
}

}  // namespace ethostream
