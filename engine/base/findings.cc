// SPDX-License-Identifier: Apache-2.0
#include "engine/base/findings.h"

namespace grainmill {

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::damage:
      return "damage";
    case Severity::unchecked:
      return "unchecked";
    case Severity::leak:
      return "leak";
    case Severity::suspicious:
      return "suspicious";
    case Severity::cosmetic:
      break;
  }
  return "cosmetic";
}

Severity severity_of(const Error& error) {
  switch (error.kind) {
    case ErrorKind::corrupt:
    case ErrorKind::mismatch:
    case ErrorKind::not_found:
      return Severity::damage;
    case ErrorKind::io:
    case ErrorKind::no_space:
    case ErrorKind::unsupported:
    case ErrorKind::invalid_argument:
    case ErrorKind::denied:
    case ErrorKind::busy:
    case ErrorKind::cancelled:
      break;
  }
  return Severity::unchecked;
}

Status FirstDamage::add(Finding finding) {
  if (finding.severity != Severity::damage && finding.severity != Severity::unchecked) return {};
  return std::unexpected(std::move(finding.what));
}

}  // namespace grainmill
