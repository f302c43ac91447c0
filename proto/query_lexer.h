// Tokens of the predictive query language: private to the parser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proto/query.h"

namespace accrete::query {

enum class TokenKind : std::uint8_t {
  Word,        ///< letters, digits, _ and $; a keyword or a name, by its place
  QuotedName,  ///< "a name"; "" stands for one quote
  Number,      ///< digits, optional fraction and exponent; the sign is a symbol of its own
  Text,        ///< 'text'; '' stands for one quote
  Symbol,      ///< ( ) , . * + - = == != <> < <= > >=
  End,
  Invalid,  ///< no token can start or end here; `problem` says why
};

struct Token {
  TokenKind kind = TokenKind::End;
  std::string_view text;  ///< the bytes as written, quotes included
  Span at;
  std::string problem;  ///< Invalid only

  bool is_symbol(std::string_view symbol) const {
    return kind == TokenKind::Symbol && text == symbol;
  }
};

/// Cut `text` into tokens; blanks and `-- comments` vanish. The last token is End, or Invalid where
/// the text cannot be cut any further. Views point into `text`.
std::vector<Token> tokenize(std::string_view text);

/// What a QuotedName or a Text says: without its quotes, doubled quotes made single.
std::string unquoted(std::string_view text);

/// Bytes of the UTF-8 character at `position`; 0 where there is none (also overlong, surrogates).
std::size_t utf8_length(std::string_view text, std::size_t position);

/// A bare name needs no quotes: [A-Za-z_][A-Za-z0-9_$]*.
bool is_bare_name(std::string_view name);

/// Same letters, whatever their case (ASCII).
bool same_word(std::string_view a, std::string_view b);

}  // namespace accrete::query
