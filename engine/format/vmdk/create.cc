// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create.h"

#include "engine/base/arith.h"
#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/empty_extent.h"
#include "engine/format/vmdk/snapshot_parent.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

namespace grainmill::vmdk {
namespace {

// 2047 MiB, as VMware splits; a multiple of every grain that can be had.
constexpr std::uint64_t kSplitSectors = 4192256;
constexpr std::uint64_t kMinGrainBytes = 4 * kKiB;
constexpr std::uint64_t kMaxGrainBytes = kMiB;
constexpr std::uint64_t kDefaultGrainBytes = 64 * kKiB;
constexpr std::uint64_t kMaxCapacitySectors = std::uint64_t{1} << 50;
// Readers take no more: qemu, and ours.
constexpr std::uint64_t kMaxTextBytes = kMiB;
constexpr std::uint64_t kMinExtentLineBytes = 24;

struct Subformat {
  std::string_view name;
  std::string_view extent_type;
  std::string_view mark;  // of its extents' names; empty: the extent is the file itself
  bool split = false;

  [[nodiscard]] bool sparse() const { return extent_type == "SPARSE"; }
  [[nodiscard]] bool embedded() const { return mark.empty(); }
};

constexpr Subformat kMonolithicSparse{"monolithicSparse", "SPARSE", ""};
constexpr Subformat kSplitSparse{"twoGbMaxExtentSparse", "SPARSE", "-s", true};
constexpr std::array kSubformats = {
    kMonolithicSparse,
    Subformat{"monolithicFlat", "FLAT", "-flat"},
    kSplitSparse,
    Subformat{"twoGbMaxExtentFlat", "FLAT", "-f", true},
    Subformat{"vmfs", "VMFS", "-flat"},
};
constexpr std::array<std::string_view, 4> kAdapters = {"ide", "lsilogic", "buslogic", "legacyESX"};

// A disk, decided in every detail but made of nothing yet.
struct Plan {
  Subformat subformat;
  std::uint64_t sectors = 0;
  std::uint64_t grain_sectors = 0;
  bool zeroed_grains = false;
  Descriptor descriptor;
  DiskDatabase database;
  std::string text;
  std::string folder;  // with the slash, or empty

  [[nodiscard]] std::string_view embedded_text() const {
    return subformat.embedded() ? text : std::string_view();
  }
  // REQUIRES: subformat.sparse().
  [[nodiscard]] HostedHeader header(const ExtentLine& extent) const {
    return plan_hosted_extent(
        {extent.sectors, grain_sectors, embedded_text().size(), zeroed_grains});
  }
};

std::string extent_name(const std::string& disk, const Subformat& subformat, std::uint64_t number) {
  if (subformat.embedded()) return disk;
  const std::size_t dot = std::min(disk.find_last_of('.'), disk.size());
  const std::string digits = subformat.split ? fmt::format("{:03}", number) : "";
  return fmt::format("{}{}{}{}", disk.substr(0, dot), subformat.mark, digits, disk.substr(dot));
}

class Planner {
 public:
  Planner(const std::string& path, const CreateOptions& options) : path_(path), options_(options) {}

  Result<Plan> plan() {
    if (options_.parent) {
      GM_TRY(parent_, read_parent(options_.parent->chain));
    }
    GM_CHECK(check_names());
    GM_CHECK(choose_subformat());
    GM_CHECK(choose_size());
    GM_CHECK(choose_grain());
    GM_CHECK(choose_database());
    GM_CHECK(describe());
    return std::move(plan_);
  }

 private:
  [[nodiscard]] std::unexpected<Error> refuse(std::string message) const {
    return fail(ErrorKind::invalid_argument, path_, std::move(message));
  }

