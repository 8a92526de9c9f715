// SPDX-License-Identifier: Apache-2.0
#include "pipeline/salvage.h"

#include "engine/format/format.h"
#include "pipeline/chain_repair.h"
#include "pipeline/doubts.h"
#include "pipeline/refusals.h"
#include "pipeline/stages.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

// Where a plain grain cannot be read whole. Reading in smaller pieces is of use only at the end of
// a file: the kernel reads pages.
constexpr std::uint64_t kPieceBytes = 4096;

// What speaks against the links of a chain.
struct ChainDoubts {
  std::vector<Doubts> links;                // ranges of the disk, by the link that is contradicted
  std::map<std::string, Doubts> contested;  // ranges of files that several table entries claim
  std::optional<Error> cut;                 // why the chain ends before its last parent
  std::optional<Error> somewhere;           // damage at no place that could be named
};

// Of opening a chain: a parent that is not there is no reason to stop.
class OpenFindings final : public Findings {
 public:
  explicit OpenFindings(std::optional<Error>& cut) : cut_(cut) {}
  [[nodiscard]] Status add(Finding finding) override {
    if (finding.code == "content-id") return std::unexpected(std::move(finding.what));
    cut_ = std::move(finding.what);
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

 private:
  std::optional<Error>& cut_;
};

// Of what opening an image tolerates. What is about a range turns up again when that is read.
class DamageListener final : public Findings {
 public:
  using Listener = std::function<void(const Error&)>;
  explicit DamageListener(Listener listener) : listener_(std::move(listener)) {}
  [[nodiscard]] Status add(Finding finding) override {
    if (finding.guest_length == 0) listener_(finding.what);
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

 private:
  Listener listener_;
};

// Of examining one link.
class DoubtCollector final : public Findings {
 public:
  using Listener = std::function<void(const Error&)>;
  DoubtCollector(const Link& link, ChainDoubts& doubts, Listener on_damage)
      : link_(link),
        doubts_(doubts),
        of_link_(doubts.links.emplace_back()),
        on_damage_(std::move(on_damage)) {}

  [[nodiscard]] Status add(Finding finding) override {
    if (finding.severity != Severity::damage) return {};
    if (finding.guest_length == 0) {
      on_damage_(finding.what);
      return {};
    }
    if (finding.code == "shared-grain") {
      // No writer does this: entries beside it may be as wrong, and not be seen to be.
      if (!std::exchange(any_shared_, true)) on_damage_(finding.what);
      contest(finding);
    }
    of_link_.add({finding.guest_offset, finding.guest_offset + finding.guest_length,
                  finding.what.to_string()});
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

  void finish() {
    of_link_.finish();
    for (auto& [path, doubts] : doubts_.contested) doubts.finish();
  }

 private:
  // The finding names one of those that share; the other ones are known by what they share.
  void contest(const Finding& finding) {
    ExtentList extents;
    if (!link_.map(finding.guest_offset, finding.guest_length, extents)) return;
    for (const Extent& extent : extents) {
      if (extent.file == nullptr) continue;
      const std::uint64_t length =
          extent.kind == ExtentKind::deflated ? extent.stored_bytes : extent.length;
      doubts_.contested[extent.file->path()].add(
          {extent.file_offset, extent.file_offset + length, finding.what.to_string()});
    }
  }

  const Link& link_;
  ChainDoubts& doubts_;
  Doubts& of_link_;
  Listener on_damage_;
  bool any_shared_ = false;
};

// Says of what was read how far it can be trusted.
class Judge {
 public:
  Judge(const ChainDoubts& doubts, RescueMap& map)
      : doubts_(doubts),
        map_(map),
        all_trusted_(!doubts.cut && !doubts.somewhere &&
                     std::ranges::all_of(doubts.links, &Doubts::empty)) {}

  // [map.position(), end) was read through `disk`.
  Status add(const Disk& disk, std::uint64_t end) {
    if (all_trusted_) return map_.add(end - map_.position(), RescueStatus::finished);
    ExtentList extents;
    while (map_.position() < end) {
      const std::uint64_t at = map_.position();
      const std::uint64_t next = std::min(end, at + disk.map().window_bytes());
      if (const Status composed = disk.map().compose(at, next - at, extents); !composed) {
        GM_CHECK(map_.add(next - at, RescueStatus::doubtful, composed.error().to_string()));
        continue;
      }
      for (const Extent& extent : extents) GM_CHECK(add(extent));
    }
    return {};
  }

