// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create.h"

#include "engine/base/arith.h"
#include "engine/base/byte_order.h"
#include "engine/format/vmdk/empty_extent.h"
#include "engine/format/vmdk/open.h"
#include "engine/format/vmdk/snapshot_parent.h"
#include "tests/fakes/memory_file_system.h"
#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace grainmill::vmdk {
namespace {

using testing::HasError;
using testing::IsOk;
using testing::MemoryFileSystem;

// The same numbers on every run.
RandomSource fixed_random() {
  return [generator = std::mt19937()]() mutable { return static_cast<std::uint32_t>(generator()); };
}

std::string text_of(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return std::string(text.substr(0, text.find('\0')));
}

TEST(UsualGeometry, FollowsTheAdapterAndTheSize) {
  EXPECT_EQ(usual_geometry(20480, "ide"), (Geometry{20, 16, 63}));
  EXPECT_EQ(usual_geometry(std::uint64_t{1} << 40, "ide"), (Geometry{16383, 16, 63}));
  EXPECT_EQ(usual_geometry(kGiB / 512, "lsilogic"), (Geometry{1024, 64, 32}));
  EXPECT_EQ(usual_geometry(kGiB / 512 + 1, "buslogic"), (Geometry{130, 255, 63}));
  EXPECT_EQ(usual_geometry(std::uint64_t{1} << 40, "legacyESX"), (Geometry{65535, 255, 63}));
  for (const char* adapter : {"ide", "lsilogic"})
    EXPECT_EQ(usual_geometry(1, adapter).cylinders, 1U) << adapter;
}

TEST(DescriptorText, IsWhatVmwareWrites) {
  Descriptor descriptor;
  descriptor.content_id = 0x12ab;
  descriptor.create_type = "twoGbMaxExtentSparse";
  descriptor.extents.push_back({.sectors = 4192256, .type = "SPARSE", .file = "d-s001.vmdk"});
  descriptor.extents.push_back({.sectors = 2048, .type = "SPARSE", .file = "d-s002.vmdk"});
  DiskDatabase database;
  database.geometry = {4161, 16, 63};
  database.uuid = "60 00 c2 91";
  database.long_content_id = "0123456789abcdef01234567000012ab";
  EXPECT_EQ(descriptor_text(descriptor, database),
            "# Disk DescriptorFile\n"
            "version=1\n"
            "encoding=\"UTF-8\"\n"
            "CID=000012ab\n"
            "parentCID=ffffffff\n"
            "createType=\"twoGbMaxExtentSparse\"\n"
            "\n"
            "# Extent description\n"
            "RW 4192256 SPARSE \"d-s001.vmdk\"\n"
            "RW 2048 SPARSE \"d-s002.vmdk\"\n"
            "\n"
            "# The Disk Data Base\n"
            "#DDB\n"
            "\n"
            "ddb.adapterType = \"ide\"\n"
            "ddb.geometry.cylinders = \"4161\"\n"
            "ddb.geometry.heads = \"16\"\n"
            "ddb.geometry.sectors = \"63\"\n"
            "ddb.longContentID = \"0123456789abcdef01234567000012ab\"\n"
            "ddb.toolsVersion = \"2147483647\"\n"
            "ddb.uuid = \"60 00 c2 91\"\n"
            "ddb.virtualHWVersion = \"4\"\n");
}

TEST(DescriptorText, ReadsBackAsWritten) {
  Descriptor descriptor;
  descriptor.content_id = 1;
  descriptor.parent_content_id = 0xfffffffd;
  descriptor.parent_hint = "../a b/grün.vmdk";
  descriptor.encoding = "GBK";
  descriptor.create_type = "custom";
  descriptor.extents = {
      {.sectors = 1, .type = "FLAT", .file = "a-flat.vmdk"},
      {.access = Access::read_only, .sectors = 2, .type = "FLAT", .file = "a", .offset_sectors = 9},
      {.sectors = 3, .type = "VMFS", .file = "b-flat.vmdk"},
      {.access = Access::none, .sectors = 4, .type = "ZERO", .file = ""}};
  const std::string text = descriptor_text(descriptor, DiskDatabase());
  const Result<Descriptor> parsed = parse_descriptor(text, "d", 0);
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_EQ(parsed->content_id, descriptor.content_id);
  EXPECT_EQ(parsed->parent_content_id, descriptor.parent_content_id);
  EXPECT_EQ(parsed->parent_hint, descriptor.parent_hint);
  EXPECT_EQ(parsed->encoding, "GBK");
  EXPECT_EQ(parsed->create_type, "custom");
  ASSERT_EQ(parsed->extents.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(parsed->extents[i].access, descriptor.extents[i].access);
    EXPECT_EQ(parsed->extents[i].sectors, descriptor.extents[i].sectors);
    EXPECT_EQ(parsed->extents[i].type, descriptor.extents[i].type);
    EXPECT_EQ(parsed->extents[i].file, descriptor.extents[i].file);
    EXPECT_EQ(parsed->extents[i].offset_sectors, descriptor.extents[i].offset_sectors);
  }
  // qemu takes a FLAT line only with an offset, and a VMFS line only without.
  EXPECT_TRUE(text.contains("\nRW 1 FLAT \"a-flat.vmdk\" 0\n")) << text;
  EXPECT_TRUE(text.contains("\nRW 3 VMFS \"b-flat.vmdk\"\n")) << text;
  EXPECT_FALSE(text.contains("uuid")) << text;
}

TEST(DescriptorText, KnowsWhatQuotesCannotHold) {
  EXPECT_TRUE(may_be_quoted("grün, \\ 'x' = # é.vmdk"));
  for (const char* bad : {"a\"b", "a\nb", "a\rb", "a\tb", "a\x7f"})
    EXPECT_FALSE(may_be_quoted(bad));
}

TEST(RandomContentId, NeverMeansAnythingElse) {
  std::uint32_t next = 0xfffffffdU;
  const RandomSource count_down = [&next] { return next++; };
  EXPECT_EQ(random_content_id(count_down), 0xfffffffdU);
  EXPECT_EQ(random_content_id(count_down), 0U);
  const RandomSource random = system_random();
  EXPECT_NE(random_content_id(random), random_content_id(random));
}

TEST(RandomIds, HaveTheirForms) {
  const std::string id = random_long_content_id(fixed_random(), 0xabc);
  EXPECT_EQ(id.size(), 32U);
  EXPECT_EQ(id.substr(24), "00000abc");
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  const std::string uuid = random_uuid(fixed_random());
  EXPECT_EQ(uuid.size(), 47U);
  EXPECT_TRUE(uuid.starts_with("60 00 c2 9")) << uuid;
  EXPECT_EQ(uuid[23], '-');
}

TEST(PlanHostedExtent, LaysTablesOutAsVmwareDoes) {
  const HostedHeader ten = plan_hosted_extent({.capacity_sectors = 20480, .text_bytes = 500});
  EXPECT_EQ(ten.descriptor_sector, 1U);
  EXPECT_EQ(ten.descriptor_sectors, 20U);
  EXPECT_EQ(ten.redundant_directory_sector, 21U);
  EXPECT_EQ(ten.directory_sector, 26U);
  EXPECT_EQ(ten.overhead_sectors, 128U);
  EXPECT_EQ(ten.flags, 3U);
  const HostedHeader five =
      plan_hosted_extent({.capacity_sectors = 5 * kGiB / 512, .text_bytes = 500});
  EXPECT_EQ(five.directory_sector, 663U);
  EXPECT_EQ(five.overhead_sectors, 1408U);
  const HostedHeader part =
      plan_hosted_extent({.capacity_sectors = 4064 * kMiB / 512, .zeroed_grains = true});
  EXPECT_EQ(part.descriptor_sector, 0U);
  EXPECT_EQ(part.redundant_directory_sector, 1U);
  EXPECT_EQ(part.directory_sector, 510U);
  EXPECT_EQ(part.version, 2U);
  EXPECT_EQ(part.flags, 7U);
}

TEST(PlanHostedExtent, GivesALongDescriptorItsRoom) {
  const HostedHeader header =
      plan_hosted_extent({.capacity_sectors = 128, .text_bytes = 20 * 512 + 1});
  EXPECT_EQ(header.descriptor_sectors, 21U);
  EXPECT_EQ(header.redundant_directory_sector, 22U);
}

TEST(PlanHostedExtent, KnowsWhatCanBeFilled) {
  EmptyExtentOptions options{.capacity_sectors = std::uint64_t{1} << 32, .text_bytes = 1};
  EXPECT_FALSE(can_be_filled(plan_hosted_extent(options)));
  options.capacity_sectors -= plan_hosted_extent(options).overhead_sectors;
  options.capacity_sectors =
      (std::uint64_t{1} << 32) - plan_hosted_extent(options).overhead_sectors;
  EXPECT_TRUE(can_be_filled(plan_hosted_extent(options)));
  options.capacity_sectors += 1;
  EXPECT_FALSE(can_be_filled(plan_hosted_extent(options)));
}

TEST(EncodeHostedHeader, ReadsBackAsWritten) {
  HostedHeader header = plan_hosted_extent({.capacity_sectors = 12345, .text_bytes = 1});
  header.unclean_shutdown = true;
  const Result<HostedHeader> parsed = parse_hosted_header(encode_hosted_header(header), "f", 0);
  ASSERT_TRUE(IsOk(parsed));
  EXPECT_EQ(encode_hosted_header(*parsed), encode_hosted_header(header));
  EXPECT_EQ(parsed->capacity_sectors, 12345U);
  EXPECT_TRUE(parsed->unclean_shutdown);
}

class CreateTest : public ::testing::Test {
 protected:
  CreateTest() {
    options_.size_bytes = 10 * kMiB;
    options_.random = fixed_random();
  }

