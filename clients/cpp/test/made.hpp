/// Frames as `clients/testdata/stream_frames.py` makes them.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "ethostream/ethostream.hpp"

/// Gray, 64 x 48 px; the pixel at x, y of frame n has the level (3 x + 5 y + 7 n) mod 251.
class MadeFrame {
 public:
  explicit MadeFrame(std::uint64_t number = 0);

  ethostream::Image image() const;

 private:
  std::vector<std::uint8_t> levels_;
};

inline const MadeFrame FRAME;

/// The bundles of the test vectors.
inline const ethostream::Bundles BUNDLES = {"vector-points", "vector-motion"};

/// The answers of a stream that are left, by kind.
struct Answers {
  std::vector<ethostream::FrameOutcome> outcomes;
  std::vector<ethostream::BehaviorResult> behaviors;
  std::vector<ethostream::ChunkAcknowledgement> chunks;
  std::vector<ethostream::TriggerEvent> events;

  void take(ethostream::Answer answer);
  std::vector<std::uint64_t> outcome_numbers() const;
  std::vector<std::uint64_t> behavior_numbers() const;
  std::vector<std::uint64_t> chunk_numbers() const;

 private:
  void add(ethostream::FrameOutcome one) { outcomes.push_back(std::move(one)); }
  void add(ethostream::BehaviorResult one) { behaviors.push_back(std::move(one)); }
  void add(ethostream::ChunkAcknowledgement one) { chunks.push_back(std::move(one)); }
  void add(ethostream::TriggerEvent one) { events.push_back(std::move(one)); }
};

/// Reads a stream to its end.
template <typename Stream>
Answers read_all(Stream& stream) {
  Answers answers;
  while (auto answer = stream.next()) {
    answers.take(std::move(*answer));
  }
  return answers;
}

/// 0, 1, ... below `count`.
std::vector<std::uint64_t> numbers_below(std::uint64_t count);
