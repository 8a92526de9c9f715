// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/new_disk.h"

#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/empty_extent.h"

#include <fmt/format.h>

#include <utility>

namespace grainmill::vmdk {
namespace {

class Maker {
 public:
  Maker(FileSystem& files, const CreateOptions& options, Contents contents)
      : files_(files), options_(options), contents_(contents), disk_(files) {}

  Result<NewDisk> run(const std::string& path) {
    path_ = final_path(path);
    GM_TRY(disk_.plan, plan_disk(path_, options_, contents_));
    if (options_.parent) {
      GM_TRY(disk_.parent_is_elsewhere, check_hint());
    }
    GM_CHECK(check_next_number());
    GM_CHECK(begin_extents());
    const DiskPlan& plan = disk_.plan;
    if (!plan.subformat.embedded()) {
      GM_TRY(File * file, begin(path_));
      GM_CHECK(file->resize(plan.text.size()));
      GM_CHECK(file->write_at(0, std::as_bytes(std::span(plan.text))));
    }
    return std::move(disk_);
  }

 private:
  // Where `path` is a link to a file that is to be replaced, the extents belong beside that file.
  std::string final_path(const std::string& path) {
    return options_.replace ? link_target(files_, path) : path;
  }

  // Whether readers look for the parent by this hint only where they are allowed to.
  Result<bool> check_hint() {
    const File& parent = *options_.parent->chain.front()->files().front();
    const std::string& hint = options_.parent->hint;
    GM_TRY(const std::unique_ptr<File> found,
           open_named_file(files_, {.allowed_folders = {}, .allow_any_path = true}, path_, hint));
    GM_TRY(const FileInfo a, found->info());
    GM_TRY(const FileInfo b, parent.info());
    if (!is_same_file(a, b))
      return fail(ErrorKind::invalid_argument, path_,
                  fmt::format("'{}' names {} from here, not its parent {}: write an absolute path",
                              hint, found->path(), parent.path()));
    const auto inside = open_named_file(files_, {}, path_, hint);
    return !inside && inside.error().kind == ErrorKind::denied;
  }

  // Readers take a file with the next number for a part that the descriptor has lost.
  Status check_next_number() {
    const std::string next = name_after_last(disk_.plan.descriptor);
    if (next.empty()) return {};
    GM_TRY(const bool there, exists(disk_.plan.folder + next));
    if (!there) return {};
    return fail(ErrorKind::invalid_argument, disk_.plan.folder + next,
                fmt::format("lies where the next part of {} would be, and would be taken for one: "
                            "move it away",
                            path_));
  }

  Result<bool> exists(const std::string& path) {
    const auto opened = files_.open_read(path);
    if (opened) return true;
    if (opened.error().kind == ErrorKind::not_found) return false;
    return std::unexpected(opened.error());
  }

  Status check_not_in_chain(const std::string& path) {
    if (!options_.parent) return {};
    GM_TRY(const std::unique_ptr<File> older, files_.open_read(path));
    GM_TRY(const FileInfo own, older->info());
    for (const Link* link : options_.parent->chain) {
      for (const File* file : link->files()) {
        GM_TRY(const FileInfo other, file->info());
        if (is_same_file(own, other))
          return fail(ErrorKind::invalid_argument, path,
                      "is part of the disk that the snapshot builds on: choose another name");
      }
    }
    return {};
  }

  Result<File*> begin(const std::string& path) {
    GM_TRY(const bool there, exists(path));
    if (there) {
      GM_CHECK(check_not_in_chain(path));
      if (!options_.replace)
        return fail(ErrorKind::invalid_argument, path,
                    "exists already, and may hold a disk: choose another name, or replace it with "
                    "--force");
      // Held until the new file has its name: nobody begins to write what is about to go.
      Result<std::unique_ptr<File>> older = files_.open_write(path);
      if (!older && older.error().kind == ErrorKind::busy) return std::unexpected(older.error());
      if (older) disk_.outputs.hold(*std::move(older));
    }
    return disk_.outputs.add(path);
  }

  Status begin_extents() {
    const DiskPlan& plan = disk_.plan;
    for (const ExtentLine& line : plan.descriptor.extents) {
      GM_TRY(File * file, begin(plan.folder + line.file));
      disk_.extents.push_back(file);
      if (plan.subformat.compressed) continue;
      GM_CHECK(plan.subformat.sparse()
                   ? write_empty_extent(*file, plan.header(line), plan.embedded_text())
                   : file->resize(line.sectors * kSectorBytes));
    }
    return {};
  }

  FileSystem& files_;
  const CreateOptions& options_;
  Contents contents_;
  std::string path_;
  NewDisk disk_;
};

}  // namespace

Result<NewDisk> begin_disk(FileSystem& files, const std::string& path, const CreateOptions& options,
                           Contents contents) {
  return Maker(files, options, contents).run(path);
}

}  // namespace grainmill::vmdk