  Status add(const Extent& extent) {
    if (extent.kind == ExtentKind::hole && doubts_.cut)
      return map_.add(extent.length, RescueStatus::missing, doubts_.cut->to_string());
    // What was lost reads as nothing.
    if (extent.kind == ExtentKind::hole && doubts_.somewhere)
      return map_.add(extent.length, RescueStatus::doubtful, doubts_.somewhere->to_string());
    for (std::uint64_t at = extent.guest_offset; at < extent.guest_end();) {
      const std::optional<Doubt> doubt = nearest(extent, at);
      const bool here = doubt && doubt->begin <= at;
      std::uint64_t end = extent.guest_end();
      if (doubt) end = std::min(end, here ? doubt->end : doubt->begin);
      GM_CHECK(here ? map_.add(end - at, RescueStatus::doubtful, doubt->why)
                    : map_.add(end - at, RescueStatus::finished));
      at = end;
    }
    return {};
  }

 private:
  // The first range of `extent` behind `offset` that something speaks against.
  [[nodiscard]] std::optional<Doubt> nearest(const Extent& extent, std::uint64_t offset) const {
    const bool hole = extent.kind == ExtentKind::hole;
    const Doubt* found = in_links(offset, hole ? doubts_.links.size() : extent.link + 1);
    std::optional<Doubt> nearest;
    if (found != nullptr) nearest = *found;
    const std::optional<Doubt> shared = in_file(extent, offset);
    if (shared && (!nearest || shared->begin < nearest->begin)) nearest = shared;
    return nearest;
  }

  // Of the first `links` links: one is asked when all above it have a hole, which is what a lost
  // table entry looks like.
  [[nodiscard]] const Doubt* in_links(std::uint64_t offset, std::size_t links) const {
    const Doubt* nearest = nullptr;
    for (std::size_t i = 0; i < links; ++i) {
      const Doubt* doubt = doubts_.links[i].first_behind(offset);
      if (doubt != nullptr && (nearest == nullptr || doubt->begin < nearest->begin))
        nearest = doubt;
    }
    return nearest;
  }

  [[nodiscard]] std::optional<Doubt> in_file(const Extent& extent, std::uint64_t offset) const {
    if (doubts_.contested.empty() || extent.file == nullptr) return std::nullopt;
    const auto file = doubts_.contested.find(extent.file->path());
    if (file == doubts_.contested.end()) return std::nullopt;
    const bool deflated = extent.kind == ExtentKind::deflated;
    const std::uint64_t at =
        deflated ? extent.file_offset : extent.file_offset + (offset - extent.guest_offset);
    const Doubt* doubt = file->second.first_behind(at);
    if (doubt == nullptr) return std::nullopt;
    if (!deflated)
      return Doubt{offset + (std::max(doubt->begin, at) - at), offset + (doubt->end - at),
                   doubt->why};
    if (doubt->begin >= at + extent.stored_bytes) return std::nullopt;
    return Doubt{extent.guest_offset, extent.guest_end(), doubt->why};
  }

  const ChainDoubts& doubts_;
  RescueMap& map_;
  bool all_trusted_;
};

// Takes what the graph could not read piece by piece, into the same output.
class Rescuer {
 public:
  Rescuer(const std::vector<Disk>& disks, const Sink& sink, Judge& judge, RescueMap& map)
      : disks_(disks), shape_(sink.shape()), judge_(judge), map_(map) {
    for (const Disk& disk : disks_) {
      units_.push_back(std::make_unique<Unit>(shape_for(disk, 0, shape_)));
      units_.back()->encoder = sink.make_encoder();
    }
  }

  Status take(std::uint64_t end) {
    while (map_.position() < end) {
      const std::uint64_t at = map_.position();
      GM_TRY(const bool whole, take_piece(at, std::min(end, at + kDigestGrain) - at, nullptr));
      if (whole) continue;
      for (std::uint64_t piece_end = std::min(end, at + kDigestGrain); map_.position() < piece_end;)
        GM_CHECK(take_or_lose(std::min(kPieceBytes, piece_end - map_.position())));
    }
    return {};
  }

