// One connection to a PostgreSQL server. libpq lives here and nowhere else.
//
// Threads: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/result.h"

namespace accrete::daemon::postgres {

/// What a query answers: texts, NULL as nullopt.
using Rows = std::vector<std::vector<std::optional<std::string>>>;

enum class ConnectionKind : std::uint8_t { Sql, Replication };

class Connection {
 public:
  /// `url`: postgresql://user@host:port/database?… or "host=… dbname=…", as libpq reads it (and its
  /// environment and ~/.pgpass). Times are printed in ISO style and UTC, text in UTF-8.
  /// Errors: Unavailable; Malformed for a URL of something else. Never with the password.
  static Result<Connection> open(const std::string& url, ConnectionKind kind);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) noexcept;
  ~Connection();

  /// Run one statement. Errors: Unavailable if the connection is gone; Duplicate, NotFound or
  /// Exhausted for an object that exists, does not, or is in use; Malformed for all other refusals.
  Result<Rows> query(const std::string& sql);

  /// Run COPY … TO STDOUT and give each line (with its newline) to `take` until it fails.
  template <class Take>
  Status copy_out(const std::string& sql, const Take& take) {
    ACCRETE_DO(begin_copy(sql));
    while (true) {
      ACCRETE_TRY(const std::optional<std::string_view> line, next_line());
      if (!line) return Ok{};
      ACCRETE_DO(take(*line));
    }
  }

  /// Run START_REPLICATION: afterwards receive() and send() only.
  Status begin_stream(const std::string& sql);
  /// The next CopyData if it has come; the view stands until the next call.
  /// Errors: Unavailable when the stream ended or broke, with the server's words.
  Result<std::optional<std::string_view>> receive();
  /// Errors: Unavailable.
  Status send(std::string_view copy_data);
  /// The socket to poll for input.
  int socket() const;

  int server_version() const;  ///< 150018 for 15.18
  std::string database() const;

  /// `text` as an SQL string or name with its quotes.
  std::string literal(std::string_view text) const;
  static std::string name(std::string_view text);

 private:
  struct Parts;
  explicit Connection(std::unique_ptr<Parts> parts);
  Status begin_copy(const std::string& sql);
  Result<std::optional<std::string_view>> next_line();
  std::unique_ptr<Parts> parts_;
};

}  // namespace accrete::daemon::postgres
