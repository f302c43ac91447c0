// The [[table]] sections of a configuration as a Schema.
#pragma once

#include <vector>

#include "daemon/toml_reader.h"
#include "proto/schema.h"

namespace accrete::daemon {

/// Read all tables. What is wrong becomes a complaint; the schema is sealed and whole only when
/// none was added.
Schema read_schema(const std::vector<const toml::table*>& tables, Complaints& complaints);

}  // namespace accrete::daemon
