// SPDX-License-Identifier: Apache-2.0
#include "pipeline/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>

namespace grainmill {
namespace {

ErrorKind kind_of(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorKind::busy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorKind::corrupt;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return ErrorKind::denied;
    case SQLITE_FULL:
      return ErrorKind::no_space;
    default:
      return ErrorKind::io;
  }
}

std::unexpected<Error> sql_error(sqlite3* handle, const std::string& path,
                                 std::string_view action) {
  const int code = handle != nullptr ? sqlite3_extended_errcode(handle) : SQLITE_NOMEM;
  ErrorKind kind = kind_of(code);
  if (handle != nullptr && (code & 0xff) == SQLITE_CANTOPEN &&
      sqlite3_system_errno(handle) == ENOENT)
    kind = ErrorKind::not_found;
  const char* const words = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  std::string message = fmt::format("cannot {}: {} (SQLite {})", action, words, code);
  if (kind == ErrorKind::no_space)
    message += ": make room on its file system; the same command goes on from here";
  if (kind == ErrorKind::busy) message = "another program is using it: wait until it has ended";
  return fail(kind, path, std::move(message));
}

struct Bind {
  sqlite3_stmt* statement;
  int index;

  int operator()(std::nullptr_t) const { return sqlite3_bind_null(statement, index); }
  int operator()(std::int64_t value) const { return sqlite3_bind_int64(statement, index, value); }
  int operator()(std::string_view text) const {
    return sqlite3_bind_text64(statement, index, text.data(), text.size(), SQLITE_STATIC,
                               SQLITE_UTF8);
  }
  // A null pointer would bind NULL, and an empty blob is none.
  int operator()(std::span<const std::byte> bytes) const {
    if (bytes.empty()) return sqlite3_bind_zeroblob(statement, index, 0);
    return sqlite3_bind_blob64(statement, index, bytes.data(), bytes.size(), SQLITE_STATIC);
  }
};

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Result<bool> Statement::step() {
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return sql_error(sqlite3_db_handle(handle_.get()), path_, "read or write the database");
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const {
  return sqlite3_column_int64(handle_.get(), column);
}

std::optional<std::int64_t> Statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

std::string Statement::text(int column) const {
  const unsigned char* const text = sqlite3_column_text(handle_.get(), column);
  if (text == nullptr) return {};
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column));
  return {reinterpret_cast<const char*>(text), size};
}

std::span<const std::byte> Statement::blob(int column) const {
  const auto* const bytes =
      static_cast<const std::byte*>(sqlite3_column_blob(handle_.get(), column));
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(handle_.get(), column))};
}

void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

Result<Database> Database::open(const std::string& path) {
  return open_with(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
}

Result<Database> Database::open_existing(const std::string& path) {
  return open_with(path, SQLITE_OPEN_READWRITE);
}

Result<Database> Database::open_with(const std::string& path, int flags) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  Database database(std::unique_ptr<sqlite3, Close>(handle), path);
  if (code != SQLITE_OK) return sql_error(handle, path, "open the database");
  return database;
}

Result<Statement> Database::query(std::string_view sql, std::initializer_list<SqlValue> values) {
  sqlite3_stmt* raw = nullptr;
  const int prepared =
      sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
  Statement statement(std::unique_ptr<sqlite3_stmt, Statement::Finalize>(raw), path_);
  if (prepared != SQLITE_OK) return sql_error(handle_.get(), path_, "use the database");
  int index = 0;
  for (const SqlValue& value : values)
    if (std::visit(Bind{raw, ++index}, value) != SQLITE_OK)
      return sql_error(handle_.get(), path_, "use the database");
  return statement;
}

Status Database::run(std::string_view sql, std::initializer_list<SqlValue> values) {
  GM_TRY(Statement statement, query(sql, values));
  for (bool more = true; more;) {
    GM_TRY(more, statement.step());
  }
  return {};
}

Status Database::run_all(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    return sql_error(handle_.get(), path_, "use the database");
  return {};
}

Result<std::int64_t> Database::integer(std::string_view sql,
                                       std::initializer_list<SqlValue> values) {
  GM_TRY(Statement statement, query(sql, values));
  GM_TRY(const bool found, statement.step());
  if (!found) return fail(ErrorKind::corrupt, path_, "the database lacks a row that it must have");
  return statement.integer(0);
}

std::int64_t Database::last_row() const { return sqlite3_last_insert_rowid(handle_.get()); }

}  // namespace grainmill
