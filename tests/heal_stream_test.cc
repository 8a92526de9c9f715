// SPDX-License-Identifier: Apache-2.0
//
// Compressed grains rot: what of a block cannot be believed then is its own length. They are
// compressed anew in the room that the block has, and never over what lies beside it.
#include "tests/fault/fault_file_system.h"
#include "tests/heal_fixture.h"

#include <algorithm>

namespace grainmill::testing {
namespace {

class HealStreamTest : public HealTest {
 protected:
  void build_stream(StreamForm form, const char* layout, std::uint64_t grain_sectors = 0) {
    LinkOptions options;
    options.kind = Kind::stream_optimized;
    options.stream.form = form;
    options.grain_sectors = grain_sectors;
    build({options}, layout);
  }
  const std::vector<GrainPlace>& grains() const { return disk_.links[0].extents[0].grains; }

  // Heals, and holds all of the file but [begin, end) against what it was.
  void expect_healed_within(std::uint64_t begin, std::uint64_t end) {
    expect_healed(disk_.path(), raw());
    const std::vector<std::byte>& healthy = healthy_[disk_.path()];
    std::vector<std::byte> now = file_bytes(disk_.path());
    ASSERT_EQ(now.size(), healthy.size());
    std::copy(healthy.begin() + static_cast<std::ptrdiff_t>(begin),
              healthy.begin() + static_cast<std::ptrdiff_t>(end),
              now.begin() + static_cast<std::ptrdiff_t>(begin));
    EXPECT_EQ(now, healthy);
  }
  // Where the block ends: the padding is its own.
  static std::uint64_t end_of(const GrainPlace& place) {
    return place.data_offset +
           (place.stored_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
  }
  void restore() { patch_file(disk_.path(), 0, healthy_[disk_.path()]); }
};

constexpr const char* kMixed = "192k:A 64k:r 128k:B 64k:- 64k:C 64k:r 64k:D";

TEST_F(HealStreamTest, DoesNotBelieveTheLengthOfARottenBlock) {
  for (const StreamForm form : {StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu}) {
    healthy_.clear();
    build_stream(form, kMixed);
    for (const GrainPlace& place : grains())
      for (const unsigned bit : {4U, 9U, 31U})
        for (const bool stream_too : {false, true}) {
          SCOPED_TRACE(::testing::Message() << static_cast<int>(form) << ' ' << place.guest_offset
                                            << ' ' << bit << ' ' << stream_too);
          flip_bits(disk_.path(), place.data_offset + 8 + bit / 8, 1U << bit % 8);
          if (stream_too) flip_bits(disk_.path(), place.data_offset + 60, 0x5a);
          const Result<HealReport> report = run(disk_.path(), raw(), false);
          ASSERT_TRUE(IsOk(report));
          if (!report->before.same()) expect_healed_within(place.data_offset, end_of(place));
          restore();
          if (HasFailure()) return;
        }
  }
}

TEST_F(HealStreamTest, FindsTheRoomOfABlockWhoseHeaderIsGone) {
  for (const StreamForm form : {StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu}) {
    SCOPED_TRACE(static_cast<int>(form));
    healthy_.clear();
    build_stream(form, kMixed);
    for (const GrainPlace& place : grains()) {
      SCOPED_TRACE(place.guest_offset);
      patch_file(disk_.path(), place.data_offset, std::string(kSectorBytes, '\0'));
      expect_healed_within(place.data_offset, end_of(place));
      // Also to who reads it from its beginning.
      const CommandResult check = program({"check", "--repair", "disk.vmdk"});
      EXPECT_EQ(check.exit_status, 0) << check.out;
      EXPECT_NE(check.out.find("nothing to repair"), std::string::npos) << check.out;
      restore();
    }
  }
}

TEST_F(HealStreamTest, WritesNoBlockThatMayBePartOfTheOneBefore) {
  build_stream(StreamForm::gd_in_front, kMixed);
  const GrainPlace& first = grain(3);
  const GrainPlace& second = grain(4);
  // Two headers gone, so nothing tells where the first one ends.
  patch_file(disk_.path(), first.data_offset, std::string(kSectorBytes, '\0'));
  patch_file(disk_.path(), second.data_offset, std::string(kSectorBytes, '\0'));
  const Result<HealReport> report = run(disk_.path(), raw());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->left_bytes, kGrain);
  EXPECT_NE(reasons_.front().find("check --repair"), std::string::npos) << reasons_.front();
  // Now that the first one is whole, it does tell.
  expect_healed(disk_.path(), raw());
}

TEST_F(HealStreamTest, LeavesWhatNeedsMoreRoom) {
  build_stream(StreamForm::footer, kMixed);
  // The manifest is of a disk that has noise where this one has something that shrinks.
  std::vector<std::byte> noise(kGrain);
  fill_pattern('r', 0, noise);
  patch_file(raw(), kGrain, noise);
  const CommandResult converted = program({"convert", "-f", "raw", "copy.raw", "other.raw", "-q"});
  ASSERT_EQ(converted.exit_status, 0) << converted.err;
  fs::rename(dir_ / "other.raw.manifest", manifest());
  const Result<HealReport> report = run(disk_.path(), raw());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->left_bytes, kGrain);
  EXPECT_NE(reasons_.front().find("needs more"), std::string::npos) << reasons_.front();
  EXPECT_EQ(file_bytes(disk_.path()), healthy_[disk_.path()]);
}

TEST_F(HealStreamTest, BlocksWiderThanADigest) {
  for (const std::uint64_t sectors : {16U, 256U, 512U}) {
    SCOPED_TRACE(sectors);
    healthy_.clear();
    build_stream(StreamForm::footer, "512k:A 256k:r 256k:- 128k:B", sectors);
    for (const GrainPlace& place : grains()) {
      flip_bits(disk_.path(), place.data_offset + 50, 0xff);
      expect_healed_within(place.data_offset, end_of(place));
      restore();
      if (HasFailure()) return;
    }
  }
  // What is compressed together is proven together.
  const GrainPlace& place = grains().front();
  flip_bits(disk_.path(), place.data_offset + 50, 0xff);
  const std::vector<std::byte> rotten = file_bytes(disk_.path());
  flip_bits(raw(), kGrain);
  const Result<HealReport> report = run(disk_.path(), raw());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->left_bytes, 4 * kGrain);
  EXPECT_EQ(file_bytes(disk_.path()), rotten);
}

