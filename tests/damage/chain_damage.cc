// SPDX-License-Identifier: Apache-2.0
//
// Files of a disk that are missing, exchanged or of another disk.
#include "tests/damage/extent_damage.h"
#include "tests/support/file_bytes.h"

#include <algorithm>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// The files of a disk that another file names.
std::vector<fs::path> named_files(const BuiltDisk& disk) {
  std::vector<fs::path> files = disk.files();
  std::erase(files, disk.path());
  return files;
}

// Two extents of a link whose files can be taken for each other.
struct Siblings {
  fs::path first;
  fs::path second;
  bool same_size = false;
};

std::vector<Siblings> siblings(const BuiltDisk& disk) {
  std::vector<Siblings> pairs;
  for (const BuiltLink& link : disk.links)
    for (std::size_t i = 0; i + 1 < link.extents.size(); ++i) {
      const BuiltExtent& a = link.extents[i];
      const BuiltExtent& b = link.extents[i + 1];
      if (a.path.empty() || b.path.empty() || a.path == b.path) continue;
      pairs.push_back({a.path, b.path, a.size_bytes == b.size_bytes && a.type == b.type});
    }
  return pairs;
}

void swap_files(const fs::path& a, const fs::path& b) {
  const fs::path spare = a.string() + ".spare";
  fs::rename(a, spare);
  fs::rename(b, a);
  fs::rename(spare, b);
}

// A whole disk of other contents and another size, made beside `path` and put in its place.
void replace_by_other_disk(const fs::path& path, const LinkOptions& options, const char* layout) {
  const fs::path folder = path.parent_path() / "other";
  fs::create_directory(folder);
  const BuiltDisk other = build_disk(folder, "other", parse_layout(layout), options);
  fs::copy_file(other.links.front().extents.front().path, path,
                fs::copy_options::overwrite_existing);
  fs::remove_all(folder);
}

void add_split_damage(std::vector<DamageKind>& kinds) {
  const auto pairs = [](const BuiltDisk& disk) { return siblings(disk).size(); };
  kinds.push_back(
      {.name = "extent-files-swapped",
       .what = "two extent files with each other's name",
       .places = pairs,
       .apply =
           [](const BuiltDisk& disk, std::size_t place) {
             swap_files(siblings(disk)[place].first, siblings(disk)[place].second);
           },
       .leaves_no_trace = [](const BuiltDisk& disk,
                             std::size_t place) { return siblings(disk)[place].same_size; }});
  kinds.push_back(
      {.name = "extent-file-of-sibling",
       .what = "an extent file overwritten by the next one",
       .places = pairs,
       .apply =
           [](const BuiltDisk& disk, std::size_t place) {
             fs::copy_file(siblings(disk)[place].second, siblings(disk)[place].first,
                           fs::copy_options::overwrite_existing);
           },
       .leaves_no_trace = [](const BuiltDisk& disk,
                             std::size_t place) { return siblings(disk)[place].same_size; }});
  const auto any = [](const Target& t) -> std::size_t { return t.path() != t.link().path ? 1 : 0; };
  const auto flat_of_custom = [](const Target& t, std::size_t) {
    return t.is_flat() && is_custom(*t.disk);
  };
  const auto other = [](Kind kind, const char* layout) -> DamageAt {
    return [kind, layout](const Target& t, std::size_t) {
      replace_by_other_disk(t.path(), {.kind = kind}, layout);
    };
  };
  kinds.push_back(extent_kind("extent-file-of-other-sparse",
                              "an extent file of another sparse disk", any,
                              other(Kind::two_gb_sparse, "960k:Q"), flat_of_custom));
  kinds.push_back(extent_kind("extent-file-of-other-flat", "an extent file of another flat disk",
                              any, other(Kind::monolithic_flat, "960k:Q"), flat_of_custom));
}

void add_missing_files(std::vector<DamageKind>& kinds) {
  const auto all = [](const BuiltDisk& disk) { return named_files(disk).size(); };
  kinds.push_back({.name = "file-missing",
                   .what = "a file of the disk is not there",
                   .places = all,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     fs::remove(named_files(disk)[place]);
                   }});
  kinds.push_back({.name = "file-empty",
                   .what = "a file of the disk has no bytes",
                   .places = all,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     set_file_size(named_files(disk)[place], 0);
                   }});
  kinds.push_back({.name = "file-is-folder",
                   .what = "a folder where a file should be",
                   .places = all,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     fs::remove(named_files(disk)[place]);
                     fs::create_directory(named_files(disk)[place]);
                   }});
}

std::size_t parents(const BuiltDisk& disk) { return disk.links.size() - 1; }

void add_parent_damage(std::vector<DamageKind>& kinds) {
  kinds.push_back({.name = "parent-of-other-disk",
                   .what = "a parent replaced by another disk",
                   .places = parents,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     replace_by_other_disk(disk.links[place].path, {}, "4m:Q");
                   }});
  kinds.push_back({.name = "parent-is-child",
                   .what = "a parent replaced by a copy of its child",
                   .places = parents,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     fs::copy_file(disk.links[place + 1].path, disk.links[place].path,
                                   fs::copy_options::overwrite_existing);
                   }});
  kinds.push_back({.name = "parent-is-link-to-child",
                   .what = "a chain that runs in a circle",
                   .places = parents,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     fs::remove(disk.links[place].path);
                     fs::create_symlink(disk.links[place + 1].path.filename(),
                                        disk.links[place].path);
                   }});
  kinds.push_back({.name = "parent-is-raw",
                   .what = "a parent that is no longer a VMDK disk",
                   .places = parents,
                   .apply = [](const BuiltDisk& disk, std::size_t place) {
                     set_file_size(disk.links[place].path, 0);
                     set_file_size(disk.links[place].path, std::uint64_t{4} << 20);
                   }});
}

}  // namespace

void add_chain_damage(std::vector<DamageKind>& kinds) {
  add_split_damage(kinds);
  add_missing_files(kinds);
  add_parent_damage(kinds);
}

}  // namespace grainmill::testing
