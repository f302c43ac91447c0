// A JSON document with places: every member that is missing or of another kind is named.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "proto/ids.h"
#include "proto/result.h"

namespace accrete::daemon::report {

/// A value and where it stands: `out.json: tasks[0].windows[2].count`. Views the document.
class Place {
 public:
  using Json = nlohmann::ordered_json;

  Place(const Json& json, std::string file, std::string path = "")
      : json_(&json), file_(std::move(file)), path_(std::move(path)) {}

  /// Malformed: "FILE: PATH: expected WHAT", with what to do next.
  Error expected(const std::string& what) const;

  bool has(const char* name) const { return json_->is_object() && json_->contains(name); }
  bool is_null() const { return json_->is_null(); }
  // Errors: Malformed, as expected().
  Result<Place> member(const std::string& name) const;
  Result<std::vector<Place>> items() const;
  Result<std::vector<std::pair<std::string, Place>>> members() const;
  Result<std::string> text() const;
  Result<std::uint64_t> whole() const;
  Result<double> number() const;  ///< null is NaN
  Result<TimeUs> time() const;
  Result<std::vector<double>> numbers() const;
  Result<std::vector<std::string>> texts() const;

 private:
  const Json* json_;
  std::string file_;
  std::string path_;
};

/// Errors: Malformed with line and column.
Result<Place::Json> parse_json(std::string_view text, const std::string& file);

}  // namespace accrete::daemon::report