TEST_F(HealStreamTest, AroundASectorThatCannotBeRead) {
  build_stream(StreamForm::footer, kMixed);
  const GrainPlace& place = grain(3);  // noise, of many sectors
  FaultFileSystem files(posix_file_system());
  const auto break_sector = [&](std::uint64_t offset) {
    files.clear();
    const Fault broken{
        .path_end = "disk.vmdk", .range_begin = offset, .range_end = offset + kSectorBytes};
    Fault mended = broken;  // until it is written: then the device gives another one
    mended.call = FileCall::write;
    mended.error_number = 0;
    mended.before = [&] { files.clear(); };
    files.add(mended);
    files.add(broken);
  };
  break_sector(place.data_offset);
  Result<HealReport> report = run(disk_.path(), raw(), true, files);
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->left_bytes, kGrain);
  break_sector(place.data_offset + 10 * kSectorBytes);
  report = run(disk_.path(), raw(), true, files);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->whole()) << reasons_.front();
  EXPECT_TRUE(run(disk_.path(), raw())->before.same());
}

TEST_F(HealStreamTest, OfAnotherStreamAndOfQcow2) {
  build();
  for (const std::vector<std::string>& form :
       {std::vector<std::string>{"-O", "vmdk", "-c"}, {"-O", "qcow2"}, {"-O", "qcow2", "-c"}}) {
    std::vector<std::string> arguments = {"convert", "-q", "disk.vmdk", "other"};
    arguments.insert(arguments.end(), form.begin(), form.end());
    ASSERT_EQ(program(arguments).exit_status, 0);
    flip_bits(disk_.path(), grain(2).data_offset + 100);
    expect_healed(disk_.path(), dir_ / "other");
    expect_healthy_files();
    fs::remove(dir_ / "other");
    fs::remove(dir_ / "other.manifest");
  }
}

}  // namespace
}  // namespace grainmill::testing