  Result<CreatedDisk> make(const std::string& name = "disk.vmdk") {
    return create(files_, "/vm/" + name, options_);
  }
  Result<std::unique_ptr<Link>> open_link(const std::string& name) {
    GM_TRY(std::unique_ptr<File> file, files_.open_read("/vm/" + name));
    return open(std::move(file), files_, {});
  }
  std::string text(const std::string& name) {
    return text_of(files_.content("/vm/" + name).bytes());
  }
  // The names in the folder, sorted.
  std::vector<std::string> names() {
    std::vector<std::string> names = files_.list("/vm").value();
    std::ranges::sort(names);
    return names;
  }
  void expect_refused(std::string_view part) {
    const std::vector<std::string> before = names();
    EXPECT_TRUE(HasError(make(), ErrorKind::invalid_argument, part));
    EXPECT_EQ(names(), before);
  }
  // Makes a snapshot of a disk that has been made.
  Result<CreatedDisk> make_snapshot(const std::string& name, const std::string& parent) {
    GM_TRY(const ParentName found, name_parent(files_, "/vm/" + name, parent));
    GM_TRY(const std::unique_ptr<Link> link, open_link(name_of(found.path)));
    options_.parent = SnapshotParent{found.hint, {link.get()}};
    options_.size_bytes.reset();
    return make(name);
  }

