// Typed reading of TOML with places in every message; toml++ and its exceptions stop here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <toml++/toml.h>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon {

/// Where something stands in a file; 1-based.
struct Place {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

Place place_of(const toml::source_region& region);

/// What is wrong with one file, collected so that a user sees all of it at once.
class Complaints {
 public:
  explicit Complaints(std::string file) : file_(std::move(file)) {}

  void add(Place at, std::string detail);
  bool empty() const { return list_.empty(); }
  std::size_t count() const { return list_.size(); }
  /// `file:line:column: detail`, in the order of the file, one a line. Checks: !empty().
  Error error() const;

 private:
  struct Complaint {
    Place at;
    std::string detail;
  };
  std::string file_;
  std::vector<Complaint> list_;
};

/// ` ; did you mean "x"?` or nothing.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates);

/// "64 MiB", "2 GB", "4096" to bytes; nullopt if it is none of these or too large.
std::optional<std::uint64_t> parse_size(std::string_view text);

struct Range {
  std::uint64_t least = 0;
  std::uint64_t most = 0;
};

/// One table of a TOML file. Each read names its key; `finish()` complains of the keys that nobody
/// read. A read returns true when the key is there and right; what is wrong becomes a complaint
/// and leaves `out` as it was.
class TomlSection {
 public:
  TomlSection(const toml::table& table, std::string title, Complaints& complaints)
      : table_(&table), title_(std::move(title)), complaints_(&complaints) {}

  void rename(std::string title) { title_ = std::move(title); }
  const std::string& title() const { return title_; }

  bool read(std::string_view key, std::string& out);
  bool read(std::string_view key, bool& out);
  bool read(std::string_view key, std::uint64_t& out, Range range);
  /// A list of integers.
  bool read_counts(std::string_view key, std::vector<std::uint64_t>& out, Range range);
  /// A size in bytes: an integer or text such as "64 MiB".
  bool read_size(std::string_view key, std::uint64_t& out);
  /// A duration in microseconds: text such as "30 s", or 0.
  bool read_duration(std::string_view key, std::int64_t& out);
  /// One text or a list of texts.
  struct Text {
    std::string text;
    Place at;
  };
  bool read_texts(std::string_view key, std::vector<Text>& out);
  /// Points in time: one or a list, quoted or as TOML dates.
  bool read_times(std::string_view key, std::vector<TimeUs>& out);
  /// `{ name = "value", … }` in the order of the file.
  struct Pair {
    std::string name;
    std::string value;
    Place at;        ///< of the name
    Place value_at;  ///< of the value
  };
  bool read_pairs(std::string_view key, std::vector<Pair>& out);

  /// A table below this one, or nullptr.
  const toml::table* read_table(std::string_view key);
  /// The tables of `[[key]]`.
  std::vector<const toml::table*> read_tables(std::string_view key);

  bool has(std::string_view key) const { return table_->contains(key); }
  bool is_text(std::string_view key) const { return table_->get_as<std::string>(key) != nullptr; }
  /// Of the value of `key`; of the section where there is no such key.
  Place place(std::string_view key) const;
  void complain(std::string_view key, std::string detail);

  /// finish() does not complain of this key: it is right elsewhere, or not wrong by itself.
  void skip(std::string_view key) { known_.emplace_back(key); }
  /// Complain of every key that was not read.
  void finish();

 private:
  const toml::node* find(std::string_view key);
  void mistyped(std::string_view key, const toml::node& node, std::string_view wanted);
  bool count_of(std::string_view key, const toml::node& node, Range range, std::uint64_t& out);
  bool time_of(std::string_view key, const toml::node& node, TimeUs& out);

  const toml::table* table_;
  std::string title_;
  Complaints* complaints_;
  std::vector<std::string> known_;
};

/// Parse TOML text. Errors: Malformed as file:line:column.
Result<toml::table> parse_toml(const std::string& text, const std::string& file);

/// `text` as a TOML basic string with its quotes.
std::string toml_quoted(std::string_view text);
/// `name` as a TOML key: bare where it can be.
std::string toml_key(std::string_view name);

}  // namespace accrete::daemon
