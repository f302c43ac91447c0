// SHA-256 by OpenSSL.
#include "daemon/digest.h"

#include <openssl/evp.h>

#include "proto/result.h"

namespace accrete::daemon {

Digest::Digest() : context_(EVP_MD_CTX_new()) {
  ACCRETE_CHECK(context_ != nullptr);
  ACCRETE_CHECK(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}

Digest::~Digest() {
  EVP_MD_CTX_free(context_);
}

void Digest::add(std::string_view payload) {
  ACCRETE_CHECK(EVP_DigestUpdate(context_, payload.data(), payload.size()) == 1);
}

std::string Digest::hex() const {
  EVP_MD_CTX* copy = EVP_MD_CTX_new();
  ACCRETE_CHECK(copy != nullptr && EVP_MD_CTX_copy_ex(copy, context_) == 1);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  ACCRETE_CHECK(EVP_DigestFinal_ex(copy, bytes, &size) == 1);
  EVP_MD_CTX_free(copy);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text.push_back(kHex[bytes[i] >> 4]);
    text.push_back(kHex[bytes[i] & 15]);
  }
  return text;
}

}  // namespace accrete::daemon
