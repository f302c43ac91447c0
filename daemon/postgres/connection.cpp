// One connection to a PostgreSQL server.
#include "daemon/postgres/connection.h"

#include <array>
#include <utility>

#include <libpq-fe.h>

namespace accrete::daemon::postgres {
namespace {

struct FreeResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using ResultPtr = std::unique_ptr<PGresult, FreeResult>;

/// On one line.
std::string flattened(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '\n' && c != '\t' && c != ' ') {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (out.ends_with(' '))
    out.pop_back();
  return out;
}

/// Where the password of a URL is, if anything is: [begin, end).
std::pair<std::size_t, std::size_t> password_of(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == url.npos ? 0 : scheme + 3;
  const std::size_t host = url.rfind('@');
  const std::size_t colon = url.find(':', begin);
  if (host == url.npos || colon == url.npos || colon > host) return {0, 0};
  return {colon + 1, host};
}

/// The server's or libpq's words, which may repeat the URL, without its passwords.
std::string discreet(std::string words, std::string_view url) {
  const auto hide = [&words](std::string_view secret) {
    if (secret.empty()) return;
    for (std::size_t at = words.find(secret); at != words.npos; at = words.find(secret, at + 3))
      words.replace(at, secret.size(), "***");
  };
  const auto [begin, end] = password_of(url);
  hide(url.substr(begin, end - begin));
  constexpr std::string_view setting = "password=";
  if (const std::size_t at = url.find(setting); at != url.npos) {
    const std::string_view rest = url.substr(at + setting.size());
    hide(rest.substr(0, rest.find_first_of("& ")));
  }
  return words;
}

/// Errors: Malformed for what libpq would take for the name of a database.
Status check_url(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t setting = url.find('=');
  const bool is_url = scheme != url.npos && scheme < setting;
  if (is_url) {
    const std::string name = url.substr(0, scheme);
    if (name == "postgresql" || name == "postgres") return Ok{};
    return Error{Errc::Malformed, "\"" + name +
                                      "://…\" is no PostgreSQL URL; expected "
                                      "postgresql://user@host/database"};
  }
  if (setting != url.npos || url.find('@') == url.npos) return Ok{};
  return Error{Errc::Malformed,
               "the URL does not begin with postgresql://; expected "
               "postgresql://user@host/database"};
}

Errc code_of(PGconn* connection, const PGresult* result) {
  if (PQstatus(connection) != CONNECTION_OK) return Errc::Unavailable;
  const char* state = result == nullptr ? nullptr : PQresultErrorField(result, PG_DIAG_SQLSTATE);
  const std::string_view found = state == nullptr ? "" : state;
  if (found == "42710") return Errc::Duplicate;                     // duplicate_object
  if (found == "42704" || found == "42P01") return Errc::NotFound;  // undefined object, table
  if (found == "55006") return Errc::Exhausted;                     // object_in_use
  if (found.starts_with("57") || found.starts_with("08") || found.starts_with("53")) {
    return Errc::Unavailable;  // shutdown, connection, resources
  }
  return Errc::Malformed;
}

}  // namespace

struct Connection::Parts {
  explicit Parts(PGconn* opened) : connection(opened) {}
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;
  ~Parts() {
    PQfreemem(line);
    PQfinish(connection);
  }

  Error error(const PGresult* result) const {
    const char* words = result == nullptr ? nullptr : PQresultErrorMessage(result);
    if (words == nullptr || *words == '\0') words = PQerrorMessage(connection);
    return Error{code_of(connection, result), "PostgreSQL: " + flattened(words)};
  }
  void hold(char* fresh) {
    PQfreemem(line);
    line = fresh;
  }

