// Recursive descent over the tokens of a predictive query; one function per rule of the grammar.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "proto/ids.h"
#include "proto/limits.h"
#include "proto/query.h"
#include "proto/query_cursor.h"
#include "proto/query_lexer.h"
#include "proto/time.h"

namespace accrete::query {
namespace {

constexpr std::string_view units_text = "SECONDS, MINUTES, HOURS, DAYS or WEEKS";
constexpr std::string_view compare_text = "= != < <= > >=";
constexpr std::array<std::string_view, 10> unit_words = {
    "SECONDS", "MINUTES", "HOURS", "DAYS", "WEEKS", "SECOND", "MINUTE", "HOUR", "DAY", "WEEK"};

std::optional<Aggregate> aggregate_of(std::string_view word) {
  for (auto i = static_cast<int>(Aggregate::Count); i <= static_cast<int>(Aggregate::ListDistinct);
       ++i) {
    if (same_word(word, aggregate_name(static_cast<Aggregate>(i)))) {
      return static_cast<Aggregate>(i);
    }
  }
  return std::nullopt;
}

/// A time or a constant as written: sign and digits.
struct SignedNumber {
  bool negative = false;
  std::string_view digits;
  Span at;
};

/// A window, and the unit its bounds were written in: further horizons are in the same one.
struct UnitWindow {
  Window window;
  std::int64_t unit_us = 0;
};

class Parser : private Cursor {
 public:
  using Cursor::Cursor;

  Result<Query> query();

 private:
  /// One level of nesting, for as long as it lives.
  class Level {
   public:
    explicit Level(std::size_t& depth) : depth_(depth) { ++depth_; }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    std::size_t& depth_;
  };

  Result<Target> target();
  Result<std::optional<std::uint32_t>> rank(Aggregate aggregate, bool compared);
  Status every(Query& query);
  Result<UnitWindow> window();
  Status bounds(UnitWindow& out);
  Status check_scalar(const Window& window) const;
  Result<ColumnRef> column(bool star_allowed, std::string_view what);
  Result<std::string> name_text(std::string_view what);

  Status check_depth() const;
  Result<ConditionPtr> any_of() { return chain(Condition::Kind::Or); }
  Result<ConditionPtr> chain(Condition::Kind kind);
  Result<ConditionPtr> negation();
  Result<ConditionPtr> comparison();

  Result<Compare> compare();
  Result<Literal> literal();
  Result<SignedNumber> signed_number(std::string_view what);
  Result<std::int64_t> duration(const SignedNumber& number, std::int64_t unit_us) const;
  Result<std::int64_t> unit(std::string_view where);

  bool at_operand() const;
  bool at_aggregate() const;

  Error expected_operand(std::string_view what, const Words& more = {}) const;

