// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vmdk_builder.h"

#include "tests/support/descriptor_text.h"
#include "tests/support/extent_writers.h"
#include "tests/support/little_endian.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace grainmill::testing {
namespace {

constexpr std::uint32_t kNoParent = 0xffffffff;
constexpr std::uint64_t kClassicSplit = 2047ULL << 20;

[[noreturn]] void reject(const std::string& why) {
  throw std::invalid_argument("vmdk builder: " + why);
}

bool is_embedded(Kind kind) {
  return kind == Kind::monolithic_sparse || kind == Kind::stream_optimized;
}

const char* create_type_of(Kind kind) {
  switch (kind) {
    case Kind::monolithic_sparse:
      return "monolithicSparse";
    case Kind::two_gb_sparse:
      return "twoGbMaxExtentSparse";
    case Kind::monolithic_flat:
      return "monolithicFlat";
    case Kind::two_gb_flat:
      return "twoGbMaxExtentFlat";
    case Kind::vmfs:
      return "vmfs";
    case Kind::vmfs_sparse:
      return "vmfsSparse";
    case Kind::stream_optimized:
      return "streamOptimized";
    case Kind::custom:
      return "custom";
    case Kind::raw:
      break;
  }
  return "";
}

ExtentType extent_type_of(Kind kind) {
  switch (kind) {
    case Kind::monolithic_flat:
    case Kind::two_gb_flat:
    case Kind::raw:
      return ExtentType::flat;
    case Kind::vmfs:
      return ExtentType::vmfs;
    case Kind::vmfs_sparse:
      return ExtentType::vmfs_sparse;
    default:
      return ExtentType::sparse;
  }
}

bool is_flat(ExtentType type) { return type == ExtentType::flat || type == ExtentType::vmfs; }

// Fills in the defaults that depend on the kind, and refuses what cannot be.
LinkOptions resolve(LinkOptions options, const Layout& layout, std::size_t link) {
  if (options.grain_sectors == 0)
    options.grain_sectors = options.kind == Kind::vmfs_sparse ? 1 : 128;
  if (options.header_version == 0)
    options.header_version = options.kind == Kind::stream_optimized ? 3 : 1;
  if (options.gtes_per_gt == 0) reject("gtes_per_gt is 0");
  if (options.grain_tables == GrainTables::automatic) {
    const bool grows =
        options.kind == Kind::vmfs_sparse ||
        (options.kind == Kind::stream_optimized && options.stream.form == StreamForm::footer);
    options.grain_tables = grows ? GrainTables::needed : GrainTables::all;
  }
  const bool splits = options.kind == Kind::two_gb_sparse || options.kind == Kind::two_gb_flat;
  if (splits && options.split_size_bytes == 0) options.split_size_bytes = kClassicSplit;
  if (options.split_size_bytes % kSectorSize != 0)
    reject("split_size_bytes is not a multiple of 512");
  if (options.split_size_bytes != 0 && (is_embedded(options.kind) || options.kind == Kind::raw)) {
    reject("this kind has one extent only");
  }
  if (link != 0 && is_flat(extent_type_of(options.kind))) reject("a delta cannot be flat");
  if (options.kind == Kind::raw && layout.links.size() != 1) reject("a raw disk has no chain");
  return options;
}

// The extents of a link, as if all kinds were custom.
std::vector<CustomExtent> extents_of(const LinkOptions& options, std::uint64_t size_bytes) {
  if (options.kind == Kind::custom) return options.extents;
  const std::uint64_t split = options.split_size_bytes == 0 ? size_bytes : options.split_size_bytes;
  std::vector<CustomExtent> extents;
  for (std::uint64_t at = 0; at < size_bytes; at += split) {
    extents.push_back({.size_bytes = std::min(split, size_bytes - at),
                       .type = extent_type_of(options.kind),
                       .flat_offset_sectors = options.flat_offset_sectors});
  }
  return extents;
}

// The name of extent number `index`; `stem` is the link's file name without its suffix.
std::string extent_file_name(const LinkOptions& options, const std::string& stem,
                             const CustomExtent& extent, std::size_t index) {
  if (!extent.file_name.empty()) return extent.file_name;
  if (extent.type == ExtentType::zero) return "";
  if (options.kind == Kind::raw) return stem + ".raw";
  if (is_embedded(options.kind)) return stem + ".vmdk";
  const bool single = options.kind != Kind::custom && options.split_size_bytes == 0;
  const bool flat = is_flat(extent.type);
  if (single && flat) return stem + "-flat.vmdk";
  if (single && options.kind == Kind::vmfs_sparse) return stem + "-delta.vmdk";
  return fmt::format("{}-{}{:03}.vmdk", stem, flat ? 'f' : 's', index + 1);
}

std::uint32_t default_cid(const std::string& stem) {
  std::uint64_t hash = 0;
  for (const char c : stem) hash = mix(hash + static_cast<unsigned char>(c));
  // Away from 0, fffffffe and ffffffff, which have meanings of their own.
  return (static_cast<std::uint32_t>(hash) & 0x7fffffff) | 0x10000000;
}

class LinkBuilder {
 public:
  LinkBuilder(std::filesystem::path folder, const std::string& name, const Layout& layout,
              std::size_t link, const LinkOptions& options, const BuiltLink* parent)
      : folder_(std::move(folder)),
        stem_(link == 0 ? name : fmt::format("{}-{:06}", name, link)),
        layout_(layout),
        link_(link),
        options_(resolve(options, layout, link)),
        parent_(parent) {}

