// SHA-256 over prediction payloads in sequence order: two folds agree iff their digests do.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace accrete::daemon {

class Digest {
 public:
  Digest();
  ~Digest();
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void add(std::string_view payload);
  /// Lower-case hex of everything added; the digest can go on afterwards.
  std::string hex() const;

 private:
  evp_md_ctx_st* context_;
};

}  // namespace accrete::daemon