  PGconn* connection;
  char* line = nullptr;  // of the last copy data
};

Connection::Connection(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Connection::Connection(Connection&&) noexcept = default;
Connection& Connection::operator=(Connection&&) noexcept = default;
Connection::~Connection() = default;

Result<Connection> Connection::open(const std::string& url, ConnectionKind kind) {
  ACCRETE_DO(check_url(url));
  const bool replication = kind == ConnectionKind::Replication;
  // `dbname` first: with expand_dbname it may be a whole URL, and what comes after it wins.
  const std::array<const char*, 8> names = {
      "dbname",          "fallback_application_name",
      "client_encoding", "connect_timeout",
      "keepalives_idle", replication ? "replication" : nullptr,
      nullptr,           nullptr};
  const std::array<const char*, 8> values = {
      url.c_str(), "accrete", "UTF8", "10", "30", replication ? "database" : nullptr,
      nullptr,     nullptr};
  auto parts = std::make_unique<Parts>(PQconnectdbParams(names.data(), values.data(), 1));
  if (PQstatus(parts->connection) != CONNECTION_OK) {
    return Error{Errc::Unavailable,
                 "PostgreSQL: " + discreet(flattened(PQerrorMessage(parts->connection)), url)};
  }
  PQsetNoticeProcessor(
      parts->connection, [](void*, const char*) {}, nullptr);
  Connection connection(std::move(parts));
  for (const char* setting :
       {"SET datestyle = 'ISO'", "SET timezone = 'UTC'", "SET intervalstyle = 'iso_8601'",
        "SET extra_float_digits = 3", "SET bytea_output = 'hex'", "SET statement_timeout = 0",
        "SET idle_in_transaction_session_timeout = 0"}) {
    ACCRETE_TRY([[maybe_unused]] const Rows none, connection.query(setting));
  }
  return connection;
}

Result<Rows> Connection::query(const std::string& sql) {
  const ResultPtr result(PQexec(parts_->connection, sql.c_str()));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return parts_->error(result.get());
  Rows rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const int row = static_cast<int>(i);
    for (int column = 0; column < PQnfields(result.get()); ++column) {
      auto& cell = rows[i].emplace_back();
      if (PQgetisnull(result.get(), row, column) == 0) {
        cell.emplace(PQgetvalue(result.get(), row, column),
                     static_cast<std::size_t>(PQgetlength(result.get(), row, column)));
      }
    }
  }
  return rows;
}

Status Connection::begin_copy(const std::string& sql) {
  const ResultPtr result(PQexec(parts_->connection, sql.c_str()));
  if (PQresultStatus(result.get()) != PGRES_COPY_OUT) return parts_->error(result.get());
  return Ok{};
}

Result<std::optional<std::string_view>> Connection::next_line() {
  using Line = std::optional<std::string_view>;
  char* bytes = nullptr;
  const int size = PQgetCopyData(parts_->connection, &bytes, 0);
  parts_->hold(bytes);
  if (size > 0) return Line(std::string_view(bytes, static_cast<std::size_t>(size)));
  if (size == -2) return parts_->error(nullptr);
  const ResultPtr result(PQgetResult(parts_->connection));
  if (PQresultStatus(result.get()) != PGRES_COMMAND_OK) return parts_->error(result.get());
  // libpq wants to be read to its end before the next statement.
  while (PGresult* more = PQgetResult(parts_->connection))
    PQclear(more);
  return Line();
}

Status Connection::begin_stream(const std::string& sql) {
  const ResultPtr result(PQexec(parts_->connection, sql.c_str()));
  if (PQresultStatus(result.get()) != PGRES_COPY_BOTH) return parts_->error(result.get());
  return Ok{};
}

Result<std::optional<std::string_view>> Connection::receive() {
  using Data = std::optional<std::string_view>;
  for (bool read = false; true; read = true) {
    char* bytes = nullptr;
    const int size = PQgetCopyData(parts_->connection, &bytes, 1);
    parts_->hold(bytes);
    if (size > 0) return Data(std::string_view(bytes, static_cast<std::size_t>(size)));
    if (size < 0) {
      const ResultPtr result(size == -1 ? PQgetResult(parts_->connection) : nullptr);
      Error error = parts_->error(result.get());
      if (size == -1 && PQresultStatus(result.get()) != PGRES_FATAL_ERROR) {
        error = Error{Errc::Unavailable, "PostgreSQL: the server ended the stream"};
      }
      return error;
    }
    if (read) return Data();
    if (PQconsumeInput(parts_->connection) == 0) {
      return Error{Errc::Unavailable,
                   "PostgreSQL: " + flattened(PQerrorMessage(parts_->connection))};
    }
  }
}

Status Connection::send(std::string_view copy_data) {
  PGconn* connection = parts_->connection;
  if (PQputCopyData(connection, copy_data.data(), static_cast<int>(copy_data.size())) != 1 ||
      PQflush(connection) != 0) {
    return Error{Errc::Unavailable, "PostgreSQL: " + flattened(PQerrorMessage(connection))};
  }
  return Ok{};
}

int Connection::socket() const {
  return PQsocket(parts_->connection);
}

int Connection::server_version() const {
  return PQserverVersion(parts_->connection);
}

std::string Connection::database() const {
  return PQdb(parts_->connection);
}

std::string Connection::literal(std::string_view text) const {
  char* quoted = PQescapeLiteral(parts_->connection, text.data(), text.size());
  if (quoted == nullptr) return "''";
  std::string out = quoted;
  PQfreemem(quoted);
  return out;
}

std::string Connection::name(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace accrete::daemon::postgres
