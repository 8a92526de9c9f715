// SPDX-License-Identifier: Apache-2.0
#include "bench/workloads/chain_files.h"

#include "bench/workloads/harness.h"
#include "engine/base/byte_order.h"
#include "engine/base/units.h"
#include "engine/io/file_system.h"
#include "tests/support/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <system_error>

namespace grainmill::bench {
namespace {

// So many grains' entries are in hand for each link at a time: 256 KiB to write in one call.
constexpr std::uint64_t kChunkGrains = 65536;

std::string file_name(std::uint32_t link) { return fmt::format("link-{:02}.vmdk", link); }

std::uint32_t content_id(std::uint32_t link) { return 0x10000000 + link; }

std::string descriptor(const ChainSpec& spec, std::uint32_t link) {
  const bool base = link + 1 == spec.depth;
  const std::string parent =
      base ? "" : fmt::format("parentFileNameHint=\"{}\"\n", file_name(link + 1));
  return fmt::format(
      "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID={:08x}\n{}"
      "createType=\"monolithicSparse\"\n\n# Extent description\nRW {} SPARSE \"{}\"\n\n"
      "# The Disk Data Base\nddb.adapterType = \"lsilogic\"\n",
      content_id(link), base ? 0xffffffff : content_id(link + 1), parent,
      spec.disk_bytes / kSectorBytes, file_name(link));
}

std::array<std::byte, kSectorBytes> header(const ChainLayout& layout) {
  std::array<std::byte, kSectorBytes> bytes{};
  const bool redundant = layout.redundant_directory_offset() != 0;
  store_le<std::uint32_t>(&bytes[0], 0x564d444b);  // "KDMV"
  store_le<std::uint32_t>(&bytes[4], 1);
  store_le<std::uint32_t>(&bytes[8], redundant ? 3 : 1);  // newline test, redundant tables
  store_le<std::uint64_t>(&bytes[12], layout.spec().disk_bytes / kSectorBytes);
  store_le<std::uint64_t>(&bytes[20], layout.grain_bytes() / kSectorBytes);
  store_le<std::uint64_t>(&bytes[28], 1);  // the descriptor
  store_le<std::uint64_t>(&bytes[36], 20);
  store_le<std::uint32_t>(&bytes[44], kTableEntries);
  store_le<std::uint64_t>(&bytes[48], layout.redundant_directory_offset() / kSectorBytes);
  store_le<std::uint64_t>(&bytes[56], layout.directory_offset() / kSectorBytes);
  store_le<std::uint64_t>(&bytes[64], layout.data_begin() / kSectorBytes);
  store_le<std::uint32_t>(&bytes[73], 0x0a0d200a);
  return bytes;
}

// One link's file while it is written.
class LinkFile {
 public:
  LinkFile(const ChainLayout& layout, const std::string& path, std::uint32_t link)
      : layout_(layout), pending_(value_of(posix_file_system().create_pending(path))) {
    require(file().resize(layout.file_bytes()));
    require(file().write_at(0, header(layout)));
    const std::string text = descriptor(layout.spec(), link);
    require(file().write_at(kSectorBytes, std::as_bytes(std::span(text))));
    for (const std::uint64_t directory : copies()) write_directory(directory);
    entries_.resize(std::min(kChunkGrains, layout.grains()));
  }

  void set(std::uint64_t index, std::uint64_t file_offset) {
    store_le(reinterpret_cast<std::byte*>(&entries_[index]),
             static_cast<std::uint32_t>(file_offset / kSectorBytes));
  }

  // Writes the entries of the chunk that begins with `first`, and forgets them.
  void write_entries(std::uint64_t first) {
    for (const std::uint64_t directory : copies())
      require(file().write_at(layout_.tables_offset(directory) + first * 4,
                              std::as_bytes(std::span(entries_))));
    std::ranges::fill(entries_, 0U);
  }

  void write_grain(std::uint64_t grain, std::uint64_t file_offset) {
    std::vector<std::byte> bytes(layout_.grain_bytes());
    fill_grain(grain, bytes);
    require(file().write_at(file_offset, bytes));
  }

  void publish() { require(pending_->publish(Durability::unsynced)); }

 private:
  File& file() { return pending_->file(); }

  [[nodiscard]] std::vector<std::uint64_t> copies() const {
    std::vector<std::uint64_t> directories = {layout_.directory_offset()};
    if (layout_.redundant_directory_offset() != 0)
      directories.push_back(layout_.redundant_directory_offset());
    return directories;
  }

  void write_directory(std::uint64_t offset) {
    const GrainTableShape shape = layout_.shape();
    std::vector<std::byte> bytes(shape.directory_bytes());
    for (std::uint64_t table = 0; table < shape.tables(); ++table) {
      const std::uint64_t at = layout_.tables_offset(offset) + table * shape.table_bytes();
      store_le(&bytes[table * 4], static_cast<std::uint32_t>(at / kSectorBytes));
    }
    require(file().write_at(offset, bytes));
  }

  const ChainLayout& layout_;
  std::unique_ptr<PendingFile> pending_;
  std::vector<std::uint32_t> entries_;
};

}  // namespace

ScratchFolder::ScratchFolder(const std::string& parent) {
  std::string name = parent + "/grainmill-bench-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    throw std::system_error(errno, std::generic_category(), "mkdtemp " + name);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> write_chain(const ChainLayout& layout,
                                     const std::filesystem::path& folder) {
  std::vector<std::string> paths;
  std::vector<std::unique_ptr<LinkFile>> links;
  for (std::uint32_t link = 0; link < layout.spec().depth; ++link) {
    paths.push_back((folder / file_name(link)).string());
    links.push_back(std::make_unique<LinkFile>(layout, paths.back(), link));
  }
  const std::uint64_t chunk = std::min(kChunkGrains, layout.grains());
  for (std::uint64_t first = 0; first < layout.grains(); first += chunk) {
    for (std::uint64_t grain = first; grain < first + chunk; ++grain) {
      const GrainPlace place = layout.place(grain);
      if (!place.stored) continue;
      links[place.link]->set(grain - first, place.file_offset);
      if (layout.spec().stores_data) links[place.link]->write_grain(grain, place.file_offset);
    }
    for (const std::unique_ptr<LinkFile>& link : links) link->write_entries(first);
  }
  for (const std::unique_ptr<LinkFile>& link : links) link->publish();
  return paths;
}

void fill_grain(std::uint64_t grain, std::span<std::byte> out) {
  for (std::size_t at = 0; at + 8 <= out.size(); at += 8)
    store_le(&out[at], testing::mix(grain) + at);
}

}  // namespace grainmill::bench
