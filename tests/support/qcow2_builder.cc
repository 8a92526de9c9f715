// SPDX-License-Identifier: Apache-2.0
#include "tests/support/qcow2_builder.h"

#include <libdeflate.h>
#include <zstd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace grainmill::testing {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kCompressed = std::uint64_t{1} << 62;
constexpr std::uint32_t kBackingFormat = 0xe2792aca;

void put_be(std::span<std::byte> bytes, std::uint64_t offset, unsigned width, std::uint64_t value) {
  for (unsigned i = width; i-- > 0; value >>= 8)
    bytes[offset + i] = static_cast<std::byte>(value & 0xff);
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

std::vector<std::byte> compress_for_qcow2(Qcow2Codec codec, std::span<const std::byte> bytes) {
  std::vector<std::byte> stream(bytes.size());
  std::size_t size = 0;
  if (codec == Qcow2Codec::zlib) {
    const std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
        libdeflate_alloc_compressor(6), libdeflate_free_compressor);
    size = libdeflate_deflate_compress(compressor.get(), bytes.data(), bytes.size(), stream.data(),
                                       stream.size());
  } else {
    const std::size_t result =
        ZSTD_compress(stream.data(), stream.size(), bytes.data(), bytes.size(), 3);
    if (ZSTD_isError(result) == 0) size = result;
  }
  stream.resize(size < bytes.size() ? size : 0);
  return stream;
}

std::uint64_t Qcow2Builder::append_clusters(std::uint64_t count) {
  const std::uint64_t offset = round_up(file_.size(), cluster_bytes());
  file_.resize(offset + count * cluster_bytes());
  stream_end_ = 0;
  return offset;
}

void Qcow2Builder::count(std::uint64_t offset, std::uint64_t bytes) {
  for (std::uint64_t i = offset / cluster_bytes(); i <= (offset + bytes - 1) / cluster_bytes(); ++i)
    ++counts_[i];
}

void Qcow2Builder::put_data(std::uint64_t cluster, std::span<const std::byte> bytes) {
  const std::uint64_t offset = append_clusters(1);
  std::ranges::copy(bytes, file_.begin() + static_cast<std::ptrdiff_t>(offset));
  count(offset, cluster_bytes());
  entries_[cluster] = offset | kCopied;
  places_[cluster] = offset;
}

void Qcow2Builder::put_data(std::uint64_t cluster, char letter) {
  put_data(cluster, std::vector<std::byte>(cluster_bytes(), static_cast<std::byte>(letter)));
}

void Qcow2Builder::put_zero(std::uint64_t cluster, bool keep) {
  if (keep) put_data(cluster, '?');
  entries_[cluster] |= 1;
}

void Qcow2Builder::put_compressed(std::uint64_t cluster, std::span<const std::byte> bytes) {
  const std::vector<std::byte> stream = compress_for_qcow2(options_.codec, bytes);
  if (stream.empty()) return put_data(cluster, bytes);
  put_stream(cluster, stream);
}

void Qcow2Builder::put_stream(std::uint64_t cluster, std::span<const std::byte> stream) {
  const std::uint64_t offset = stream_end_ != 0 ? stream_end_ : append_clusters(0);
  stream_end_ = offset + stream.size();
  file_.resize(std::max<std::uint64_t>(file_.size(), stream_end_));
  std::ranges::copy(stream, file_.begin() + static_cast<std::ptrdiff_t>(offset));
  const std::uint64_t more = (stream_end_ - 1) / kSector - offset / kSector;
  count(offset, (more + 1) * kSector - offset % kSector);
  entries_[cluster] = kCompressed | more << (70 - options_.cluster_bits) | offset;
  places_[cluster] = offset;
}

void Qcow2Builder::set_backing(const std::string& name, const std::string& format) {
  backing_file_ = name;
  backing_format_ = format;
}

std::vector<std::byte> Qcow2Builder::finish() {
  count(0, cluster_bytes());
  write_mapping();
  write_snapshots();
  write_refcounts();
  write_header();
  return file_;
}

