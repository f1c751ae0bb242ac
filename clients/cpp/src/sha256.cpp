#include "sha256.hpp"

#include <array>

#include "ethostream/errors.hpp"

namespace ethostream {

namespace {

void check(int result) {
  if (result != 1) {
    throw EthostreamError("OpenSSL computes no SHA-256 here; use a build of it that does");
  }
}

}  // namespace

Sha256::Sha256() { check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }

void Sha256::update(const char* data, std::size_t size) {
  check(EVP_DigestUpdate(context_.get(), data, size));
}

std::string Sha256::hex_digest() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest = {};
  unsigned int size = 0;
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), &size));
  constexpr const char* digits = "0123456789abcdef";
  std::string text;
  for (unsigned int place = 0; place < size; ++place) {
    text += {digits[digest[place] >> 4], digits[digest[place] & 15]};
  }
  return text;
}

}  // namespace ethostream
