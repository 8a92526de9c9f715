// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/options.h"

#include <fmt/format.h>

namespace grainmill::vmdk {

const std::string_view kSettingsHelp =
    R"(Options of -o, as NAME=VALUE; more than one between commas:
  subformat=NAME      monolithicSparse (the default): one file that grows as it is written to
                      monolithicFlat: all of the disk in a second file, FILE-flat.vmdk
                      twoGbMaxExtentSparse, twoGbMaxExtentFlat: in files of 2047 MiB
                      vmfs: as monolithicFlat, in ESXi's words
                      streamOptimized: one file, compressed, for transport (convert only)
  adapter_type=NAME   ide (the default), lsilogic, buslogic or legacyESX
  grain_size=SIZE     what a sparse disk grows by: a power of two from 4k to 1M (default: 64k)
  zeroed_grain=on|off whether a sparse disk may note zeros without storing them; not every program
                      reads such disks (default: off)
  hwversion=N         virtual hardware version (default: 4, which all products take)
  compat6=on|off      the same as hwversion=6
  toolsversion=N      version of VMware Tools (default: 2147483647, not managed by VMware)
)";

namespace {

Status set_hardware_version(const Setting& setting, CreateOptions& options) {
  std::uint32_t version = 6;
  if (setting.name == "compat6") {
    GM_TRY(const bool on, setting.on());
    if (!on) return {};
  } else {
    GM_TRY(version, setting.number());
  }
  if (options.hardware_version.value_or(version) != version)
    return setting.bad(fmt::format("one hardware version, not {} too (compat6 means 6)",
                                   *options.hardware_version));
  options.hardware_version = version;
  return {};
}

Status apply(const Setting& setting, CreateOptions& options) {
  const std::string& name = setting.name;
  if (name == "subformat") {
    options.subformat = setting.value;
  } else if (name == "adapter_type") {
    options.adapter_type = setting.value;
  } else if (name == "grain_size") {
    GM_TRY(options.grain_bytes, setting.size());
  } else if (name == "zeroed_grain") {
    GM_TRY(options.zeroed_grains, setting.on());
  } else if (name == "hwversion" || name == "compat6") {
    return set_hardware_version(setting, options);
  } else if (name == "toolsversion") {
    GM_TRY(options.tools_version, setting.number());
  } else {
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("-o {}: expected subformat, adapter_type, grain_size, zeroed_grain, "
                            "hwversion, compat6 or toolsversion; -o help explains them",
                            name));
  }
  return {};
}

}  // namespace

Status apply_settings(const std::vector<Setting>& settings, CreateOptions& options) {
  for (const Setting& setting : settings) GM_CHECK(apply(setting, options));
  return {};
}

}  // namespace grainmill::vmdk
