#include "sha256.hpp"

#include <algorithm>

namespace ethostream {

namespace {

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<std::uint32_t, 64> ROUND_CONSTANTS = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t LENGTH_BYTES = 8;  // at the end of the last block

std::uint32_t rotated(std::uint32_t value, unsigned bits) {
  return (value >> bits) | (value << (32 - bits));
}

}  // namespace

void Sha256::update(const char* data, std::size_t size) {
  total_bytes_ += size;
  while (size > 0) {
    const std::size_t taken = std::min(size, BLOCK_BYTES - filled_);
    std::copy_n(data, taken, block_.begin() + static_cast<std::ptrdiff_t>(filled_));
    filled_ += taken;
    data += taken;
    size -= taken;
    if (filled_ == BLOCK_BYTES) {
      take_block();
    }
  }
}

std::string Sha256::hex_digest() {
  const std::uint64_t bits = total_bytes_ * 8;
  block_[filled_++] = 0x80;
  if (filled_ > BLOCK_BYTES - LENGTH_BYTES) {
    std::fill(block_.begin() + static_cast<std::ptrdiff_t>(filled_), block_.end(), 0);
    take_block();
  }
  std::fill(block_.begin() + static_cast<std::ptrdiff_t>(filled_), block_.end(), 0);
  for (std::size_t place = 0; place < LENGTH_BYTES; ++place) {
    block_[BLOCK_BYTES - 1 - place] = static_cast<std::uint8_t>(bits >> (8 * place));
  }
  take_block();
  std::string digest;
  for (const std::uint32_t word : state_) {
    for (int shift = 28; shift >= 0; shift -= 4) {
      digest += "0123456789abcdef"[(word >> shift) & 0xf];
    }
  }
  return digest;
}

void Sha256::take_block() {
  std::array<std::uint32_t, ROUND_CONSTANTS.size()> words = {};
  for (std::size_t t = 0; t < 16; ++t) {
    for (std::size_t byte = 0; byte < 4; ++byte) {
      words[t] = words[t] << 8 | block_[4 * t + byte];
    }
  }
  for (std::size_t t = 16; t < words.size(); ++t) {
    const std::uint32_t before = words[t - 15];
    const std::uint32_t last = words[t - 2];
    const std::uint32_t sigma0 = rotated(before, 7) ^ rotated(before, 18) ^ before >> 3;
    const std::uint32_t sigma1 = rotated(last, 17) ^ rotated(last, 19) ^ last >> 10;
    words[t] = words[t - 16] + sigma0 + words[t - 7] + sigma1;
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (std::size_t t = 0; t < words.size(); ++t) {
    const std::uint32_t sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const std::uint32_t chosen = (e & f) ^ (~e & g);
    const std::uint32_t first = h + sum1 + chosen + ROUND_CONSTANTS[t] + words[t];
    const std::uint32_t sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const std::uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = d + first;
    d = c;
    c = b;
    b = a;
    a = first + sum0 + majority;
  }
  const std::array<std::uint32_t, 8> added = {a, b, c, d, e, f, g, h};
  for (std::size_t place = 0; place < added.size(); ++place) {
    state_[place] += added[place];
  }
  filled_ = 0;
}

}  // namespace ethostream
