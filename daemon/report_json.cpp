// Reading with places.
#include "daemon/report_json.h"

#include <limits>

#include "proto/time.h"

namespace accrete::daemon::report {

Result<Place::Json> parse_json(std::string_view text, const std::string& file) {
  try {
    return Place::Json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {  // the only way it tells the place
    std::string what = error.what();
    const std::size_t begin = what.find("parse error");
    if (begin != std::string::npos) what.erase(0, begin);
    return Error{Errc::Malformed, file + ": not JSON, or cut short: " + what};
  }
}

Error Place::expected(const std::string& what) const {
  return Error{Errc::Malformed, file_ + ": " + (path_.empty() ? "the document" : path_) +
                                    ": expected " + what +
                                    "; give a file that `accretectl backtest --report FILE` wrote"};
}

Result<Place> Place::member(const std::string& name) const {
  const std::string path = path_.empty() ? name : path_ + "." + name;
  if (!json_->is_object()) return expected("an object");
  const auto found = json_->find(name);
  if (found == json_->end()) return Place(*json_, file_, path).expected("a value here");
  return Place(*found, file_, path);
}

Result<std::vector<Place>> Place::items() const {
  if (!json_->is_array()) return expected("a list");
  std::vector<Place> all;
  for (std::size_t i = 0; i < json_->size(); ++i)
    all.emplace_back((*json_)[i], file_, path_ + "[" + std::to_string(i) + "]");
  return all;
}

Result<std::vector<std::pair<std::string, Place>>> Place::members() const {
  if (!json_->is_object()) return expected("an object");
  std::vector<std::pair<std::string, Place>> all;
  for (const auto& [name, value] : json_->items())
    all.emplace_back(name, Place(value, file_, path_.empty() ? name : path_ + "." + name));
  return all;
}

Result<std::string> Place::text() const {
  if (!json_->is_string()) return expected("a text");
  return json_->get<std::string>();
}

Result<std::uint64_t> Place::whole() const {
  if (!json_->is_number_unsigned()) return expected("a whole number");
  return json_->get<std::uint64_t>();
}

Result<double> Place::number() const {
  if (json_->is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (!json_->is_number()) return expected("a number or null");
  return json_->get<double>();
}

Result<TimeUs> Place::time() const {
  const auto parsed = json_->is_string() ? try_parse_time(json_->get_ref<const std::string&>())
                                         : std::optional<TimeUs>();
  if (!parsed) return expected("a time such as \"2010-01-01T12:30:05Z\"");
  return *parsed;
}

Result<std::vector<double>> Place::numbers() const {
  ACCRETE_TRY(const std::vector<Place> all, items());
  std::vector<double> out;
  for (const Place& place : all) {
    ACCRETE_TRY(const double value, place.number());
    out.push_back(value);
  }
  return out;
}

Result<std::vector<std::string>> Place::texts() const {
  ACCRETE_TRY(const std::vector<Place> all, items());
  std::vector<std::string> out;
  for (const Place& place : all) {
    ACCRETE_TRY(std::string value, place.text());
    out.push_back(std::move(value));
  }
  return out;
}

}  // namespace accrete::daemon::report
