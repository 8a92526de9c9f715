// SPDX-License-Identifier: Apache-2.0
#include "tools/findings.h"

#include "tools/command_line.h"

#include <fmt/format.h>

namespace grainmill {

nlohmann::json finding_json(const Finding& finding) {
  nlohmann::json object = {{"severity", severity_name(finding.severity)},
                           {"code", finding.code},
                           {"message", finding.what.message}};
  if (!finding.what.path.empty()) object["path"] = finding.what.path;
  if (finding.what.offset) object["offset"] = *finding.what.offset;
  if (finding.guest_length != 0)
    object.update({{"guest_offset", finding.guest_offset}, {"guest_length", finding.guest_length}});
  if (!finding.repair.empty()) object["repairable_from"] = finding.repair;
  if (finding.leaked_bytes != 0) object["leaked_bytes"] = finding.leaked_bytes;
  return object;
}

std::string finding_text(const Finding& finding) {
  std::string text =
      fmt::format("{}: {}", severity_name(finding.severity), finding.what.to_string());
  if (finding.guest_length != 0)
    text += fmt::format("; guest offset {:#x} to {:#x}", finding.guest_offset,
                        finding.guest_offset + finding.guest_length);
  if (!finding.repair.empty()) text += "; can be repaired from " + finding.repair;
  return text + '\n';
}

int check_status(const CheckReport& report) {
  if (report.damage != 0) return kExitDamaged;
  if (report.unchecked != 0) return kExitNotChecked;
  return report.leaked_bytes != 0 ? kExitLeaks : kExitDone;
}

}  // namespace grainmill
