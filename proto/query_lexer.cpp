// Cuts a predictive query into tokens, and draws the caret under one of them.
#include "proto/query_lexer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "proto/limits.h"

namespace accrete::query {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_name_char(char c) {
  return is_letter(c) || is_digit(c) || c == '$';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    do {
      tokens.push_back(next());
    } while (tokens.back().kind != TokenKind::End && tokens.back().kind != TokenKind::Invalid);
    return tokens;
  }

 private:
  char at(std::size_t position) const { return position < text_.size() ? text_[position] : '\0'; }
  bool more() const { return position_ < text_.size(); }

  Span span(std::size_t begin, std::size_t length) const {
    return {line_, static_cast<std::uint32_t>(begin - line_begin_ + 1),
            static_cast<std::uint32_t>(length)};
  }

  /// Move over one character, counting lines.
  void step(std::size_t bytes) {
    if (text_[position_] == '\n') {
      ++line_;
      line_begin_ = position_ + 1;
    }
    position_ += bytes;
  }

  Token invalid(std::size_t begin, std::size_t length, std::string problem) const {
    return {TokenKind::Invalid, text_.substr(begin, length), span(begin, length),
            std::move(problem)};
  }

  /// The token that started at `begin` and ends here.
  Token token(TokenKind kind, std::size_t begin, Span where) {
    end_ = where;
    end_.column += where.length;
    end_.length = 0;
    return {kind, text_.substr(begin, position_ - begin), where, {}};
  }

  Token next() {
    while (more()) {
      if (is_blank(text_[position_])) {
        step(1);
      } else if (at(position_) == '-' && at(position_ + 1) == '-') {
        while (more() && text_[position_] != '\n') {
          const std::size_t bytes = utf8_length(text_, position_);
          if (bytes == 0) return not_utf8();
          step(bytes);
        }
      } else {
        break;
      }
    }
    if (!more()) return {TokenKind::End, {}, end_, {}};
    const char c = text_[position_];
    if (is_letter(c)) return word();
    if (is_digit(c)) return number();
    if (c == '\'' || c == '"') return quoted(c);
    return symbol();
  }

  Token word() {
    const std::size_t begin = position_;
    while (is_name_char(at(position_)))
      ++position_;
    const Span where = span(begin, position_ - begin);
    if (where.length > limits::name_bytes_max) return invalid(begin, where.length, name_too_long());
    return token(TokenKind::Word, begin, where);
  }

  Token number() {
    const std::size_t begin = position_;
    std::size_t end = begin;
    const auto digits = [&] {
      while (is_digit(at(end)))
        ++end;
    };
    digits();
    if (at(end) == '.' && is_digit(at(end + 1))) {
      ++end;
      digits();
    }
    if (lower(at(end)) == 'e') {
      const bool sign = at(end + 1) == '+' || at(end + 1) == '-';
      if (is_digit(at(end + (sign ? 2 : 1)))) {
        end += sign ? 2 : 1;
        digits();
      }
    }
    if (is_name_char(at(end))) {
      while (is_name_char(at(end)))
        ++end;
      return invalid(begin, end - begin,
                     "\"" + std::string(text_.substr(begin, end - begin)) +
                         "\" is not a number; leave a blank between a number and a word, and put a "
                         "name that starts with a digit in double quotes");
    }
    position_ = end;
    return token(TokenKind::Number, begin, span(begin, end - begin));
  }

  Token quoted(char quote) {
    const std::size_t begin = position_;
    const bool name = quote == '"';
    const Span opening = span(begin, 1);
    // A quote that nothing closes is shown to the end of its own line.
    const std::size_t line_end = std::min(text_.find('\n', begin), text_.size());
    const Span to_line_end = span(begin, line_end - begin);
    step(1);
    while (more()) {
      const std::size_t bytes = utf8_length(text_, position_);
      if (bytes == 0) return not_utf8();
      const char c = text_[position_];
      if (c == quote && at(position_ + 1) != quote) {
        ++position_;
        return finish_quoted(name, begin, opening);
      }
      if (is_control(c) && (name || !is_blank(c))) {
        return invalid(position_, 1, "a control character cannot be part of a name or text");
      }
      step(c == quote ? 2 : bytes);
    }
    return {TokenKind::Invalid, text_.substr(begin), to_line_end,
            name ? "the name is not closed; expected \" at its end"
                 : "the text is not closed; expected ' at its end (write '' for a quote inside)"};
  }

  Token finish_quoted(bool name, std::size_t begin, Span where) {
    const std::size_t length = position_ - begin;
    where.length = static_cast<std::uint32_t>(length);
    if (name && length == 2) return invalid(begin, length, "a name cannot be empty");
    if (name && unquoted(text_.substr(begin, length)).size() > limits::name_bytes_max) {
      return invalid(begin, length, name_too_long());
    }
    Token out = token(name ? TokenKind::QuotedName : TokenKind::Text, begin, where);
    // A text may run over several lines; what follows it stands on the last of them.
    end_ = span(position_, 0);
    return out;
  }

