// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/disk_plan.h"

#include "engine/base/arith.h"
#include "engine/format/vmdk/empty_extent.h"
#include "engine/format/vmdk/snapshot_parent.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace grainmill::vmdk {
namespace {

// 2047 MiB, as VMware splits; a multiple of every grain that can be had.
constexpr std::uint64_t kSplitSectors = 4192256;
constexpr std::uint64_t kMinGrainBytes = 4 * kKiB;
constexpr std::uint64_t kMaxGrainBytes = kMiB;
constexpr std::uint64_t kDefaultGrainBytes = 64 * kKiB;
constexpr std::uint64_t kMaxCapacitySectors = std::uint64_t{1} << 50;
// Readers take no more: qemu, and ours.
constexpr std::uint64_t kMaxTextBytes = kMiB;
constexpr std::uint64_t kMinExtentLineBytes = 24;

constexpr Subformat kMonolithicSparse{"monolithicSparse", "SPARSE", ""};
constexpr Subformat kSplitSparse{"twoGbMaxExtentSparse", "SPARSE", "-s", true};
constexpr std::array kSubformats = {
    kMonolithicSparse,
    Subformat{"monolithicFlat", "FLAT", "-flat"},
    kSplitSparse,
    Subformat{"twoGbMaxExtentFlat", "FLAT", "-f", true},
    Subformat{"vmfs", "VMFS", "-flat"},
    Subformat{"streamOptimized", "SPARSE", "", false, true},
};
constexpr std::array<std::string_view, 4> kAdapters = {"ide", "lsilogic", "buslogic", "legacyESX"};

std::string extent_name(const std::string& disk, const Subformat& subformat, std::uint64_t number) {
  if (subformat.embedded()) return disk;
  const std::size_t dot = std::min(disk.find_last_of('.'), disk.size());
  const std::string digits = subformat.split ? fmt::format("{:03}", number) : "";
  return fmt::format("{}{}{}{}", disk.substr(0, dot), subformat.mark, digits, disk.substr(dot));
}

class Planner {
 public:
  Planner(const std::string& path, const CreateOptions& options, Contents contents)
      : path_(path), options_(options), contents_(contents) {}

  Result<DiskPlan> plan() {
    if (options_.parent) {
      GM_TRY(parent_, read_parent(options_.parent->chain));
    }
    GM_CHECK(check_names());
    GM_CHECK(choose_subformat());
    GM_CHECK(choose_size());
    GM_CHECK(choose_grain());
    GM_CHECK(choose_database());
    GM_CHECK(describe());
    return std::move(plan_);
  }

 private:
  [[nodiscard]] std::unexpected<Error> refuse(std::string message) const {
    return fail(ErrorKind::invalid_argument, path_, std::move(message));
  }

  Status check_names() {
    const std::string name = name_of(path_);
    if (name.empty() || name == "." || name == "..") return refuse("is a folder, not a file name");
    if (!may_be_quoted(name))
      return refuse(
          "a disk's name may not hold a quote or a control character: its descriptor "
          "could not say it");
    if (options_.parent && !may_be_quoted(options_.parent->hint))
      return refuse(
          fmt::format("its parent's name '{}' holds a quote or a control character, "
                      "which its descriptor could not say: rename the parent",
                      options_.parent->hint));
    plan_.folder = path_.substr(0, path_.size() - name.size());
    return {};
  }

  Status choose_subformat() {
    const std::string& wanted = options_.subformat;
    if (wanted.empty()) {
      plan_.subformat = parent_ && parent_->split ? kSplitSparse : kMonolithicSparse;
      return {};
    }
    if (wanted == "streamOptimized" && contents_ == Contents::later)
      return refuse(
          "streamOptimized files are written once, from begin to end, with all their "
          "contents; an empty one could never be filled: use monolithicSparse");
    const auto* const found = std::ranges::find(kSubformats, wanted, &Subformat::name);
    if (found == kSubformats.end()) {
      std::vector<std::string_view> names;
      names.reserve(kSubformats.size());
      for (const Subformat& subformat : kSubformats) names.push_back(subformat.name);
      return refuse(fmt::format("subformat '{}' is not one of {}", wanted, fmt::join(names, ", ")));
    }
    if (parent_ && !found->sparse())
      return refuse(
          fmt::format("a snapshot stores only what is changed, which {} cannot: use "
                      "monolithicSparse or twoGbMaxExtentSparse",
                      wanted));
    plan_.subformat = *found;
    return {};
  }

  Status choose_size() {
    if (!options_.size_bytes && !parent_) return refuse("a new disk needs a size, such as 10G");
    if (parent_ && options_.size_bytes &&
        align_up(*options_.size_bytes, kSectorBytes) != parent_->size_bytes)
      return refuse(
          fmt::format("a snapshot is as large as its parent, {} bytes, not {}: leave the "
                      "size out",
                      parent_->size_bytes, *options_.size_bytes));
    const std::uint64_t bytes = options_.size_bytes ? *options_.size_bytes : parent_->size_bytes;
    plan_.sectors = ceil_div(bytes, kSectorBytes);
    if (plan_.sectors == 0) return refuse("a disk of 0 bytes: at least one sector, 512, is needed");
    if (plan_.sectors > kMaxCapacitySectors)
      return refuse(fmt::format("{} bytes are more than any VMDK can have", bytes));
    return {};
  }