  Status check_names() {
    const std::string name = name_of(path_);
    if (name.empty() || name == "." || name == "..") return refuse("is a folder, not a file name");
    if (!may_be_quoted(name))
      return refuse(
          "a disk's name may not hold a quote or a control character: its descriptor "
          "could not say it");
    if (options_.parent && !may_be_quoted(options_.parent->hint))
      return refuse(
          fmt::format("its parent's name '{}' holds a quote or a control character, "
                      "which its descriptor could not say: rename the parent",
                      options_.parent->hint));
    plan_.folder = path_.substr(0, path_.size() - name.size());
    return {};
  }

  Status choose_subformat() {
    const std::string& wanted = options_.subformat;
    if (wanted.empty()) {
      plan_.subformat = parent_ && parent_->split ? kSplitSparse : kMonolithicSparse;
      return {};
    }
    if (wanted == "streamOptimized")
      return refuse(
          "streamOptimized files are written once, from begin to end, with all their "
          "contents; an empty one could never be filled: use monolithicSparse");
    const auto* const found = std::ranges::find(kSubformats, wanted, &Subformat::name);
    if (found == kSubformats.end()) {
      std::vector<std::string_view> names;
      names.reserve(kSubformats.size());
      for (const Subformat& subformat : kSubformats) names.push_back(subformat.name);
      return refuse(fmt::format("subformat '{}' is not one of {}", wanted, fmt::join(names, ", ")));
    }
    if (parent_ && !found->sparse())
      return refuse(
          fmt::format("a snapshot stores only what is changed, which {} cannot: use "
                      "monolithicSparse or twoGbMaxExtentSparse",
                      wanted));
    plan_.subformat = *found;
    return {};
  }

  Status choose_size() {
    if (!options_.size_bytes && !parent_) return refuse("a new disk needs a size, such as 10G");
    if (parent_ && options_.size_bytes &&
        align_up(*options_.size_bytes, kSectorBytes) != parent_->size_bytes)
      return refuse(
          fmt::format("a snapshot is as large as its parent, {} bytes, not {}: leave the "
                      "size out",
                      parent_->size_bytes, *options_.size_bytes));
    const std::uint64_t bytes = options_.size_bytes ? *options_.size_bytes : parent_->size_bytes;
    plan_.sectors = ceil_div(bytes, kSectorBytes);
    if (plan_.sectors == 0) return refuse("a disk of 0 bytes: at least one sector, 512, is needed");
    if (plan_.sectors > kMaxCapacitySectors)
      return refuse(fmt::format("{} bytes are more than any VMDK can have", bytes));
    return {};
  }

  Status choose_grain() {
    if (!plan_.subformat.sparse()) {
      if (!options_.grain_bytes && !options_.zeroed_grains) return {};
      return refuse(fmt::format("{} disks have no grains: leave out {}", plan_.subformat.name,
                                options_.grain_bytes ? "grain_size" : "zeroed_grain"));
    }
    const auto fits = [](std::uint64_t grain) {
      return is_power_of_two(grain) && grain >= kMinGrainBytes && grain <= kMaxGrainBytes;
    };
    if (options_.grain_bytes && !fits(*options_.grain_bytes))
      return refuse(fmt::format("grain_size of {} bytes; expected a power of two from 4k to 1M",
                                *options_.grain_bytes));
    std::uint64_t grain = options_.grain_bytes.value_or(kDefaultGrainBytes);
    if (!options_.grain_bytes && parent_ && parent_->grain_bytes && fits(*parent_->grain_bytes))
      grain = *parent_->grain_bytes;
    plan_.grain_sectors = grain / kSectorBytes;
    plan_.zeroed_grains = options_.zeroed_grains;
    return {};
  }

