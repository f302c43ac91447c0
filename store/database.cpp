// Opening, stamping and closing the one RocksDB.
#include "store/database.h"

#include <charconv>
#include <filesystem>
#include <system_error>
#include <vector>

#include "store/families.h"
#include "store/handles.h"

namespace accrete::store {
namespace {

namespace fs = std::filesystem;

Error foreign(const std::string& path, const std::string& what) {
  return Error{Errc::Corruption,
               "'" + path + "' " + what + "; nothing was changed, choose another store.path"};
}

/// What RocksDB may leave behind when it dies before a new database exists.
bool creation_leftover(const std::string& name) {
  return name == "LOCK" || name == "IDENTITY" || name.starts_with("LOG") ||
         name == "MANIFEST-000001" || name.ends_with(".dbtmp");
}

enum class Folder { Vacant, RocksDb };

Result<Folder> inspect_folder(const std::string& path) {
  std::error_code failure;
  const fs::file_status status = fs::status(path, failure);
  if (status.type() == fs::file_type::not_found) return Folder::Vacant;
  if (failure)
    return Error{Errc::Unavailable, "cannot look at '" + path + "': " + failure.message()};
  if (status.type() != fs::file_type::directory) return foreign(path, "is not a folder");
  if (fs::exists(fs::path(path) / "CURRENT", failure)) return Folder::RocksDb;
  fs::directory_iterator entries(path, failure);
  if (failure) return Error{Errc::Unavailable, "cannot read '" + path + "': " + failure.message()};
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (!creation_leftover(name)) {
      return foreign(path, "holds files that are not a store of accreted (such as '" + name + "')");
    }
  }
  return Folder::Vacant;
}

/// Format number of a family name such as "accrete-1"; 0 for other names.
std::uint32_t format_of(const std::string& name) {
  if (!name.starts_with(kFormatPrefix)) return 0;
  std::uint32_t format = 0;
  const char* begin = name.data() + kFormatPrefix.size();
  const char* end = name.data() + name.size();
  const auto [stop, failure] = std::from_chars(begin, end, format);
  return failure == std::errc{} && stop == end ? format : 0;
}

/// The stamp is the name of a column family, so this reads the manifest only and writes nothing.
Status check_stamp(const std::string& path) {
  std::vector<std::string> names;
  const rocksdb::Status listed =
      rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions{}, path, &names);
  if (listed.IsIOError()) return to_error(listed, "cannot read '" + path + "'");
  if (!listed.ok()) return foreign(path, "holds a damaged RocksDB: " + listed.ToString());
  std::uint32_t format = 0;
  for (const std::string& name : names)
    format = std::max(format, format_of(name));
  if (format == 0) {
    // A database that RocksDB made a moment before a crash, families still missing, may be ours.
    if (names.size() == 1) return Ok{};
    return foreign(path, "holds a RocksDB without the stamp of accreted");
  }
  if (format > kFormat) {
    return foreign(path, "was written by format " + std::to_string(format) +
                             ", this accreted reads 1…" + std::to_string(kFormat) +
                             "; use that version");
  }
  return Ok{};
}

/// An unstamped database with only the default family is adopted if it is empty.
Status check_adoptable(const std::string& path) {
  std::vector<std::string> names;
  if (!rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions{}, path, &names).ok()) return Ok{};
  if (names.size() != 1) return Ok{};
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(path, failure)) {
    const std::string extension = entry.path().extension().string();
    const bool data = extension == ".sst" || extension == ".blob" ||
                      (extension == ".log" && entry.file_size(failure) > 0);
    if (data) return foreign(path, "holds a RocksDB without the stamp of accreted");
  }
  return Ok{};
}

}  // namespace

Error to_error(const rocksdb::Status& status, std::string_view doing) {
  std::string detail(doing);
  detail += ": " + status.ToString();
  if (status.IsNotFound()) return {Errc::NotFound, std::move(detail)};
  if (status.IsCorruption() || status.IsInvalidArgument()) {
    return {Errc::Corruption, std::move(detail)};
  }
  return {Errc::Unavailable, std::move(detail)};
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xFF')
    end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<std::uint8_t>(end.back()) + 1);
  return end;
}

