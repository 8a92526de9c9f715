// SPDX-License-Identifier: Apache-2.0
#include "pipeline/repair.h"

#include "engine/disk/parent.h"
#include "engine/format/format.h"
#include "engine/io/patched_files.h"
#include "pipeline/undo_journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

class Repair {
 public:
  Repair(FileSystem& files, const RepairOptions& options)
      : files_(files), options_(options), image_(options.check.image), repaired_(files) {}

  Result<RepairReport> run() {
    GM_CHECK(refuse_unfinished());
    GM_CHECK(plan_chain());
    report_.corrections = corrections_.size();
    CheckOptions quiet = options_.check;
    quiet.on_finding = [](const Finding&) {};
    GM_TRY(report_.before, check(files_, quiet));
    for (const Correction& correction : corrections_) options_.on_correction(correction);
    if (corrections_.empty()) {
      GM_TRY(report_.after, check(files_, options_.check));
      return report_;
    }
    GM_TRY(report_.after, check(repaired_, options_.write ? quiet : options_.check));
    if (report_.after.damage + report_.after.unchecked >
        report_.before.damage + report_.before.unchecked)
      return fail(ErrorKind::corrupt, image_,
                  fmt::format("cannot be repaired: what was found would leave {} findings of "
                              "damage where there are {}",
                              report_.after.damage, report_.before.damage));
    if (!options_.write) return report_;
    GM_CHECK(write());
    GM_TRY(report_.after, check(files_, options_.check));
    report_.written = true;
    if (report_.after.damage + report_.after.unchecked != 0)
      report_.journal = repair_journal_path(image_);
    else
      GM_CHECK(files_.remove(repair_journal_path(image_)));
    return report_;
  }

 private:
  Status refuse_unfinished() const {
    const std::string journal = repair_journal_path(image_);
    const Result<std::unique_ptr<File>> file = files_.open_read(journal);
    if (!file) return {};
    return fail(ErrorKind::invalid_argument, journal,
                fmt::format("an earlier repair of {} left this journal: `grainmill check --undo` "
                            "takes it back, or remove the journal if all is well",
                            image_));
  }

  // The links from the top on, as far as they can be opened once they are repaired.
  Status plan_chain() {
    std::string path = image_;
    DiskOptions disk = options_.check.disk;
    for (std::size_t depth = 0; depth < Disk::kMaxDepth; ++depth) {
      GM_CHECK(plan_link(path, disk));
      const Result<std::unique_ptr<Link>> link = open_link(repaired_, path, disk);
      if (!link || !(*link)->description().parent) return {};
      const ParentRef& parent = *(*link)->description().parent;
      const auto file = open_parent_file(files_, disk.open.policy, path, parent);
      if (!file) return {};
      path = (*file)->path();
      disk.format = parent.format;
    }
    return {};
  }

  Status plan_link(const std::string& path, const DiskOptions& disk) {
    const Format* format = format_by_name(disk.format);
    if (disk.format.empty()) {
      GM_TRY(const std::unique_ptr<File> file, files_.open_read(path));
      GM_TRY(format, detect_format(*file, files_));
    }
    if (format == nullptr || format->plan_repair == nullptr) return {};
    GM_TRY(RepairPlan plan, format->plan_repair(files_, path, disk.open));
    for (const Error& doubt : plan.doubts) options_.on_doubt(doubt);
    report_.doubts += plan.doubts.size();
    for (Correction& correction : plan.corrections) {
      GM_CHECK(repaired_.add(correction.path, correction.patch));
      corrections_.push_back(std::move(correction));
    }
    return {};
  }

  Status write() {
    // The images of the chain, kept from other writers until all is done.
    std::map<std::string, std::unique_ptr<File>> open;
    std::vector<UndoEntry> undo;
    for (const Correction& correction : corrections_) {
      std::unique_ptr<File>& file = open[correction.path];
      if (!file) {
        GM_TRY(file, files_.open_write(correction.path));
      }
      GM_TRY(const FileInfo info, file->info());
      std::vector<std::byte> old(correction.patch.bytes.size());
      GM_TRY(const std::size_t got, file->read_at(correction.patch.offset, old));
      old.resize(got);
      GM_TRY(std::string absolute, files_.canonical(correction.path));
      undo.push_back(
          {std::move(absolute), info.size_bytes, {correction.patch.offset, std::move(old)}});
    }
    GM_CHECK(write_undo_journal(files_, repair_journal_path(image_), undo));
    for (const Correction& correction : corrections_)
      GM_CHECK(open[correction.path]->write_at(correction.patch.offset, correction.patch.bytes));
    for (const auto& [path, file] : open) GM_CHECK(file->sync());
    return {};
  }

  FileSystem& files_;
  const RepairOptions& options_;
  std::string image_;
  PatchedFiles repaired_;
  std::vector<Correction> corrections_;
  RepairReport report_;
};

}  // namespace

Result<RepairReport> repair(FileSystem& files, const RepairOptions& options) {
  return Repair(files, options).run();
}

std::string repair_journal_path(const std::string& image) { return image + ".undo"; }

Status undo_repair(FileSystem& files, const OpenPolicy& policy, const std::string& image) {
  const std::string journal = repair_journal_path(image);
  GM_TRY(const std::vector<UndoEntry> entries, read_undo_journal(files, journal));
  std::map<std::string, std::unique_ptr<File>> open;
  // Backwards: where two changes overlap, the older bytes are those that were read first.
  for (std::size_t i = entries.size(); i-- > 0;) {
    const UndoEntry& entry = entries[i];
    std::unique_ptr<File>& file = open[entry.path];
    if (!file) {
      GM_TRY(file, open_named_file(files, policy, image, entry.path, OpenMode::read_write));
    }
    GM_CHECK(file->write_at(entry.old.offset, entry.old.bytes));
    GM_TRY(const FileInfo info, file->info());
    if (info.size_bytes > entry.file_bytes) GM_CHECK(file->resize(entry.file_bytes));
  }
  for (const auto& [path, file] : open) GM_CHECK(file->sync());
  return files.remove(journal);
}

}  // namespace grainmill
