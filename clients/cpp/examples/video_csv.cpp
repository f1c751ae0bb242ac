// Uploads a video and prints its keypoints as CSV:
//   video_csv VIDEO [ADDRESS] [BUNDLE]
#include <cstdio>
#include <ethostream/ethostream.hpp>

int main(int count, char** arguments) {
  if (count < 2) {
    std::fprintf(stderr, "video_csv VIDEO [ADDRESS] [BUNDLE]\n");
    return 2;
  }
  try {
    const ethostream::Client client(count > 2 ? arguments[2] : "127.0.0.1:50051");
    ethostream::Analysis analysis = client.analyze_video(
        ethostream::LocalVideo{arguments[1]}, count > 3 ? arguments[3] : "openfield-mouse");
    const auto keypoints = analysis.open().bundles.at(0).pose.value().keypoints;
    std::puts("frame,animal,keypoint,x_px,y_px,confidence");
    while (const auto chunk = analysis.next()) {
      const ethostream::PoseColumns& poses = chunk->poses.at(0);
      std::size_t row = 0;  // columns are (T, N, K), the last axis fastest
      for (const auto frame : chunk->frame_index) {
        for (std::uint32_t animal = 0; animal < poses.animals; ++animal) {
          for (const auto& name : keypoints) {
            std::printf("%llu,%u,%s,%.3f,%.3f,%.3f\n", static_cast<unsigned long long>(frame),
                        animal, name.c_str(), poses.x_px[row], poses.y_px[row],
                        poses.confidence[row]);
            ++row;
          }
        }
      }
    }
  } catch (const ethostream::EthostreamError& error) {
    std::fprintf(stderr, "%s: %s\n", error.status().c_str(), error.what());
    return 1;
  }
}
