// SPDX-License-Identifier: Apache-2.0
#include "tools/batch.h"
#include "tools/command_line.h"
#include "tools/report.h"

namespace grainmill {

int run_batch_worker(const BatchWorkerArgs& /*args*/, Host& host) {
  return report_failure({ErrorKind::unsupported, "", std::nullopt, "not there yet"},
                        ProgressForm::none, host);
}

}  // namespace grainmill
