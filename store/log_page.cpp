// Writing and reading pages of the change log.
#include "store/log_page.h"

#include <bit>
#include <cstring>

#include "proto/result.h"

namespace accrete::store {
namespace {

static_assert(std::endian::native == std::endian::little, "offsets are stored little endian");

constexpr std::size_t kOffsetBytes = sizeof(std::uint32_t);

void put_u32(std::string& out, std::uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint32_t get_u32(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::uint32_t begin_of(const LogSlice& slice, std::size_t i) {
  return i == 0 ? 0 : slice.ends[i - 1];
}

}  // namespace

std::size_t log_page_end(const LogSlice& slice, std::size_t begin) {
  ACCRETE_CHECK(begin < slice.size());
  const std::uint32_t start = begin_of(slice, begin);
  std::size_t end = begin + 1;
  while (end < slice.size() && end - begin < kLogPageEntriesMax &&
         slice.ends[end] - start <= kLogPageBytesMax) {
    ++end;
  }
  return end;
}

void write_log_page(const LogSlice& slice, std::size_t begin, std::size_t end, std::string& out) {
  ACCRETE_CHECK(begin < end && end <= slice.size());
  const std::uint32_t start = begin_of(slice, begin);
  put_u32(out, static_cast<std::uint32_t>(end - begin));
  for (std::size_t i = begin; i < end; ++i)
    put_u32(out, slice.ends[i] - start);
  out.append(std::string_view(slice.bytes).substr(start, slice.ends[end - 1] - start));
}

std::optional<LogPage> LogPage::open(std::uint64_t last, std::string_view bytes) {
  if (bytes.size() < kOffsetBytes) return std::nullopt;
  LogPage page;
  page.last_ = last;
  page.count_ = get_u32(bytes, 0);
  bytes.remove_prefix(kOffsetBytes);
  if (page.count_ == 0 || page.count_ > last || page.count_ > bytes.size() / kOffsetBytes) {
    return std::nullopt;
  }
  page.ends_ = bytes.substr(0, page.count_ * kOffsetBytes);
  page.entries_ = bytes.substr(page.ends_.size());
  std::uint32_t before = 0;
  for (std::uint32_t i = 0; i < page.count_; ++i) {
    const std::uint32_t end = page.end_of(i);
    if (end < before || end > page.entries_.size()) return std::nullopt;
    before = end;
  }
  if (before != page.entries_.size()) return std::nullopt;
  return page;
}

std::uint32_t LogPage::end_of(std::uint32_t i) const {
  return get_u32(ends_, i * kOffsetBytes);
}

}  // namespace accrete::store
