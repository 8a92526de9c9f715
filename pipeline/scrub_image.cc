// SPDX-License-Identifier: Apache-2.0
#include "pipeline/scrub_image.h"

#include "engine/base/arith.h"
#include "engine/base/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace grainmill {
namespace {

constexpr auto kSaveInterval = std::chrono::milliseconds(200);

// What is wrong with the chain of a link: the first damage, and the first thing that could not be
// looked at.
class ChainNotes final : public Findings {
 public:
  [[nodiscard]] Status add(Finding finding) override {
    if (finding.severity == Severity::damage && !damage)
      damage = std::move(finding.what);
    else if (finding.severity == Severity::unchecked && !unchecked)
      unchecked = std::move(finding.what);
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return false; }

  std::optional<Error> damage;
  std::optional<Error> unchecked;
};

Result<Evidence> evidence_of(const Link& link) {
  Evidence evidence{.files = {}, .content_id = link.description().content_id};
  for (const File* file : link.files()) {
    GM_TRY(const FileInfo info, file->info());
    evidence.files.push_back(
        {file->path(), info.size_bytes, info.mtime_ns, info.ctime_ns, info.device, info.inode});
  }
  return evidence;
}

std::uint64_t largest_grain(const Link& link) {
  std::uint64_t largest = kDigestGrain;
  for (const ExtentDescription& extent : link.description().extents)
    largest = std::max(largest, extent.grain_bytes);
  return largest;
}

// What does not tell that an image was written, but may tell a person what happened.
std::string circumstances(const Evidence& then, const Evidence& now) {
  for (std::size_t i = 0; i < std::min(then.files.size(), now.files.size()); ++i) {
    const FileStamp& file = now.files[i];
    if (file.inode != then.files[i].inode)
      return fmt::format("; {} is another file (inode {}, was {}): a copy?", name_of(file.path),
                         file.inode, then.files[i].inode);
    if (file.ctime_ns != then.files[i].ctime_ns)
      return fmt::format("; the ctime of {} changed: someone touched the file, or its name",
                         name_of(file.path));
  }
  return "";
}

std::string sum_text(const std::vector<Flaw>& flaws) {
  std::uint64_t bytes = 0;
  for (const Flaw& flaw : flaws) bytes += flaw.length;
  return fmt::format("{} in {} range{}", format_size(bytes), flaws.size(),
                     flaws.size() == 1 ? "" : "s");
}

class ImageScrub {
 public:
  ImageScrub(ScrubRun& run, const FoundImage& found, const ImageRow& image,
             const std::optional<std::set<std::uint64_t>>& due)
      : run_(run), catalogue_(run.catalogue), found_(found), image_(image), due_(due) {}

  // Saved once, at the end: the verdict on the contents alone must not outlive a kill.
  Result<bool> scrub() {
    GM_TRY(const bool done, look());
    if (done) GM_CHECK(run_.save_soon());
    return done;
  }

 private:
  Result<bool> look() {
    if (const Status opened = open(); !opened) {
      Error error = opened.error();
      // It was found all the same: it is known to be an image, and no longer looks like one.
      if (found_.format.empty() && error.kind == ErrorKind::unsupported)
        error.kind = ErrorKind::corrupt;
      if (error.kind == ErrorKind::not_found && error.path == found_.path)
        return put(Verdict::missing, "is gone", {});
      return judge_failure(error);
    }
    structure_ = disk_->link(0).check();
    const Result<Evidence> evidence = evidence_of(disk_->link(0));
    if (!evidence) return judge_failure(evidence.error());
    evidence_ = *evidence;
    GM_CHECK(catalogue_.describe_image(image_.id, found_.format, disk_->size_bytes()));
    GM_CHECK(choose_manifest());
    if (manifest_) {
      const Status read = read_due();
      GM_CHECK(noted_);
      if (stopped_) return false;
      if (!read) return judge_failure(read.error());
    }
    return judge();
  }

