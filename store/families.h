// How each column family is tuned: the shape of its data decides.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/options.h>

#include "store/database.h"
#include "store/handles.h"

namespace accrete::store {

inline constexpr std::uint32_t kFormat = 1;
inline constexpr std::string_view kFormatPrefix = "accrete-";

std::string family_name(Family family);

rocksdb::DBOptions database_options(const DatabaseOptions& options);
rocksdb::ColumnFamilyOptions family_options(Family family, const DatabaseOptions& options,
                                            const std::shared_ptr<rocksdb::Cache>& cache);

}  // namespace accrete::store
