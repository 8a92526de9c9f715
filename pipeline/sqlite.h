// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

struct sqlite3;
struct sqlite3_stmt;

namespace grainmill {

// What is bound to a `?`. Texts and blobs must live until the statement has been stepped.
using SqlValue =
    std::variant<std::nullptr_t, std::int64_t, std::string_view, std::span<const std::byte>>;

[[nodiscard]] inline SqlValue sql_number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
template <typename T>
[[nodiscard]] SqlValue sql_optional(const std::optional<T>& value) {
  return value ? SqlValue(static_cast<std::int64_t>(*value)) : SqlValue(nullptr);
}

// A prepared statement with its values bound. Threads: one at a time.
class Statement {
 public:
  // The next row; false when there is none.
  [[nodiscard]] Result<bool> step();

  // REQUIRES for all that follow: step() returned true. Valid until the next step().
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::uint64_t number(int column) const {
    return static_cast<std::uint64_t>(integer(column));
  }
  [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const;
  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] std::span<const std::byte> blob(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  Statement(std::unique_ptr<sqlite3_stmt, Finalize> handle, std::string path)
      : handle_(std::move(handle)), path_(std::move(path)) {}

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  std::string path_;
};

// An SQLite database in one file. Errors name the file; one that another process holds is `busy`.
// Threads: one at a time, any of them.
class Database {
 public:
  // Makes the file if there is none.
  [[nodiscard]] static Result<Database> open(const std::string& path);
  // `not_found` if there is none. It can be read even where it must not be written.
  [[nodiscard]] static Result<Database> open_existing(const std::string& path);

  [[nodiscard]] const std::string& path() const { return path_; }

  [[nodiscard]] Result<Statement> query(std::string_view sql,
                                        std::initializer_list<SqlValue> values = {});
  // One statement, for what it does.
  [[nodiscard]] Status run(std::string_view sql, std::initializer_list<SqlValue> values = {});
  // Several, without values.
  [[nodiscard]] Status run_all(const std::string& sql);
  // The first column of the only row.
  [[nodiscard]] Result<std::int64_t> integer(std::string_view sql,
                                             std::initializer_list<SqlValue> values = {});
  [[nodiscard]] std::int64_t last_row() const;

 private:
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  Database(std::unique_ptr<sqlite3, Close> handle, std::string path)
      : handle_(std::move(handle)), path_(std::move(path)) {}

  [[nodiscard]] static Result<Database> open_with(const std::string& path, int flags);

  std::unique_ptr<sqlite3, Close> handle_;
  std::string path_;
};

}  // namespace grainmill
