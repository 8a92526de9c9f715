// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <functional>
#include <ostream>

namespace grainmill {
namespace {

bool joins(const Extent& last, const Extent& next) {
  if (last.kind != next.kind || last.link != next.link || last.file != next.file) return false;
  return next.kind != ExtentKind::data || last.file_offset + last.length == next.file_offset;
}

// All extents of a disk in guest order, neighbours joined across windows, without holding them all.
Status walk(const Disk& disk, const std::function<void(const Extent&)>& visit) {
  const std::uint64_t window = disk.map().window_bytes();
  ExtentList list;
  Extent pending;
  for (std::uint64_t at = 0; at < disk.size_bytes(); at += window) {
    GM_CHECK(disk.map().compose(at, std::min(window, disk.size_bytes() - at), list));
    for (const Extent& extent : list) {
      if (pending.length != 0 && joins(pending, extent)) {
        pending.length += extent.length;
        continue;
      }
      if (pending.length != 0) visit(pending);
      pending = extent;
    }
  }
  if (pending.length != 0) visit(pending);
  return {};
}

// One object as `qemu-img map --output=json` prints it.
nlohmann::json to_json(const Extent& extent) {
  nlohmann::json object = {{"start", extent.guest_offset},
                           {"length", extent.length},
                           {"depth", extent.link},
                           {"present", extent.kind != ExtentKind::hole},
                           {"zero", extent.reads_as_zero()},
                           {"data", !extent.reads_as_zero()},
                           {"compressed", extent.kind == ExtentKind::deflated}};
  if (extent.kind == ExtentKind::data) object["offset"] = extent.file_offset;
  if (extent.file != nullptr) object["filename"] = extent.file->path();
  return object;
}

}  // namespace

int run_map(const MapArgs& args, Host& host) {
  const Result<Disk> disk = Disk::open(host.files, args.image.path, args.image.disk);
  if (!disk) return report_failure(disk.error(), ProgressForm::none, host);

  Status walked;
  if (args.form == OutputForm::json) {
    const char* before = "[";
    walked = walk(*disk, [&](const Extent& extent) {
      host.out << before
               << to_json(extent).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      before = ",\n";
    });
    host.out << (*before == '[' ? "[]\n" : "]\n");
  } else {
    host.out << fmt::format("{:<20}{:<20}{:<20}{}\n", "Offset", "Length", "Mapped to", "File");
    walked = walk(*disk, [&](const Extent& extent) {
      if (extent.reads_as_zero()) return;
      host.out << fmt::format("{:<#20x}{:<#20x}{:<20}{}\n", extent.guest_offset, extent.length,
                              extent.kind == ExtentKind::deflated
                                  ? "compressed"
                                  : fmt::format("{:#x}", extent.file_offset),
                              extent.file->path());
    });
  }
  return walked ? kExitDone : report_failure(walked.error(), ProgressForm::none, host);
}

}  // namespace grainmill
