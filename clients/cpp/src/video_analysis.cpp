#include "video_analysis.hpp"

#include <iterator>
#include <utility>

#include "ethostream/errors.hpp"
#include "messages.hpp"
#include "upload.hpp"

namespace ethostream {

namespace {

template <typename Value>
void append(std::vector<Value>& column, std::vector<Value>& more) {
  column.insert(column.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

/// Adds the rows of the next chunk.
void append(ResultChunk& rows, ResultChunk& chunk) {
  append(rows.frame_index, chunk.frame_index);
  append(rows.pts_ns, chunk.pts_ns);
  append(rows.status, chunk.status);
  for (std::size_t place = 0; place < rows.poses.size(); ++place) {
    append(rows.poses[place].x_px, chunk.poses.at(place).x_px);
    append(rows.poses[place].y_px, chunk.poses[place].y_px);
    append(rows.poses[place].confidence, chunk.poses[place].confidence);
  }
  for (std::size_t place = 0; place < rows.behaviors.size(); ++place) {
    append(rows.behaviors[place].status, chunk.behaviors.at(place).status);
    append(rows.behaviors[place].probabilities, chunk.behaviors[place].probabilities);
    append(rows.behaviors[place].present, chunk.behaviors[place].present);
    append(rows.behaviors[place].bouts, chunk.behaviors[place].bouts);
  }
  append(rows.faults, chunk.faults);
}

}  // namespace

VideoAnalysis::VideoAnalysis(std::shared_ptr<const Connection> connection, VideoSource source,
                             v1::AnalyzeVideoRequest request)
    : connection_(std::move(connection)),
      source_(std::move(source)),
      request_(std::move(request)) {}

VideoAnalysis::~VideoAnalysis() {
  if (call_ && !has_ended_) {
    context_.TryCancel();
    v1::AnalyzeVideoResponse rest;
    while (call_->Read(&rest)) {
      // What is on its way already.
    }
    call_->Finish();
  }
}

const VideoStarted& VideoAnalysis::open() {
  if (started_) {
    return *started_;
  }
  if (!call_) {
    if (const auto* server = std::get_if<ServerVideo>(&source_)) {
      request_.set_path(server->path);
    } else if (const auto* local = std::get_if<LocalVideo>(&source_)) {
      request_.set_upload_id(upload_video(*connection_, local->path).upload_id);
    } else {
      request_.set_upload_id(std::get<UploadedVideo>(source_).upload_id);
    }
    connection_->authorize(context_);
    call_ = connection_->inference().AnalyzeVideo(&context_, request_);
  }
  v1::AnalyzeVideoResponse response;
  while (!has_ended_ && call_->Read(&response)) {
    if (response.has_started()) {
      started_ = messages::video_started(response.started());
      return *started_;
    }
  }
  if (!has_ended_) {
    has_ended_ = true;
    connection_->check(call_->Finish());
  }
  throw ServerFailed("the server ended the analysis without its first message");
}

std::optional<ResultChunk> VideoAnalysis::next() {
  open();
  v1::AnalyzeVideoResponse response;
  while (!has_ended_ && call_->Read(&response)) {
    if (response.has_chunk()) {
      return messages::result_chunk(response.chunk());
    }
    if (response.has_finished()) {
      finished_ = messages::video_finished(response.finished());
    }
  }
  if (!has_ended_) {
    has_ended_ = true;
    connection_->check(call_->Finish());
  }
  if (!finished_) {
    throw ServerFailed("the server ended the analysis without its last message");
  }
  return std::nullopt;
}

VideoResults VideoAnalysis::gather() {
  VideoResults results;
  results.started = open();
  std::optional<ResultChunk> chunk = next();
  if (chunk) {
    results.rows = std::move(*chunk);
    while ((chunk = next())) {
      append(results.rows, *chunk);
    }
  }
  results.finished = *finished_;
  return results;
}

}  // namespace ethostream
