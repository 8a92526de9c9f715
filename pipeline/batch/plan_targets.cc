// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/plan_targets.h"

#include "engine/base/arith.h"
#include "engine/base/text.h"
#include "engine/base/units.h"
#include "engine/format/format.h"
#include "pipeline/convert.h"
#include "pipeline/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

constexpr std::array<std::string_view, 6> kSuffixes = {".vmdk", ".qcow2", ".qcow",
                                                       ".raw",  ".img",   ".dd"};

// The first few of what is wrong, and how many there are.
class Complaints {
 public:
  void add(std::string_view text) {
    if (++count_ <= kMostShown) text_ += fmt::format("\n  {}", printable(text));
  }
  // `what` and `way_out`: before and behind the list.
  [[nodiscard]] Status refuse(std::string_view what, std::string_view way_out) const {
    if (count_ == 0) return {};
    const std::string more =
        count_ > kMostShown ? fmt::format("\n  and {} more", count_ - kMostShown) : "";
    return fail(ErrorKind::invalid_argument, "",
                fmt::format("{} ({}):{}{}\n{}", what, count_, text_, more, way_out));
  }

 private:
  static constexpr std::size_t kMostShown = 10;
  std::size_t count_ = 0;
  std::string text_;
};

class TargetChecker {
 public:
  TargetChecker(FileSystem& files, const TargetOptions& options, const FileIdentities& source_files)
      : files_(files), options_(options), source_files_(source_files) {
    owners_.emplace(options.plan, "the plan itself");
  }

  Status run(const std::vector<PlannedImage>& images) {
    for (const PlannedImage& image : images)
      if (image.state == PlannedState::queued) add(image);
    GM_CHECK(twins_.refuse("outputs would have the name of another one",
                           "leave one of each out (--exclude NAME), or plan them apart, each with "
                           "a folder of its own (--to)"));
    GM_CHECK(sources_.refuse("outputs would replace what disks are read from",
                             "choose another folder for the outputs (--to)"));
    if (options_.force) return {};
    GM_CHECK(present_.refuse("outputs exist already",
                             "choose another folder (--to), or replace them (--force)"));
    return check_room();
  }

 private:
  void add(const PlannedImage& image) {
    total_bytes_ = checked_add(total_bytes_, image.target_bytes)
                       .value_or(std::numeric_limits<std::uint64_t>::max());
    std::vector<std::string> paths = paths_of(image);
    paths.push_back(default_manifest_path(image.target));
    bool is_twin = false;
    for (const std::string& path : paths) {
      const auto [owner, is_new] = owners_.emplace(path, image.source);
      if (is_new || std::exchange(is_twin, true)) continue;
      twins_.add(fmt::format("{}: {} and {}", path, owner->second, image.source));
    }
    bool is_present = false;
    for (const std::string& path : paths) {
      const Result<std::unique_ptr<File>> file = files_.open_read(path);
      if (!file && file.error().kind == ErrorKind::not_found) continue;
      if (file && is_source(**file))
        sources_.add(fmt::format("{}, of {}", path, image.source));
      else if (!std::exchange(is_present, true))
        present_.add(fmt::format("{}, of {}", path, image.source));
    }
  }

  [[nodiscard]] bool is_source(const File& file) const {
    const Result<FileInfo> info = file.info();
    return info && source_files_.contains({info->device, info->inode});
  }

  // A disk that cannot be opened has no size, and so perhaps more files than are known.
  [[nodiscard]] std::vector<std::string> paths_of(const PlannedImage& image) const {
    Result<std::vector<std::string>> paths =
        output_paths(options_.output.format, {.path = image.target,
                                              .size_bytes = image.disk_bytes,
                                              .settings = split_settings(options_.output.settings),
                                              .compress = options_.output.compress,
                                              .level = options_.output.level});
    if (!paths) return {image.target};
    return *std::move(paths);
  }

  [[nodiscard]] Status check_room() const {
    GM_TRY(const std::uint64_t free, files_.free_bytes(options_.folder));
    if (total_bytes_ <= free) return {};
    return fail(ErrorKind::invalid_argument, options_.folder,
                fmt::format("the outputs take up to {}, but {} are free: make room, leave disks "
                            "out (--exclude NAME), or plan them all the same (--force)",
                            format_size(total_bytes_), format_size(free)));
  }

  FileSystem& files_;
  const TargetOptions& options_;
  const FileIdentities& source_files_;
  std::map<std::string, std::string> owners_;  // of each output, by path
  std::uint64_t total_bytes_ = 0;
  Complaints twins_;
  Complaints sources_;
  Complaints present_;
};

}  // namespace

std::string target_of(const std::string& folder, const std::string& relative,
                      const std::string& format) {
  std::string target = (folder.ends_with('/') ? folder : folder + '/') + relative;
  const std::string name = lower(name_of(relative));
  for (const std::string_view suffix : kSuffixes)
    if (name.ends_with(suffix) && name.size() > suffix.size()) {
      target.erase(target.size() - suffix.size());
      break;
    }
  return target + '.' + format;
}

Status check_targets(FileSystem& files, const TargetOptions& options,
                     const std::vector<PlannedImage>& images, const FileIdentities& source_files) {
  return TargetChecker(files, options, source_files).run(images);
}

}  // namespace grainmill