void Qcow2Builder::write_mapping() {
  const std::uint64_t last = entries_.empty() ? 0 : entries_.rbegin()->first + 1;
  const std::uint64_t reach = std::max(clusters(), last);
  l1_.resize((reach + entries_per_table() - 1) / entries_per_table());
  for (const auto& [cluster, entry] : entries_) {
    std::uint64_t& table = l1_[cluster / entries_per_table()];
    if (table == 0) {
      table = append_clusters(1) | kCopied;
      count(table & ~kCopied, cluster_bytes());
    }
    put_be(file_, (table & ~kCopied) + cluster % entries_per_table() * 8, 8, entry);
  }
  if (l1_.empty()) return;
  l1_offset_ = append_clusters(round_up(l1_.size() * 8, cluster_bytes()) / cluster_bytes());
  count(l1_offset_, l1_.size() * 8);
  for (std::size_t i = 0; i < l1_.size(); ++i) put_be(file_, l1_offset_ + i * 8, 8, l1_[i]);
}

void Qcow2Builder::write_snapshots() {
  if (options_.snapshots == 0) return;
  constexpr std::uint64_t kEntryBytes = 64;  // 40, 16 of extra data, an ID and a name, padding
  std::vector<std::byte> table(options_.snapshots * kEntryBytes);
  for (std::uint32_t i = 0; i < options_.snapshots; ++i) {
    const std::uint64_t clusters = round_up(l1_.size() * 8, cluster_bytes()) / cluster_bytes();
    const std::uint64_t offset = append_clusters(clusters);
    count(offset, clusters * cluster_bytes());
    const std::uint64_t at = i * kEntryBytes;
    put_be(table, at, 8, offset);
    put_be(table, at + 8, 4, l1_.size());
    put_be(table, at + 12, 2, 1);
    put_be(table, at + 14, 2, 3);
    put_be(table, at + 36, 4, 16);
    put_be(table, at + 48, 8, size_bytes_);
    put_be(table, at + 56, 4, ((('1' + std::uint64_t{i}) << 8 | 's') << 8 | 'n') << 8 | 'p');
  }
  snapshots_offset_ = append_clusters(round_up(table.size(), cluster_bytes()) / cluster_bytes());
  count(snapshots_offset_, table.size());
  std::ranges::copy(table, file_.begin() + static_cast<std::ptrdiff_t>(snapshots_offset_));
}

// The counts count themselves, so their number is found by trying.
void Qcow2Builder::write_refcounts() {
  const std::uint64_t per_block = cluster_bytes() * 8 >> options_.refcount_order;
  const std::uint64_t used = round_up(file_.size(), cluster_bytes()) / cluster_bytes();
  std::uint64_t blocks = 1;
  std::uint64_t table = 1;
  for (int i = 0; i < 4; ++i) {
    blocks = (used + blocks + table + per_block - 1) / per_block;
    table = (blocks * 8 + cluster_bytes() - 1) / cluster_bytes();
  }
  refcount_table_clusters_ = table;
  refcount_table_offset_ = append_clusters(table);
  count(refcount_table_offset_, table * cluster_bytes());
  for (std::uint64_t i = 0; i < blocks; ++i) {
    blocks_.push_back(append_clusters(1));
    count(blocks_.back(), cluster_bytes());
    put_be(file_, refcount_table_offset_ + i * 8, 8, blocks_.back());
  }
  const unsigned bits = 1U << options_.refcount_order;
  for (const auto& [cluster, number] : counts_) {
    const std::uint64_t block = blocks_.at(cluster / per_block);
    const std::uint64_t bit = cluster % per_block * bits;
    if (bits >= 8) {
      put_be(file_, block + bit / 8, bits / 8, number);
    } else {
      const std::uint64_t most = (1U << bits) - 1;
      file_[block + bit / 8] |= static_cast<std::byte>(std::min(number, most) << bit % 8);
    }
  }
}

