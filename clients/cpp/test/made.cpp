#include "made.hpp"

#include <numeric>
#include <utility>
#include <variant>

namespace {

constexpr int WIDTH_PX = 64;
constexpr int HEIGHT_PX = 48;

}  // namespace

MadeFrame::MadeFrame(std::uint64_t number) {
  for (int y = 0; y < HEIGHT_PX; ++y) {
    for (int x = 0; x < WIDTH_PX; ++x) {
      const auto sum = static_cast<std::uint64_t>(3 * x + 5 * y) + 7 * number;
      levels_.push_back(static_cast<std::uint8_t>(sum % 251));
    }
  }
}

ethostream::Image MadeFrame::image() const {
  return ethostream::Pixels(levels_, WIDTH_PX, HEIGHT_PX);
}

void Answers::take(ethostream::Answer answer) {
  std::visit([this](auto& one) { add(std::move(one)); }, answer);
}

std::vector<std::uint64_t> Answers::outcome_numbers() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& one : outcomes) {
    numbers.push_back(one.frame_index);
  }
  return numbers;
}

std::vector<std::uint64_t> Answers::behavior_numbers() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& one : behaviors) {
    numbers.push_back(one.frame_index);
  }
  return numbers;
}

std::vector<std::uint64_t> Answers::chunk_numbers() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& one : chunks) {
    numbers.push_back(one.chunk_index);
  }
  return numbers;
}

std::vector<std::uint64_t> numbers_below(std::uint64_t count) {
  std::vector<std::uint64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), std::uint64_t{0});
  return numbers;
}
