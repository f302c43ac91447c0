// A file in memory that a reader opens by its path: what fuzz targets feed to readers of files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "proto/result.h"

namespace accrete::daemon {

class FuzzFile {
 public:
  explicit FuzzFile(const char* name) : descriptor_(::memfd_create(name, MFD_CLOEXEC)) {
    ACCRETE_CHECK(descriptor_ >= 0);
  }
  FuzzFile(const FuzzFile&) = delete;
  FuzzFile& operator=(const FuzzFile&) = delete;
  ~FuzzFile() { ::close(descriptor_); }

  /// Holds these bytes and nothing else; returns the path.
  std::string hold(const std::uint8_t* data, std::size_t size) const {
    ACCRETE_CHECK(::ftruncate(descriptor_, 0) == 0);
    ACCRETE_CHECK(::pwrite(descriptor_, data, size, 0) == static_cast<ssize_t>(size));
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  int descriptor_;
};

}  // namespace accrete::daemon
