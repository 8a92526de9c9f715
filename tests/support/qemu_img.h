// SPDX-License-Identifier: Apache-2.0
//
// qemu-img as a second oracle, one that nobody here wrote.
#pragma once

#include "tests/support/run_command.h"

#include <filesystem>
#include <string>

namespace grainmill::testing {

inline bool has_qemu_img() { return has_command("qemu-img"); }

// `format`: vmdk or raw. The output is sparse.
inline CommandResult qemu_convert_to_raw(const std::filesystem::path& image,
                                         const std::filesystem::path& output,
                                         const std::string& format = "vmdk") {
  return run_command(
      {"qemu-img", "convert", "-f", format, "-O", "raw", image.string(), output.string()});
}

inline CommandResult qemu_check(const std::filesystem::path& image) {
  return run_command({"qemu-img", "check", "-f", "vmdk", image.string()});
}

}  // namespace grainmill::testing
