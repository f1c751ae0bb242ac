/// SHA-256 by OpenSSL, to tell whether an upload arrived as it was sent.
#pragma once

#include <openssl/evp.h>

#include <cstddef>
#include <memory>
#include <string>

namespace ethostream {

class Sha256 {
 public:
  Sha256();

  /// Takes the next bytes.
  void update(const char* data, std::size_t size);

  /// The digest of all bytes, hexadecimal; takes no more bytes afterwards.
  std::string hex_digest();

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free};
};

}  // namespace ethostream