  BuiltLink build();

 private:
  std::uint64_t size_bytes() const { return layout_.links[link_].size_bytes(); }
  DescriptorFacts facts() const;
  void build_extent(const CustomExtent& extent, std::size_t index, std::uint64_t guest_offset);
  void require_zeros(std::uint64_t guest_offset, std::uint64_t size_bytes) const;
  OutputFile::Open open_mode(const std::filesystem::path& path) const;

  std::filesystem::path folder_;
  std::string stem_;
  const Layout& layout_;
  std::size_t link_;
  LinkOptions options_;
  const BuiltLink* parent_;
  std::vector<CustomExtent> extents_;
  std::string text_;
  BuiltLink built_;
};

BuiltLink LinkBuilder::build() {
  extents_ = extents_of(options_, size_bytes());
  if (extents_.empty()) reject("no extents");
  std::uint64_t guest_offset = 0;
  for (CustomExtent& extent : extents_) {
    if (extent.size_bytes == 0) extent.size_bytes = size_bytes() - guest_offset;
    guest_offset += extent.size_bytes;
  }
  if (guest_offset != size_bytes()) reject("the extents are not as long as the layout");

  const DescriptorFacts facts = this->facts();
  built_.cid = facts.cid;
  built_.parent_cid = facts.parent_cid;
  built_.path = folder_ / (stem_ + (options_.kind == Kind::raw ? ".raw" : ".vmdk"));
  text_ = descriptor_text(facts, options_.descriptor);

  guest_offset = 0;
  for (std::size_t i = 0; i < extents_.size(); ++i) {
    build_extent(extents_[i], i, guest_offset);
    guest_offset += extents_[i].size_bytes;
  }
  if (!is_embedded(options_.kind) && options_.kind != Kind::raw) {
    OutputFile(built_.path).write(0, std::as_bytes(std::span(text_)));
  }
  return std::move(built_);
}

DescriptorFacts LinkBuilder::facts() const {
  const DescriptorOptions& wishes = options_.descriptor;
  DescriptorFacts facts;
  facts.cid = wishes.cid.value_or(default_cid(stem_));
  facts.parent_cid = wishes.parent_cid.value_or(parent_ == nullptr ? kNoParent : parent_->cid);
  facts.parent_hint =
      wishes.parent_hint.value_or(parent_ == nullptr ? "" : parent_->path.filename().string());
  facts.create_type = wishes.create_type.value_or(create_type_of(options_.kind));
  facts.size_bytes = size_bytes();
  for (std::size_t i = 0; i < extents_.size(); ++i) {
    const CustomExtent& extent = extents_[i];
    facts.extents.push_back({extent.access, extent.size_bytes, extent.type,
                             extent_file_name(options_, stem_, extent, i),
                             extent.flat_offset_sectors});
  }
  return facts;
}

void LinkBuilder::build_extent(const CustomExtent& extent, std::size_t index,
                               std::uint64_t guest_offset) {
  const bool no_access = extent.access == "NOACCESS";
  if (no_access || extent.type == ExtentType::zero) require_zeros(guest_offset, extent.size_bytes);
  const std::filesystem::path path = folder_ / extent_file_name(options_, stem_, extent, index);
  const ExtentJob job{.layout = layout_,
                      .link = link_,
                      .options = options_,
                      .path = extent.type == ExtentType::zero ? std::filesystem::path() : path,
                      .type = extent.type,
                      .guest_offset = guest_offset,
                      .size_bytes = extent.size_bytes,
                      .embedded_descriptor = is_embedded(options_.kind) ? text_ : "",
                      .file_offset = extent.flat_offset_sectors * kSectorSize,
                      .no_access = no_access,
                      .open_mode = open_mode(path)};
  if (extent.type == ExtentType::zero) {
    built_.extents.push_back(describe_extent(job));
  } else if (is_flat(extent.type)) {
    built_.extents.push_back(write_flat_extent(job));
  } else if (extent.type == ExtentType::vmfs_sparse) {
    built_.extents.push_back(write_cowd_extent(job));
  } else if (options_.kind == Kind::stream_optimized) {
    built_.extents.push_back(write_stream_extent(job));
  } else {
    built_.extents.push_back(write_sparse_extent(job));
  }
}

void LinkBuilder::require_zeros(std::uint64_t guest_offset, std::uint64_t size_bytes) const {
  for (const Segment& segment : layout_.links[link_].segments) {
    if (segment.end() <= guest_offset || segment.guest_offset >= guest_offset + size_bytes)
      continue;
    if (segment.is_stored() || (segment.is_hole() && link_ != 0)) {
      reject("an extent that reads as zeros lies where the layout has something else");
    }
  }
}

// A file that this link has already written to is shared by several flat extents.
OutputFile::Open LinkBuilder::open_mode(const std::filesystem::path& path) const {
  const bool shared =
      std::ranges::find(built_.extents, path, &BuiltExtent::path) != built_.extents.end();
  return shared ? OutputFile::Open::keep : OutputFile::Open::truncate;
}

std::uint64_t entry_offset(const BuiltExtent& extent, const std::vector<std::uint64_t>& tables,
                           std::uint64_t guest_offset) {
  if (guest_offset < extent.guest_offset ||
      guest_offset - extent.guest_offset >= extent.size_bytes) {
    throw std::out_of_range("this guest offset is not in the extent");
  }
  if (tables.empty()) return 0;
  const std::uint64_t grain = (guest_offset - extent.guest_offset) / extent.grain_bytes;
  const std::uint64_t table = tables[grain / extent.gtes_per_gt];
  return table == 0 ? 0 : table + grain % extent.gtes_per_gt * 4;
}

}  // namespace

