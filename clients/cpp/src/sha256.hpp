/// SHA-256 (FIPS 180-4), to tell whether an upload arrived as it was sent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace ethostream {

class Sha256 {
 public:
  /// Takes the next bytes.
  void update(const char* data, std::size_t size);

  /// The digest of all bytes, hexadecimal; takes no more bytes afterwards.
  std::string hex_digest();

 private:
  static constexpr std::size_t BLOCK_BYTES = 64;

  void take_block();

  // The first 32 bits of the fractional parts of the square roots of the first eight primes.
  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, BLOCK_BYTES> block_ = {};
  std::size_t filled_ = 0;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace ethostream