  Status open() {
    DiskOptions options;
    options.format = found_.format;
    options.open = run_.options.find.open;
    GM_TRY(std::vector<std::unique_ptr<Link>> links,
           open_chain(run_.files, found_.path, options, chain_));
    disk_ = Disk::of_link(std::move(links.front()));
    return {};
  }

  [[nodiscard]] std::int64_t now() const { return run_.options.clock.now(); }
  [[nodiscard]] bool compares() const { return manifest_ && manifest_->finished.has_value(); }

  // The manifest to compare with, where nothing says that the image was written since; else one to
  // be made. None for what is damaged: it is not worth remembering.
  Status choose_manifest() {
    if (image_.manifest) {
      GM_TRY(held_, catalogue_.manifest(*image_.manifest));
      written_ = written_since(held_->evidence, evidence_);
    }
    GM_TRY(const std::optional<ManifestRow> begun, catalogue_.unfinished(image_.id));
    if (held_ && written_.empty()) {
      if (begun) GM_CHECK(catalogue_.drop_manifest(begun->id));
      if (held_->disk_bytes == disk_->size_bytes()) manifest_ = held_;
      return {};
    }
    if (!structure_) return {};
    if (begun && written_since(begun->evidence, evidence_).empty() &&
        begun->disk_bytes == disk_->size_bytes()) {
      manifest_ = begun;
      return {};
    }
    if (begun) GM_CHECK(catalogue_.drop_manifest(begun->id));
    const std::uint64_t chunk = align_up(run_.options.chunk_bytes, largest_grain(disk_->link(0)));
    GM_TRY(manifest_, catalogue_.add_manifest(image_.id, {.id = 0,
                                                          .begun = now(),
                                                          .finished = std::nullopt,
                                                          .disk_bytes = disk_->size_bytes(),
                                                          .chunk_bytes = chunk,
                                                          .evidence = evidence_}));
    return {};
  }

  [[nodiscard]] bool is_due(std::uint64_t number) const {
    const auto known = known_.find(number);
    if (known == known_.end()) return true;
    const ChunkRow& chunk = known->second;
    if (chunk.checked_run == run_.row.id) return false;
    if (!compares()) return !chunk.has_digests;
    return chunk.has_flaws || !due_ || due_->contains(number);
  }

  // Chunks side by side are read in one go.
  Status read_due() {
    GM_TRY(const std::vector<ChunkRow> chunks, catalogue_.chunks(manifest_->id));
    for (const ChunkRow& chunk : chunks) known_.emplace(chunk.number, chunk);
    const std::uint64_t count = manifest_->chunks();
    for (std::uint64_t first = 0; first < count;) {
      if (!is_due(first)) {
        ++first;
        continue;
      }
      std::uint64_t end = first + 1;
      while (end < count && is_due(end)) ++end;
      GM_CHECK(read_chunks(first, end));
      first = end;
    }
    return {};
  }

  Status read_chunks(std::uint64_t first, std::uint64_t end) {
    stopped_ = run_.must_stop();
    if (stopped_) return {};
    ChunkLog log(manifest_->disk_bytes, manifest_->chunk_bytes, first, run_.throttle,
                 [this](FoundChunk& chunk) {
                   noted_ = note(chunk);
                   if (noted_ && run_.must_stop() && chunk.number + 1 < manifest_->chunks())
                     return Status(fail(ErrorKind::cancelled, found_.path, "stopped"));
                   return noted_;
                 });
    GraphOptions graph = run_.options.graph;
    graph.collect_errors = true;
    graph.range = {first * manifest_->chunk_bytes, end * manifest_->chunk_bytes};
    Status read = run_graph(*disk_, nullptr, log, graph);
    if (!read && read.error().kind == ErrorKind::cancelled) stopped_ = true;
    return read;
  }

