// SPDX-License-Identifier: Apache-2.0
#include "engine/format/qcow2/image_test.h"
#include "engine/format/qcow2/layout.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace grainmill::qcow2 {
namespace {

using testing::IsOk;
using testing::Qcow2Codec;
using testing::Qcow2Options;

class AllFindings final : public Findings {
 public:
  [[nodiscard]] Status add(Finding finding) override {
    found.push_back(std::move(finding));
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

  std::vector<Finding> found;
};

class Qcow2RecountTest : public Qcow2LinkTest {
 protected:
  void make_image(std::uint32_t snapshots = 0) {
    Qcow2Options options = small();
    options.codec = Qcow2Codec::zlib;
    options.snapshots = snapshots;
    make(options);
    for (std::uint64_t i = 0; i < 10; ++i) image_->put_data(i, 'A');
    for (std::uint64_t i = 10; i < 20; ++i) image_->put_compressed(i, letters('b'));
    image_->put_zero(30, true);
    store();
  }
  // Each as its severity and code.
  std::vector<std::string> findings() {
    AllFindings all;
    const auto link = open();
    EXPECT_TRUE(IsOk(link));
    if (link) {
      EXPECT_TRUE(IsOk((*link)->examine(all)));
    }
    std::vector<std::string> texts;
    for (const Finding& finding : all.found) {
      // A check without lost bytes would call the image sound.
      EXPECT_EQ(finding.severity == Severity::leak, finding.leaked_bytes != 0);
      texts.push_back(std::string(severity_name(finding.severity)) + " " +
                      std::string(finding.code));
    }
    return texts;
  }
  void set_refcount(std::uint64_t offset, std::uint8_t count) {
    const std::vector<std::byte> bytes = {std::byte{0}, static_cast<std::byte>(count)};
    content_->put(image_->refcount_block_offset(0) + offset / kCluster * 2, bytes);
  }
  std::uint8_t refcount(std::uint64_t offset) {
    const std::vector<std::byte> bytes = content_->bytes();
    return std::to_integer<std::uint8_t>(
        bytes[image_->refcount_block_offset(0) + offset / kCluster * 2 + 1]);
  }
};

using Texts = std::vector<std::string>;

TEST_F(Qcow2RecountTest, ASoundImageHasTheCountsThatItMust) {
  make_image();
  EXPECT_EQ(findings(), Texts{});
}

TEST_F(Qcow2RecountTest, InternalSnapshotsCount) {
  make_image(2);
  EXPECT_EQ(findings(), Texts{});
}

TEST_F(Qcow2RecountTest, AHighCountLosesSpace) {
  make_image();
  set_refcount(image_->data_offset(3), 2);
  EXPECT_EQ(findings(), Texts{"leak refcount-high"});
  EXPECT_TRUE(IsOk(check()));  // no reader minds
}

TEST_F(Qcow2RecountTest, NeighboursWithTheSameCountAreOneFinding) {
  make_image();
  set_refcount(image_->data_offset(3), 3);
  set_refcount(image_->data_offset(4), 3);
  set_refcount(image_->data_offset(6), 3);
  EXPECT_EQ(findings(), (Texts{"leak refcount-high", "leak refcount-high"}));
}

TEST_F(Qcow2RecountTest, ALowCountIsDamageForTheNextWriter) {
  make_image();
  const std::uint64_t shared = align_down(image_->data_offset(11), kCluster);
  ASSERT_GT(refcount(shared), 1);
  set_refcount(shared, 1);
  EXPECT_EQ(findings(), Texts{"damage refcount-low"});
}

TEST_F(Qcow2RecountTest, InASnapshotNothingElseLooksForLostSpace) {
  make_image(1);
  content_->put(content_->bytes().size(), std::vector<std::byte>(kCluster));
  set_refcount(content_->bytes().size() - 1, 1);
  EXPECT_EQ(findings(), Texts{"leak refcount-high"});
}

TEST_F(Qcow2RecountTest, FlagsSayWhetherAClusterIsUsedOnce) {
  make_image();
  put(image_->entry_offset(3), image_->data_offset(3));
  EXPECT_EQ(findings(), Texts{"damage copied-flag"});
  EXPECT_TRUE(IsOk(check()));
}

}  // namespace
}  // namespace grainmill::qcow2
