// Writes pgoutput messages byte for byte, for tests of their reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace accrete::daemon::postgres::test {

/// Big-endian fields one after another.
class Bytes {
 public:
  Bytes& letter(char value) {
    text_.push_back(value);
    return *this;
  }
  template <class T>
  Bytes& number(T value) {
    for (std::size_t i = sizeof(T); i-- > 0;)
      text_.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFFU));
    return *this;
  }
  Bytes& name(std::string_view value) {
    text_.append(value).push_back('\0');
    return *this;
  }
  /// "~" is null, "^" is unchanged.
  Bytes& tuple(const std::vector<std::string>& cells) {
    number(static_cast<std::uint16_t>(cells.size()));
    for (const std::string& cell : cells) {
      if (cell == "~" || cell == "^") {
        letter(cell == "~" ? 'n' : 'u');
      } else {
        letter('t').number(static_cast<std::uint32_t>(cell.size()));
        text_.append(cell);
      }
    }
    return *this;
  }
  Bytes& raw(std::string_view value) {
    text_.append(value);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

inline std::string begin(std::uint64_t final_lsn, std::int64_t committed, std::uint32_t xid) {
  return Bytes().letter('B').number(final_lsn).number(committed).number(xid).text();
}

inline std::string commit(std::uint64_t lsn, std::uint64_t end, std::int64_t committed) {
  return Bytes()
      .letter('C')
      .number(std::uint8_t{0})
      .number(lsn)
      .number(end)
      .number(committed)
      .text();
}

struct ColumnBytes {
  bool in_identity;
  std::string name;
  std::uint32_t type;
};

inline std::string relation(std::uint32_t oid, std::string_view schema, std::string_view name,
                            char identity, const std::vector<ColumnBytes>& columns) {
  Bytes out;
  out.letter('R').number(oid).name(schema).name(name).letter(identity);
  out.number(static_cast<std::uint16_t>(columns.size()));
  for (const ColumnBytes& column : columns) {
    out.number(std::uint8_t{column.in_identity}).name(column.name).number(column.type);
    out.number(std::int32_t{-1});
  }
  return out.text();
}

inline std::string insert(std::uint32_t oid, const std::vector<std::string>& row) {
  return Bytes().letter('I').number(oid).letter('N').tuple(row).text();
}

/// `old_kind` is K or O; ' ' for an update without its old row.
inline std::string update(std::uint32_t oid, char old_kind, const std::vector<std::string>& old_row,
                          const std::vector<std::string>& row) {
  Bytes out;
  out.letter('U').number(oid);
  if (old_kind != ' ') out.letter(old_kind).tuple(old_row);
  return out.letter('N').tuple(row).text();
}

inline std::string erase(std::uint32_t oid, char old_kind,
                         const std::vector<std::string>& old_row) {
  return Bytes().letter('D').number(oid).letter(old_kind).tuple(old_row).text();
}

inline std::string truncate(std::uint8_t options, const std::vector<std::uint32_t>& oids) {
  Bytes out;
  out.letter('T').number(static_cast<std::uint32_t>(oids.size())).number(options);
  for (const std::uint32_t oid : oids)
    out.number(oid);
  return out.text();
}

inline std::string logical(bool transactional, std::uint64_t lsn, std::string_view prefix,
                           std::string_view content) {
  return Bytes()
      .letter('M')
      .number(std::uint8_t{transactional})
      .number(lsn)
      .name(prefix)
      .number(static_cast<std::uint32_t>(content.size()))
      .raw(content)
      .text();
}

}  // namespace accrete::daemon::postgres::test