  Status choose_grain() {
    if (!plan_.subformat.sparse()) {
      if (!options_.grain_bytes && !options_.zeroed_grains) return {};
      return refuse(fmt::format("{} disks have no grains: leave out {}", plan_.subformat.name,
                                options_.grain_bytes ? "grain_size" : "zeroed_grain"));
    }
    const auto fits = [](std::uint64_t grain) {
      return is_power_of_two(grain) && grain >= kMinGrainBytes && grain <= kMaxGrainBytes;
    };
    if (plan_.subformat.compressed && (options_.zeroed_grains || options_.grain_bytes))
      return refuse(
          "streamOptimized files have grains of 64 KiB, and store no zeros: leave out "
          "grain_size and zeroed_grain");
    if (options_.grain_bytes && !fits(*options_.grain_bytes))
      return refuse(fmt::format("grain_size of {} bytes; expected a power of two from 4k to 1M",
                                *options_.grain_bytes));
    std::uint64_t grain = options_.grain_bytes.value_or(kDefaultGrainBytes);
    if (!options_.grain_bytes && parent_ && parent_->grain_bytes && fits(*parent_->grain_bytes))
      grain = *parent_->grain_bytes;
    plan_.grain_sectors = grain / kSectorBytes;
    plan_.zeroed_grains = options_.zeroed_grains;
    return {};
  }

  Status choose_database() {
    DiskDatabase& database = plan_.database;
    if (parent_) {
      database.adapter_type = parent_->adapter_type.value_or(database.adapter_type);
      database.hardware_version = parent_->hardware_version.value_or(database.hardware_version);
      database.tools_version = parent_->tools_version.value_or(database.tools_version);
    }
    if (options_.adapter_type) {
      if (std::ranges::find(kAdapters, *options_.adapter_type) == kAdapters.end())
        return refuse(fmt::format("adapter_type '{}' is not one of {}", *options_.adapter_type,
                                  fmt::join(kAdapters, ", ")));
      database.adapter_type = *options_.adapter_type;
    }
    database.hardware_version = options_.hardware_version.value_or(database.hardware_version);
    database.tools_version = options_.tools_version.value_or(database.tools_version);
    database.geometry = usual_geometry(plan_.sectors, database.adapter_type);
    if (parent_ && parent_->geometry && !options_.adapter_type)
      database.geometry = *parent_->geometry;
    database.thin_provisioned = plan_.subformat.extent_type == "VMFS";
    choose_ids();
    return {};
  }

  // A snapshot holds what its parent holds until it is written to, and so has its content ID; and
  // it is the same disk to its virtual machine, which finds the uuid in the parent.
  void choose_ids() {
    Descriptor& descriptor = plan_.descriptor;
    descriptor.content_id = parent_ ? parent_->content_id : random_content_id(options_.random);
    descriptor.parent_content_id = parent_ ? parent_->content_id : kNoContentId;
    if (options_.parent) descriptor.parent_hint = options_.parent->hint;
    if (parent_ && parent_->long_content_id)
      plan_.database.long_content_id = *parent_->long_content_id;
    else
      plan_.database.long_content_id =
          random_long_content_id(options_.random, *descriptor.content_id);
    if (!parent_) plan_.database.uuid = random_uuid(options_.random);
  }

  Status describe() {
    const std::uint64_t piece = plan_.subformat.split ? kSplitSectors : plan_.sectors;
    const std::uint64_t count = ceil_div(plan_.sectors, piece);
    const auto too_many = [&] {
      return refuse(
          fmt::format("{} files of 2047 MiB are more than a descriptor can name: use "
                      "another subformat, such as vmfs",
                      count));
    };
    if (count > kMaxTextBytes / kMinExtentLineBytes) return too_many();
    Descriptor& descriptor = plan_.descriptor;
    descriptor.create_type = plan_.subformat.name;
    for (std::uint64_t i = 0; i < count; ++i) {
      ExtentLine line;
      line.sectors = std::min(piece, plan_.sectors - i * piece);
      line.type = plan_.subformat.extent_type;
      line.file = extent_name(name_of(path_), plan_.subformat, i + 1);
      descriptor.extents.push_back(std::move(line));
    }
    plan_.text = descriptor_text(descriptor, plan_.database);
    if (plan_.text.size() > kMaxTextBytes) return too_many();
    if (plan_.subformat.sparse() && !plan_.subformat.compressed &&
        !can_be_filled(plan_.header(descriptor.extents.front())))
      return refuse(
          "a sparse file of this size could grow past 2 TiB, where its tables cannot "
          "point: use -o subformat=twoGbMaxExtentSparse");
    return {};
  }

  const std::string& path_;
  const CreateOptions& options_;
  Contents contents_;
  std::optional<ParentFacts> parent_;
  DiskPlan plan_;
};

}  // namespace

HostedHeader DiskPlan::header(const ExtentLine& extent) const {
  return plan_hosted_extent({extent.sectors, grain_sectors, embedded_text().size(), zeroed_grains});
}

Result<DiskPlan> plan_disk(const std::string& path, const CreateOptions& options,
                           Contents contents) {
  return Planner(path, options, contents).plan();
}

}  // namespace grainmill::vmdk
