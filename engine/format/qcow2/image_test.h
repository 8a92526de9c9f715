// SPDX-License-Identifier: Apache-2.0
//
// Tests on qcow2 images that are made by hand and kept in memory.
#pragma once

#include "engine/base/byte_order.h"
#include "engine/codec/inflate.h"
#include "engine/format/qcow2/open.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"
#include "tests/support/qcow2_builder.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace grainmill::qcow2 {

inline constexpr std::uint64_t kCluster = 512;

// A whole cluster of letters, but for one byte.
inline std::vector<std::byte> letters(char letter, std::size_t size = kCluster) {
  std::vector<std::byte> bytes(size, static_cast<std::byte>(letter));
  bytes[size / 2] = std::byte{1};
  return bytes;
}

// 200 clusters of 512 bytes: four L2 tables of 64 entries.
class Qcow2LinkTest : public ::testing::Test {
 protected:
  static testing::Qcow2Options small(std::uint32_t version = 3) {
    testing::Qcow2Options options;
    options.version = version;
    options.cluster_bits = 9;
    return options;
  }
  void make(const testing::Qcow2Options& options, std::uint64_t size_bytes = 200 * kCluster) {
    image_ = std::make_unique<testing::Qcow2Builder>(options, size_bytes);
  }

  // What was made so far, as a file; may be damaged before it is opened.
  void store() { content_ = &files_.add("/vm/a.qcow2", image_->finish()); }
  void put(std::uint64_t offset, std::uint64_t quad) {
    std::vector<std::byte> bytes(8);
    store_be(bytes.data(), quad);
    content_->put(offset, bytes);
  }
  void put_byte(std::uint64_t offset, std::byte value) { content_->put(offset, {&value, 1}); }

  Result<std::unique_ptr<Link>> open(const OpenOptions& options = {}) {
    GM_TRY(auto file, files_.open_read("/vm/a.qcow2"));
    return qcow2::open(std::move(file), files_, options);
  }
  void open_stored() {
    store();
    auto opened = open();
    ASSERT_TRUE(testing::IsOk(opened));
    link_ = *std::move(opened);
  }
  Status check(const OpenOptions& options = {}) {
    GM_TRY(const auto link, open(options));
    return link->check();
  }

  ExtentList map(std::uint64_t offset, std::uint64_t length) {
    ExtentList list;
    EXPECT_TRUE(testing::IsOk(link_->map(offset, length, list)));
    return list;
  }
  Status map_all() {
    ExtentList list;
    return link_->map(0, link_->size_bytes(), list);
  }
  // The first letter of each extent's kind, with its length in bytes.
  static std::string text_of(const ExtentList& list) {
    std::string text;
    for (const Extent& extent : list) {
      if (!text.empty()) text += ' ';
      text += "dczh"[static_cast<int>(extent.kind)];
      text += std::to_string(extent.length);
    }
    return text;
  }
  Status inflate(const Extent& extent, std::vector<std::byte>& out) {
    std::vector<std::byte> stored(extent.stored_bytes);
    GM_CHECK(extent.file->read_exact_at(extent.file_offset, stored));
    out.resize(extent.grain_bytes);
    return link_->inflate(extent, stored, inflater_, out);
  }

  testing::MemoryFileSystem files_;
  testing::MemoryContent* content_ = nullptr;
  std::unique_ptr<testing::Qcow2Builder> image_;
  std::unique_ptr<Link> link_;
  Inflater inflater_;
};

}  // namespace grainmill::qcow2