  Status choose_database() {
    DiskDatabase& database = plan_.database;
    if (parent_) {
      database.adapter_type = parent_->adapter_type.value_or(database.adapter_type);
      database.hardware_version = parent_->hardware_version.value_or(database.hardware_version);
      database.tools_version = parent_->tools_version.value_or(database.tools_version);
    }
    if (options_.adapter_type) {
      if (std::ranges::find(kAdapters, *options_.adapter_type) == kAdapters.end())
        return refuse(fmt::format("adapter_type '{}' is not one of {}", *options_.adapter_type,
                                  fmt::join(kAdapters, ", ")));
      database.adapter_type = *options_.adapter_type;
    }
    database.hardware_version = options_.hardware_version.value_or(database.hardware_version);
    database.tools_version = options_.tools_version.value_or(database.tools_version);
    database.geometry = usual_geometry(plan_.sectors, database.adapter_type);
    if (parent_ && parent_->geometry && !options_.adapter_type)
      database.geometry = *parent_->geometry;
    database.thin_provisioned = plan_.subformat.extent_type == "VMFS";
    choose_ids();
    return {};
  }

  // A snapshot holds what its parent holds until it is written to, and so has its content ID; and
  // it is the same disk to its virtual machine, which finds the uuid in the parent.
  void choose_ids() {
    Descriptor& descriptor = plan_.descriptor;
    descriptor.content_id = parent_ ? parent_->content_id : random_content_id(options_.random);
    descriptor.parent_content_id = parent_ ? parent_->content_id : kNoContentId;
    if (options_.parent) descriptor.parent_hint = options_.parent->hint;
    if (parent_ && parent_->long_content_id)
      plan_.database.long_content_id = *parent_->long_content_id;
    else
      plan_.database.long_content_id =
          random_long_content_id(options_.random, *descriptor.content_id);
    if (!parent_) plan_.database.uuid = random_uuid(options_.random);
  }

  Status describe() {
    const std::uint64_t piece = plan_.subformat.split ? kSplitSectors : plan_.sectors;
    const std::uint64_t count = ceil_div(plan_.sectors, piece);
    const auto too_many = [&] {
      return refuse(
          fmt::format("{} files of 2047 MiB are more than a descriptor can name: use "
                      "another subformat, such as vmfs",
                      count));
    };
    if (count > kMaxTextBytes / kMinExtentLineBytes) return too_many();
    Descriptor& descriptor = plan_.descriptor;
    descriptor.create_type = plan_.subformat.name;
    for (std::uint64_t i = 0; i < count; ++i) {
      ExtentLine line;
      line.sectors = std::min(piece, plan_.sectors - i * piece);
      line.type = plan_.subformat.extent_type;
      line.file = extent_name(name_of(path_), plan_.subformat, i + 1);
      descriptor.extents.push_back(std::move(line));
    }
    plan_.text = descriptor_text(descriptor, plan_.database);
    if (plan_.text.size() > kMaxTextBytes) return too_many();
    if (plan_.subformat.sparse() && !can_be_filled(plan_.header(descriptor.extents.front())))
      return refuse(
          "a sparse file of this size could grow past 2 TiB, where its tables cannot "
          "point: use -o subformat=twoGbMaxExtentSparse");
    return {};
  }

  const std::string& path_;
  const CreateOptions& options_;
  std::optional<ParentFacts> parent_;
  Plan plan_;
};

// The files of one disk, which get their names together.
class Publication {
 public:
  Publication(FileSystem& files, Durability durability) : files_(files), durability_(durability) {}

  // Begins a file; the descriptor, or the only file, comes last.
  Result<File*> add(const std::string& path, bool replaces) {
    GM_TRY(std::unique_ptr<PendingFile> pending, files_.create_pending(path));
    made_.push_back({std::move(pending), path, replaces});
    return &made_.back().pending->file();
  }

  Status publish() {
    for (std::size_t i = 0; i < made_.size(); ++i) {
      Status status = publish_one(i);
      if (!status) return take_back(i, std::move(status).error());
    }
    return {};
  }

 private:
  struct Made {
    std::unique_ptr<PendingFile> pending;
    std::string path;
    bool replaces = false;  // an older file of this name
  };

