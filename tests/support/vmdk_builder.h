// SPDX-License-Identifier: Apache-2.0
//
// Writes real VMDK files that hold a layout (see layout.h), in every kind and variant that tests
// need, and says where in the files everything went, so that a damage test can corrupt an exact
// place.
//
//   TempDir dir;
//   const Layout layout = parse_layout("64k:A 64k:- | 64k:^ 64k:B");
//   const BuiltDisk disk = build_disk(dir.path(), "disk", layout);
//   disk.path();                                  // dir/disk-000001.vmdk, whose parent is
//   dir/disk.vmdk disk.links[0].extents[0].grains[0].data_offset;
//
// How segments become grains. A grain that is all holes is not allocated. A grain that is all
// explicit zeros gets what ZeroGrains says. Any other grain is stored whole, with the bytes that
// the chain up to this link reads as; so a segment smaller than a grain means copy-on-write, and
// expected_bytes() stays true.
//
// All functions throw: std::invalid_argument for options that make no sense together,
// std::system_error for I/O.
#pragma once

#include "tests/support/layout.h"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace grainmill::testing {

enum class Kind {
  monolithic_sparse,  // N.vmdk, descriptor inside
  two_gb_sparse,      // N.vmdk + N-s001.vmdk...
  monolithic_flat,    // N.vmdk + N-flat.vmdk
  two_gb_flat,        // N.vmdk + N-f001.vmdk...
  vmfs,               // N.vmdk + N-flat.vmdk, extent type VMFS
  vmfs_sparse,        // N.vmdk + N-delta.vmdk, a COWD file
  stream_optimized,   // N.vmdk, descriptor inside
  custom,             // N.vmdk + whatever CustomExtent says
  raw,                // N.raw, bare bytes; only for a chain of one link
};

// What becomes of a grain that is all explicit zeros.
enum class ZeroGrains {
  automatic,  // gte_one where header_version is 2; else not_stored in a base, stored in a delta:
              // reads right everywhere
  gte_one,    // a grain table entry of 1, and flag bit 2, whatever the version
  stored,     // a grain of zero bytes
  not_stored  // a hole; in a delta the parent shows through, so expected_bytes() is no longer true
              // there
};

enum class GrainTables {
  automatic,  // all, but only those needed in COWD files and in streams with a footer
  all,        // every grain table exists, used or not
  needed      // a directory entry of 0 where a table would hold nothing
};

// The order in the file of the grains that are stored.
enum class Placement { in_order, reversed, shuffled };

// A last grain that reaches past the capacity.
enum class LastGrain {
  padded,     // stored whole, zeros past the capacity
  garbage,    // stored whole, 0xEE past the capacity: readers must not show it
  shortened,  // stored up to the capacity (a sparse file ends there, if the grain is placed last)
};

enum class StreamForm {
  // Canonical: gdOffset all ones, each table behind its grains with a marker, directory, footer,
  // end-of-stream.
  footer,
  // As VMware writes: directory and tables before the grains, one end-of-stream marker.
  gd_in_front,
  // As qemu writes: directory and tables before the grains in two copies, no markers at all.
  qemu,
};

struct StreamOptions {
  StreamForm form = StreamForm::footer;
  int deflate_level = 6;  // 0..12; 0 stores, so that grains grow beyond their size
  std::uint64_t progress_marker_every = 0;   // a marker of type 4 before every nth grain; 0: none
  std::uint64_t trailing_padding_bytes = 0;  // zeros after everything else
  bool align_overhead = true;       // false: grains begin right after the tables or the descriptor
  bool header_has_real_gd = false;  // footer form: the header too says where the directory is
  bool omit_end_of_stream = false;
};

enum class TextCase { exact, upper, lower };

// Changes to the descriptor text. The defaults give what VMware writes.
struct DescriptorOptions {
  std::optional<std::uint32_t> cid{};  // default: made from the name and the place in the chain
  std::optional<std::uint32_t> parent_cid{};  // default: the CID of the link below
  std::optional<std::string> parent_hint{};   // default: name of the link below; empty: no line
  std::optional<std::string> create_type{};   // default: that of the kind
  std::optional<std::string> encoding{};      // default: no line
  int version = 1;
  bool crlf = false;
  bool blank_lines = true;             // between the sections
  int blank_lines_before_extents = 0;  // right above each extent line
  bool trailing_blanks = false;        // on every line
  bool blanks_around_equals = false;   // in the header; ddb lines always have them
  TextCase keys = TextCase::exact;
  TextCase extent_words = TextCase::exact;  // access and type
  std::vector<std::string> extra_header_lines{};
  std::vector<std::string> extra_ddb_lines{};
  std::uint64_t embedded_sectors = 20;  // room inside a sparse extent; grows if the text needs more
  std::function<std::string(std::string)> edit{};  // the last word on the whole text
};

enum class ExtentType { sparse, vmfs_sparse, flat, vmfs, zero };

