// Column family options and the merge operator of pages.
#include "store/families.h"

#include <algorithm>

#include <rocksdb/filter_policy.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/table.h>

namespace accrete::store {
namespace {

/// A page is a base followed by the operations since: merging is concatenation.
class AppendOperator final : public rocksdb::MergeOperator {
 public:
  const char* Name() const override { return "accrete.append"; }

  bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
    std::size_t size = in.existing_value != nullptr ? in.existing_value->size() : 0;
    for (const rocksdb::Slice& operand : in.operand_list)
      size += operand.size();
    out->new_value.clear();  // RocksDB hands in whatever the reader's buffer held
    out->new_value.reserve(size);
    if (in.existing_value != nullptr) out->new_value.append(view(*in.existing_value));
    for (const rocksdb::Slice& operand : in.operand_list)
      out->new_value.append(view(operand));
    return true;
  }

  bool PartialMergeMulti(const rocksdb::Slice& /*key*/, const std::deque<rocksdb::Slice>& operands,
                         std::string* merged, rocksdb::Logger* /*logger*/) const override {
    for (const rocksdb::Slice& operand : operands)
      merged->append(view(operand));
    return true;
  }
};

bool sequential(Family family) {
  return family == Family::Log || family == Family::Predictions || family == Family::Dead;
}

/// Families that are asked for keys that may not exist profit from a filter.
bool filtered(Family family) {
  return family == Family::Keys || family == Family::Nodes || family == Family::Adjacency ||
         family == Family::Labels;
}

std::size_t write_buffer_bytes(Family family, std::size_t all_bytes) {
  switch (family) {
    case Family::Log:
    case Family::Predictions:
      return std::max<std::size_t>(all_bytes / 4, 1u << 20);
    case Family::Meta:
    case Family::Subscribers:
    case Family::Dead:
      return std::max<std::size_t>(all_bytes / 32, 256u << 10);
    default:
      return std::max<std::size_t>(all_bytes / 8, 512u << 10);
  }
}

}  // namespace

std::string family_name(Family family) {
  switch (family) {
    case Family::Meta:
      return std::string(kFormatPrefix) + std::to_string(kFormat);
    case Family::Log:
      return "log";
    case Family::Keys:
      return "keys";
    case Family::Nodes:
      return "nodes";
    case Family::Adjacency:
      return "adjacency";
    case Family::Segments:
      return "segments";
    case Family::Labels:
      return "labels";
    case Family::Blobs:
      return "blobs";
    case Family::Predictions:
      return "predictions";
    case Family::Latest:
      return "latest";
    case Family::Subscribers:
      return "subscribers";
    case Family::Dead:
      return "dead";
  }
  return {};
}

rocksdb::DBOptions database_options(const DatabaseOptions& options) {
  rocksdb::DBOptions out;
  out.create_if_missing = true;
  out.create_missing_column_families = true;
  out.db_write_buffer_size = options.memtable_bytes;
  // One flush and one compaction at a time keep up with a sequential log on two cores.
  out.max_background_jobs = 2;
  // Rarely written families (meta, subscribers) pin the WAL until they are flushed; this bounds it
  // and with it the time that recovery takes.
  out.max_total_wal_size = std::max<std::size_t>(4 * options.memtable_bytes, 64u << 20);
  // Point-in-time recovery stops at the first torn record: what was synced is before it. WAL files
  // are not recycled, so an old record can never be mistaken for a new one.
  out.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  out.recycle_log_file_num = 0;
  // Two writers (ingest, fold) seldom meet; without concurrent inserts a memtable remembers where
  // the last key went, which makes sequential and sorted writes three times as fast.
  out.allow_concurrent_memtable_write = false;
  out.bytes_per_sync = 1u << 20;
  out.keep_log_file_num = 4;
  out.max_log_file_size = 4u << 20;
  out.max_open_files = 512;
  return out;
}

rocksdb::ColumnFamilyOptions family_options(Family family, const DatabaseOptions& options,
                                            const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions out;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.checksum = rocksdb::kXXH3;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.block_size = sequential(family) ? 16u << 10 : 8u << 10;
  if (filtered(family)) table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  out.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));

  out.compression = rocksdb::kNoCompression;
  out.write_buffer_size = write_buffer_bytes(family, options.memtable_bytes);
  out.max_write_buffer_number = 4;
  out.level_compaction_dynamic_level_bytes = true;
  if (sequential(family)) {
    // Files never overlap, so compaction only moves them: nothing to wait for.
    out.target_file_size_base = 64u << 20;
    out.level0_slowdown_writes_trigger = 64;
    out.level0_stop_writes_trigger = 128;
    out.soft_pending_compaction_bytes_limit = 0;
    out.hard_pending_compaction_bytes_limit = 0;
  }
  if (family == Family::Nodes || family == Family::Adjacency) {
    out.merge_operator = std::make_shared<AppendOperator>();
  }
  return out;
}

}  // namespace accrete::store
