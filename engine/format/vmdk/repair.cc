// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/repair.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/codec/digest.h"
#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/descriptor_rebuild.h"
#include "engine/format/vmdk/descriptor_repair.h"
#include "engine/format/vmdk/extent_map.h"
#include "engine/format/vmdk/file_names.h"
#include "engine/format/vmdk/header_repair.h"
#include "engine/format/vmdk/layout.h"
#include "engine/format/vmdk/open.h"
#include "engine/format/vmdk/size_witness.h"
#include "engine/format/vmdk/stream_repair.h"
#include "engine/format/vmdk/table_repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>

namespace grainmill::vmdk {
namespace {

// A digest of where every byte of an address space is read from; nullopt where that cannot be said.
template <typename MapRange>
std::optional<Digest128> digest_of_map(std::uint64_t size_bytes, bool has_parent,
                                       const MapRange& map_range) {
  constexpr std::uint64_t kWindow = std::uint64_t{1} << 32;
  std::vector<std::uint64_t> words{size_bytes};
  StreamDigest digest;
  for (std::uint64_t at = 0; at < size_bytes; at += kWindow) {
    ExtentList extents;
    if (!map_range(at, std::min(kWindow, size_bytes - at), extents)) return std::nullopt;
    for (const Extent& extent : extents) {
      const bool zeros = extent.kind == ExtentKind::zero && !has_parent;
      const ExtentKind kind = zeros ? ExtentKind::hole : extent.kind;
      words.insert(words.end(), {extent.guest_offset, static_cast<std::uint64_t>(kind),
                                 extent.reads_as_zero() ? 0 : extent.file_offset});
    }
    digest.update(std::as_bytes(std::span(words)));
    words.clear();
  }
  return digest.digest();
}

// Tells damage to table entries from damage to what says where and how large tables are: then most
// grains overlap or lie askew, or there are too many.
class DamageCount final : public Findings {
 public:
  [[nodiscard]] Status add(Finding finding) override {
    if (finding.severity != Severity::damage) return {};
    // A damaged entry loses its grain.
    if (finding.code == "lost-grains") return {};
    if (finding.guest_length == 0)
      ++others_;
    else if (finding.code == "unaligned" || finding.code == "shared-grain")
      ++askew_;
    else
      ++entries_;
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

  // REQUIRES: the extent could be opened and examined. `grains`: as many as the file has room for.
  [[nodiscard]] bool only_entries(std::uint64_t grains) const {
    const bool any = askew_ + entries_ != 0;
    return any && others_ == 0 && askew_ <= std::max<std::uint64_t>(2, grains / 4);
  }

 private:
  std::uint64_t askew_ = 0;
  std::uint64_t entries_ = 0;
  std::uint64_t others_ = 0;
};

class LinkRepair {
 public:
  LinkRepair(FileSystem& files, std::string path, OpenOptions options)
      : files_(files), path_(std::move(path)), options_(std::move(options)) {
    // Of a stream, too, everything is to be held against everything.
    options_.partly_hidden = true;
    options_.mode = OpenMode::read;
  }

  Result<RepairPlan> run() {
    GM_TRY(const std::unique_ptr<File> file, files_.open_read(path_));
    GM_TRY(std::optional<PlacedText> text, find_descriptor(*file));
    if (text) {
      if (!try_link({})) GM_CHECK(rebuild_descriptor(*file, files_, options_.policy, *text, plan_));
      const Result<Descriptor> parsed = parse_descriptor(text->text, path_, text->offset);
      if (!parsed) {
        plan_.doubts.push_back(parsed.error());
        return std::move(plan_);
      }
      descriptor_ = *parsed;
      text_ = std::move(*text);
    }
    const bool monolithic = !text_ || text_->offset != 0;
    GM_CHECK(monolithic ? repair_monolithic(*file) : repair_extents());
    return std::move(plan_);
  }

