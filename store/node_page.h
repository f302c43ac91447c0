// 256 rows of a table with their versions. The newest version of a row is inline, older ones are
// in a list of their own, which most rows never need.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/graph.h"
#include "store/page_pool.h"

namespace accrete::store {

class NodePage final : public Page {
 public:
  static constexpr std::uint32_t kRows = 256;
  static std::unique_ptr<Page> make() { return std::make_unique<NodePage>(); }

  bool decode(std::string_view bytes) override;
  void encode(std::string& out) override;
  std::size_t bytes() const override { return sizeof(*this) + heap_bytes_; }

  /// Insert in order of `from`, after versions of the same time; recorded as an operation.
  void put(std::uint32_t row, const Version& version);
  /// The version with the largest from <= as_of; deleted ones included.
  std::optional<Version> at(std::uint32_t row, TimeUs as_of) const;
  std::optional<Version> newest(std::uint32_t row) const;
  /// A hint that a row's newest version will be asked for soon.
  void prefetch(std::uint32_t row) const { __builtin_prefetch(&newest_[row]); }
  /// Of a row's versions that were logged before `ordinal` and are dated no later than `from`, the
  /// one that was logged last; deleted ones included. Cost: linear in its versions.
  std::optional<Version> before(std::uint32_t row, Ordinal ordinal, TimeUs from) const;
  /// All versions of a row, oldest first, appended to `out`.
  void list(std::uint32_t row, std::vector<Version>& out) const;

 private:
  struct Stored {
    std::int64_t from = 0;
    std::uint64_t ordinal_deleted = 0;  ///< ordinal * 2 + deleted; 0: no version
  };
  struct Older {
    std::uint8_t row;
    std::vector<Stored> versions;  ///< oldest first
  };
  static Version to_version(const Stored& stored);
  void insert(std::uint32_t row, const Stored& stored);
  void write(std::uint32_t row, const Stored& stored, std::string& out);
  Older* find(std::uint32_t row);
  const Older* find(std::uint32_t row) const;

  // First what every change touches: it shares cache lines with the head of the page.
  std::size_t heap_bytes_ = 0;
  std::int64_t last_from_ = 0;  // operations are differences from the one before
  std::uint64_t last_ordinal_ = 0;
  std::vector<Older> older_;  ///< by row
  std::array<Stored, kRows> newest_{};
};

}  // namespace accrete::store
