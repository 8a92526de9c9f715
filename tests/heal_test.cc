// SPDX-License-Identifier: Apache-2.0
//
// Images of every kind rot, and are healed from another image of the same disk: to exactly the
// bytes of before where the bytes are stored plainly, and never to other contents.
#include "engine/codec/digest.h"
#include "tests/fault/fault_file_system.h"
#include "tests/heal_fixture.h"
#include "tests/power_cut/power_cut_file_system.h"
#include "tests/support/file_bytes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <span>

namespace grainmill::testing {
namespace {

TEST_F(HealTest, ARawCopyFromItsDiskAndBack) {
  build();
  flip_bits(raw(), 3 * kGrain + 5000);
  flip_bits(raw(), 8 * kGrain - 1);
  flip_bits(raw(), 6 * kGrain);  // not in a hole of the file any more, but zeros of the disk
  expect_healed(raw(), disk_.path());
  flip_bits(disk_.path(), grain(1).data_offset + 70);
  flip_bits(disk_.path(), grain(8).data_offset + 65535);
  expect_healed(disk_.path(), raw());
  expect_healthy_files();
}

TEST_F(HealTest, EveryKindThatStoresPlainly) {
  for (const Kind kind :
       {Kind::two_gb_sparse, Kind::monolithic_flat, Kind::two_gb_flat, Kind::vmfs}) {
    SCOPED_TRACE(static_cast<int>(kind));
    healthy_.clear();
    LinkOptions options;
    options.kind = kind;
    build({options});
    const BuiltExtent& extent = disk_.links[0].extents[0];
    const bool flat = kind != Kind::two_gb_sparse;
    const std::uint64_t place = flat ? 2 * kGrain : grain(2).data_offset;
    flip_bits(extent.path, place + 1234);
    expect_healed(disk_.path(), raw());
    expect_healthy_files();
  }
}

TEST_F(HealTest, AGrainOfAStreamIsCompressedAnew) {
  LinkOptions options;
  options.kind = Kind::stream_optimized;
  build({options});
  const GrainPlace& place = grain(2);
  const std::uint64_t size = fs::file_size(disk_.path());
  patch_file(disk_.path(), place.data_offset + 30, std::string(20, 'x'));
  expect_healed(disk_.path(), raw());
  EXPECT_EQ(fs::file_size(disk_.path()), size);
  EXPECT_EQ(program({"check", "disk.vmdk"}).exit_status, 0);
}

TEST_F(HealTest, TheParentWhereItIsTheParentThatRotted) {
  build({LinkOptions()}, "128k:A 128k:B | 64k:^ 64k:C 128k:^");
  flip_bits(disk_.links[0].path, grain(0).data_offset);
  flip_bits(disk_.links[0].path, grain(3).data_offset + 100);
  // Hidden by the child, so nothing tells.
  expect_healed(disk_.path(), raw());
  expect_healthy_files();
}

TEST_F(HealTest, AnEntryThatIsLostInAllCopies) {
  build();
  const std::string before = program({"info", "disk.vmdk"}).out;
  patch_word(disk_.path(), grain(9).gte_offset, 0);
  patch_word(disk_.path(), grain(9).redundant_gte_offset, 0);
  // Where it was is cut off, or check would find data that no entry refers to.
  ASSERT_EQ(grain(9).data_offset + kGrain, fs::file_size(disk_.path()));
  fs::resize_file(disk_.path(), grain(9).data_offset);
  const Result<HealReport> dry = run(disk_.path(), raw(), false);
  ASSERT_TRUE(IsOk(dry));
  EXPECT_EQ(ranges_, std::vector<std::uint64_t>{9 * kGrain});
  EXPECT_EQ(fs::file_size(disk_.path()), grain(9).data_offset);
  expect_healed(disk_.path(), raw());
  EXPECT_EQ(program({"check", "disk.vmdk"}).exit_status, 0);
  EXPECT_EQ(program({"info", "disk.vmdk"}).out, before);
}

TEST_F(HealTest, AHoleOfAFlatFileThatHeldData) {
  build();
  fs::resize_file(raw(), 0);
  fs::resize_file(raw(), healthy_[raw()].size());
  expect_healed(raw(), disk_.path());
  expect_healthy_files();
}

TEST_F(HealTest, AroundASectorThatCannotBeRead) {
  build();
  flip_bits(raw(), kGrain + 3);
  FaultFileSystem files(posix_file_system());
  // As long as it was not written: then the device gives another one.
  bool written = false;
  files.add({.call = FileCall::write,
             .path_end = "copy.raw",
             .range_begin = kGrain,
             .range_end = kGrain + 1,
             .error_number = 0,
             .before = [&] {
               written = true;
               files.clear();
             }});
  files.add({.path_end = "copy.raw", .range_begin = kGrain, .range_end = kGrain + 1});
  const Result<HealReport> report = run(raw(), disk_.path(), true, files);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(written);
  EXPECT_TRUE(report->whole()) << reasons_.front();
  EXPECT_EQ(report->before.unreadable_bytes, kGrain);
  expect_healthy_files();
}

TEST_F(HealTest, WritesNothingThatIsNotProven) {
  build();
  flip_bits(raw(), kGrain);
  flip_bits(raw(), 3 * kGrain);
  flip_bits(disk_.path(), grain(3).data_offset + 9);
  const std::vector<std::byte> rotten = file_bytes(raw());
  const Result<HealReport> dry = run(raw(), disk_.path(), false);
  ASSERT_TRUE(IsOk(dry));
  EXPECT_EQ(dry->healed_bytes, kGrain);
  EXPECT_EQ(dry->left_bytes, kGrain);
  EXPECT_EQ(file_bytes(raw()), rotten);
  const Result<HealReport> report = run(raw(), disk_.path());
  ASSERT_TRUE(IsOk(report));
  EXPECT_FALSE(report->whole());
  std::vector<std::byte> expected = healthy_[raw()];
  expected[3 * kGrain] = rotten[3 * kGrain];
  EXPECT_EQ(file_bytes(raw()), expected);

  // Another disk heals nothing, and one of another size is refused.
  build_disk(dir_.path(), "other", parse_layout("640k:C 64k:D"));
  ASSERT_TRUE(IsOk(run(raw(), dir_ / "other.vmdk")));
  EXPECT_EQ(file_bytes(raw()), expected);
  build_disk(dir_.path(), "other", parse_layout("640k:A"));
  EXPECT_TRUE(HasError(run(raw(), dir_ / "other.vmdk"), ErrorKind::mismatch, "bytes"));
}

TEST_F(HealTest, LeavesDamagedStructureToRepair) {
  build({{.redundant_tables = false}});
  patch_word(disk_.path(), grain(2).gte_offset, file_word(disk_.path(), grain(4).gte_offset));
  const std::vector<std::byte> damaged = file_bytes(disk_.path());
  EXPECT_TRUE(HasError(run(disk_.path(), raw()), ErrorKind::corrupt, "check --repair"));
  EXPECT_EQ(file_bytes(disk_.path()), damaged);
}

TEST_F(HealTest, CanBeTakenBackWhereverItIsBrokenOff) {
  build();
  flip_bits(raw(), kGrain);
  flip_bits(raw(), 3 * kGrain);
  const std::vector<std::byte> rotten = file_bytes(raw());
  for (const Fault& fault : {Fault{.call = FileCall::write, .path_end = "copy.raw", .nth = 2},
                             Fault{.call = FileCall::sync, .path_end = "copy.raw"}}) {
    FaultFileSystem files(posix_file_system());
    files.add(fault);
    EXPECT_TRUE(HasError(run(raw(), disk_.path(), true, files), ErrorKind::io));
    EXPECT_TRUE(HasError(run(raw(), disk_.path()), ErrorKind::invalid_argument, "--undo"));
    ASSERT_TRUE(IsOk(undo_repair(posix_file_system(), {}, raw())));
    EXPECT_EQ(file_bytes(raw()), rotten);
  }
}

TEST_F(HealTest, APowerCutLeavesTheJournalOrOneOfTheTwo) {
  build();
  flip_bits(raw(), kGrain);
  flip_bits(raw(), 3 * kGrain);
  const std::vector<std::byte> rotten = file_bytes(raw());
  PowerCutFileSystem files;
  files.add("/copy.raw", rotten);
  files.add("/disk.vmdk", file_bytes(disk_.path()));
  files.add("/copy.raw.manifest", file_bytes(manifest()));
  HealOptions options;
  options.verify.image = "/copy.raw";
  options.verify.manifest = "/copy.raw.manifest";
  options.verify.graph.threads = 1;
  options.verify.on_difference = [](const Difference&) {};
  options.from = "/disk.vmdk";
  options.write = true;
  options.on_healed = [](const GuestRange&, const std::string&) {};
  options.on_left = options.on_healed;
  ASSERT_TRUE(IsOk(heal(files, options)));
  files.note(1);
  std::size_t with_journal = 0;
  files.for_each_state([&](PowerCut& cut) {
    const bool undone = undo_repair(cut.files(), {}, "/copy.raw").has_value();
    if (undone) ++with_journal;
    const std::vector<std::byte> left = cut.files().content("/copy.raw").bytes();
    const bool healed = same_bytes(left, healthy_[raw()]);
    EXPECT_TRUE(healed || (left == rotten && !cut.has_note(1))) << cut.story();
    return !HasFailure();
  });
  EXPECT_GT(with_journal, 0U);
}

TEST_F(HealTest, APowerCutWhileTablesAreWrittenIsHealedByTheNextRun) {
  build({LinkOptions()}, "64k:A 64k:B 64k:C");
  patch_word(disk_.path(), grain(2).gte_offset, 0);
  patch_word(disk_.path(), grain(2).redundant_gte_offset, 0);
  fs::resize_file(disk_.path(), grain(2).data_offset);
  flip_bits(disk_.path(), grain(0).data_offset + 5);
  PowerCutFileSystem files;
  files.add("/disk.vmdk", file_bytes(disk_.path()));
  files.add("/copy.raw", file_bytes(raw()));
  files.add("/copy.raw.manifest", file_bytes(manifest()));
  HealOptions options;
  options.verify.image = "/disk.vmdk";
  options.verify.manifest = "/copy.raw.manifest";
  options.verify.graph.threads = 1;
  options.verify.on_difference = [](const Difference&) {};
  options.from = "/copy.raw";
  options.write = true;
  options.on_healed = [](const GuestRange&, const std::string&) {};
  options.on_left = options.on_healed;
  ASSERT_TRUE(IsOk(heal(files, options)));
  files.note(1);
  std::size_t shown = 0;
  const auto visit = [&](PowerCut& cut) {
    ++shown;
    static_cast<void>(undo_repair(cut.files(), {}, "/disk.vmdk"));
    const Result<HealReport> again = heal(cut.files(), options);
    EXPECT_TRUE(IsOk(again)) << cut.story();
    EXPECT_TRUE(again && again->whole()) << cut.story();
    EXPECT_TRUE(!cut.has_note(1) || again->before.same()) << cut.story();
    return !HasFailure();
  };
  files.for_each_state(visit, {.max_exhaustive = 4, .random_states = 600});
  EXPECT_GT(shown, 50U);
}

TEST_F(HealTest, KeepsTheOldBytesBesideASectorThatCannotBeRead) {
  build();
  const std::vector<std::byte> rot(4 * kSectorBytes, std::byte{0x77});
  patch_file(raw(), kGrain, rot);
  const std::vector<std::byte> rotten = file_bytes(raw());
  FaultFileSystem files(posix_file_system());
  const std::uint64_t broken = kGrain + kSectorBytes;
  files.add({.path_end = "copy.raw", .range_begin = broken, .range_end = broken + kSectorBytes});
  files.add({.call = FileCall::sync, .path_end = "copy.raw"});
  EXPECT_TRUE(HasError(run(raw(), disk_.path(), true, files), ErrorKind::io));
  EXPECT_EQ(file_bytes(raw()), healthy_[raw()]);
  ASSERT_TRUE(IsOk(undo_repair(posix_file_system(), {}, raw())));
  std::vector<std::byte> expected = rotten;
  const std::vector<std::byte> right = file_bytes(disk_.path(), grain(1).data_offset, kGrain);
  std::copy_n(right.begin() + kSectorBytes, kSectorBytes,
              expected.begin() + static_cast<std::ptrdiff_t>(broken));
  EXPECT_EQ(file_bytes(raw()), expected);
  expect_healed(raw(), disk_.path());
}

TEST_F(HealTest, WhatIsRightWhenItIsReadAgain) {
  build();
  FaultFileSystem files(posix_file_system());
  files.add({.path_end = "copy.raw", .range_begin = kGrain, .range_end = kGrain + 1});
  bool seen = false;
  HealOptions options;
  options.verify.image = raw();
  options.verify.manifest = manifest();
  options.verify.graph.threads = 1;
  options.verify.on_difference = [&](const Difference&) {
    seen = true;
    files.clear();
  };
  options.from = disk_.path();
  options.write = true;
  options.on_healed = [this](const GuestRange& range, const std::string& how) {
    ranges_.push_back(range.begin);
    reasons_.push_back(how);
  };
  options.on_left = [](const GuestRange&, const std::string&) {};
  const Result<HealReport> report = heal(files, options);
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(seen);
  EXPECT_TRUE(report->whole());
  EXPECT_EQ(ranges_, std::vector<std::uint64_t>{kGrain});
  EXPECT_EQ(reasons_, std::vector<std::string>{"is right when it is read again"});
  expect_healthy_files();
}

TEST_F(HealTest, ProvesTheCryptographicRootOfTheWholeDisk) {
  build();
  ASSERT_EQ(program({"convert", "-q", "--digest", "sha256", "disk.vmdk", "proof.raw"}).exit_status,
            0);
  fs::rename(dir_ / "proof.raw.manifest", manifest());
  flip_bits(raw(), kGrain);
  expect_healed(raw(), disk_.path());
  // As if what was fetched had the right XXH3 digest and other contents: another root.
  std::vector<std::byte> bytes = file_bytes(manifest());
  constexpr std::size_t kTrailer = 112;
  constexpr std::size_t kChecksum = 24;
  bytes[bytes.size() - kTrailer + 16] ^= std::byte{1};
  const std::span body = std::span(bytes).first(bytes.size() - kChecksum);
  store_digest(bytes.data() + body.size(), xxh3_128(body));
  patch_file(manifest(), 0, bytes);
  flip_bits(raw(), kGrain);
  const Result<HealReport> report = run(raw(), disk_.path());
  ASSERT_TRUE(IsOk(report));
  EXPECT_EQ(report->left_bytes, 0U);
  EXPECT_TRUE(report->root_differs);
  EXPECT_FALSE(report->whole());
  flip_bits(raw(), kGrain);
  const CommandResult told = program({"verify", "copy.raw", "--heal", "disk.vmdk", "--yes"});
  EXPECT_EQ(told.exit_status, 2) << told.out;
  EXPECT_NE(told.out.find("sha256 root differs"), std::string::npos) << told.out;
}

TEST_F(HealTest, RefusesTheManifestOfAnotherDisk) {
  build();
  flip_bits(raw(), kGrain);
  const std::vector<std::byte> rotten = file_bytes(raw());
  ASSERT_EQ(program({"create", "-q", "small.vmdk", "64k"}).exit_status, 0);
  ASSERT_EQ(program({"convert", "-q", "small.vmdk", "small.raw"}).exit_status, 0);
  fs::rename(dir_ / "small.raw.manifest", manifest());
  EXPECT_TRUE(HasError(run(raw(), disk_.path()), ErrorKind::mismatch, "manifest"));
  EXPECT_EQ(file_bytes(raw()), rotten);
}

TEST_F(HealTest, Qcow2WhereItIsStoredPlainly) {
  build();
  for (const bool compressed : {false, true}) {
    std::vector<std::string> arguments = {"convert", "-q", "-O", "qcow2", "disk.vmdk", "q"};
    if (compressed) arguments.emplace_back("-c");
    ASSERT_EQ(program(arguments).exit_status, 0);
    const std::vector<std::byte> healthy = file_bytes(dir_ / "q");
    flip_bits(dir_ / "q", place_in("q", 8 * kGrain) + 20);
    const std::vector<std::byte> rotten = file_bytes(dir_ / "q");
    const Result<HealReport> report = run(dir_ / "q", raw());
    ASSERT_TRUE(IsOk(report));
    ASSERT_FALSE(report->before.same());
    EXPECT_EQ(report->whole(), !compressed) << reasons_.front();
    EXPECT_EQ(file_bytes(dir_ / "q"), compressed ? rotten : healthy);
    fs::remove(dir_ / "q");
    fs::remove(dir_ / "q.manifest");
  }
}

TEST_F(HealTest, TellsPeopleAndProgramsWhatItDoes) {
  build();
  flip_bits(raw(), kGrain);
  EXPECT_EQ(program({"verify", "copy.raw"}).exit_status, 2);
  const CommandResult dry = program({"verify", "copy.raw", "--heal", "disk.vmdk"});
  EXPECT_EQ(dry.exit_status, 2);
  EXPECT_NE(dry.out.find("would be healed: guest offset 0x10000 to 0x20000"), std::string::npos)
      << dry.out;
  EXPECT_NE(dry.out.find("--yes"), std::string::npos);
  const CommandResult done =
      program({"verify", "copy.raw", "--heal", "disk.vmdk", "--yes", "--output", "json"});
  EXPECT_EQ(done.exit_status, 0) << done.err;
  const nlohmann::json object = nlohmann::json::parse(done.out, nullptr, false);
  EXPECT_EQ(object.value("healed_bytes", 0), 65536) << done.out;
  EXPECT_EQ(object.value("same", false), true);
  EXPECT_EQ(program({"verify", "copy.raw"}).exit_status, 0);
  EXPECT_EQ(program({"verify", "copy.raw", "--yes"}).exit_status, 1);
  expect_healthy_files();
}

}  // namespace
}  // namespace grainmill::testing