void Qcow2Builder::write_header() {
  const bool is_v3 = options_.version >= 3;
  const std::uint64_t header_bytes = is_v3 ? options_.header_bytes : 72;
  std::ranges::copy(std::as_bytes(std::span("QFI\xfb", 4)), file_.begin());
  put_be(file_, 4, 4, options_.version);
  put_be(file_, 20, 4, options_.cluster_bits);
  put_be(file_, 24, 8, size_bytes_);
  put_be(file_, 36, 4, l1_.size());
  put_be(file_, 40, 8, l1_offset_);
  put_be(file_, 48, 8, refcount_table_offset_);
  put_be(file_, 56, 4, refcount_table_clusters_);
  put_be(file_, 60, 4, options_.snapshots);
  put_be(file_, 64, 8, snapshots_offset_);
  if (is_v3) {
    const bool zstd = options_.codec == Qcow2Codec::zstd;
    put_be(file_, 72, 8, options_.incompatible | (zstd ? 8U : 0U));
    put_be(file_, 80, 8, options_.compatible);
    put_be(file_, 88, 8, options_.autoclear);
    put_be(file_, 96, 4, options_.refcount_order);
    put_be(file_, 100, 4, header_bytes);
    if (zstd) put_be(file_, 104, 1, 1);
  }
  std::uint64_t at = header_bytes;
  std::vector<Qcow2Extension> extensions = options_.extensions;
  if (!backing_format_.empty())
    extensions.insert(extensions.begin(), {kBackingFormat, backing_format_});
  for (const Qcow2Extension& extension : extensions) {
    put_be(file_, at, 4, extension.type);
    put_be(file_, at + 4, 4, extension.data.size());
    std::ranges::copy(std::as_bytes(std::span(extension.data)),
                      file_.begin() + static_cast<std::ptrdiff_t>(at + 8));
    at += 8 + round_up(extension.data.size(), 8);
  }
  if (options_.end_of_extensions) at += 8;
  if (backing_file_.empty()) return;
  put_be(file_, 8, 8, at);
  put_be(file_, 16, 4, backing_file_.size());
  std::ranges::copy(std::as_bytes(std::span(backing_file_)),
                    file_.begin() + static_cast<std::ptrdiff_t>(at));
}

std::uint64_t Qcow2Builder::entry_offset(std::uint64_t cluster) const {
  return (l1_.at(cluster / entries_per_table()) & ~kCopied) + cluster % entries_per_table() * 8;
}

namespace {

// What a link stores of a guest cluster.
void put_cluster(Qcow2Builder& image, const Layout& layout, std::size_t link,
                 const Qcow2Options& options, std::uint64_t cluster) {
  const std::uint64_t begin = cluster * image.cluster_bytes();
  const std::uint64_t end =
      std::min(begin + image.cluster_bytes(), layout.links[link].size_bytes());
  bool holes = true;
  bool zeros = true;
  for (const Segment& segment : layout.links[link].segments) {
    if (segment.end() <= begin || segment.guest_offset >= end) continue;
    holes = holes && segment.is_hole();
    zeros = zeros && segment.is_explicit_zero();
  }
  if (holes) return;
  if (zeros && options.version >= 3) return image.put_zero(cluster, cluster % 3 == 0);
  std::vector<std::byte> bytes(image.cluster_bytes());
  expected_bytes(layout, link, begin, std::span(bytes).first(end - begin));
  if (options.codec == Qcow2Codec::none) return image.put_data(cluster, bytes);
  image.put_compressed(cluster, bytes);
}

}  // namespace

Qcow2Builder build_qcow2_link(const Layout& layout, std::size_t link, const Qcow2Options& options) {
  Qcow2Builder image(options, layout.links[link].size_bytes());
  const std::uint64_t count = image.clusters();
  for (std::uint64_t i = 0; i < count; ++i)
    put_cluster(image, layout, link, options, options.reversed ? count - 1 - i : i);
  return image;
}

std::vector<std::filesystem::path> build_qcow2(const std::filesystem::path& folder,
                                               const std::string& name, const Layout& layout,
                                               std::span<const Qcow2Options> options) {
  std::vector<std::filesystem::path> paths;
  for (std::size_t i = 0; i < layout.links.size(); ++i) {
    const Qcow2Options& own = options[std::min(i, options.size() - 1)];
    Qcow2Builder image = build_qcow2_link(layout, i, own);
    if (i != 0)
      image.set_backing(paths.back().filename().string(), own.backing_format ? "qcow2" : "");
    paths.push_back(folder /
                    (i == 0 ? name + ".qcow2" : name + "-" + std::to_string(i) + ".qcow2"));
    const std::vector<std::byte> bytes = image.finish();
    std::ofstream file(paths.back(), std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
    file.close();
    if (!file.good()) throw std::runtime_error("cannot write " + paths.back().string());
  }
  return paths;
}

}  // namespace grainmill::testing