 private:
  [[nodiscard]] bool has_parent() const { return descriptor_.has_parent(); }

  // One file with everything inside.
  Status repair_monolithic(const File& file) {
    const Trial trial = [this](std::span<const FilePatch> patches) { return try_link(patches); };
    HeaderWitness witness;
    if (Result<std::unique_ptr<File>> again = files_.open_read(path_)) {
      const Result<std::unique_ptr<Link>> link = open(std::move(*again), files_, options_);
      DamageCount damage;
      witness.opens = link.has_value();
      witness.sizes_are_right =
          link && (*link)->examine(damage) && damage.only_entries(places_in(file, **link));
    }
    if (text_ && descriptor_.extents.size() == 1)
      witness = {.claimed_bytes = descriptor_.extents.front().sectors * kSectorBytes,
                 .descriptor_sector = text_->offset / kSectorBytes,
                 .descriptor_bytes = text_->text.size(),
                 .claim_is_right = is_claim_right(file, descriptor_.extents.front()),
                 .opens = witness.opens,
                 .is_stream = is_stream_optimized(descriptor_),
                 .sizes_are_right = witness.sizes_are_right};
    return repair_extent(file, witness, trial);
  }

  std::optional<Digest128> try_link(std::span<const FilePatch> patches) {
    Result<std::unique_ptr<File>> file = files_.open_read(path_);
    if (!file) return std::nullopt;
    std::vector<FilePatch> all;
    for (const Correction& correction : plan_.corrections)
      if (correction.path == path_) all.push_back(correction.patch);
    all.insert(all.end(), patches.begin(), patches.end());
    const Result<std::unique_ptr<Link>> link =
        open(patched_file(std::move(*file), all), files_, options_);
    if (!link || !(*link)->check()) return std::nullopt;
    return digest_of_map((*link)->size_bytes(), has_parent(),
                         [&](std::uint64_t at, std::uint64_t length, ExtentList& out) {
                           return (*link)->map(at, length, out).has_value();
                         });
  }

  Status repair_extents() {
    for (const ExtentLine& line : descriptor_.extents) {
      if (line.type != "SPARSE" || line.access == Access::none) continue;
      const EncodedName name{line.file, descriptor_.encoding};
      const Result<std::unique_ptr<File>> file =
          open_with_encoding(files_, options_.policy, path_, name, OpenMode::read);
      if (!file) {
        plan_.doubts.push_back(file.error());
        continue;
      }
      const ExtentClaim claim{line.sectors * kSectorBytes, path_, line.text_offset};
      const Trial trial = [&](std::span<const FilePatch> patches) {
        return try_extent((*file)->path(), claim, patches);
      };
      GM_CHECK(repair_extent(**file,
                             {.claimed_bytes = claim.size_bytes,
                              .claim_is_right = is_claim_right(**file, line),
                              .sizes_are_right = only_entries_are_damaged((*file)->path(), claim)},
                             trial));
    }
    return {};
  }

  // Of two sizes that differ. Where the file's cannot be read, nothing contradicts the
  // descriptor's.
  bool is_claim_right(const File& file, const ExtentLine& line) const {
    const Result<ExtentFacts> facts = read_extent_facts(file);
    if (!facts) return true;
    const std::uint64_t others = descriptor_.total_sectors() - line.sectors;
    return vote_on_size(*facts, line.sectors, others, StatedGeometry(text_->text)) ==
           SizeVote::descriptor;
  }

  bool only_entries_are_damaged(const std::string& path, const ExtentClaim& claim) {
    Result<std::unique_ptr<File>> file = files_.open_read(path);
    if (!file) return false;
    const auto map = open_hosted_map(std::move(*file), claim, options_);
    DamageCount damage;
    return map && (*map)->examine(damage) && damage.only_entries(places_in(*(*map)->file(), **map));
  }