  Status publish_one(std::size_t i) {
    Made& made = made_[i];
    const bool is_last = i + 1 == made_.size();
    // An older descriptor must never speak for new extents.
    if (i == 0 && !is_last && made_.back().replaces) {
      GM_CHECK(files_.remove(made_.back().path));
      made_.back().replaces = false;
    }
    // The names of all extents reach the device with the last one's, in one go.
    const bool with_name = i + 2 >= made_.size();
    if (!with_name && durability_ == Durability::synced) GM_CHECK(made.pending->file().sync());
    GM_CHECK(made.pending->publish(with_name ? durability_ : Durability::unsynced));
    made.pending.reset();
    return {};
  }

  // Takes the names away again. The file that failed may have its name already, when only syncing
  // the folder failed; but one that it was to replace may still be the older one, and stays.
  std::unexpected<Error> take_back(std::size_t failed, Error error) {
    for (std::size_t i = 0; i <= failed; ++i) {
      if (i == failed && made_[i].replaces) continue;
      if (const Status removed = files_.remove(made_[i].path); !removed)
        error.message += fmt::format("; {} is left behind ({}): remove it", made_[i].path,
                                     removed.error().message);
    }
    return std::unexpected(std::move(error));
  }

  FileSystem& files_;
  Durability durability_;
  std::vector<Made> made_;
};

class Creator {
 public:
  Creator(FileSystem& files, const CreateOptions& options) : files_(files), options_(options) {}

  Result<CreatedDisk> run(const std::string& path) {
    path_ = final_path(path);
    GM_TRY(plan_, Planner(path_, options_).plan());
    CreatedDisk result;
    if (options_.parent) {
      GM_TRY(result.parent_is_elsewhere, check_hint());
    }
    GM_CHECK(check_next_number());
    Publication publication(files_, options_.durability);
    GM_CHECK(write_extents(publication));
    if (!plan_.subformat.embedded()) {
      GM_TRY(File * file, begin(publication, path_));
      GM_CHECK(file->write_at(0, std::as_bytes(std::span(plan_.text))));
    }
    GM_CHECK(publication.publish());
    result.size_bytes = plan_.sectors * kSectorBytes;
    result.grain_bytes = plan_.grain_sectors * kSectorBytes;
    result.descriptor = std::move(plan_.descriptor);
    result.database = std::move(plan_.database);
    result.files = std::move(names_);
    return result;
  }

 private:
  // Where `path` is a link to a file that is to be replaced, the extents belong beside that file.
  std::string final_path(const std::string& path) {
    const Result<std::string> folder = files_.canonical(folder_of(path));
    const Result<std::string> target = files_.canonical(path);
    if (!options_.replace || !folder || !target) return path;
    const bool is_link = *target != *folder + (folder->ends_with('/') ? "" : "/") + name_of(path);
    return is_link ? *target : path;
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
    const std::string next = name_after_last(plan_.descriptor);
    if (next.empty()) return {};
    GM_TRY(const bool there, exists(plan_.folder + next));
    if (!there) return {};
    return fail(ErrorKind::invalid_argument, plan_.folder + next,
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

  Result<File*> begin(Publication& publication, const std::string& path) {
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
      if (older) replaced_.push_back(*std::move(older));
    }
    names_.push_back(path);
    return publication.add(path, there);
  }

  Status write_extents(Publication& publication) {
    for (const ExtentLine& line : plan_.descriptor.extents) {
      GM_TRY(File * file, begin(publication, plan_.folder + line.file));
      if (!plan_.subformat.sparse()) {
        GM_CHECK(file->resize(line.sectors * kSectorBytes));
        continue;
      }
      GM_CHECK(write_empty_extent(*file, plan_.header(line), plan_.embedded_text()));
    }
    return {};
  }

  FileSystem& files_;
  const CreateOptions& options_;
  std::string path_;
  Plan plan_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<File>> replaced_;
};

}  // namespace

Result<CreatedDisk> create(FileSystem& files, const std::string& path,
                           const CreateOptions& options) {
  return Creator(files, options).run(path);
}

}  // namespace grainmill::vmdk