  MemoryFileSystem files_;
  CreateOptions options_;
};

TEST_F(CreateTest, AMonolithicDiskIsOneFile) {
  const Result<CreatedDisk> made = make();
  ASSERT_TRUE(IsOk(made));
  EXPECT_EQ(made->files, std::vector<std::string>{"/vm/disk.vmdk"});
  EXPECT_EQ(made->size_bytes, 10 * kMiB);
  EXPECT_EQ(made->grain_bytes, 64 * kKiB);
  EXPECT_EQ(names(), std::vector<std::string>{"disk.vmdk"});

  const std::vector<std::byte> bytes = files_.content("/vm/disk.vmdk").bytes();
  ASSERT_EQ(bytes.size(), 65536U);
  const std::string text = text_of(std::span(bytes).subspan(512));
  EXPECT_EQ(text, descriptor_text(made->descriptor, made->database));
  EXPECT_TRUE(text.contains("RW 20480 SPARSE \"disk.vmdk\"\n")) << text;
  // The one table of each copy, and nothing else.
  EXPECT_EQ(load_le<std::uint32_t>(bytes.data() + 21 * kSectorBytes), 22U);
  EXPECT_EQ(load_le<std::uint32_t>(bytes.data() + 26 * kSectorBytes), 27U);
  EXPECT_EQ(std::ranges::count(std::span(bytes).subspan(21 * kSectorBytes), std::byte{0}),
            static_cast<std::ptrdiff_t>(65536 - 21 * 512 - 2));
}

TEST_F(CreateTest, LooksTheSameForTheSameRandomNumbers) {
  ASSERT_TRUE(IsOk(make()));
  const std::vector<std::byte> first = files_.content("/vm/disk.vmdk").bytes();
  ASSERT_TRUE(IsOk(files_.remove("/vm/disk.vmdk")));
  options_.random = fixed_random();
  ASSERT_TRUE(IsOk(make()));
  EXPECT_EQ(files_.content("/vm/disk.vmdk").bytes(), first);
}

TEST_F(CreateTest, ASplitDiskHasPartsOf2047MiB) {
  options_.subformat = "twoGbMaxExtentSparse";
  options_.size_bytes = 2047 * kMiB + 64 * kKiB;
  ASSERT_TRUE(IsOk(make()));
  EXPECT_EQ(names(), (std::vector<std::string>{"disk-s001.vmdk", "disk-s002.vmdk", "disk.vmdk"}));
  EXPECT_TRUE(text("disk.vmdk")
                  .contains("# Extent description\n"
                            "RW 4192256 SPARSE \"disk-s001.vmdk\"\n"
                            "RW 128 SPARSE \"disk-s002.vmdk\"\n\n"));
  const std::vector<std::byte> part = files_.content("/vm/disk-s002.vmdk").bytes();
  const Result<HostedHeader> header = parse_hosted_header(part, "part", 0);
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->capacity_sectors, 128U);
  EXPECT_EQ(header->descriptor_sector, 0U);
  EXPECT_EQ(header->redundant_directory_sector, 1U);
  EXPECT_EQ((*open_link("disk.vmdk"))->size_bytes(), *options_.size_bytes);
}

