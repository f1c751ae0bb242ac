#include "upload.hpp"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "ethostream/errors.hpp"
#include "sha256.hpp"

namespace ethostream {

namespace {

// The server takes 4 MiB; 1 MiB already fills a fast network.
constexpr std::size_t PIECE_BYTES = std::size_t{1} << 20;

}  // namespace

Upload upload_video(const Connection& connection, const std::string& path) {
  std::error_code error;
  const auto size_bytes = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) {
    throw InvalidRequest("cannot read " + path + (error ? ": " + error.message() : "") +
                         "; give a video file");
  }
  grpc::ClientContext context;
  connection.authorize(context);
  v1::UploadVideoResponse response;
  const auto call = connection.inference().UploadVideo(&context, &response);
  v1::UploadVideoRequest request;
  request.mutable_start()->set_filename(std::filesystem::path(path).filename().string());
  request.mutable_start()->set_size_bytes(size_bytes);
  Sha256 digest;
  std::string piece(PIECE_BYTES, '\0');
  // A refused upload takes no more; its status tells why.
  for (bool goes_on = call->Write(request); goes_on;) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto read_bytes = static_cast<std::size_t>(file.gcount());
    if (read_bytes == 0) {
      break;
    }
    digest.update(piece.data(), read_bytes);
    request.set_data(piece.data(), read_bytes);
    goes_on = call->Write(request);
  }
  const bool is_damaged = file.bad();
  if (is_damaged) {
    context.TryCancel();
  }
  call->WritesDone();
  const grpc::Status status = call->Finish();
  if (is_damaged) {
    throw InvalidRequest("cannot read " + path + " to its end; look at its disk");
  }
  connection.check(status);
  const std::string sent = digest.hex_digest();
  if (response.sha256() != sent) {
    throw ServerFailed("the server received " + path + " with SHA-256 " + response.sha256() +
                       ", sent was " + sent + "; upload it again");
  }
  return {response.upload_id(), response.size_bytes(), response.sha256()};
}

}  // namespace ethostream
