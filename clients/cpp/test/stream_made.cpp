/// Streams made frames and prints the answers as `clients/testdata/stream_frames.py` does:
///   stream_made ADDRESS FRAMES BUNDLE...
/// It says `ready` and begins with the first line of its input, so that several begin at once.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "made.hpp"

namespace {

/// A JSON list of numbers to the last digit, or of true and false.
template <typename Values>
std::string list(const Values& values) {
  std::string text;
  for (const auto value : values) {
    char digits[32];
    std::snprintf(digits, sizeof digits, "%.17g", static_cast<double>(value));
    text += (text.empty() ? "" : ", ") + std::string(digits);
  }
  return "[" + text + "]";
}

std::string flags(const std::vector<bool>& values) {
  std::string text;
  for (const bool value : values) {
    text += std::string(text.empty() ? "" : ", ") + (value ? "true" : "false");
  }
  return "[" + text + "]";
}

/// One list of each animal's.
std::string lists(const ethostream::PoseResult& result,
                  std::vector<float> ethostream::Pose::*values) {
  std::string text;
  for (const auto& pose : result.poses) {
    text += (text.empty() ? "" : ", ") + list(pose.*values);
  }
  return "[" + text + "]";
}

void print(const ethostream::FrameOutcome& outcome) {
  std::string poses;
  for (const auto& one : outcome.poses) {
    poses += (poses.empty() ? "" : ", ") + ("{\"x_px\": " + lists(one, &ethostream::Pose::x_px)) +
             ", \"y_px\": " + lists(one, &ethostream::Pose::y_px) +
             ", \"confidence\": " + lists(one, &ethostream::Pose::confidence) + "}";
  }
  const char* kinds[] = {"result", "skipped", "error"};
  std::printf("{\"frame\": %llu, \"kind\": \"%s\", \"poses\": [%s]}\n",
              static_cast<unsigned long long>(outcome.frame_index),
              kinds[static_cast<int>(outcome.kind)], poses.c_str());
}

void print(const ethostream::BehaviorResult& result) {
  std::printf("{\"frame\": %llu, \"bundle\": \"%s\", \"status\": %d",
              static_cast<unsigned long long>(result.frame_index), result.bundle.c_str(),
              static_cast<int>(result.status));
  if (!result.probabilities.empty()) {
    std::printf(", \"probabilities\": %s, \"present\": %s", list(result.probabilities).c_str(),
                flags(result.present).c_str());
  }
  std::printf("}\n");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) {
    std::fprintf(stderr, "stream_made ADDRESS FRAMES BUNDLE...\n");
    return 2;
  }
  const auto frames = static_cast<std::uint64_t>(std::atoll(arguments[2]));
  const std::vector<ethostream::BundleSelection> bundles(arguments + 3, arguments + count);
  try {
    const ethostream::Client client(arguments[1]);
    ethostream::Stream stream = client.stream(bundles);
    std::puts("ready");
    std::fflush(stdout);
    std::getchar();
    for (const auto number : numbers_below(frames)) {
      ethostream::FrameOptions options;
      options.capture_time_ns = static_cast<std::int64_t>(number);
      stream.send(MadeFrame(number).image(), options);
    }
    stream.finish();
    const Answers answers = read_all(stream);
    for (const auto& one : answers.outcomes) {
      print(one);
    }
    for (const auto& one : answers.behaviors) {
      print(one);
    }
  } catch (const ethostream::EthostreamError& error) {
    std::fprintf(stderr, "%s: %s\n", error.status().c_str(), error.what());
    return 1;
  }
  return 0;
}