TEST_F(CreateTest, FlatDisksHaveTheirData) {
  for (const std::string type : {"monolithicFlat", "twoGbMaxExtentFlat", "vmfs"}) {
    for (const std::string& name : names()) ASSERT_TRUE(IsOk(files_.remove("/vm/" + name)));
    options_.subformat = type;
    ASSERT_TRUE(IsOk(make("a.b.vmdk")));
    const std::string data = type == "twoGbMaxExtentFlat" ? "a.b-f001.vmdk" : "a.b-flat.vmdk";
    EXPECT_EQ(names(), (std::vector<std::string>{data, "a.b.vmdk"}));
    EXPECT_EQ(files_.content("/vm/" + data).size_bytes(), 10 * kMiB);
    EXPECT_EQ(text("a.b.vmdk").contains("thinProvisioned"), type == "vmfs");
    const auto link = open_link("a.b.vmdk");
    ASSERT_TRUE(IsOk(link));
    EXPECT_EQ((*link)->description().create_type, type);
  }
}

TEST_F(CreateTest, NamesOfOtherFormsWorkToo) {
  options_.subformat = "monolithicFlat";
  ASSERT_TRUE(IsOk(make("disk")));
  ASSERT_TRUE(IsOk(make("disk.img")));
  EXPECT_EQ(names(), (std::vector<std::string>{"disk", "disk-flat", "disk-flat.img", "disk.img"}));
}

TEST_F(CreateTest, TakesOptions) {
  options_.adapter_type = "lsilogic";
  options_.hardware_version = 21;
  options_.tools_version = 12;
  options_.grain_bytes = 4096;
  options_.zeroed_grains = true;
  ASSERT_TRUE(IsOk(make()));
  const std::vector<std::byte> bytes = files_.content("/vm/disk.vmdk").bytes();
  const Result<HostedHeader> header = parse_hosted_header(bytes, "f", 0);
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(header->version, 2U);
  EXPECT_EQ(header->flags, 7U);
  EXPECT_EQ(header->grain_sectors, 8U);
  EXPECT_EQ(header->overhead_sectors % 8, 0U);
  const std::string text = text_of(std::span(bytes).subspan(512));
  for (const char* line : {"adapterType = \"lsilogic\"", "virtualHWVersion = \"21\"",
                           "toolsVersion = \"12\"", "geometry.heads = \"64\""})
    EXPECT_TRUE(text.contains(line)) << text;
}

