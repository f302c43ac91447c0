// A snapshot on disk.
#include "daemon/postgres/spool.h"

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace accrete::daemon::postgres {
namespace {

constexpr std::array<char, 8> kMagic = {'A', 'C', 'C', 'S', 'N', 'A', 'P', '1'};
constexpr std::size_t kBufferBytes = 1u << 20;

Error unavailable(const std::string& path, const char* what) {
  const std::string cause = std::error_code(errno, std::system_category()).message();
  return Error{Errc::Unavailable, path + ": " + what + ": " + cause};
}

template <class T>
void append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Result<SpoolWriter> SpoolWriter::create(const std::string& path, Lsn consistent_point) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return unavailable(path, "cannot be written");
  SpoolWriter writer(path, file);
  writer.buffer_.append(kMagic.data(), kMagic.size());
  append(writer.buffer_, consistent_point);
  return writer;
}

SpoolWriter::SpoolWriter(SpoolWriter&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      buffer_(std::move(other.buffer_)) {}

SpoolWriter::~SpoolWriter() {
  if (file_ >= 0) ::close(file_);
}

Status SpoolWriter::write_out() {
  std::string_view left = buffer_;
  while (!left.empty()) {
    const ssize_t count = ::write(file_, left.data(), left.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return unavailable(path_, "writing failed");
    left.remove_prefix(static_cast<std::size_t>(count));
  }
  buffer_.clear();
  return Ok{};
}

Status SpoolWriter::add(const SourceTransaction& transaction) {
  append(buffer_, static_cast<std::uint32_t>(transaction.ends.size()));
  append(buffer_, static_cast<std::uint64_t>(transaction.bytes.size()));
  for (const std::uint32_t end : transaction.ends)
    append(buffer_, end);
  buffer_ += transaction.bytes;
  return buffer_.size() < kBufferBytes ? Status(Ok{}) : write_out();
}

Status SpoolWriter::finish(const std::string& path) {
  ACCRETE_DO(write_out());
  if (::fsync(file_) != 0) return unavailable(path_, "fsync failed");
  if (::rename(path_.c_str(), path.c_str()) != 0) return unavailable(path, "rename failed");
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (directory < 0) return unavailable(folder, "cannot be opened");
  const int synced = ::fsync(directory);
  ::close(directory);
  return synced == 0 ? Status(Ok{}) : unavailable(folder, "fsync failed");
}

Result<SpoolReader> SpoolReader::open(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return Error{Errc::NotFound, path + ": there is no snapshot"};
  SpoolReader reader(file);
  std::array<char, kMagic.size()> magic{};
  ACCRETE_TRY(const bool some, reader.read(magic.data(), magic.size()));
  ACCRETE_TRY(const bool more, reader.read(&reader.consistent_point_, sizeof(Lsn)));
  if (!some || !more || magic != kMagic) {
    return Error{Errc::Corruption, path + ": no snapshot file"};
  }
  return reader;
}

SpoolReader::SpoolReader(SpoolReader&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      consistent_point_(other.consistent_point_),
      position_(other.position_) {}

SpoolReader::~SpoolReader() {
  if (file_ >= 0) ::close(file_);
}

/// False at the end of the file. Errors: Corruption if it ends in the middle.
Result<bool> SpoolReader::read(void* to, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file_, static_cast<char*>(to) + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return unavailable("snapshot", "reading failed");
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  if (done == size) return true;
  if (done == 0) return false;
  return Error{Errc::Corruption, "the snapshot file ends in the middle"};
}

Result<bool> SpoolReader::next(SourceTransaction& out) {
  std::uint32_t count = 0;
  ACCRETE_TRY(const bool more, read(&count, sizeof count));
  if (!more) return false;
  std::uint64_t bytes = 0;
  ACCRETE_TRY(const bool sized, read(&bytes, sizeof bytes));
  if (!sized || bytes > UINT32_MAX || count > bytes) {
    return Error{Errc::Corruption, "the snapshot file has an impossible transaction"};
  }
  out.ends.resize(count);
  out.bytes.resize(bytes);
  ACCRETE_TRY(const bool ends, read(out.ends.data(), count * sizeof(std::uint32_t)));
  ACCRETE_TRY(const bool records, read(out.bytes.data(), bytes));
  std::uint32_t last = 0;
  bool good = ends && records && count > 0 && out.ends.back() == bytes;
  for (const std::uint32_t end : out.ends)
    good = good && end >= std::exchange(last, end);
  if (!good) return Error{Errc::Corruption, "the snapshot file has an impossible transaction"};
  out.position = ++position_;
  return true;
}

}  // namespace accrete::daemon::postgres
