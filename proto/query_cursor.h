// The parser's place among the tokens of a query, and its way of saying what it expected there.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proto/query.h"
#include "proto/query_lexer.h"
#include "proto/result.h"

namespace accrete::query {

using Words = std::vector<std::string_view>;

class Cursor {
 public:
  /// `text` outlives the cursor.
  explicit Cursor(std::string_view text) : text_(text), tokens_(tokenize(text)) {}

  std::string_view text() const { return text_; }

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(position_ + ahead, tokens_.size() - 1)];
  }
  const Token& take() {
    const Token& token = peek();
    if (position_ + 1 < tokens_.size()) ++position_;
    return token;
  }
  /// The keyword stands here, as a keyword: `where.x` is a column of a table named where.
  bool at_word(std::string_view word) const {
    return peek().kind == TokenKind::Word && same_word(peek().text, word) &&
           !peek(1).is_symbol(".");
  }
  bool accept_word(std::string_view word) {
    if (!at_word(word)) return false;
    take();
    return true;
  }
  bool accept_symbol(std::string_view symbol) {
    if (!peek().is_symbol(symbol)) return false;
    take();
    return true;
  }
  /// Take the token, or say that `what` was expected.
  Status expect_word(std::string_view word, std::string_view what);
  Status expect_symbol(std::string_view symbol, std::string_view what);
  bool at_compare() const;

  Error fail(Span at, std::string_view detail) const { return error_at(text_, at, detail); }
  /// "expected <what>, found <token>" under the current token; then "did you mean" the nearest of
  /// `candidates`, or else the hint. What the lexer could not cut speaks for itself.
  Error expected(std::string_view what, const Words& candidates = {},
                 std::string_view hint = {}) const;

 private:
  std::string_view text_;
  std::vector<Token> tokens_;
  std::size_t position_ = 0;
};

}  // namespace accrete::query