TEST_F(CreateTest, RoundsUpToSectors) {
  options_.size_bytes = 513;
  EXPECT_EQ(make()->size_bytes, 1024U);
}

TEST_F(CreateTest, RefusesSizesThatNoDiskHas) {
  options_.size_bytes = 0;
  expect_refused("0 bytes");
  options_.size_bytes.reset();
  expect_refused("needs a size");
  options_.size_bytes = 2 * kTiB;
  expect_refused("twoGbMaxExtentSparse");
  options_.size_bytes = 2 * kTiB - kGiB;
  EXPECT_TRUE(IsOk(make("large.vmdk")));
  options_.subformat = "twoGbMaxExtentFlat";
  for (const std::uint64_t size : {100 * kTiB, 409600 * kTiB}) {
    options_.size_bytes = size;
    expect_refused("more than a descriptor can name");
  }
  options_.subformat = "vmfs";
  options_.size_bytes = std::uint64_t{1} << 60;
  expect_refused("more than any VMDK");
}

TEST_F(CreateTest, RefusesWhatItDoesNotKnow) {
  options_.subformat = "qcow2";
  expect_refused("monolithicSparse, monolithicFlat, twoGbMaxExtentSparse");
  options_.subformat = "streamOptimized";
  expect_refused("written once");
  options_.subformat = "";
  options_.adapter_type = "nvme";
  expect_refused("ide, lsilogic, buslogic, legacyESX");
  options_.adapter_type.reset();
  for (const std::uint64_t grain : {0ULL, 512ULL, 2048ULL, 12288ULL, 2097152ULL}) {
    options_.grain_bytes = grain;
    expect_refused("4k to 1M");
  }
  options_.grain_bytes = 65536;
  options_.subformat = "vmfs";
  expect_refused("no grains: leave out grain_size");
  options_.grain_bytes.reset();
  options_.zeroed_grains = true;
  expect_refused("no grains: leave out zeroed_grain");
}

TEST_F(CreateTest, RefusesNamesThatADescriptorCannotHold) {
  for (const char* name : {"a\"b.vmdk", "a\nb.vmdk", "", "..", "."})
    EXPECT_TRUE(HasError(make(name), ErrorKind::invalid_argument)) << name;
}

TEST_F(CreateTest, KeepsWhatIsThere) {
  files_.add("/vm/disk.vmdk", "precious");
  expect_refused("--force");
  EXPECT_EQ(text("disk.vmdk"), "precious");
  options_.subformat = "monolithicFlat";
  expect_refused("--force");
  ASSERT_TRUE(IsOk(files_.remove("/vm/disk.vmdk")));
  files_.add("/vm/disk-flat.vmdk", "precious");
  expect_refused("/vm/disk-flat.vmdk: exists already");
  options_.replace = true;
  EXPECT_TRUE(IsOk(make()));
  EXPECT_EQ((*open_link("disk.vmdk"))->size_bytes(), 10 * kMiB);
}

TEST_F(CreateTest, APartOfAnotherDiskIsNotTakenForItsOwn) {
  options_.subformat = "twoGbMaxExtentSparse";
  options_.replace = true;
  files_.add("/vm/disk-s002.vmdk", "of a larger one");
  expect_refused("/vm/disk-s002.vmdk: lies where the next part");
}

TEST_F(CreateTest, ASnapshotContinuesItsParent) {
  options_.adapter_type = "buslogic";
  options_.hardware_version = 9;
  options_.grain_bytes = 8192;
  const Result<CreatedDisk> base = make("base.vmdk");
  ASSERT_TRUE(IsOk(base));
  options_ = CreateOptions();
  const Result<CreatedDisk> snap = make_snapshot("snap.vmdk", "base.vmdk");
  ASSERT_TRUE(IsOk(snap));
  EXPECT_EQ(snap->size_bytes, base->size_bytes);
  EXPECT_EQ(snap->grain_bytes, 8192U);
  EXPECT_EQ(snap->descriptor.create_type, "monolithicSparse");
  EXPECT_EQ(snap->descriptor.parent_hint, "base.vmdk");
  EXPECT_EQ(snap->descriptor.content_id, base->descriptor.content_id);
  EXPECT_EQ(snap->descriptor.parent_content_id, base->descriptor.content_id);
  EXPECT_EQ(snap->database.long_content_id, base->database.long_content_id);
  EXPECT_EQ(snap->database.adapter_type, "buslogic");
  EXPECT_EQ(snap->database.geometry, base->database.geometry);
  EXPECT_EQ(snap->database.hardware_version, 9U);
  EXPECT_EQ(snap->database.uuid, "") << "it is the same disk to its machine";
  EXPECT_FALSE(snap->parent_is_elsewhere);
  EXPECT_EQ((*open_link("snap.vmdk"))->description().parent->hint, "base.vmdk");
}