  // For grains, at most.
  template <typename Map>
  static std::uint64_t places_in(const File& file, const Map& map) {
    const Result<FileInfo> info = file.info();
    const std::uint64_t grain = std::max<std::uint64_t>(map.grain_bytes(), kSectorBytes);
    return info ? info->size_bytes / grain : 0;
  }

  std::optional<Digest128> try_extent(const std::string& path, const ExtentClaim& claim,
                                      std::span<const FilePatch> patches) {
    Result<std::unique_ptr<File>> file = files_.open_read(path);
    if (!file) return std::nullopt;
    const auto map = open_hosted_map(
        patched_file(std::move(*file), {patches.begin(), patches.end()}), claim, options_);
    if (!map) return std::nullopt;
    FirstDamage first;
    if (!(*map)->examine(first)) return std::nullopt;
    return digest_of_map(claim.size_bytes, has_parent(),
                         [&](std::uint64_t at, std::uint64_t length, ExtentList& out) {
                           return (*map)->map({at, length, at}, out).has_value();
                         });
  }

  Status repair_extent(const File& file, const HeaderWitness& witness, const Trial& trial) {
    const bool sound = trial({}).has_value();
    const std::size_t before = plan_.corrections.size() + plan_.doubts.size();
    if (!sound) {
      GM_CHECK(repair_header(file, witness, trial, plan_));
    }
    if (plan_.corrections.size() + plan_.doubts.size() != before) return {};
    std::array<std::byte, kSectorBytes> sector{};
    GM_CHECK(file.read_exact_at(0, sector));
    Result<HostedHeader> header = parse_hosted_header(sector, file.path(), 0);
    if (!header) {
      if (!has_hosted_magic(sector))
        header.error().message +=
            "; the header is lost, and neither a footer nor the usual layout, with what the "
            "descriptor says, tells it again";
      plan_.doubts.push_back(header.error());
      return {};
    }
    if (witness.claimed_bytes != 0 && align_up(witness.claimed_bytes, header->grain_bytes()) !=
                                          align_up(header->capacity_bytes(), header->grain_bytes()))
      return {};
    GM_TRY(const FileInfo info, file.info());
    if (!is_of_usual_size(*header, info.size_bytes)) {
      plan_.doubts.push_back(fail(ErrorKind::corrupt, file.path(), 12,
                                  "by the header, its grains or tables are larger than those of "
                                  "any disk: the header is damaged")
                                 .error());
      return {};
    }
    const DamagedTables tables{file, *header, info.size_bytes, has_parent()};
    if (header->compressed()) return repair_stream(tables, plan_);
    if (sound && !header->unclean_shutdown) return {};
    GM_CHECK(repair_tables(tables, plan_));
    if (header->unclean_shutdown) take_mark_away(file);
    return {};
  }

  // A crafted header must not take all memory.
  static bool is_of_usual_size(const HostedHeader& header, std::uint64_t file_bytes) {
    constexpr std::uint64_t kLargestGrain = 16 * kMiB;
    const std::uint64_t tables =
        ceil_div(ceil_div(header.capacity_sectors, header.grain_sectors), header.entries_per_table);
    return header.grain_bytes() <= kLargestGrain && tables <= file_bytes / 4;
  }

  void take_mark_away(const File& file) {
    constexpr std::uint64_t kUncleanField = 72;
    Correction correction;
    correction.path = file.path();
    correction.patch.offset = kUncleanField;
    correction.patch.bytes.resize(1);
    correction.what = "uncleanShutdown: taken away, as both copies of the tables agree";
    plan_.corrections.push_back(std::move(correction));
  }

  FileSystem& files_;
  std::string path_;
  OpenOptions options_;
  std::optional<PlacedText> text_;
  Descriptor descriptor_;
  RepairPlan plan_;
};

}  // namespace

Result<RepairPlan> plan_repair(FileSystem& files, const std::string& path,
                               const OpenOptions& options) {
  return LinkRepair(files, path, options).run();
}

}  // namespace grainmill::vmdk
