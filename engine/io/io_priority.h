// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace grainmill {

// Lets this thread, and those it starts from now on, read only when nobody else wants the disk
// (ioprio_set(2), class idle). Where the system does not know that, nothing changes.
void read_when_idle();

}  // namespace grainmill
