// One JSON document as a tree in one array: numbers stay as they were written, and no object has a
// member twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon {

inline constexpr std::size_t json_depth_max = 256;  // change events have 6; a document column 100

/// A value and what is inside it. Views stand until the tree is parsed into again.
class Json {
 public:
  enum class Kind : std::uint8_t { Null, Flag, Number, Text, List, Object };

  /// Walks over the children of a list or an object.
  class Iterator {
   public:
    explicit Iterator(const Json* at) : at_(at) {}
    const Json& operator*() const { return *at_; }
    Iterator& operator++() {
      at_ += at_->span_;
      return *this;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const Json* at_;
  };

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  /// The name of a member; "" of anything else.
  std::string_view name() const { return name_; }
  /// A text without its escapes; a number, true, false and null as written.
  std::string_view text() const { return text_; }
  bool is_true() const { return kind_ == Kind::Flag && text_ == "true"; }

  Iterator begin() const { return Iterator(this + 1); }
  Iterator end() const { return Iterator(this + span_); }
  bool empty() const { return span_ == 1; }

  /// The member called `name`, or nullptr where there is none or it is null. Cost: linear.
  const Json* find(std::string_view name) const;

 private:
  friend class JsonTree;
  Kind kind_ = Kind::Null;
  std::uint32_t span_ = 1;  ///< nodes from here to the next sibling
  std::string_view name_;
  std::string_view text_;
};

/// The value as JSON without white space.
std::string json_of(const Json& value);

class JsonTree {
 public:
  JsonTree();
  ~JsonTree();

  /// Errors: Malformed with the byte (from 1) where the text stops being JSON; for anything but one
  ///         object or null; for a member given twice; for more than frame_bytes_max bytes or
  ///         json_depth_max levels.
  /// Cost:   about 1.5 ns a byte; allocates only while its buffers grow.
  Result<const Json*> parse(std::string_view event);

 private:
  struct Parser;
  Status check_members(const Json& object);

  std::unique_ptr<Parser> parser_;
  std::vector<Json> nodes_;
  std::vector<std::string_view> names_;  // of one object
};

}  // namespace accrete::daemon
