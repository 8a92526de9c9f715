// SPDX-License-Identifier: Apache-2.0
#include "pipeline/chain_repair.h"

#include "engine/disk/parent.h"
#include "engine/format/format.h"

#include <memory>
#include <utility>

namespace grainmill {
namespace {

class ChainPlanner {
 public:
  ChainPlanner(FileSystem& files, const ChainRepairOptions& options, ChainRepair& repair)
      : files_(files), options_(options), repair_(repair) {}

  Status run(std::string path) {
    DiskOptions disk = options_.disk;
    GM_CHECK(plan_link(path, disk, true));
    for (std::size_t depth = 1; depth < Disk::kMaxDepth; ++depth) {
      const Result<std::unique_ptr<Link>> child = open_link(repair_.repaired, path, disk);
      if (!child || !(*child)->description().parent) return {};
      const ParentRef& parent = *(*child)->description().parent;
      const auto file = open_parent_file(files_, disk.open.policy, path, parent);
      if (!file) return {};
      disk.format = parent.format;
      GM_CHECK(plan_link((*file)->path(), disk, false));
      if (options_.accept_parent) GM_CHECK(accept_parent(path, **child, (*file)->path(), disk));
      path = (*file)->path();
    }
    return {};
  }

 private:
  Result<const Format*> format_of(const std::string& path, const DiskOptions& disk, bool is_top) {
    if (!disk.format.empty()) return format_by_name(disk.format);
    GM_TRY(const std::unique_ptr<File> file, files_.open_read(path));
    return is_top ? detect_format(*file, files_) : detect_damaged_format(*file, files_);
  }

  Status plan_link(const std::string& path, const DiskOptions& disk, bool is_top) {
    GM_TRY(const Format* format, format_of(path, disk, is_top));
    if (format == nullptr || format->plan_repair == nullptr) return {};
    GM_TRY(RepairPlan plan, format->plan_repair(files_, path, disk.open));
    for (Error& doubt : plan.doubts) repair_.doubts.push_back(std::move(doubt));
    for (Correction& correction : plan.corrections) GM_CHECK(add(std::move(correction)));
    return {};
  }

  Status accept_parent(const std::string& path, const Link& child, const std::string& parent_path,
                       const DiskOptions& parent_disk) {
    const Result<std::unique_ptr<Link>> parent =
        open_link(repair_.repaired, parent_path, parent_disk);
    if (!parent) return {};
    const std::optional<std::uint32_t> expected = child.description().parent->content_id;
    const std::optional<std::uint32_t> found = (*parent)->description().content_id;
    const bool half_committed = child.description().content_id == found;
    if (!expected || !found || expected == found || half_committed) return {};
    const Format* format = format_by_name(child.description().format);
    if (format == nullptr || format->plan_parent_id == nullptr) return {};
    GM_TRY(Correction correction, format->plan_parent_id(repair_.repaired, path, *found));
    return add(std::move(correction));
  }

  Status add(Correction correction) {
    GM_CHECK(repair_.repaired.add(correction.path, correction.patch));
    repair_.corrections.push_back(std::move(correction));
    return {};
  }

  FileSystem& files_;
  const ChainRepairOptions& options_;
  ChainRepair& repair_;
};

}  // namespace

Status plan_chain_repair(FileSystem& files, const std::string& image,
                         const ChainRepairOptions& options, ChainRepair& repair) {
  return ChainPlanner(files, options, repair).run(image);
}

}  // namespace grainmill