BuiltExtent describe_extent(const ExtentJob& job) {
  BuiltExtent built;
  built.path = job.path;
  built.type = job.type;
  built.guest_offset = job.guest_offset;
  built.size_bytes = job.size_bytes;
  return built;
}

std::uint64_t BuiltExtent::gte_offset_of(std::uint64_t guest_offset_in_disk) const {
  return entry_offset(*this, gt_offsets, guest_offset_in_disk);
}

std::uint64_t BuiltExtent::redundant_gte_offset_of(std::uint64_t guest_offset_in_disk) const {
  return entry_offset(*this, rgt_offsets, guest_offset_in_disk);
}

const GrainPlace& BuiltExtent::grain_at(std::uint64_t guest_offset_in_disk) const {
  const auto after =
      std::ranges::upper_bound(grains, guest_offset_in_disk, {}, &GrainPlace::guest_offset);
  if (after != grains.begin()) {
    const GrainPlace& grain = *std::prev(after);
    if (guest_offset_in_disk - grain.guest_offset < grain_bytes) return grain;
  }
  throw std::out_of_range("no grain is stored for this guest offset");
}

const BuiltExtent& BuiltLink::extent_at(std::uint64_t guest_offset) const {
  for (const BuiltExtent& extent : extents) {
    if (guest_offset >= extent.guest_offset &&
        guest_offset - extent.guest_offset < extent.size_bytes)
      return extent;
  }
  throw std::out_of_range("no extent holds this guest offset");
}

std::vector<std::filesystem::path> BuiltDisk::files() const {
  std::vector<std::filesystem::path> paths;
  for (const BuiltLink& link : links) {
    paths.push_back(link.path);
    for (const BuiltExtent& extent : link.extents) {
      if (!extent.path.empty()) paths.push_back(extent.path);
    }
  }
  std::ranges::sort(paths);
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

BuiltLink build_link(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, std::size_t link, const LinkOptions& options,
                     const BuiltLink* parent) {
  return LinkBuilder(folder, name, layout, link, options, parent).build();
}

BuiltDisk build_disk(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, std::span<const LinkOptions> options) {
  if (options.empty()) reject("no options");
  BuiltDisk disk;
  for (std::size_t i = 0; i < layout.links.size(); ++i) {
    const BuiltLink* parent = i == 0 ? nullptr : &disk.links.back();
    disk.links.push_back(
        build_link(folder, name, layout, i, options[std::min(i, options.size() - 1)], parent));
  }
  return disk;
}

BuiltDisk build_disk(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, const LinkOptions& options) {
  return build_disk(folder, name, layout, std::span(&options, 1));
}

}  // namespace grainmill::testing
