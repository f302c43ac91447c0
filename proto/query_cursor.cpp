// Messages of the query parser: what was expected, what was found, what was probably meant.
#include "proto/query_cursor.h"

#include <array>

namespace accrete::query {
namespace {

/// Edits (insert, delete, replace, swap of neighbours) between two words, case aside.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  const auto same = [&](std::size_t i, std::size_t j) {
    return same_word(a.substr(i, 1), b.substr(j, 1));
  };
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1,
                             cost[i - 1][j - 1] + (same(i - 1, j - 1) ? 0 : 1)});
      if (i > 1 && j > 1 && same(i - 1, j - 2) && same(i - 2, j - 1)) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

/// "; did you mean COUNT?" for the nearest of `candidates`, or "".
std::string suggestion(std::string_view word, const Words& candidates) {
  constexpr std::size_t keyword_bytes_max = 24;
  if (word.size() > keyword_bytes_max) return "";
  std::string_view nearest;
  std::size_t best = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest.empty() || best == 0 ? "" : "; did you mean " + std::string(nearest) + "?";
}

/// The token as written, on one line and not too long.
std::string found_text(const Token& token) {
  constexpr std::size_t shown_max = 40;
  if (token.kind == TokenKind::End) return "the end of the query";
  if (token.kind == TokenKind::Symbol) return "\"" + std::string(token.text) + "\"";
  const std::string_view line = token.text.substr(0, token.text.find_first_of("\r\n"));
  std::size_t bytes = 0;
  while (bytes < line.size() && bytes < shown_max) {
    bytes += std::max<std::size_t>(1, utf8_length(line, bytes));
  }
  return std::string(line.substr(0, bytes)) + (bytes < token.text.size() ? "…" : "");
}

}  // namespace

Error Cursor::expected(std::string_view what, const Words& candidates,
                       std::string_view hint) const {
  const Token& token = peek();
  if (token.kind == TokenKind::Invalid) return fail(token.at, token.problem);
  std::string detail = "expected " + std::string(what) + ", found " + found_text(token);
  const std::string meant =
      token.kind == TokenKind::Word ? suggestion(token.text, candidates) : std::string();
  detail += meant;
  if (meant.empty() && !hint.empty()) detail += "; " + std::string(hint);
  return fail(token.at, detail);
}

Status Cursor::expect_word(std::string_view word, std::string_view what) {
  if (!accept_word(word)) return expected(what, {word});
  return Ok{};
}

Status Cursor::expect_symbol(std::string_view symbol, std::string_view what) {
  if (!accept_symbol(symbol)) return expected(what);
  return Ok{};
}

bool Cursor::at_compare() const {
  static constexpr std::array<std::string_view, 8> symbols = {"=",  "==", "!=", "<>",
                                                              "<=", ">=", "<",  ">"};
  return peek().kind == TokenKind::Symbol &&
         std::find(symbols.begin(), symbols.end(), peek().text) != symbols.end();
}

}  // namespace accrete::query