// One extent of Kind::custom. Where the extent reads as zeros by its type or access, the layout
// must be zero as well: '0', or '-' in a base.
struct CustomExtent {
  std::uint64_t size_bytes = 0;  // 0: all the rest of the disk
  ExtentType type = ExtentType::sparse;
  std::string access = "RW";  // NOACCESS reads as zeros; a flat file then holds 0xEE
  std::string file_name{};    // default: N-s00k.vmdk or N-f00k.vmdk; flat extents may share one
  std::uint64_t flat_offset_sectors = 0;  // where a flat extent begins in its file
};

struct LinkOptions {
  Kind kind = Kind::monolithic_sparse;

  // Grains and tables.
  std::uint64_t grain_sectors = 0;   // default: 128, but 1 for vmfs_sparse
  std::uint32_t gtes_per_gt = 512;   // COWD files always have 4096
  std::uint32_t header_version = 0;  // default: 1, but 3 in streams
  bool redundant_tables = true;      // not in streams (except the qemu form) and COWD files
  GrainTables grain_tables = GrainTables::automatic;
  ZeroGrains zero_grains = ZeroGrains::automatic;
  Placement placement = Placement::in_order;
  std::uint64_t placement_seed = 0;
  std::uint64_t grain_gap_sectors = 0;  // unused sectors after every stored grain; not in streams
  LastGrain last_grain = LastGrain::padded;
  StreamOptions stream{};

  // Header fields.
  std::optional<std::uint32_t> header_flags{};  // in place of the right ones
  bool unclean_shutdown = false;

  // Extents.
  std::uint64_t split_size_bytes = 0;     // default: 2047 MiB for two_gb_*; else one extent
  std::uint64_t flat_offset_sectors = 0;  // flat kinds: data begins here, after foreign bytes
  std::vector<CustomExtent> extents{};    // Kind::custom

  DescriptorOptions descriptor{};
};

// A grain that is stored. An offset of 0 means "there is none".
struct GrainPlace {
  std::uint64_t guest_offset = 0;  // in the whole disk, not in its extent
  std::uint64_t data_offset = 0;   // in the file; in streams that of the 12-byte grain header
  std::uint64_t stored_bytes = 0;  // without padding; in streams header and zlib stream
  std::uint64_t gte_offset = 0;
  std::uint64_t redundant_gte_offset = 0;
};

// A sector of a stream that is not part of a grain.
struct MarkerPlace {
  std::uint32_t type = 0;    // 0 end-of-stream, 1 table, 2 directory, 3 footer, 4 progress
  std::uint64_t offset = 0;  // of the marker; its payload is in the next sector
};

// One extent and where things are in its file; all offsets are bytes, 0 where there is none.
struct BuiltExtent {
  std::filesystem::path path{};  // empty for ZERO extents
  ExtentType type = ExtentType::sparse;
  std::uint64_t guest_offset = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t file_offset = 0;  // flat: where guest_offset is in the file
  std::uint64_t file_size = 0;

  std::uint64_t grain_bytes = 0;
  std::uint32_t gtes_per_gt = 0;
  std::uint64_t header_offset = 0;
  std::uint64_t footer_offset = 0;  // the footer itself, one sector after its marker
  std::uint64_t end_of_stream_offset = 0;
  std::uint64_t descriptor_offset = 0;
  std::uint64_t descriptor_bytes = 0;  // the room for it, not the text
  std::uint64_t gd_offset = 0;
  std::uint64_t rgd_offset = 0;
  std::uint64_t overhead_bytes = 0;
  std::vector<std::uint64_t> gt_offsets{};  // by table; 0: the table does not exist
  std::vector<std::uint64_t> rgt_offsets{};
  std::vector<GrainPlace> grains{};  // ascending guest offsets; grains with a GTE of 1 are not here
  std::vector<MarkerPlace> markers{};  // in file order

  // The place of the entry of any grain, stored or not; 0 if its table does not exist.
  std::uint64_t gte_offset_of(std::uint64_t guest_offset_in_disk) const;
  std::uint64_t redundant_gte_offset_of(std::uint64_t guest_offset_in_disk) const;
  // Throws std::out_of_range if nothing is stored for this guest offset.
  const GrainPlace& grain_at(std::uint64_t guest_offset_in_disk) const;
};

struct BuiltLink {
  std::filesystem::path path{};  // what a user opens: the descriptor, or the file that embeds it
  std::uint32_t cid = 0;
  std::uint32_t parent_cid = 0;
  std::vector<BuiltExtent> extents{};

  // The extent that holds this guest offset. Throws std::out_of_range.
  const BuiltExtent& extent_at(std::uint64_t guest_offset) const;
};

struct BuiltDisk {
  std::vector<BuiltLink> links{};  // base first

  const std::filesystem::path& path() const { return links.back().path; }
  // Every file made, each once.
  std::vector<std::filesystem::path> files() const;
};

// Builds the whole chain in `folder`: N.vmdk, N-000001.vmdk... The last options serve for all
// further links.
BuiltDisk build_disk(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, std::span<const LinkOptions> options);
BuiltDisk build_disk(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, const LinkOptions& options = {});

// Builds link number `link` of the layout alone; `parent` is the link below it, or nullptr for a
// base.
BuiltLink build_link(const std::filesystem::path& folder, const std::string& name,
                     const Layout& layout, std::size_t link, const LinkOptions& options,
                     const BuiltLink* parent);

}  // namespace grainmill::testing