Result<std::unique_ptr<Database>> Database::open(const DatabaseOptions& options) {
  ACCRETE_TRY(const Folder folder, inspect_folder(options.path));
  if (folder == Folder::RocksDb) {
    ACCRETE_DO(check_stamp(options.path));
    ACCRETE_DO(check_adoptable(options.path));
  } else if (options.read_only) {
    return Error{Errc::Unavailable, "'" + options.path + "' holds no store yet"};
  } else {
    std::error_code failure;
    const bool made = fs::create_directories(options.path, failure);
    // All rows are in it: for its owner alone. A folder that was there is as somebody wants it.
    if (made && !failure) fs::permissions(options.path, fs::perms::owner_all, failure);
    if (failure) {
      return Error{Errc::Unavailable, "cannot create '" + options.path + "': " + failure.message()};
    }
  }

  auto handles = std::make_unique<Handles>();
  handles->path = options.path;
  handles->sync = options.sync;
  handles->cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  descriptors.emplace_back(rocksdb::kDefaultColumnFamilyName, rocksdb::ColumnFamilyOptions{});
  // Meta comes first: RocksDB creates families in this order, so a stamp is there before data.
  for (std::size_t i = 0; i < kFamilies; ++i) {
    const Family family{static_cast<std::uint8_t>(i)};
    descriptors.emplace_back(family_name(family), family_options(family, options, handles->cache));
  }
  std::vector<rocksdb::ColumnFamilyHandle*> opened;
  rocksdb::DB* db = nullptr;
  const rocksdb::DBOptions db_options = database_options(options);
  const rocksdb::Status status =
      options.read_only
          ? rocksdb::DB::OpenForReadOnly(db_options, options.path, descriptors, &opened, &db)
          : rocksdb::DB::Open(db_options, options.path, descriptors, &opened, &db);
  if (!status.ok()) {
    std::string doing = "cannot open the store in '" + options.path + "'";
    if (status.IsIOError() && status.ToString().find("LOCK") != std::string::npos) {
      doing += " (is another accreted running on it?)";
    }
    return to_error(status, doing);
  }
  handles->db.reset(db);
  handles->unused_default = opened[0];
  for (std::size_t i = 0; i < kFamilies; ++i)
    handles->families[i] = opened[i + 1];
  return std::unique_ptr<Database>(new Database(std::move(handles)));
}

Database::Database(std::unique_ptr<Handles> handles) : handles_(std::move(handles)) {}

Database::~Database() {
  rocksdb::DB& db = *handles_->db;
  // Destroying a handle only fails for a null one; closing after that has nobody left to tell.
  db.DestroyColumnFamilyHandle(handles_->unused_default).PermitUncheckedError();
  for (rocksdb::ColumnFamilyHandle* family : handles_->families) {
    db.DestroyColumnFamilyHandle(family).PermitUncheckedError();
  }
  db.Close().PermitUncheckedError();
}

std::uint64_t Database::disk_bytes() const {
  std::uint64_t total = 0;
  std::error_code failure;
  for (const fs::directory_entry& entry : fs::directory_iterator(handles_->path, failure)) {
    std::error_code gone;  // files come and go while we look
    const std::uintmax_t size = entry.file_size(gone);
    if (!gone) total += size;
  }
  return total;
}

std::uint64_t Database::memory_bytes() const {
  std::uint64_t total = handles_->cache->GetUsage();
  for (rocksdb::ColumnFamilyHandle* family : handles_->families) {
    std::uint64_t bytes = 0;
    if (handles_->db->GetIntProperty(family, rocksdb::DB::Properties::kSizeAllMemTables, &bytes)) {
      total += bytes;
    }
    if (handles_->db->GetIntProperty(family, rocksdb::DB::Properties::kEstimateTableReadersMem,
                                     &bytes)) {
      total += bytes;
    }
  }
  return total;
}

}  // namespace accrete::store
