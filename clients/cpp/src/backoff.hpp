/// How long to wait before connecting again: doubled with each try, with jitter.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <utility>

namespace ethostream {

class Backoff {
 public:
  /// \param uniform Gives numbers in [0, 1).
  explicit Backoff(double first_seconds = 0.1, double longest_seconds = 5,
                   std::function<double()> uniform = random_numbers())
      : first_seconds_(first_seconds),
        longest_seconds_(longest_seconds),
        uniform_(std::move(uniform)) {}

  /// The next wait: between half and one and a half times its middle.
  double next_seconds() {
    const double middle = std::min(longest_seconds_, first_seconds_ * std::exp2(tries_));
    ++tries_;
    return middle * (0.5 + uniform_());
  }

  /// Begins anew, because the connection works.
  void reset() { tries_ = 0; }

 private:
  static std::function<double()> random_numbers() {
    return [engine = std::minstd_rand(std::random_device()())]() mutable {
      return std::uniform_real_distribution<double>(0, 1)(engine);
    };
  }

  double first_seconds_;
  double longest_seconds_;
  std::function<double()> uniform_;
  int tries_ = 0;
};

}  // namespace ethostream
