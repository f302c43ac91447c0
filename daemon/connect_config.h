// The configuration that accretectl connect writes from a database's catalogue.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/postgres/catalogue.h"
#include "proto/result.h"

namespace accrete::daemon {

/// What the command line says of it.
struct ConnectConfig {
  std::vector<std::string> predict;  ///< "name: PREDICT …" or "PREDICT …"
  std::vector<std::string> times;    ///< TABLE.COLUMN, already in the catalogue
  std::string store;                 ///< folder
  std::uint16_t port = 7701;         ///< first of four, and of HTTP's in a comment
};

/// The whole file as TOML. Deterministic.
std::string connect_toml(const ConnectConfig& wanted, const postgres::Catalogue& catalogue);

/// Whether a daemon would take `text`, and find in the database every column that a query names.
/// Errors: Malformed, with the words of load_config() and check_tasks() or the column's name.
Status check_connect_toml(const std::string& text, const std::string& name,
                          const postgres::Catalogue& catalogue);

/// Whether a file that is there already says what the command line says.
/// Errors: Malformed with what it does not hold, and what to do.
Status check_same(const Config& config, const ConnectConfig& wanted);

/// Leave the tables out of the catalogue that the configuration does not have.
/// Errors: NotFound for a table that the database does not have, with the nearest name.
Status keep_configured(const Config& config, postgres::Catalogue& catalogue);

}  // namespace accrete::daemon
