// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/batch/report.h"
#include "tools/host.h"

#include <chrono>
#include <optional>

namespace grainmill {

// Shows on standard error how far a batch is: a table that is drawn over and over again on a
// terminal, else a line now and then.
class BatchScreen {
 public:
  BatchScreen(bool quiet, Host& host);

  // How often it wants to be updated.
  [[nodiscard]] std::chrono::milliseconds interval() const;
  void update(const BatchReport& report);
  // Takes the table away.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  void draw(const BatchReport& report);
  void print_line(const BatchReport& report);

  Host& host_;
  bool quiet_;
  Clock::time_point last_line_;
  std::size_t drawn_ = 0;  // lines, above the cursor
};

}  // namespace grainmill
