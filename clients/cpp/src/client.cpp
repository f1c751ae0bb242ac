#include "ethostream/client.hpp"

#include <utility>

#include "connection.hpp"
#include "frame_session.hpp"
#include "live_stream.hpp"
#include "messages.hpp"
#include "requests.hpp"
#include "upload.hpp"
#include "video_analysis.hpp"

namespace ethostream {

Client::Client(const std::string& address, const ClientOptions& options)
    : connection_(std::make_shared<Connection>(address, options)) {}

Stream Client::stream(const Bundles& bundles, const StreamOptions& options) const {
  return Stream(std::make_unique<LiveStream>(connection_, bundles, options));
}

Session Client::session(const Bundles& bundles, const SessionOptions& options) const {
  return Session(std::make_unique<FrameSession>(connection_, bundles, options));
}

Analysis Client::analyze_video(const VideoSource& source, const Bundles& bundles,
                               const AnalysisOptions& options) const {
  return Analysis(
      std::make_unique<VideoAnalysis>(connection_, source, requests::analysis(bundles, options)));
}

Upload Client::upload_video(const std::string& path) const {
  return ethostream::upload_video(*connection_, path);
}

std::vector<BundleInfo> Client::models() const {
  v1::ListModelsResponse response;
  connection_->call([&](grpc::ClientContext* context) {
    return connection_->models().ListModels(context, {}, &response);
  });
  return messages::bundle_infos(response.models());
}

BundleInfo Client::model(const std::string& bundle) const {
  v1::GetModelRequest request;
  *request.mutable_bundle() = requests::reference(bundle);
  v1::GetModelResponse response;
  connection_->call([&](grpc::ClientContext* context) {
    return connection_->models().GetModel(context, request, &response);
  });
  return messages::bundle_info(response.model());
}

BundleInfo Client::load(const std::string& bundle, double timeout_seconds) const {
  v1::LoadModelRequest request;
  *request.mutable_bundle() = requests::reference(bundle);
  v1::LoadModelResponse response;
  connection_->call(
      [&](grpc::ClientContext* context) {
        return connection_->models().LoadModel(context, request, &response);
      },
      timeout_seconds);
  return messages::bundle_info(response.model());
}

std::vector<BundleInfo> Client::unload(const std::string& bundle) const {
  v1::UnloadModelRequest request;
  *request.mutable_bundle() = requests::reference(bundle);
  v1::UnloadModelResponse response;
  connection_->call([&](grpc::ClientContext* context) {
    return connection_->models().UnloadModel(context, request, &response);
  });
  return messages::bundle_infos(response.models());
}

void Client::watch(const std::function<bool(const BundleInfo&)>& on_change) const {
  grpc::ClientContext context;
  connection_->authorize(context);
  const auto call = connection_->models().WatchModels(&context, {});
  v1::WatchModelsResponse response;
  while (call->Read(&response)) {
    if (!on_change(messages::bundle_info(response.model()))) {
      return;  // the end of `context` ends the call
    }
  }
  connection_->check(call->Finish());
}

}  // namespace ethostream
