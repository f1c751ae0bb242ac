#include "ethostream/stream.hpp"

#include <utility>

#include "live_stream.hpp"

namespace ethostream {

Stream::Stream(std::unique_ptr<LiveStream> live) : live_(std::move(live)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

void Stream::open() { live_->open(); }

std::uint64_t Stream::send(const Image& image, const FrameOptions& options) {
  return live_->send(image, options);
}

std::uint64_t Stream::send_chunk(const Bytes& data, ChunkCodec codec, const ChunkOptions& options) {
  return live_->send_chunk(data, codec, options);
}

std::optional<Answer> Stream::next() { return live_->next(); }

void Stream::listen(std::function<void(const Answer&)> on_answer) {
  live_->listen(std::move(on_answer));
}

LedgerCounts Stream::finish() { return live_->finish(); }
void Stream::close() { live_->close(); }
LedgerCounts Stream::ledger() const { return live_->ledger(); }
std::string Stream::session_id() const { return live_->session_id(); }
std::vector<BundleInfo> Stream::bundles() const { return live_->bundles(); }
std::vector<std::uint32_t> Stream::strides() const { return live_->strides(); }
std::uint32_t Stream::credits() const { return live_->credits(); }
std::uint32_t Stream::reconnects() const { return live_->reconnects(); }

}  // namespace ethostream