  // A chunk was read: holds it against the manifest, or adds it.
  Status note(const FoundChunk& found) {
    ChunkRow chunk{.number = found.number,
                   .data_bytes = found.data_bytes,
                   .checked = now(),
                   .checked_run = run_.row.id};
    if (compares()) {
      GM_TRY(const std::vector<std::byte> expected,
             catalogue_.digests(manifest_->id, found.number));
      std::vector<Flaw> flaws =
          differences(expected, found, manifest_->chunk_bytes, manifest_->disk_bytes);
      flaws.insert(flaws.end(), found.lost.begin(), found.lost.end());
      const auto known = known_.find(found.number);
      chunk.proven = flaws.empty()           ? std::optional(chunk.checked)
                     : known != known_.end() ? known->second.proven
                                             : std::nullopt;
      GM_CHECK(catalogue_.put_chunk(manifest_->id, chunk, std::nullopt, flaws));
    } else {
      std::optional<std::span<const std::byte>> digests;
      if (found.lost.empty()) digests = found.digests;
      if (digests) chunk.proven = chunk.checked;
      GM_CHECK(catalogue_.put_chunk(manifest_->id, chunk, digests, found.lost));
    }
    GM_CHECK(catalogue_.add_read_bytes(run_.row.id, found.data_bytes));
    return run_.save_soon();
  }

  Result<bool> judge() {
    const Result<Evidence> after = evidence_of(disk_->link(0));
    if (!after) return judge_failure(after.error());
    if (const std::string writing = written_since(evidence_, *after); !writing.empty())
      return judge_written_meanwhile(writing);
    std::vector<Flaw> flaws;
    if (manifest_) {
      GM_TRY(flaws, catalogue_.flaws(manifest_->id));
      flaws = join_flaws(std::move(flaws));
    }
    if (!structure_) return judge_failure(structure_.error(), flaws);
    if (held_ && written_.empty() && !manifest_) return judge_other_size();
    Result<bool> judged = compares() ? judge_compared(flaws) : judge_recorded(flaws);
    // The contents of this link are one thing, what it builds on another.
    if (judged && (chain_.damage || chain_.unchecked))
      return judge_failure(chain_.damage ? *chain_.damage : *chain_.unchecked, flaws);
    return judged;
  }

  Result<bool> judge_compared(const std::vector<Flaw>& flaws) {
    const auto differing = std::ranges::find_if(
        flaws, [](const Flaw& flaw) { return flaw.kind != Flaw::Kind::unreadable; });
    if (differing != flaws.end())
      return put(Verdict::rotten,
                 fmt::format("{} differ from what was there on record, and neither size nor mtime "
                             "nor CID says that it was written{}",
                             sum_text(flaws), circumstances(held_->evidence, evidence_)),
                 flaws);
    if (!flaws.empty()) return put(Verdict::unreadable, flaws.front().reason, flaws);
    // Only what does not tell of writing can be new here.
    GM_CHECK(catalogue_.set_evidence(manifest_->id, evidence_));
    return put(Verdict::sound, "", {});
  }

  Result<bool> judge_recorded(const std::vector<Flaw>& flaws) {
    if (!flaws.empty()) {
      const auto broken = std::ranges::find(flaws, Flaw::Kind::broken, &Flaw::kind);
      return put(broken != flaws.end() ? Verdict::damaged : Verdict::unreadable,
                 broken != flaws.end() ? broken->reason : flaws.front().reason, flaws);
    }
    if (held_) {
      GM_TRY(const bool same, catalogue_.same_contents(held_->id, manifest_->id));
      if (same) return judge_touched();
    }
    GM_CHECK(catalogue_.finish_manifest(image_.id, manifest_->id, now()));
    return held_ ? put(Verdict::changed, written_, {}) : put(Verdict::fresh, "", {});
  }

  // Written, but with what was there before.
  Result<bool> judge_touched() {
    GM_CHECK(catalogue_.drop_manifest(manifest_->id));
    GM_CHECK(catalogue_.set_evidence(held_->id, evidence_));
    GM_CHECK(catalogue_.prove_all(held_->id, run_.row.id, now()));
    return put(Verdict::sound, "holds the same; " + written_, {});
  }

