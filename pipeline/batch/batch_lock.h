// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/sqlite.h"

#include <string>

namespace grainmill {

// That nobody else runs a plan: a lock on PLAN.lock, which the system takes away with the process
// that held it. The file stays, and means nothing. (SQLite's lock of a database without tables: it
// can make the file without replacing one that another process has just locked.)
class BatchLock {
 public:
  // `busy` while another process has it.
  [[nodiscard]] static Result<BatchLock> take(const std::string& plan_path);
  // Whether another one has it.
  [[nodiscard]] static bool is_taken(const std::string& plan_path);

 private:
  explicit BatchLock(Database database) : database_(std::move(database)) {}

  Database database_;
};

}  // namespace grainmill
