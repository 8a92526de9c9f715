// SPDX-License-Identifier: Apache-2.0
#include "pipeline/repair.h"

#include "pipeline/chain_repair.h"
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
      : files_(files), options_(options), image_(options.check.image), plan_(files) {}

  Result<RepairReport> run() {
    GM_CHECK(refuse_unfinished_repair(files_, image_));
    GM_CHECK(
        plan_chain_repair(files_, image_, {options_.check.disk, options_.accept_parent}, plan_));
    for (const Error& doubt : plan_.doubts) options_.on_doubt(doubt);
    report_.doubts = plan_.doubts.size();
    report_.corrections = plan_.corrections.size();
    CheckOptions quiet = options_.check;
    quiet.on_finding = [](const Finding&) {};
    GM_TRY(report_.before, check(files_, quiet));
    for (const Correction& correction : plan_.corrections) options_.on_correction(correction);
    if (plan_.corrections.empty()) {
      GM_TRY(report_.after, check(files_, options_.check));
      return report_;
    }
    GM_TRY(report_.after, check(plan_.repaired, options_.write ? quiet : options_.check));
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
      GM_CHECK(retire_undo_journal(files_, repair_journal_path(image_)));
    return report_;
  }

 private:
  Status write() {
    // The images of the chain, kept from other writers until all is done.
    std::map<std::string, std::unique_ptr<File>> open;
    std::vector<UndoEntry> undo;
    for (const Correction& correction : plan_.corrections) {
      std::unique_ptr<File>& file = open[correction.path];
      if (!file) {
        GM_TRY(file, files_.open_write(correction.path));
      }
      GM_TRY(const FileInfo info, file->info());
      std::vector<std::byte> old(correction.patch.bytes.size());
      GM_TRY(const std::size_t got, file->read_at(correction.patch.offset, old));
      old.resize(got);
      GM_TRY(std::string absolute, files_.canonical(correction.path));
      undo.push_back({std::move(absolute),
                      info.size_bytes,
                      {correction.patch.offset, std::move(old)},
                      correction.patch.offset + correction.patch.bytes.size()});
    }
    GM_CHECK(write_undo_journal(files_, repair_journal_path(image_), undo));
    for (const Correction& correction : plan_.corrections)
      GM_CHECK(open[correction.path]->write_at(correction.patch.offset, correction.patch.bytes));
    for (const auto& [path, file] : open) GM_CHECK(file->sync());
    return {};
  }

  FileSystem& files_;
  const RepairOptions& options_;
  std::string image_;
  ChainRepair plan_;
  RepairReport report_;
};

}  // namespace

Result<RepairReport> repair(FileSystem& files, const RepairOptions& options) {
  return Repair(files, options).run();
}

std::string repair_journal_path(const std::string& image) { return image + ".undo"; }

Status refuse_unfinished_repair(FileSystem& files, const std::string& image) {
  const std::string journal = repair_journal_path(image);
  const Result<std::unique_ptr<File>> file = files.open_read(journal);
  if (!file) return {};
  return fail(ErrorKind::invalid_argument, journal,
              fmt::format("an earlier repair of {} left this journal: `grainmill check --undo` "
                          "takes it back, or remove the journal if all is well",
                          image));
}

Status undo_repair(FileSystem& files, const OpenPolicy& policy, const std::string& image) {
  const std::string journal = repair_journal_path(image);
  GM_TRY(const std::vector<UndoEntry> entries, read_undo_journal(files, journal));
  std::map<std::string, std::unique_ptr<File>> open;
  std::map<std::string, std::uint64_t> most;
  for (const UndoEntry& entry : entries) {
    std::uint64_t& bytes = most[entry.path];
    bytes = std::max({bytes, entry.file_bytes, entry.most_bytes});
  }
  for (const auto& [path, bytes] : most) {
    GM_TRY(open[path], open_named_file(files, policy, image, path, OpenMode::read_write));
    GM_TRY(const FileInfo info, open[path]->info());
    if (info.size_bytes > bytes)
      return fail(ErrorKind::invalid_argument, path,
                  fmt::format("has {} bytes, more than the repair left ({}): it was written since, "
                              "and taking the repair back would destroy that; if all is well, "
                              "remove {}",
                              info.size_bytes, bytes, journal));
  }
  // Backwards: where two changes overlap, the older bytes are those that were read first.
  for (std::size_t i = entries.size(); i-- > 0;) {
    const UndoEntry& entry = entries[i];
    const std::unique_ptr<File>& file = open[entry.path];
    GM_CHECK(file->write_at(entry.old.offset, entry.old.bytes));
    GM_TRY(const FileInfo info, file->info());
    if (info.size_bytes > entry.file_bytes) GM_CHECK(file->resize(entry.file_bytes));
  }
  for (const auto& [path, file] : open) GM_CHECK(file->sync());
  return retire_undo_journal(files, journal);
}

}  // namespace grainmill