  // What was read belongs to no one moment.
  Result<bool> judge_written_meanwhile(const std::string& writing) {
    if (compares()) {
      GM_TRY(const std::vector<ChunkRow> chunks, catalogue_.chunks(manifest_->id));
      for (const ChunkRow& chunk : chunks)
        if (chunk.has_flaws && chunk.checked_run == run_.row.id)
          GM_CHECK(catalogue_.put_chunk(manifest_->id, chunk, std::nullopt, {}));
    } else if (manifest_) {
      GM_CHECK(catalogue_.drop_manifest(manifest_->id));
    }
    return put(Verdict::changed, "was written while it was read: " + writing, {});
  }

  Result<bool> judge_other_size() {
    const Flaw all{.guest_offset = 0, .length = disk_->size_bytes()};
    return put(Verdict::rotten,
               fmt::format("is a disk of {} bytes, was one of {}, and nothing says that it was "
                           "written",
                           disk_->size_bytes(), held_->disk_bytes),
               {all});
  }

  Result<bool> judge_failure(const Error& error, const std::vector<Flaw>& flaws = {}) {
    if (error.kind == ErrorKind::cancelled) return false;
    const bool damage = severity_of(error) == Severity::damage;
    Error shown = error;
    if (shown.path == found_.path) shown.path.clear();  // the reader knows it
    return put(damage ? Verdict::damaged : Verdict::unreadable, shown.to_string(), flaws);
  }

  Result<bool> put(Verdict verdict, std::string detail, const std::vector<Flaw>& flaws) {
    GM_CHECK(catalogue_.put_verdict({.run = run_.row.id,
                                     .image = image_.id,
                                     .date = now(),
                                     .verdict = verdict,
                                     .detail = std::move(detail)},
                                    flaws));
    return true;
  }

  ScrubRun& run_;
  Catalogue& catalogue_;
  const FoundImage& found_;
  const ImageRow& image_;
  const std::optional<std::set<std::uint64_t>>& due_;

  ChainNotes chain_;
  std::optional<Disk> disk_;  // of the link alone
  Status structure_;
  Evidence evidence_;
  std::optional<ManifestRow> held_;      // the one that holds
  std::string written_;                  // what says that it no longer does
  std::optional<ManifestRow> manifest_;  // the one at work: held_, or one in the making
  std::map<std::uint64_t, ChunkRow> known_;
  Status noted_;  // of writing to the catalogue
  bool stopped_ = false;
};

}  // namespace

Status ScrubRun::save_soon() {
  const std::chrono::nanoseconds time = options.clock.steady();
  if (time - saved < kSaveInterval) return {};
  GM_CHECK(catalogue.save());
  saved = time;
  return {};
}

bool ScrubRun::must_stop() const {
  const std::atomic<bool>* const cancelled = options.graph.cancelled;
  return (cancelled != nullptr && cancelled->load()) || !options.may_read(options.clock.now());
}

std::string written_since(const Evidence& then, const Evidence& now) {
  const auto id = [](const std::optional<std::uint32_t>& content_id) {
    return content_id ? fmt::format("{:08x}", *content_id) : "none";
  };
  if (then.files.size() != now.files.size())
    return fmt::format("has {} files, had {}", now.files.size(), then.files.size());
  for (std::size_t i = 0; i < now.files.size(); ++i) {
    const FileStamp& file = now.files[i];
    const FileStamp& before = then.files[i];
    if (file.size_bytes != before.size_bytes)
      return fmt::format("{} has {} bytes, had {}", name_of(file.path), file.size_bytes,
                         before.size_bytes);
    if (file.mtime_ns != before.mtime_ns)
      return fmt::format("{} was written (its mtime changed)", name_of(file.path));
  }
  if (then.content_id != now.content_id)
    return fmt::format("CID is {}, was {}", id(now.content_id), id(then.content_id));
  return "";
}

Result<bool> scrub_image(ScrubRun& run, const FoundImage& found, const ImageRow& image,
                         const std::optional<std::set<std::uint64_t>>& due) {
  return ImageScrub(run, found, image, due).scrub();
}

}  // namespace grainmill
