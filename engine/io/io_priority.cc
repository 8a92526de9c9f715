// SPDX-License-Identifier: Apache-2.0
#include "engine/io/io_priority.h"

#include <linux/ioprio.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace grainmill {

void read_when_idle() {
  constexpr int kThisThread = 0;
  static_cast<void>(::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, kThisThread,
                              IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)));
}

}  // namespace grainmill
