// SPDX-License-Identifier: Apache-2.0
#include "tests/support/reference_reader.h"

#include "tests/support/little_endian.h"
#include "tests/support/reference_extent.h"
#include "tests/support/reference_file.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <stdexcept>

namespace grainmill::testing {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

constexpr std::uint32_t kNoParent = 0xffffffff;
constexpr int kMaxDepth = 64;
constexpr std::uint64_t kChunk = 1 << 20;

// A descriptor with its extents, and the link below.
struct ReferenceDisk::Link {
  std::uint64_t size = 0;
  std::uint32_t cid = kNoParent;
  std::vector<ReferenceExtent> extents{};
  std::shared_ptr<Link> parent{};

  static std::shared_ptr<Link> open(const fs::path& path, int depth);
  void open_parent(const ReferenceDescriptor& descriptor, int depth);
  void add(ReferenceExtent extent);
  ReferenceExtent& extent_at(std::uint64_t offset);
  void read(std::uint64_t offset, std::span<std::byte> out);
  std::uint64_t zero_run(std::uint64_t offset, std::uint64_t limit);
};

std::shared_ptr<ReferenceDisk::Link> ReferenceDisk::Link::open(const fs::path& path, int depth) {
  const auto link = std::make_shared<Link>();
  const auto file = std::make_shared<ReferenceFile>(path);
  const std::uint32_t magic = get_le32(file->read(0, 4), 0);
  if (magic == kCowdMagic) {
    link->add(open_tables(file, magic));
    return link;
  }
  ReferenceExtent whole{.size = 0, .file = file};
  whole.descriptor_size = file->size();
  if (magic == kHostedMagic) whole = open_tables(file, magic);
  require(whole.descriptor_size <= kChunk, path, "has too long a descriptor");
  const auto descriptor =
      ReferenceDescriptor::parse(file->read(whole.descriptor_offset, whole.descriptor_size), path);
  for (const ReferenceDescriptor::ExtentLine& line : descriptor.extents) {
    // An embedding file is its own only extent, whatever name its descriptor has for it.
    link->add(magic == kHostedMagic ? whole : open_extent(line, path.parent_path()));
  }
  require(magic != kHostedMagic || (descriptor.extents.size() == 1 &&
                                    descriptor.extents[0].sectors == whole.size / kSectorSize),
          path, "differs in size from its descriptor");
  link->cid = descriptor.cid("cid");
  link->open_parent(descriptor, depth);
  return link;
}

void ReferenceDisk::Link::open_parent(const ReferenceDescriptor& descriptor, int depth) {
  const std::string hint = descriptor.value("parentfilenamehint");
  const bool has_parent = descriptor.cid("parentcid") != kNoParent;
  require(has_parent != hint.empty(), descriptor.path, "has half a parent");
  if (!has_parent) return;
  require(depth < kMaxDepth, descriptor.path, "has too many parents");
  const fs::path folder = descriptor.path.parent_path();
  const fs::path beside = folder / hint.substr(hint.find_last_of("/\\") + 1);
  parent = open(fs::exists(folder / hint) ? folder / hint : beside, depth + 1);
  require(parent->cid == descriptor.cid("parentcid"), descriptor.path,
          "was made for another state of its parent");
}

void ReferenceDisk::Link::add(ReferenceExtent extent) {
  extent.guest_offset = size;
  size += extent.size;
  extents.push_back(std::move(extent));
}

ReferenceExtent& ReferenceDisk::Link::extent_at(std::uint64_t offset) {
  for (ReferenceExtent& extent : extents) {
    if (offset - extent.guest_offset < extent.size) return extent;
  }
  throw std::runtime_error("a read past the end of the disk");
}

void ReferenceDisk::Link::read(std::uint64_t offset, std::span<std::byte> out) {
  while (!out.empty()) {
    ReferenceExtent& extent = extent_at(offset);
    const ReferencePlace place = extent.locate(offset - extent.guest_offset);
    const std::span<std::byte> piece = out.first(std::min(out.size(), place.length));
    std::ranges::fill(piece, std::byte{0});
    if (place.kind == ReferencePlace::Kind::stored) {
      extent.read_stored(place, offset - extent.guest_offset, piece);
    } else if (place.kind == ReferencePlace::Kind::absent && parent && offset < parent->size) {
      parent->read(offset, piece.first(std::min(piece.size(), parent->size - offset)));
    }
    offset += piece.size();
    out = out.subspan(piece.size());
  }
}

// How many bytes from `offset` on, `limit` at most, are zeros because nothing is stored there.
std::uint64_t ReferenceDisk::Link::zero_run(std::uint64_t offset, std::uint64_t limit) {
  std::uint64_t run = 0;
  while (run < limit) {
    const std::uint64_t at = offset + run;
    ReferenceExtent& extent = extent_at(at);
    const ReferencePlace place = extent.locate(at - extent.guest_offset);
    if (place.kind == ReferencePlace::Kind::stored) break;
    std::uint64_t length = std::min(place.length, limit - run);
    if (place.kind == ReferencePlace::Kind::absent && parent && at < parent->size) {
      length = parent->zero_run(at, std::min(length, parent->size - at));
      if (length == 0) break;
    }
    run += length;
  }
  return run;
}

ReferenceDisk ReferenceDisk::open(const fs::path& path) {
  return ReferenceDisk(Link::open(path, 0));
}

ReferenceDisk ReferenceDisk::open_raw(const fs::path& path) {
  const auto link = std::make_shared<Link>();
  const auto file = std::make_shared<ReferenceFile>(path);
  link->add({.size = file->size(), .file = file});
  return ReferenceDisk(link);
}

std::uint64_t ReferenceDisk::size_bytes() const { return top_->size; }

void ReferenceDisk::read(std::uint64_t guest_offset, std::span<std::byte> out) const {
  top_->read(guest_offset, out);
}

Bytes ReferenceDisk::read(std::uint64_t guest_offset, std::uint64_t length) const {
  Bytes bytes(length);
  top_->read(guest_offset, bytes);
  return bytes;
}

void ReferenceDisk::write_raw(const fs::path& path) const {
  std::ofstream out(path, std::ios::binary);
  for (std::uint64_t at = 0; at < top_->size;) {
    at += top_->zero_run(at, top_->size - at);
    const Bytes bytes = read(at, std::min(kChunk, top_->size - at));
    out.seekp(static_cast<std::streamoff>(at));
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    at += bytes.size();
  }
  out.close();
  require(out.good(), path, "cannot be written");
  fs::resize_file(path, top_->size);
}

// Zero runs are hashed from one buffer: a sparse disk costs no more than the hash itself.
std::string ReferenceDisk::sha256() const {
  const Bytes zeros(kChunk);
  const std::shared_ptr<EVP_MD_CTX> hash(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  EVP_DigestInit_ex(hash.get(), EVP_sha256(), nullptr);
  for (std::uint64_t at = 0; at < top_->size;) {
    const std::uint64_t length = std::min(kChunk, top_->size - at);
    const std::uint64_t run = top_->zero_run(at, length);
    const Bytes bytes = run > 0 ? Bytes() : read(at, length);
    EVP_DigestUpdate(hash.get(), run > 0 ? zeros.data() : bytes.data(), run > 0 ? run : length);
    at += run > 0 ? run : length;
  }
  std::array<unsigned char, 32> digest{};
  EVP_DigestFinal_ex(hash.get(), digest.data(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace grainmill::testing
