// SPDX-License-Identifier: Apache-2.0
//
// The oracle must refuse what it cannot be sure of. That it reads right is shown elsewhere.
#include "tests/support/reference_reader.h"

#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

namespace grainmill::testing {
namespace {

using enum Kind;
namespace fs = std::filesystem;

class Refusals : public ::testing::Test {
 protected:
  using Damage = std::function<void(const BuiltExtent&)>;

  BuiltDisk build(const LinkOptions& options,
                  const std::string& layout = "64k:A 64k:- 64k:r 5s:B") {
    return build_disk(dir_.path(), "disk", parse_layout(layout), options);
  }
  static void read_all(const fs::path& path) {
    const ReferenceDisk disk = ReferenceDisk::open(path);
    disk.read(0, disk.size_bytes());
  }
  void expect_refused(const LinkOptions& options, const Damage& damage) {
    const BuiltDisk disk = build(options);
    EXPECT_NO_THROW(read_all(disk.path()));
    damage(disk.links[0].extents[0]);
    EXPECT_THROW(read_all(disk.path()), std::runtime_error);
  }

  TempDir dir_;
  const LinkOptions sparse_{};
  const LinkOptions stream_{.kind = stream_optimized};
};

TEST_F(Refusals, HeaderFields) {
  const auto refuse = [this](const LinkOptions& options, std::uint64_t offset, unsigned mask) {
    SCOPED_TRACE("offset " + std::to_string(offset));
    expect_refused(options, [=](const BuiltExtent& e) { flip_bits(e.path, offset, mask); });
  };
  refuse(sparse_, 0, 0x20);   // magic
  refuse(sparse_, 4, 8);      // version
  refuse(sparse_, 10, 4);     // an unknown flag
  refuse(sparse_, 10, 2);     // markers without compression
  refuse(sparse_, 12, 1);     // capacity
  refuse(sparse_, 19, 0x80);  // capacity, absurd
  refuse(sparse_, 74, 1);     // newline test
  refuse(sparse_, 77, 1);     // compression
  refuse(stream_, 77, 1);
  refuse(stream_, 20, 1);  // differs from the footer
}

TEST_F(Refusals, AbsurdGeometry) {
  const auto refuse = [this](std::uint64_t offset, std::uint64_t value) {
    SCOPED_TRACE("offset " + std::to_string(offset));
    expect_refused(sparse_, [=](const BuiltExtent& e) { patch_dword(e.path, offset, value); });
  };
  refuse(12, 0x1EFFFFFC1B000001);
  refuse(12, 0);
  refuse(20, 0);
  refuse(20, ~0ULL);
  refuse(28, ~0ULL >> 1);
  refuse(44, 0);
  refuse(56, 0);
  refuse(56, 1ULL << 40);
}

TEST_F(Refusals, PointersToNowhere) {
  expect_refused(sparse_, [](const BuiltExtent& e) { patch_word(e.path, e.gd_offset, 0xffffff); });
  expect_refused(
      sparse_, [](const BuiltExtent& e) { patch_word(e.path, e.grains[0].gte_offset, 0xffffff); });
  expect_refused(sparse_,
                 [](const BuiltExtent& e) { patch_word(e.path, e.grains[0].gte_offset, 2); });
  expect_refused(sparse_, [](const BuiltExtent& e) {
    fs::resize_file(e.path, e.grains.back().data_offset + 2048);
  });
  expect_refused({.kind = vmfs_sparse},
                 [](const BuiltExtent& e) { patch_word(e.path, e.grains[0].gte_offset, 1); });
  expect_refused({.kind = monolithic_flat},
                 [](const BuiltExtent& e) { fs::resize_file(e.path, e.size_bytes - 1); });
}

TEST_F(Refusals, DamagedStreams) {
  expect_refused(stream_, [](const BuiltExtent& e) { flip_bits(e.path, e.grains[0].data_offset); });
  expect_refused(stream_, [](const BuiltExtent& e) {
    flip_bits(e.path, e.grains[0].data_offset + e.grains[0].stored_bytes - 1);
  });
  expect_refused(stream_, [](const BuiltExtent& e) {
    patch_word(e.path, e.grains[0].data_offset + 8,
               static_cast<std::uint32_t>(e.grains[0].stored_bytes));
  });
  expect_refused(stream_, [](const BuiltExtent& e) {
    patch_word(e.path, e.grains[1].gte_offset,
               static_cast<std::uint32_t>(e.grains[0].data_offset / 512));
  });
  expect_refused(stream_, [](const BuiltExtent& e) { fs::resize_file(e.path, e.footer_offset); });
  expect_refused(stream_,
                 [](const BuiltExtent& e) { patch_word(e.path, e.footer_offset - 512 + 12, 0); });
}

TEST_F(Refusals, Descriptors) {
  const auto refuse = [this](const std::string& find, const std::string& replacement) {
    const auto edit = [=](std::string text) {
      const std::size_t at = text.find(find);
      EXPECT_NE(at, std::string::npos);
      return text.replace(at, find.size(), replacement);
    };
    const BuiltDisk disk = build({.kind = two_gb_sparse, .descriptor = {.edit = edit}});
    EXPECT_THROW(read_all(disk.path()), std::runtime_error) << replacement;
  };
  refuse("version=1", "version=4");
  refuse("parentCID=ffffffff", "parentCID=");
  refuse("parentCID=ffffffff", "parentCID=12345678");
  refuse("parentCID=ffffffff", "parentCID=ffffffff\nparentFileNameHint=\"disk.vmdk\"");
  refuse("CID=", "CID=x");
  refuse("RW ", "R ");
  refuse("RW 389 ", "RW 390 ");
  refuse("RW 389 ", "RW 99999999999999999 ");
  refuse("SPARSE", "VMFSSPARSE");
  refuse("SPARSE", "SESPARSE");
  refuse("-s001", "-s002");
  refuse("# Extent description", "something");
  refuse("# Extent description", "CID=00000001");
}

TEST_F(Refusals, Chains) {
  const std::string layout = "64k:A | 64k:^";
  const BuiltDisk changed = build({.descriptor = {.cid = 1, .parent_cid = 2}}, layout);
  EXPECT_THROW(read_all(changed.path()), std::runtime_error);
  const BuiltDisk lost = build({.descriptor = {.parent_hint = "gone.vmdk"}}, layout);
  EXPECT_THROW(read_all(lost.path()), std::runtime_error);
  const BuiltDisk own_parent =
      build({.descriptor = {.cid = 1, .parent_cid = 1, .parent_hint = "disk.vmdk"}}, "64k:-");
  EXPECT_THROW(read_all(own_parent.path()), std::runtime_error);
}

TEST_F(Refusals, ParentsMovedBesideTheChildAreFound) {
  for (const std::string hint :
       {"/vmfs/volumes/gone/disk.vmdk", "C:\\vm\\disk.vmdk", "../x/disk.vmdk"}) {
    const BuiltDisk base = build({}, "64k:A | 64k:^");
    const Layout layout = parse_layout("64k:A | 64k:^");
    const BuiltLink child = build_link(dir_.path(), "disk", layout, 1,
                                       {.descriptor = {.parent_hint = hint}}, base.links.data());
    EXPECT_EQ(ReferenceDisk::open(child.path).read(0, 65536), expected_bytes(layout, 0, 65536))
        << hint;
  }
}

TEST_F(Refusals, ReadsPastTheEnd) {
  const ReferenceDisk disk = ReferenceDisk::open(build(sparse_).path());
  EXPECT_THROW(disk.read(disk.size_bytes(), 1), std::runtime_error);
  EXPECT_THROW(disk.read(disk.size_bytes() - 1, 2), std::runtime_error);
  EXPECT_NO_THROW(disk.read(disk.size_bytes(), 0));
}

TEST_F(Refusals, OtherFiles) {
  EXPECT_THROW(ReferenceDisk::open(dir_ / "nothing"), std::runtime_error);
  EXPECT_THROW(ReferenceDisk::open(dir_.path()), std::runtime_error);
  const BuiltDisk raw_disk = build({.kind = raw});
  EXPECT_THROW(ReferenceDisk::open(raw_disk.path()), std::runtime_error);
}

TEST(ReferenceDigest, IsTheSha256OfTheContents) {
  const TempDir dir;
  const BuiltDisk disk = build_disk(dir.path(), "zeros", parse_layout("1m:-"));
  EXPECT_EQ(ReferenceDisk::open(disk.path()).sha256(),
            "30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58");
}

}  // namespace
}  // namespace grainmill::testing
