// SPDX-License-Identifier: Apache-2.0
//
// Makes qcow2 images by hand: of a layout (see layout.h), or cluster by cluster, as odd as a test
// needs them. The metadata lies behind the data; refcounts are right unless they are changed.
#pragma once

#include "tests/support/layout.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::testing {

enum class Qcow2Codec { none, zlib, zstd };

struct Qcow2Extension {
  std::uint32_t type = 0;
  std::string data{};
};

struct Qcow2Options {
  std::uint32_t version = 3;
  unsigned cluster_bits = 16;
  unsigned refcount_order = 4;
  std::uint32_t header_bytes = 112;     // version 3 only; more than 104 holds the codec
  Qcow2Codec codec = Qcow2Codec::none;  // none: nothing is compressed
  bool reversed = false;                // guest clusters from the last to the first
  std::uint64_t incompatible = 0;       // besides what the codec needs
  std::uint64_t compatible = 0;
  std::uint64_t autoclear = 0;
  std::vector<Qcow2Extension> extensions{};
  bool end_of_extensions = true;
  bool backing_format = true;   // of chains: whether links say it
  std::uint32_t snapshots = 0;  // of the empty disk
};

class Qcow2Builder {
 public:
  Qcow2Builder(Qcow2Options options, std::uint64_t size_bytes)
      : options_(std::move(options)), size_bytes_(size_bytes), file_(cluster_bytes()) {}

  std::uint64_t cluster_bytes() const { return std::uint64_t{1} << options_.cluster_bits; }
  std::uint64_t clusters() const { return (size_bytes_ + cluster_bytes() - 1) / cluster_bytes(); }

  // What guest clusters hold. `bytes`: a whole one.
  void put_data(std::uint64_t cluster, std::span<const std::byte> bytes);
  void put_data(std::uint64_t cluster, char letter);
  // `keep`: with a cluster that holds other bytes.
  void put_zero(std::uint64_t cluster, bool keep = false);
  // Compresses; as plain data where that does not help.
  void put_compressed(std::uint64_t cluster, std::span<const std::byte> bytes);
  // A stream as it is, right behind the stream before.
  void put_stream(std::uint64_t cluster, std::span<const std::byte> stream);
  // Another entry than what the calls above would give, for any cluster of the L1 table.
  void put_entry(std::uint64_t cluster, std::uint64_t entry) { entries_[cluster] = entry; }
  void set_backing(const std::string& name, const std::string& format = {});

  // The whole file. Call it once; then these say where things are.
  std::vector<std::byte> finish();
  std::uint64_t l1_offset() const { return l1_offset_; }
  std::uint64_t l1_entries() const { return l1_.size(); }
  // Whether a guest cluster's entry is in a table that exists; then, where.
  bool has_table(std::uint64_t cluster) const { return l1_.at(cluster / entries_per_table()) != 0; }
  std::uint64_t entry_offset(std::uint64_t cluster) const;
  std::uint64_t refcount_table_offset() const { return refcount_table_offset_; }
  std::uint64_t refcount_block_offset(std::size_t block) const { return blocks_[block]; }
  std::uint64_t snapshots_offset() const { return snapshots_offset_; }
  // Where the data, or the stream, of a guest cluster begins.
  std::uint64_t data_offset(std::uint64_t cluster) const { return places_.at(cluster); }

 private:
  std::uint64_t entries_per_table() const { return cluster_bytes() / 8; }
  std::uint64_t append_clusters(std::uint64_t count);
  void count(std::uint64_t offset, std::uint64_t bytes);
  void write_mapping();
  void write_snapshots();
  void write_refcounts();
  void write_header();

  Qcow2Options options_;
  std::uint64_t size_bytes_;
  std::string backing_file_;
  std::string backing_format_;
  std::vector<std::byte> file_;
  std::uint64_t stream_end_ = 0;  // 0: the next stream begins a cluster
  std::map<std::uint64_t, std::uint64_t> entries_;
  std::map<std::uint64_t, std::uint64_t> places_;
  std::map<std::uint64_t, std::uint64_t> counts_;  // of host clusters
  std::vector<std::uint64_t> l1_;
  std::uint64_t l1_offset_ = 0;
  std::uint64_t refcount_table_offset_ = 0;
  std::uint64_t refcount_table_clusters_ = 0;
  std::vector<std::uint64_t> blocks_;
  std::uint64_t snapshots_offset_ = 0;
};

// One link of a layout as an image, without a backing file yet.
Qcow2Builder build_qcow2_link(const Layout& layout, std::size_t link, const Qcow2Options& options);

// Builds the whole chain in `folder`: N.qcow2, N-1.qcow2, ... The last options serve for all
// further links. The paths, base first.
std::vector<std::filesystem::path> build_qcow2(const std::filesystem::path& folder,
                                               const std::string& name, const Layout& layout,
                                               std::span<const Qcow2Options> options);

// One stream, as it is stored; empty if it is not shorter than `bytes`.
std::vector<std::byte> compress_for_qcow2(Qcow2Codec codec, std::span<const std::byte> bytes);

}  // namespace grainmill::testing
