// Streams the images of a folder (JPEG, PNG, PGM, PPM) and prints poses with latency:
//   stream_folder FOLDER [ADDRESS] [BUNDLE]
#include <algorithm>
#include <cstdio>
#include <ethostream/ethostream.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// The next number of a PGM or PPM header, where # begins a comment.
int header_number(std::istream& file) {
  std::string comment;
  while ((file >> std::ws).peek() == '#') {
    std::getline(file, comment);
  }
  int number = 0;
  file >> number;
  return number;
}

/// Sends the pixels of a PGM or PPM file, or a JPEG or PNG file as it is.
void send_file(ethostream::Stream& stream, const fs::path& path) {
  const std::string content = read_file(path);
  const bool is_gray = content.rfind("P5", 0) == 0;
  if (!is_gray && content.rfind("P6", 0) != 0) {
    stream.send(ethostream::Bytes(content));
    return;
  }
  std::istringstream header(content.substr(2));
  const int width_px = header_number(header);
  const int height_px = header_number(header);
  if (header_number(header) != 255) {
    throw std::runtime_error(path.string() + " does not hold 8 bits a channel; convert it");
  }
  const auto begin = std::min<std::size_t>(3 + static_cast<std::size_t>(header.tellg()),
                                           content.size());  // one space ends the header
  const auto* pixels = reinterpret_cast<const std::uint8_t*>(content.data()) + begin;
  stream.send(ethostream::Pixels({pixels, content.size() - begin}, width_px, height_px));
}

void show(const ethostream::Answer& answer) {
  const auto* outcome = std::get_if<ethostream::FrameOutcome>(&answer);
  if (outcome == nullptr) {
    return;  // a behavior result
  }
  std::printf("frame %llu:", static_cast<unsigned long long>(outcome->frame_index));
  if (outcome->kind != ethostream::OutcomeKind::result) {
    std::printf(" %s %s", outcome->reason.c_str(), outcome->message.c_str());
  }
  for (const auto& result : outcome->poses) {
    for (const auto& pose : result.poses) {
      for (std::size_t k = 0; k < pose.x_px.size(); ++k) {
        std::printf(" (%.1f, %.1f)", pose.x_px[k], pose.y_px[k]);
      }
    }
  }
  std::printf(", %.1f ms\n", static_cast<double>(outcome->round_trip_ns) / 1e6);
}

int stream_folder(const fs::path& folder, const std::string& address, const std::string& bundle) {
  std::vector<fs::path> images;
  for (const auto& entry : fs::directory_iterator(folder)) {
    images.push_back(entry.path());
  }
  std::sort(images.begin(), images.end());
  const ethostream::Client client(address);
  ethostream::Stream stream = client.stream(bundle);
  stream.listen(show);
  for (const auto& path : images) {
    send_file(stream, path);  // waits while the server has no room
  }
  const ethostream::LedgerCounts counts = stream.finish();  // all frames are answered
  std::printf("%llu of %llu frames analyzed\n", static_cast<unsigned long long>(counts.results),
              static_cast<unsigned long long>(counts.accepted));
  return counts.results == counts.accepted ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "stream_folder FOLDER [ADDRESS] [BUNDLE]\n");
    return 2;
  }
  try {
    return stream_folder(arguments[1], count > 2 ? arguments[2] : "127.0.0.1:50051",
                         count > 3 ? arguments[3] : "openfield-mouse");
  } catch (const ethostream::EthostreamError& error) {
    std::fprintf(stderr, "%s: %s\n", error.status().c_str(), error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}
