// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create.h"

#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "engine/format/vmdk/snapshot_parent.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <ostream>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

constexpr std::string_view kOptionHelp =
    R"(Options of -o, as NAME=VALUE; more than one between commas:
  subformat=NAME      monolithicSparse (the default): one file that grows as it is written to
                      monolithicFlat: all of the disk in a second file, FILE-flat.vmdk
                      twoGbMaxExtentSparse, twoGbMaxExtentFlat: in files of 2047 MiB
                      vmfs: as monolithicFlat, in ESXi's words
  adapter_type=NAME   ide (the default), lsilogic, buslogic or legacyESX
  grain_size=SIZE     what a sparse disk grows by: a power of two from 4k to 1M (default: 64k)
  zeroed_grain=on|off whether a sparse disk may note zeros without storing them; not every program
                      reads such disks (default: off)
  hwversion=N         virtual hardware version (default: 4, which all products take)
  compat6=on|off      the same as hwversion=6
  toolsversion=N      version of VMware Tools (default: 2147483647, not managed by VMware)
A snapshot (-b) has what its parent has, where nothing else is said.
)";

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorKind::invalid_argument, "", std::move(message));
}

// One NAME=VALUE of -o.
struct Setting {
  std::string name;
  std::string value;

  [[nodiscard]] std::unexpected<Error> bad(std::string_view expected) const {
    return refuse(fmt::format("-o {}={}: expected {}", name, value, expected));
  }
  [[nodiscard]] Result<std::uint32_t> number() const {
    std::uint32_t number = 0;
    const char* end = value.data() + value.size();
    const auto [rest, status] = std::from_chars(value.data(), end, number);
    if (status != std::errc{} || rest != end) return bad("a whole number below 2^32");
    return number;
  }
  [[nodiscard]] Result<bool> on() const {
    if (value != "on" && value != "off") return bad("on or off");
    return value == "on";
  }
  [[nodiscard]] Result<std::uint64_t> size() const {
    const std::optional<std::uint64_t> size = parse_size(value);
    if (!size) return bad("a size such as 64k");
    return *size;
  }
};

std::vector<Setting> split(const std::vector<std::string>& options) {
  std::vector<Setting> settings;
  for (const std::string& text : options) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find(',', at), text.size());
      const std::string item = text.substr(at, end - at);
      const std::size_t equals = std::min(item.find('='), item.size());
      // qemu-img takes a word alone for "on".
      settings.push_back(
          {item.substr(0, equals), equals == item.size() ? "on" : item.substr(equals + 1)});
      at = end + 1;
    }
  }
  return settings;
}

Status set_hardware_version(const Setting& setting, vmdk::CreateOptions& options) {
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

Status apply(const Setting& setting, vmdk::CreateOptions& options) {
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
  } else if (name == "backing_file" || name == "backing_fmt" || name == "size") {
    return refuse(fmt::format("-o {}: write `grainmill create [-b PARENT] FILE SIZE`", name));
  } else {
    return refuse(
        fmt::format("-o {}: expected subformat, adapter_type, grain_size, zeroed_grain, "
                    "hwversion, compat6 or toolsversion; -o help explains them",
                    name));
  }
  return {};
}

Result<vmdk::CreateOptions> create_options(const CreateArgs& args,
                                           const std::vector<Setting>& settings) {
  vmdk::CreateOptions options;
  options.size_bytes = args.size_bytes;
  options.replace = args.force;
  for (const Setting& setting : settings) GM_CHECK(apply(setting, options));
  return options;
}

Result<Disk> open_parent(const vmdk::ParentName& name, const CreateArgs& args, Host& host) {
  // A disk that someone writes would go on changing under its snapshot.
  DiskOptions options = args.parent_disk;
  options.open.mode = OpenMode::read_stable;
  GM_TRY(Disk disk, Disk::open(host.files, name.path, options));
  if (disk.depth() + 1 > Disk::kMaxDepth)
    return fail(ErrorKind::invalid_argument, name.path,
                fmt::format("is the top of {} links already, and no more can be read: convert it "
                            "to a disk without snapshots first",
                            disk.depth()));
  return disk;
}

void print_created(const vmdk::CreatedDisk& made, const CreateArgs& args, Host& host) {
  const vmdk::Descriptor& descriptor = made.descriptor;
  host.out << fmt::format("Formatting '{}', fmt=vmdk size={} subformat={} adapter_type={}",
                          made.files.back(), made.size_bytes, descriptor.create_type,
                          made.database.adapter_type);
  if (made.grain_bytes != 0) host.out << fmt::format(" grain_size={}", made.grain_bytes);
  host.out << fmt::format(" hwversion={} cid={:08x}", made.database.hardware_version,
                          descriptor.content_id.value_or(0));
  if (!descriptor.parent_hint.empty())
    host.out << fmt::format(" backing_file={} backing_fmt=vmdk", descriptor.parent_hint);
  host.out << '\n';
  if (const std::size_t extents = made.files.size() - 1; extents == 1)
    host.out << fmt::format("The disk's data goes to {}\n", made.files.front());
  else if (extents > 1)
    host.out << fmt::format("The disk's data goes to {} files, {} to {}\n", extents,
                            made.files.front(), made.files.at(extents - 1));
  if (args.size_bytes && *args.size_bytes != made.size_bytes)
    host.out << fmt::format("note: {} bytes were rounded up to whole sectors\n", *args.size_bytes);
  if (made.parent_is_elsewhere)
    host.out << "note: the parent lies outside the snapshot's folder: to read the snapshot, allow "
                "that folder with --allow-dir\n";
}

Status create_disk(const CreateArgs& args, const std::vector<Setting>& settings, Host& host) {
  if (args.path.empty())
    return refuse(
        "FILE is required: grainmill create disk.vmdk 10G; `grainmill create --help` "
        "says more");
  GM_TRY(vmdk::CreateOptions options, create_options(args, settings));
  std::optional<Disk> parent;
  if (!args.parent.empty()) {
    GM_TRY(const vmdk::ParentName name, vmdk::name_parent(host.files, args.path, args.parent));
    GM_TRY(parent, open_parent(name, args, host));
    options.parent.emplace(name.hint);
    for (std::size_t i = 0; i < parent->depth(); ++i)
      options.parent->chain.push_back(&parent->link(i));
  }
  GM_TRY(const vmdk::CreatedDisk made, vmdk::create(host.files, args.path, options));
  if (!args.quiet) print_created(made, args, host);
  return {};
}

}  // namespace

int run_create(const CreateArgs& args, Host& host) {
  const std::vector<Setting> settings = split(args.options);
  for (const Setting& setting : settings) {
    if (setting.name != "help" && setting.name != "?") continue;
    host.out << kOptionHelp;
    return kExitDone;
  }
  const Status made = create_disk(args, settings, host);
  return made ? kExitDone : report_failure(made.error(), ProgressForm::none, host);
}

}  // namespace grainmill