  Token symbol() {
    static constexpr std::array<std::string_view, 15> symbols = {
        "==", "!=", "<>", "<=", ">=", "(", ")", ",", ".", "*", "+", "-", "=", "<", ">"};
    const std::size_t begin = position_;
    for (const std::string_view known : symbols) {
      if (text_.substr(begin).starts_with(known)) {
        position_ += known.size();
        return token(TokenKind::Symbol, begin, span(begin, known.size()));
      }
    }
    const std::size_t bytes = utf8_length(text_, begin);
    if (bytes == 0) return not_utf8();
    const std::string_view found = text_.substr(begin, bytes);
    if (found == ";") return invalid(begin, 1, "a query ends without a ;");
    if (found == "‘" || found == "’" || found == "“" || found == "”") {
      return invalid(begin, bytes, "curly quotes are not quotes; write 'text' and \"name\"");
    }
    if (is_control(found[0])) return invalid(begin, 1, "a control character cannot stand here");
    return invalid(begin, bytes,
                   "the character " + std::string(found) + " cannot stand here" +
                       (bytes > 1 ? "; put a name with other letters in double quotes" : ""));
  }

  Token not_utf8() const { return invalid(position_, 1, "the query is not valid UTF-8 here"); }

  static std::string name_too_long() {
    return "the name is too long; a name has at most " + std::to_string(limits::name_bytes_max) +
           " bytes";
  }

  std::string_view text_;
  std::size_t position_ = 0;
  std::size_t line_begin_ = 0;
  std::uint32_t line_ = 1;
  Span end_;  ///< just behind the last token: where "the end of the query" is shown
};

/// The line of `text` with that 1-based number; the last one if there are fewer.
std::string_view line_of(std::string_view text, std::uint32_t number) {
  for (std::uint32_t i = 1; i < number; ++i) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  while (!text.empty() && text.back() == '\r')
    text.remove_suffix(1);
  return text;
}

}  // namespace

std::vector<Token> tokenize(std::string_view text) {
  return Lexer(text).run();
}

std::string unquoted(std::string_view text) {
  std::string out;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    out.push_back(text[i]);
    if (text[i] == text[0]) ++i;
  }
  return out;
}

std::size_t utf8_length(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return position + i < text.size() ? static_cast<unsigned char>(text[position + i]) : 0U;
  };
  const unsigned first = byte(0);
  if (position >= text.size()) return 0;
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;   // overlong
  if (first == 0xED && byte(1) >= 0xA0) return 0;  // surrogates
  if (first == 0xF0 && byte(1) < 0x90) return 0;   // overlong
  if (first == 0xF4 && byte(1) >= 0x90) return 0;  // beyond U+10FFFF
  return length;
}

bool is_bare_name(std::string_view name) {
  return !name.empty() && is_letter(name[0]) && std::all_of(name.begin(), name.end(), is_name_char);
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

Error error_at(std::string_view text, Span at, std::string_view detail) {
  // A terminal's width: wider lines are cut around the caret.
  constexpr std::size_t columns_max = 100;
  constexpr std::size_t columns_before = 40;
  const std::string_view line = line_of(text, at.line);
  const std::size_t at_byte = std::min<std::size_t>(at.column > 0 ? at.column - 1 : 0, line.size());
  const std::size_t at_end = std::min<std::size_t>(line.size(), at_byte + at.length);

  // One cell a character, so that the caret stands right under any UTF-8 and any tab.
  std::vector<std::string> cells;
  std::size_t caret = 0;
  std::size_t width = 0;
  for (std::size_t i = 0; i < line.size();) {
    const std::size_t bytes = utf8_length(line, i);
    if (i < at_byte) ++caret;
    if (i >= at_byte && i < at_end) ++width;
    if (line[i] == '\t') {
      cells.emplace_back(" ");
    } else if (bytes == 0 || is_control(line[i])) {
      cells.emplace_back("?");
    } else {
      cells.emplace_back(line.substr(i, bytes));
    }
    i += std::max<std::size_t>(bytes, 1);
  }

  std::size_t begin = 0;
  std::size_t end = cells.size();
  if (end > columns_max) {
    begin = std::min(caret > columns_before ? caret - columns_before : 0, end - columns_max);
    end = begin + columns_max;
    if (begin > 0) cells[begin] = "…";
    if (end < cells.size()) cells[end - 1] = "…";
  }
  std::string out;
  for (std::size_t i = begin; i < end; ++i)
    out += cells[i];
  out += '\n';
  out.append(caret - begin, ' ');
  out += '^';
  width = std::min(width, end > caret ? end - caret : 1);
  if (width > 1) out.append(width - 1, '~');
  out += '\n';
  out += detail;
  return {Errc::Malformed, std::move(out)};
}

}  // namespace accrete::query
