// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create.h"

#include "engine/disk/disk.h"
#include "engine/format/vmdk/options.h"
#include "engine/format/vmdk/snapshot_parent.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>

#include <ostream>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorKind::invalid_argument, "", std::move(message));
}

Result<vmdk::CreateOptions> create_options(const CreateArgs& args,
                                           const std::vector<Setting>& settings) {
  vmdk::CreateOptions options;
  options.size_bytes = args.size_bytes;
  options.replace = args.force;
  for (const Setting& setting : settings)
    if (setting.name == "backing_file" || setting.name == "backing_fmt" || setting.name == "size")
      return refuse(
          fmt::format("-o {}: write `grainmill create [-b PARENT] FILE SIZE`", setting.name));
  GM_CHECK(vmdk::apply_settings(settings, options));
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
  const std::vector<Setting> settings = split_settings(args.options);
  if (asks_for_help(settings)) {
    host.out << vmdk::kSettingsHelp
             << "A snapshot (-b) has what its parent has, where nothing else is said.\n";
    return kExitDone;
  }
  const Status made = create_disk(args, settings, host);
  return made ? kExitDone : report_failure(made.error(), ProgressForm::none, host);
}

}  // namespace grainmill