TEST_F(CreateTest, ASnapshotIsSplitAsItsParentIs) {
  options_.subformat = "twoGbMaxExtentFlat";
  ASSERT_TRUE(IsOk(make("base.vmdk")));
  options_.subformat = "";
  EXPECT_EQ(make_snapshot("snap.vmdk", "base.vmdk")->descriptor.create_type,
            "twoGbMaxExtentSparse");
  options_.subformat = "monolithicSparse";
  EXPECT_TRUE(IsOk(make_snapshot("one.vmdk", "base.vmdk")));
  for (const char* flat : {"monolithicFlat", "twoGbMaxExtentFlat", "vmfs"}) {
    options_.subformat = flat;
    EXPECT_TRUE(HasError(make_snapshot("two.vmdk", "base.vmdk"), ErrorKind::invalid_argument,
                         "stores only what is changed"));
  }
}

TEST_F(CreateTest, ASnapshotTakesWhatAnAncestorSays) {
  options_.adapter_type = "lsilogic";
  ASSERT_TRUE(IsOk(make("base.vmdk")));
  // As VMware writes the descriptors of snapshots.
  const std::string middle =
      "# Disk DescriptorFile\nversion=1\nCID=00000007\nparentCID=1\ncreateType=\"monolithicFlat\"\n"
      "parentFileNameHint=\"base.vmdk\"\nRW 20480 FLAT \"x\" 0\n"
      "DDB.ToolsVersion = \"33\"\nddb.geometry.heads = \"1\"\n";
  files_.add("/vm/x", std::string(10 * kMiB, 'x'));
  files_.add("/vm/middle.vmdk", middle);
  const auto links = std::array{open_link("middle.vmdk"), open_link("base.vmdk")};
  for (const auto& link : links) ASSERT_TRUE(IsOk(link));
  const Result<ParentFacts> facts =
      read_parent(std::array<const Link*, 2>{links[0]->get(), links[1]->get()});
  ASSERT_TRUE(IsOk(facts));
  EXPECT_EQ(facts->content_id, 7U);
  EXPECT_EQ(facts->adapter_type, "lsilogic");
  EXPECT_EQ(facts->geometry, usual_geometry(20480, "lsilogic"));
  EXPECT_EQ(facts->tools_version, 33U);
  EXPECT_EQ(facts->long_content_id, std::nullopt) << "it goes with one content ID only";
  EXPECT_EQ(facts->grain_bytes, std::nullopt);
}

TEST_F(CreateTest, ASnapshotHasTheSizeOfItsParent) {
  ASSERT_TRUE(IsOk(make("base.vmdk")));
  const auto link = open_link("base.vmdk");
  options_.parent = SnapshotParent{"base.vmdk", {link->get()}};
  options_.size_bytes = 11 * kMiB;
  expect_refused("leave the size out");
  options_.size_bytes = 10 * kMiB;
  EXPECT_TRUE(IsOk(make()));
}

TEST_F(CreateTest, ASnapshotNeverReplacesWhatItBuildsOn) {
  options_.subformat = "monolithicFlat";
  ASSERT_TRUE(IsOk(make("base.vmdk")));
  options_.subformat = "";
  options_.replace = true;
  EXPECT_TRUE(
      HasError(make_snapshot("base.vmdk", "base.vmdk"), ErrorKind::invalid_argument, "builds on"));
  EXPECT_TRUE(HasError(make_snapshot("base-flat.vmdk", "base.vmdk"), ErrorKind::invalid_argument,
                       "builds on"));
}