  std::size_t depth_ = 0;
};

/// From the first token to the end of the last, on one line; else only the first.
Span joined(Span first, Span last) {
  if (last.line == first.line) first.length = last.column + last.length - first.column;
  return first;
}

Error Parser::expected_operand(std::string_view what, const Words& more) const {
  Words candidates = more;
  for (auto i = static_cast<int>(Aggregate::Count); i <= static_cast<int>(Aggregate::ListDistinct);
       ++i) {
    candidates.push_back(aggregate_name(static_cast<Aggregate>(i)));
  }
  return expected(what, candidates);
}

/// A window or a column begins: an aggregate, a word before ".", or a quoted name.
bool Parser::at_operand() const {
  if (peek().kind == TokenKind::QuotedName) return true;
  if (peek().kind != TokenKind::Word) return false;
  return peek(1).is_symbol(".") || aggregate_of(peek().text).has_value();
}

/// An aggregate's word, unless it is a table of that name.
bool Parser::at_aggregate() const {
  return peek().kind == TokenKind::Word && aggregate_of(peek().text) && !peek(1).is_symbol(".");
}

Result<Query> Parser::query() {
  Query out;
  out.text = std::string(text());
  ACCRETE_DO(expect_word("PREDICT", "PREDICT"));
  ACCRETE_TRY(out.target, target());
  if (!at_word("FOR")) {
    return expected("FOR EACH", {"FOR", "RANK", "VIA"},
                    at_word("WHERE") ? "WHERE comes after FOR EACH" : "");
  }
  take();
  ACCRETE_DO(expect_word("EACH", "EACH after FOR"));
  ACCRETE_TRY(out.entity, column(false, "table.column of the entity after FOR EACH"));
  if (accept_word("WHERE")) {
    ACCRETE_TRY(out.where, any_of());
  }
  if (at_word("EVERY")) ACCRETE_DO(every(out));
  if (peek().kind == TokenKind::End) return out;
  if (out.every_us) {
    return expected("the end of the query", {}, at_word("WHERE") ? "WHERE comes before EVERY" : "");
  }
  const std::string_view hint = at_word("RANK") ? "RANK TOP comes before FOR EACH" : "";
  if (out.where) {
    return expected("AND, OR, EVERY or the end of the query", {"AND", "OR", "EVERY"}, hint);
  }
  return expected("WHERE, EVERY or the end of the query", {"WHERE", "EVERY"}, hint);
}

Result<Target> Parser::target() {
  Target out;
  if (!at_operand()) return expected_operand("an aggregate (COUNT, SUM, …) or table.column");
  if (!at_aggregate()) {
    ACCRETE_TRY(out.operand, column(false, "table.column"));
    if (at_compare()) {
      return expected("FOR EACH", {}, "a column is predicted as it is; only a window is compared");
    }
    if (peek().is_symbol(",")) return expected("FOR EACH", {}, "only a window has more horizons");
    if (at_word("RANK")) return fail(peek().at, "RANK TOP ranks a LIST_DISTINCT, not a column");
    return out;
  }
  ACCRETE_TRY(UnitWindow parsed, window());
  if (at_compare()) {
    ACCRETE_DO(check_scalar(parsed.window));
    ACCRETE_TRY(out.compare, compare());
    ACCRETE_TRY(out.literal, literal());
  }
  std::int64_t last_us = parsed.window.end_us;
  while (accept_symbol(",")) {
    ACCRETE_TRY(const SignedNumber number, signed_number("a further end of the window"));
    ACCRETE_TRY(const std::int64_t end_us, duration(number, parsed.unit_us));
    if (end_us <= last_us) {
      return fail(number.at, "expected an end after the one before; horizons must increase");
    }
    out.more_horizons_us.push_back(end_us);
    last_us = end_us;
  }
  if (at_word("RANK")) {
    ACCRETE_TRY(out.rank_top, rank(parsed.window.aggregate, out.compare.has_value()));
  }
  out.operand = std::move(parsed.window);
  return out;
}

Result<std::optional<std::uint32_t>> Parser::rank(Aggregate aggregate, bool compared) {
  const Span at = take().at;
  if (aggregate != Aggregate::ListDistinct || compared) {
    return fail(at, "RANK TOP ranks a LIST_DISTINCT, not " +
                        std::string(compared ? "a comparison" : aggregate_name(aggregate)));
  }
  ACCRETE_DO(expect_word("TOP", "TOP after RANK"));
  std::uint32_t k = 0;
  const Token& token = peek();
  const char* end = token.text.data() + token.text.size();
  const auto parsed = std::from_chars(token.text.data(), end, k);
  if (token.kind != TokenKind::Number || parsed.ptr != end || parsed.ec != std::errc{} || k == 0) {
    return expected("a whole number from 1 to 4294967295 after RANK TOP");
  }
  take();
  return std::optional<std::uint32_t>(k);
}

Status Parser::every(Query& query) {
  take();
  ACCRETE_TRY(const SignedNumber number, signed_number("a number after EVERY"));
  ACCRETE_TRY(const std::int64_t unit_us, unit("after EVERY's number"));
  ACCRETE_TRY(query.every_us, duration(number, unit_us));
  if (*query.every_us <= 0) return fail(number.at, "expected a time greater than 0 after EVERY");
  return Ok{};
}

Result<UnitWindow> Parser::window() {
  UnitWindow out;
  Window& window = out.window;
  const Token& name = take();
  window.at = name.at;
  window.aggregate = *aggregate_of(name.text);
  const std::string aggregate(aggregate_name(window.aggregate));
  ACCRETE_DO(expect_symbol("(", "( after " + aggregate));
  if (at_word("DISTINCT")) {
    return fail(peek().at, "expected table.column after " + aggregate +
                               "(; distinct values are written COUNT_DISTINCT or LIST_DISTINCT");
  }
  const bool counts = window.aggregate == Aggregate::Count || window.aggregate == Aggregate::Exists;
  ACCRETE_TRY(window.argument,
              column(counts, (counts ? "table.* or table.column after " : "table.column after ") +
                                 aggregate + "("));
  if (at_compare()) {
    if (window.argument.column == "*") {
      return expected("a comma or WHERE", {}, "* has no value to compare; name a column");
    }
    ACCRETE_TRY(window.row_compare, compare());
    ACCRETE_TRY(window.row_literal, literal());
  }
  if (at_word("WHERE")) {
    const Level level(depth_);
    ACCRETE_DO(check_depth());
    take();
    ACCRETE_TRY(window.where, any_of());
  }
  ACCRETE_DO(bounds(out));
  if (accept_word("VIA")) {
    if (peek(1).is_symbol(".")) {
      return fail(peek().at, "expected a foreign-key column alone after VIA, without its table");
    }
    ACCRETE_TRY(window.via, name_text("a foreign-key column after VIA"));
  }
  return out;
}

/// `, start, end, UNIT)`: the unit comes last, so the numbers wait for it.
Status Parser::bounds(UnitWindow& out) {
  Window& window = out.window;
  const std::string_view before = window.where ? "AND, OR, or a comma and the window's start"
                                               : "a comma and the window's start";
  if (!accept_symbol(",")) return expected(before, {"WHERE", "AND", "OR"});
  std::optional<SignedNumber> start;
  if (peek().is_symbol("-") && same_word(peek(1).text, "INF")) {
    take();
    take();
    window.start_us = kTimeMin.value;
  } else {
    ACCRETE_TRY(start, signed_number("the window's start (a number or -INF)"));
  }
  ACCRETE_DO(expect_symbol(",", "a comma and the window's end"));
  const std::size_t sign = peek().is_symbol("-") || peek().is_symbol("+") ? 1 : 0;
  if (same_word(peek(sign).text, "INF")) {
    return expected("the window's end", {}, "a window without an end never matures");
  }
  ACCRETE_TRY(const SignedNumber end, signed_number("the window's end"));
  ACCRETE_DO(expect_symbol(",", "a comma and the window's unit (" + std::string(units_text) + ")"));
  ACCRETE_TRY(out.unit_us, unit("at the end of the window"));
  if (start) {
    ACCRETE_TRY(window.start_us, duration(*start, out.unit_us));
  }
  ACCRETE_TRY(window.end_us, duration(end, out.unit_us));
  if (window.end_us <= window.start_us) {
    return fail(end.at, "expected an end after the start; the window is (t + start, t + end]");
  }
  return expect_symbol(")", ") after the window's unit");
}

Status Parser::check_scalar(const Window& window) const {
  if (window.aggregate != Aggregate::ListDistinct) return Ok{};
  return fail(peek().at, "a LIST_DISTINCT is a list and has no order; compare a COUNT_DISTINCT");
}

Result<ColumnRef> Parser::column(bool star_allowed, std::string_view what) {
  ColumnRef out;
  const Span first = peek().at;
  ACCRETE_TRY(out.table, name_text(what));
  ACCRETE_DO(expect_symbol(".", "a dot and a column name after the table " + out.table));
  if (peek().is_symbol("*")) {
    if (!star_allowed) {
      return expected("a column name", {},
                      "* stands for whole rows, which only COUNT and EXISTS take; write " +
                          out.table + ".column");
    }
    out.at = joined(first, take().at);
    out.column = "*";
    return out;
  }
  out.at = joined(first, peek().at);
  ACCRETE_TRY(out.column, name_text("a column name after " + out.table + "."));
  return out;
}

Result<std::string> Parser::name_text(std::string_view what) {
  const Token& token = peek();
  if (token.kind == TokenKind::Word) return std::string(take().text);
  if (token.kind != TokenKind::QuotedName) return expected(what);
  std::string name = unquoted(token.text);
  if (name == "*") return fail(token.at, "\"*\" cannot be a name; * alone stands for whole rows");
  take();
  return name;
}

Status Parser::check_depth() const {
  if (depth_ <= limits::query_depth_max) return Ok{};
  return fail(peek().at, "the condition is nested too deeply; at most " +
                             std::to_string(limits::query_depth_max) + " levels are read");
}

Result<ConditionPtr> Parser::chain(Condition::Kind kind) {
  const bool is_or = kind == Condition::Kind::Or;
  const std::string_view word = is_or ? "OR" : "AND";
  const Span at = peek().at;
  std::vector<ConditionPtr> children;
  do {
    ACCRETE_TRY(ConditionPtr child, is_or ? chain(Condition::Kind::And) : negation());
    children.push_back(std::move(child));
  } while (accept_word(word));
  if (children.size() == 1) return std::move(children.front());
  auto out = std::make_unique<Condition>();
  out->kind = kind;
  out->children = std::move(children);
  out->at = at;
  return out;
}

Result<ConditionPtr> Parser::negation() {
  if (!at_word("NOT") && !peek().is_symbol("(")) return comparison();
  const Level level(depth_);
  ACCRETE_DO(check_depth());
  if (at_word("NOT")) {
    auto out = std::make_unique<Condition>();
    out->kind = Condition::Kind::Not;
    out->at = take().at;
    ACCRETE_TRY(ConditionPtr child, negation());
    out->children.push_back(std::move(child));
    return out;
  }
  take();
  ACCRETE_TRY(ConditionPtr inner, any_of());
  if (!accept_symbol(")")) return expected("AND, OR or )", {"AND", "OR"});
  return inner;
}

Result<ConditionPtr> Parser::comparison() {
  auto out = std::make_unique<Condition>();
  out->at = peek().at;
  if (!at_operand()) {
    if (peek().kind == TokenKind::Number || peek().kind == TokenKind::Text) {
      return expected("an aggregate or table.column", {}, "a constant goes on the right side");
    }
    return expected_operand("a condition (NOT, (, an aggregate or table.column)", {"NOT"});
  }
  if (at_aggregate()) {
    ACCRETE_TRY(UnitWindow parsed, window());
    if (at_word("IS")) {
      return expected("a comparison (" + std::string(compare_text) + ")", {},
                      "IS NULL asks about a column; for a window write EXISTS(…) = 0");
    }
    if (at_compare()) ACCRETE_DO(check_scalar(parsed.window));
    out->operand = std::move(parsed.window);
    if (!at_compare()) {
      return expected("a comparison (" + std::string(compare_text) + ") after the window");
    }
  } else {
    ACCRETE_TRY(ColumnRef ref, column(false, "table.column"));
    out->operand = std::move(ref);
    if (accept_word("IS")) {
      const bool negated = accept_word("NOT");
      ACCRETE_DO(expect_word("NULL", negated ? "NULL after IS NOT" : "NULL or NOT NULL after IS"));
      out->kind = negated ? Condition::Kind::IsNotNull : Condition::Kind::IsNull;
      return out;
    }
    if (!at_compare()) {
      return expected("a comparison (" + std::string(compare_text) + ") or IS after the column",
                      {"IS"});
    }
  }
  ACCRETE_TRY(out->compare, compare());
  ACCRETE_TRY(out->literal, literal());
  return out;
}

/// The caller has seen at_compare().
Result<Compare> Parser::compare() {
  const std::string_view symbol = take().text;
  if (at_word("NULL")) {
    return fail(peek().at, "nothing compares with NULL; use IS NULL or IS NOT NULL");
  }
  if (symbol == "=" || symbol == "==") return Compare::Eq;
  if (symbol == "!=" || symbol == "<>") return Compare::Ne;
  if (symbol == "<") return Compare::Lt;
  if (symbol == "<=") return Compare::Le;
  return symbol == ">" ? Compare::Gt : Compare::Ge;
}

Result<Literal> Parser::literal() {
  constexpr std::string_view what = "a constant (a number, 'text', TRUE or FALSE)";
  const Token& token = peek();
  if (token.kind == TokenKind::Text) return Literal(unquoted(take().text));
  if (accept_word("TRUE")) return Literal(true);
  if (accept_word("FALSE")) return Literal(false);
  if (token.kind == TokenKind::QuotedName) {
    return expected(what, {}, "double quotes hold names; text takes single quotes");
  }
  if (token.kind == TokenKind::Word) {
    const bool is_column = peek(1).is_symbol(".");
    return expected(what, {"TRUE", "FALSE"},
                    is_column ? "columns are compared with constants, not with each other"
                              : "text takes single quotes");
  }
  ACCRETE_TRY(const SignedNumber number, signed_number(what));
  const std::string digits = (number.negative ? "-" : "") + std::string(number.digits);
  const char* end = digits.data() + digits.size();
  if (digits.find_first_of(".eE") == std::string::npos) {
    std::int64_t value = 0;
    if (std::from_chars(digits.data(), end, value).ec == std::errc{}) return Literal(value);
    return fail(number.at, "the number is out of range; whole numbers have 64 bits");
  }
  double value = 0;
  if (std::from_chars(digits.data(), end, value).ec == std::errc{}) return Literal(value);
  return fail(number.at, "the number is out of range; the largest is about 1.8e308");
}

Result<SignedNumber> Parser::signed_number(std::string_view what) {
  SignedNumber out;
  out.at = peek().at;
  if (peek().is_symbol("-") || peek().is_symbol("+")) out.negative = take().text == "-";
  if (peek().kind != TokenKind::Number) return expected(what);
  out.at = joined(out.at, peek().at);
  out.digits = take().text;
  return out;
}

/// Exact for whole numbers and for six digits of a second.
Result<std::int64_t> Parser::duration(const SignedNumber& number, std::int64_t unit_us) const {
  const std::string_view digits = number.digits;
  if (digits.find_first_of("eE") != std::string_view::npos) {
    return fail(number.at, "a time is written without an exponent");
  }
  const std::size_t point = std::min(digits.find('.'), digits.size());
  std::int64_t whole = 0;
  double fraction = 0;
  std::int64_t us = 0;
  bool fits = std::from_chars(digits.data(), digits.data() + point, whole).ec == std::errc{} &&
              !__builtin_mul_overflow(whole, unit_us, &us);
  if (fits && point < digits.size()) {
    const std::string text = "0" + std::string(digits.substr(point));
    std::from_chars(text.data(), text.data() + text.size(), fraction);
    const auto rest =
        static_cast<std::int64_t>(std::llround(fraction * static_cast<double>(unit_us)));
    fits = !__builtin_add_overflow(us, rest, &us);
  }
  if (!fits) return fail(number.at, "the time is out of range; it must stay below 292,000 years");
  return number.negative ? -us : us;
}

Result<std::int64_t> Parser::unit(std::string_view where) {
  const Token& token = peek();
  if (token.kind == TokenKind::Word) {
    if (const auto us = unit_us(token.text)) {
      take();
      return *us;
    }
    for (const std::string_view calendar : {"MONTH", "MONTHS", "YEAR", "YEARS", "QUARTER"}) {
      if (same_word(token.text, calendar)) {
        return expected("a unit (" + std::string(units_text) + ")", {},
                        "months and years differ in length; write DAYS");
      }
    }
  }
  return expected("a unit (" + std::string(units_text) + ") " + std::string(where),
                  {unit_words.begin(), unit_words.end()});
}

}  // namespace

Result<Query> parse(std::string_view text) {
  if (text.size() > limits::query_bytes_max) {
    return Error{Errc::Malformed, "the query has " + std::to_string(text.size()) +
                                      " bytes; at most " + std::to_string(limits::query_bytes_max) +
                                      " are read"};
  }
  return Parser(text).query();
}

}  // namespace accrete::query