 private:
  Status take_or_lose(std::uint64_t length) {
    const std::uint64_t at = map_.position();
    Error why;
    GM_TRY(const bool whole, take_piece(at, length, &why));
    if (whole) return {};
    if (!ends_within(at, length)) return lose(length, why);
    for (std::uint64_t left = length; left != 0;) {
      const std::uint64_t sector = std::min(kSectorBytes, left);
      GM_TRY(const bool taken, take_piece(map_.position(), sector, &why));
      if (!taken) GM_CHECK(lose(sector, why));
      left -= sector;
    }
    return {};
  }

  Status lose(std::uint64_t length, const Error& why) {
    return map_.add(length, RescueStatus::missing, why.to_string());
  }

  // By the first disk that can read it. False: none can.
  Result<bool> take_piece(std::uint64_t at, std::uint64_t length, Error* why) {
    for (std::size_t i = 0; i < disks_.size(); ++i) {
      Unit& unit = *units_[i];
      read(disks_[i], unit, at, length);
      if (unit.status) {
        digest(unit, CryptoAlgorithm::none);
        encode(unit, shape_);
        write(unit);
        GM_CHECK(unit.status);
        for (const Extent& extent : unit.extents) GM_CHECK(judge_.add(extent));
        return true;
      }
      if (i == 0 && why != nullptr) *why = unit.status.error();
    }
    return false;
  }

  static void read(const Disk& disk, Unit& unit, std::uint64_t at, std::uint64_t length) {
    unit.reset();
    unit.guest_offset = at;
    unit.length = length;
    unit.status = disk.map().compose(at, length, unit.extents);
    if (!unit.status) return;
    fetch(unit);
    decode(unit, disk.map());
  }

  // Whether some of a piece lies before the end of its file.
  [[nodiscard]] bool ends_within(std::uint64_t at, std::uint64_t length) const {
    ExtentList extents;
    if (!disks_.front().map().compose(at, length, extents)) return false;
    return std::ranges::any_of(extents, [](const Extent& extent) {
      if (extent.kind != ExtentKind::data) return false;
      const Result<FileInfo> info = extent.file->info();
      return info && extent.file_offset < info->size_bytes &&
             info->size_bytes < extent.file_offset + extent.length;
    });
  }

  const std::vector<Disk>& disks_;
  SinkShape shape_;
  Judge& judge_;
  RescueMap& map_;
  std::vector<std::unique_ptr<Unit>> units_;  // one a disk
};

class SalvageLog final : public GrainLog {
 public:
  SalvageLog(const Disk& disk, Judge& judge, Rescuer& rescuer)
      : disk_(disk), judge_(judge), rescuer_(rescuer) {}

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override {
    GM_CHECK(advance(grains));
    return judge_.add(disk_, position_);
  }

  [[nodiscard]] Status add(std::span<const GrainRecord> records,
                           std::span<const std::byte> /*leaves*/,
                           std::span<const std::optional<Error>> errors) override {
    GM_CHECK(advance(records.size()));
    return errors.empty() ? judge_.add(disk_, position_) : rescuer_.take(position_);
  }

 private:
  Status advance(std::uint64_t grains) {
    position_ = std::min(position_ + grains * kDigestGrain, disk_.size_bytes());
    return {};
  }

  const Disk& disk_;
  Judge& judge_;
  Rescuer& rescuer_;
  std::uint64_t position_ = 0;
};

class Salvage {
 public:
  Salvage(FileSystem& files, const SalvageOptions& options)
      : files_(files), options_(options), plan_(files) {}

  Result<SalvageReport> run() {
    GM_CHECK(refuse_older_outputs());
    plan_repair();
    GM_CHECK(open());
    const Disk& disk = disks_.front();
    report_.format = disk.link(0).description().format;
    report_.disk_bytes = disk.size_bytes();
    find_doubts(disk);
    GM_CHECK(write(disk));
    return report_;
  }

 private:
  // With a shell's pattern for names, what should be an image may be taken for the output.
  [[nodiscard]] Status refuse_older_outputs() const {
    GM_CHECK(refuse_older_output(files_, options_.output));
    return refuse_older_output(files_, rescue_map_path(options_.output));
  }

  // What cannot be planned is not corrected; the rest is.
  void plan_repair() {
    const Status planned = plan_chain_repair(files_, options_.image, {options_.disk, false}, plan_);
    if (!planned) note(planned.error());
    report_.corrections = plan_.corrections.size();
    for (const Correction& correction : plan_.corrections) options_.on_correction(correction);
    for (const Error& doubt : plan_.doubts) note(doubt);
  }