TEST_F(CreateTest, AHintMustLeadToTheParent) {
  ASSERT_TRUE(IsOk(make("base.vmdk")));
  ASSERT_TRUE(IsOk(make("other.vmdk")));
  const auto link = open_link("base.vmdk");
  options_.parent = SnapshotParent{"other.vmdk", {link->get()}};
  expect_refused("not its parent /vm/base.vmdk");
  options_.parent->hint = "none.vmdk";
  EXPECT_TRUE(HasError(make(), ErrorKind::not_found));
}

TEST_F(CreateTest, AParentNeedsAContentId) {
  files_.add("/vm/base.vmdk", "createType=\"custom\"\nRW 8 ZERO\n");
  EXPECT_TRUE(
      HasError(make_snapshot("s.vmdk", "base.vmdk"), ErrorKind::unsupported, "no content ID"));
  files_.add("/vm/base.vmdk", "CID=ffffffff\ncreateType=\"custom\"\nRW 8 ZERO\n");
  EXPECT_TRUE(
      HasError(make_snapshot("s.vmdk", "base.vmdk"), ErrorKind::unsupported, "no content ID"));
}

TEST_F(CreateTest, AParentElsewhereIsPointedOut) {
  ASSERT_TRUE(IsOk(create(files_, "/templates/base.vmdk", options_)));
  auto file = files_.open_read("/templates/base.vmdk");
  const auto link = open(*std::move(file), files_, {});
  ASSERT_TRUE(IsOk(link));
  options_.parent = SnapshotParent{"/templates/base.vmdk", {link->get()}};
  const Result<CreatedDisk> made = make();
  ASSERT_TRUE(IsOk(made));
  EXPECT_TRUE(made->parent_is_elsewhere);
}

class NameParentTest : public ::testing::Test {
 protected:
  void put(const std::string& path) { files_.add(path, path); }

  MemoryFileSystem files_;
};

TEST_F(NameParentTest, IsLookedForFromTheSnapshotsFolder) {
  put("vm/base.vmdk");
  const Result<ParentName> name = name_parent(files_, "vm/snap.vmdk", "base.vmdk");
  ASSERT_TRUE(IsOk(name));
  EXPECT_EQ(name->path, "vm/base.vmdk");
  EXPECT_EQ(name->hint, "base.vmdk");
  EXPECT_TRUE(HasError(name_parent(files_, "vm/snap.vmdk", "none.vmdk"), ErrorKind::not_found,
                       "vm/none.vmdk"));
}

TEST_F(NameParentTest, OnesOwnFolderIsNotStored) {
  put("/vm/base.vmdk");
  EXPECT_EQ(name_parent(files_, "/vm/snap.vmdk", "/vm/base.vmdk")->hint, "base.vmdk");
  put("sub/base.vmdk");
  const Result<ParentName> name = name_parent(files_, "sub/snap.vmdk", "sub/base.vmdk");
  ASSERT_TRUE(IsOk(name));
  EXPECT_EQ(name->path, "sub/base.vmdk");
  EXPECT_EQ(name->hint, "base.vmdk");
}

TEST_F(NameParentTest, OtherFoldersAreStoredAsWritten) {
  put("/other/base.vmdk");
  EXPECT_EQ(name_parent(files_, "/vm/snap.vmdk", "/other/base.vmdk")->hint, "/other/base.vmdk");
  put("vm/sub/base.vmdk");
  EXPECT_EQ(name_parent(files_, "vm/snap.vmdk", "sub/base.vmdk")->hint, "sub/base.vmdk");
}

TEST_F(NameParentTest, DoubtIsRefused) {
  put("a/base.vmdk");
  EXPECT_TRUE(HasError(name_parent(files_, "vm/snap.vmdk", "a/base.vmdk"),
                       ErrorKind::invalid_argument, "write its absolute path"));
  put("vm/a/base.vmdk");
  EXPECT_TRUE(HasError(name_parent(files_, "vm/snap.vmdk", "a/base.vmdk"),
                       ErrorKind::invalid_argument, "could be vm/a/base.vmdk or"));
}

}  // namespace
}  // namespace grainmill::vmdk
