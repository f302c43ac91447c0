// The one way a function in this project says "I could not".
//
// Result<T> holds either a T or an Error. Its members carry the names of C++23's std::expected, so
// that on a newer compiler the class below becomes a `using` declaration.
//
// Three kinds of failure, three answers:
//   operating error  (peer gone, disk full, bad bytes)  -> Result, handled by the caller
//   programmer error (broken invariant)                 -> ACCRETE_CHECK, abort in every build type
//   out of memory                                       -> not handled; the process ends
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace accrete {

/// What the caller can do about it; never where it happened.
enum class Errc : std::uint8_t {
  Malformed,    ///< the input is wrong; say so to its sender and count it
  Gap,          ///< a sequence number is missing; ask for replay
  Duplicate,    ///< already applied; acknowledge and skip
  NotFound,     ///< no such key; an answer, not a fault
  Unavailable,  ///< peer or device not ready; retry with back-off
  Exhausted,    ///< a stated limit is reached (see limits.h); shed load
  Corruption,   ///< stored bytes are not what was written; stop the writer
};

struct [[nodiscard]] Error {
  Errc code;
  std::string detail;  ///< what, where, and what to do next; for a human, never parsed
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const noexcept { return state_.index() == 0; }
  bool has_value() const noexcept { return state_.index() == 0; }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }

  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

struct Ok {};
using Status = Result<Ok>;

[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, condition);
  std::abort();
}

}  // namespace accrete

/// Programmer errors only. Never on input from outside the process.
#define ACCRETE_CHECK(condition) \
  ((condition) ? void(0) : ::accrete::check_failed(#condition, __FILE__, __LINE__))

/// Bind the value, or return the error to our caller:  ACCRETE_TRY(auto row, decode(frame));
#define ACCRETE_TRY(declaration, expression) \
  ACCRETE_TRY_IMPL(ACCRETE_CAT(accrete_try_, __LINE__), declaration, expression)
#define ACCRETE_TRY_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                             \
  if (!temporary) return std::move(temporary).error();       \
  declaration = std::move(temporary).value()

/// Return the error of a Status to our caller:  ACCRETE_DO(log.append(slice));
#define ACCRETE_DO(expression) ACCRETE_DO_IMPL(ACCRETE_CAT(accrete_do_, __LINE__), expression)
#define ACCRETE_DO_IMPL(temporary, expression) \
  if (auto temporary = (expression); !temporary) return std::move(temporary).error()
#define ACCRETE_CAT(a, b) ACCRETE_CAT_IMPL(a, b)
#define ACCRETE_CAT_IMPL(a, b) a##b
