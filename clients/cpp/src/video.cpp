#include "ethostream/video.hpp"

#include <utility>

#include "video_analysis.hpp"

namespace ethostream {

Analysis::Analysis(std::unique_ptr<VideoAnalysis> analysis) : analysis_(std::move(analysis)) {}
Analysis::Analysis(Analysis&&) noexcept = default;
Analysis& Analysis::operator=(Analysis&&) noexcept = default;
Analysis::~Analysis() = default;

const VideoStarted& Analysis::open() { return analysis_->open(); }
std::optional<ResultChunk> Analysis::next() { return analysis_->next(); }
const std::optional<VideoFinished>& Analysis::finished() const { return analysis_->finished(); }
VideoResults Analysis::gather() { return analysis_->gather(); }

}  // namespace ethostream
