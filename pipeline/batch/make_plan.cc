// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/make_plan.h"

#include "engine/base/text.h"
#include "engine/disk/disk.h"
#include "engine/disk/parent.h"
#include "pipeline/batch/find_sources.h"
#include "pipeline/batch/plan_targets.h"
#include "pipeline/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace grainmill {
namespace {

// For trying the options of an output where there is no disk yet.
constexpr std::uint64_t kAnyDiskBytes = kMiB;

std::string absolute_path(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

SourceOptions source_options(const PlanOptions& options, const std::string& target_folder) {
  return {.sources = options.sources,
          .raw = options.raw,
          .exclude = options.exclude,
          .target_folder = target_folder,
          .policy = options.policy};
}

// Takes the first damage and goes on: a chain is then opened as far as it can be.
class KeptDamage final : public Findings {
 public:
  [[nodiscard]] Status add(Finding finding) override {
    const bool counts =
        finding.severity == Severity::damage || finding.severity == Severity::unchecked;
    if (counts && !first_) first_ = std::move(finding.what);
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return false; }
  [[nodiscard]] const std::optional<Error>& first() const { return first_; }

 private:
  std::optional<Error> first_;
};

// What was found, and which of it builds on which.
class Family {
 public:
  void add(std::size_t image, FileIdentity identity, std::optional<FileIdentity> parent) {
    images_.emplace(identity, image);
    if (parent) parents_.emplace(identity, *parent);
  }

  // Of each image whether another one leads to it, and that one is a disk of its own or led to by
  // one: links that go round in a circle have no top, and are then all wanted.
  [[nodiscard]] std::vector<bool> inner(std::size_t count) const {
    std::set<FileIdentity> with_children;
    for (const auto& [child, parent] : parents_) with_children.insert(parent);
    std::vector<bool> inner(count);
    for (const auto& [identity, image] : images_) {
      if (with_children.contains(identity)) continue;
      std::set<FileIdentity> seen = {identity};
      for (auto step = parents_.find(identity); step != parents_.end();
           step = parents_.find(step->second)) {
        if (!seen.insert(step->second).second) break;
        const auto [first, last] = images_.equal_range(step->second);
        for (auto each = first; each != last; ++each) inner[each->second] = true;
      }
    }
    return inner;
  }

 private:
  std::multimap<FileIdentity, std::size_t> images_;
  std::map<FileIdentity, FileIdentity> parents_;  // by child
};

class PlanMaker {
 public:
  PlanMaker(FileSystem& files, const PlanOptions& options) : files_(files), options_(options) {}

  Result<MadePlan> run() {
    GM_TRY(folder_, target_folder());
    GM_CHECK(try_output());
    GM_TRY(FoundSources sources, find_sources(files_, source_options(options_, folder_)));
    begin_plan();
    made_.failures = std::move(sources.failures);
    GM_TRY(const std::vector<bool> inner, inner_links(sources.images));
    for (std::size_t i = 0; i < sources.images.size(); ++i) {
      if (inner[i] && !sources.images[i].is_named) continue;
      GM_CHECK(check_cancelled());
      made_.plan.images.push_back(planned(sources.images[i]));
    }
    if (made_.plan.images.empty()) return no_disks();
    GM_CHECK(check_targets(files_,
                           {.folder = folder_,
                            .plan = absolute_path(options_.plan),
                            .output = options_.output,
                            .force = options_.force},
                           made_.plan.images, source_files_));
    return std::move(made_);
  }

 private:
  [[nodiscard]] Result<std::string> target_folder() const {
    const std::string& folder = options_.target_folder;
    Result<std::string> resolved = files_.canonical(folder);
    if (!resolved && resolved.error().kind == ErrorKind::not_found)
      return fail(ErrorKind::not_found, folder,
                  fmt::format("the folder for the outputs does not exist: mkdir -p '{}'", folder));
    if (resolved && !files_.entries(*resolved))
      return fail(ErrorKind::invalid_argument, folder,
                  "is no folder that can be listed: --to is the folder for the outputs");
    return resolved;
  }

  [[nodiscard]] SinkOptions sink_options() const {
    return {.settings = split_settings(options_.output.settings),
            .compress = options_.output.compress,
            .level = options_.output.level};
  }

  [[nodiscard]] Status try_output() const {
    MeasureOptions measured;
    measured.size_bytes = kAnyDiskBytes;
    measured.output_format = options_.output.format;
    measured.sink = sink_options();
    const Result<OutputSize> size = measure(files_, measured);
    if (size) return {};
    return fail(size.error().kind, "", size.error().message);
  }

  void begin_plan() {
    made_.plan.created = options_.now;
    made_.plan.output = options_.output;
    made_.plan.policy = options_.policy;
    made_.plan.allow_replace = options_.force;
    // The run may be started in another folder.
    for (std::string& folder : made_.plan.policy.allowed_folders) folder = absolute_path(folder);
  }

  [[nodiscard]] Status check_cancelled() const {
    if (options_.cancelled != nullptr && options_.cancelled->load())
      return fail(ErrorKind::cancelled, "", "stopped; nothing was written");
    return {};
  }

  [[nodiscard]] std::unexpected<Error> no_disks() const {
    if (made_.failures.empty())
      return fail(ErrorKind::not_found, "",
                  "no disks were found: raw ones must be named (--raw PATTERN)");
    return fail(made_.failures.front().kind, made_.failures.front().path,
                made_.failures.front().message + "; no disks were found");
  }

  // Which images are only there for others to build on.
  Result<std::vector<bool>> inner_links(const std::vector<SourceImage>& images) {
    Family family;
    for (std::size_t i = 0; i < images.size(); ++i) {
      GM_CHECK(check_cancelled());
      const Result<std::unique_ptr<File>> file = files_.open_read(images[i].path);
      if (!file) continue;
      const Result<FileInfo> info = (*file)->info();
      if (!info) continue;
      source_files_.emplace(info->device, info->inode);
      family.add(i, {info->device, info->inode}, parent_of(images[i]));
    }
    return family.inner(images.size());
  }

  [[nodiscard]] std::optional<FileIdentity> parent_of(const SourceImage& image) const {
    const Result<std::unique_ptr<Link>> link = open_link(files_, image.path, disk_options(image));
    if (!link || !(*link)->description().parent) return std::nullopt;
    const Result<std::unique_ptr<File>> file =
        open_parent_file(files_, options_.policy, image.path, *(*link)->description().parent);
    if (!file) return std::nullopt;
    const Result<FileInfo> info = (*file)->info();
    if (!info) return std::nullopt;
    return FileIdentity(info->device, info->inode);
  }

  [[nodiscard]] DiskOptions disk_options(const SourceImage& image) const {
    DiskOptions disk;
    disk.format = image.format;
    disk.open.policy = options_.policy;
    disk.whole_sectors = format_by_name(options_.output.format)->whole_sectors;
    return disk;
  }

  PlannedImage planned(const SourceImage& source) {
    PlannedImage image;
    image.source = source.path;
    image.source_format = source.format;
    image.chain = {source.path};
    if (is_archive(source)) {
      image.state = PlannedState::skipped;
      image.reason = "OVA: not converted yet: unpack it (tar xf) and plan the folder";
      add_file_alone(image);
      return image;
    }
    image.target = target_of(folder_, source.relative, options_.output.format);
    if (const Status fine = look_into(source, image); !fine)
      image.reason = reason(image, fine.error());
    return image;
  }

  static std::string reason(const PlannedImage& image, Error error) {
    if (error.path == image.source) error.path.clear();
    return error.to_string();
  }

  [[nodiscard]] bool is_archive(const SourceImage& source) const {
    constexpr std::uint64_t kTarMagicOffset = 257;
    constexpr std::string_view kTarMagic = "ustar";
    if (!lower(source.path).ends_with(".ova")) return false;
    std::array<char, kTarMagic.size()> magic{};
    const Result<std::unique_ptr<File>> file = files_.open_read(source.path);
    return file &&
           (*file)->read_exact_at(kTarMagicOffset, std::as_writable_bytes(std::span(magic))) &&
           std::string_view(magic.data(), magic.size()) == kTarMagic;
  }

  // Fails with what is wrong with the disk; what is known of it is noted all the same.
  Status look_into(const SourceImage& source, PlannedImage& image) {
    const DiskOptions options = disk_options(source);
    KeptDamage damage;
    Result<std::vector<std::unique_ptr<Link>>> links =
        open_chain(files_, source.path, options, damage);
    if (!links) {
      add_file_alone(image);
      return std::unexpected(std::move(links).error());
    }
    image.disk_bytes = links->front()->size_bytes();
    GM_CHECK(add_links(*links, image));
    if (damage.first()) return std::unexpected(*damage.first());
    links->clear();
    GM_TRY(const Disk disk, Disk::open(files_, source.path, options));
    GM_CHECK(disk.check());
    GM_TRY(image.target_bytes, measure_open_disk(disk, options_.output.format, sink_options()));
    return {};
  }

  Status add_links(const std::vector<std::unique_ptr<Link>>& links, PlannedImage& image) {
    std::set<FileIdentity> seen;
    image.chain.clear();
    for (const std::unique_ptr<Link>& link : links) {
      const std::vector<const File*> parts = link->files();
      const std::string& path = parts.front()->path();
      image.chain.push_back(image.chain.empty() ? image.source
                                                : files_.canonical(path).value_or(path));
      for (const File* file : parts) {
        GM_TRY(const FileInfo info, file->info());
        source_files_.emplace(info.device, info.inode);
        if (seen.emplace(info.device, info.inode).second)
          image.source_bytes += info.allocated_bytes;
      }
    }
    return {};
  }

  void add_file_alone(PlannedImage& image) const {
    const Result<std::unique_ptr<File>> file = files_.open_read(image.source);
    if (!file) return;
    if (const Result<FileInfo> info = (*file)->info()) image.source_bytes = info->allocated_bytes;
  }

  FileSystem& files_;
  const PlanOptions& options_;
  std::string folder_;
  MadePlan made_;
  FileIdentities source_files_;
};

}  // namespace

Result<MadePlan> make_plan(FileSystem& files, const PlanOptions& options) {
  return PlanMaker(files, options).run();
}

Status check_plan_sources(FileSystem& files, const PlanOptions& options) {
  return check_sources(files, source_options(options, options.target_folder));
}

}  // namespace grainmill
