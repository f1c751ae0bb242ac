// ffmpeg -i CAMERA -f rawvideo -pix_fmt gray - | stream_camera [ADDRESS] [BUNDLE]
#include <ethostream/ethostream.hpp>
#include <iostream>

int main(int count, char** arguments) {
  ethostream::Client client(count > 1 ? arguments[1] : "127.0.0.1:50051");
  ethostream::Stream stream = client.stream(count > 2 ? arguments[2] : "openfield-mouse");
  stream.listen([](const ethostream::Answer& answer) {
    const auto* outcome = std::get_if<ethostream::FrameOutcome>(&answer);
    if (outcome != nullptr && outcome->kind == ethostream::OutcomeKind::result) {
      const ethostream::Pose& pose = outcome->poses[0].poses[0];
      std::cout << outcome->frame_index << " " << pose.x_px[0] << " " << pose.y_px[0] << "\n";
    }
  });
  std::string image(640 * 480, '\0');  // gray; 640 * 480 * 3 bytes are RGB
  while (std::cin.read(image.data(), image.size())) {
    stream.send(ethostream::Pixels(image, 640, 480));  // waits while the server has no room
  }
  std::cout << stream.finish().results << " frames\n";  // all frames are answered
}
