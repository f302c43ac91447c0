// Parts that save themselves as bytes, inside a larger blob.
#pragma once

#include <string>

#include "proto/bytes.h"

namespace accrete::daemon {

/// Append part.save() with its length; ByteReader::get_text() takes it off again.
template <class T>
void put_saved(ByteWriter& writer, const T& part) {
  std::string bytes;
  part.save(bytes);
  writer.put_text(bytes);
}

}  // namespace accrete::daemon
