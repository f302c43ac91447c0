// What every saved state must stand: the same bytes back, and no damaged bytes taken for good.
#pragma once

#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace accrete::models {

template <class Stateful>
std::string saved(const Stateful& object) {
  std::string bytes;
  object.save(bytes);
  return bytes;
}

/// `fresh` is newly made; afterwards it holds the state of `bytes`.
template <class Stateful>
void expect_exact_state(std::string_view bytes, Stateful& fresh) {
  const std::string untouched = saved(fresh);
  for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 97) {
    const auto status = fresh.load(bytes.substr(0, size));
    ASSERT_FALSE(status) << "accepted " << size << " of " << bytes.size() << " bytes";
    EXPECT_EQ(status.error().code, Errc::Corruption);
  }
  EXPECT_FALSE(fresh.load(std::string(bytes) + "x"));
  std::string other_version(bytes);
  other_version[0] = static_cast<char>(other_version[0] + 1);
  EXPECT_FALSE(fresh.load(other_version));
  EXPECT_EQ(saved(fresh), untouched) << "a refused load changed the state";
  ASSERT_TRUE(fresh.load(bytes));
  EXPECT_EQ(saved(fresh), bytes);
}

}  // namespace accrete::models