  void note(const Error& damage) {
    if (!doubts_.somewhere) doubts_.somewhere = damage;
    ++report_.damage;
    options_.on_damage(damage);
  }

  // The chain as it is, and by each copy of the tables for what the other one cannot tell.
  Status open() {
    const TableChoice wanted = options_.disk.open.tables;
    Status first = open_by(wanted);
    if (wanted == TableChoice::agreeing)
      for (const TableChoice choice : {TableChoice::primary, TableChoice::redundant}) {
        const bool agree = !disks_.empty();
        if (open_by(choice) && !agree && disks_.size() == 1) undecided_ = first.error();
      }
    if (disks_.empty()) return first;
    if (undecided_) note(*undecided_);
    if (doubts_.cut) note(*doubts_.cut);
    return {};
  }

  Status open_by(TableChoice choice) {
    const bool first = disks_.empty();
    std::vector<Error> damage;
    DamageListener tolerated([&](const Error& what) { damage.push_back(what); });
    DiskOptions disk = options_.disk;
    disk.open.tables = choice;
    disk.open.tolerate = &tolerated;
    std::optional<Error> cut;
    OpenFindings findings(cut);
    GM_TRY(auto links, open_chain(plan_.repaired, options_.image, disk, findings));
    // Of a link that lacks it, no other copy can be read: that chain would end too early.
    if (!first && cut && !doubts_.cut) return {};
    disks_.push_back(Disk::of_links(std::move(links)));
    if (!first) return {};
    doubts_.cut = std::move(cut);
    for (const Error& what : damage) note(what);
    return {};
  }

  void find_doubts(const Disk& disk) {
    for (std::size_t i = 0; i < disk.depth(); ++i) {
      DoubtCollector collector(disk.link(i), doubts_, [this](const Error& what) { note(what); });
      if (const Status examined = disk.link(i).examine(collector); !examined)
        note(examined.error());
      if (undecided_) doubts_.links.back().add({0, disk.size_bytes(), undecided_->to_string()});
      collector.finish();
    }
  }

  Status write(const Disk& disk) {
    const std::string map_path = rescue_map_path(options_.output);
    for (const std::string& path : {options_.output, map_path})
      GM_CHECK(refuse_source_as_output(files_, disk, path));
    GM_TRY(const std::unique_ptr<Sink> sink,
           format_by_name("raw")->make_sink(
               files_, {.path = options_.output, .size_bytes = disk.size_bytes()}));
    GM_TRY(const std::unique_ptr<PendingFile> map_file, files_.create_pending(map_path));
    RescueMap map(map_file->file(), options_.on_range);
    GM_CHECK(move_data(disk, *sink, map));
    if (options_.durability == Durability::synced) {
      GM_CHECK(sink->outputs().sync());
      GM_CHECK(map_file->file().sync());
    }
    // Salvaging takes its time, in which others may have made files of these names.
    GM_CHECK(refuse_older_outputs());
    GM_CHECK(sink->outputs().publish(options_.durability));
    if (Status named = map_file->publish(options_.durability); !named) {
      sink->outputs().withdraw();
      return named;
    }
    report_.doubtful_bytes = map.bytes(RescueStatus::doubtful);
    report_.missing_bytes = map.bytes(RescueStatus::missing);
    return {};
  }

  Status move_data(const Disk& disk, Sink& sink, RescueMap& map) {
    Judge judge(doubts_, map);
    Rescuer rescuer(disks_, sink, judge, map);
    SalvageLog log(disk, judge, rescuer);
    GraphOptions graph = options_.graph;
    graph.collect_errors = true;
    GM_CHECK(run_graph(disk, &sink, log, graph));
    GM_CHECK(sink.finish());
    return map.finish();
  }

  FileSystem& files_;
  const SalvageOptions& options_;
  ChainRepair plan_;
  std::vector<Disk> disks_;  // the same one, by one or the other copy of the tables
  ChainDoubts doubts_;
  std::optional<Error> undecided_;  // why the copies of the tables cannot both be believed
  SalvageReport report_;
};

}  // namespace

std::string rescue_map_path(const std::string& output) { return output + ".map"; }

Result<SalvageReport> salvage(FileSystem& files, const SalvageOptions& options) {
  return Salvage(files, options).run();
}

}  // namespace grainmill
