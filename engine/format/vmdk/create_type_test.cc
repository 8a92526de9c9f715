// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create_type.h"

#include "tests/fakes/outcome.h"

#include <gtest/gtest.h>

namespace grainmill::vmdk {
namespace {

using testing::HasError;
using testing::IsOk;

// A descriptor of this createType with extents of these types.
Descriptor of(const std::string& create_type, const std::vector<std::string>& types) {
  Descriptor descriptor;
  descriptor.create_type = create_type;
  for (const std::string& type : types) {
    ExtentLine& line = descriptor.extents.emplace_back();
    line.type = type;
    line.file = "f.vmdk";
    line.text_offset = 100 * descriptor.extents.size();
  }
  return descriptor;
}

Status check(const std::string& create_type, const std::vector<std::string>& types) {
  return check_create_type(of(create_type, types), "d.vmdk", 512);
}

Descriptor named(const std::vector<std::string>& names) {
  Descriptor descriptor = of("twoGbMaxExtentSparse", {});
  for (const std::string& name : names) descriptor.extents.emplace_back().file = name;
  return descriptor;
}

Status numbering(const std::vector<std::string>& names) {
  return check_numbering(named(names), "d.vmdk", 0);
}

TEST(CreateType, TakesTheKindsThatAreRead) {
  for (const auto& [create_type, types] :
       std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"monolithicSparse", {"SPARSE"}},
           {"streamOptimized", {"SPARSE"}},
           {"twoGbMaxExtentSparse", {"SPARSE", "SPARSE", "ZERO"}},
           {"2GbMaxExtentSparse", {"SPARSE"}},
           {"monolithicFlat", {"FLAT"}},
           {"twoGbMaxExtentFlat", {"FLAT", "FLAT"}},
           {"2GbMaxExtentFlat", {"FLAT"}},
           {"vmfs", {"VMFS"}},
           {"vmfsThin", {"VMFS"}},
           {"vmfsThick", {"FLAT"}},
           {"vmfsPreallocated", {"VMFS"}},
           {"vmfsEagerZeroedThick", {"VMFS"}},
           {"vmfsSparse", {"VMFSSPARSE"}},
           {"custom", {"FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "ZERO"}}})
    EXPECT_TRUE(IsOk(check(create_type, types))) << create_type;
}

TEST(CreateType, IgnoresCase) {
  EXPECT_TRUE(IsOk(check("MONOLITHICSPARSE", {"SPARSE"})));
  EXPECT_TRUE(IsOk(check("StreamOptimized", {"SPARSE"})));
  EXPECT_TRUE(is_stream_optimized(of("STREAMOPTIMIZED", {})));
  EXPECT_FALSE(is_stream_optimized(of("monolithicSparse", {})));
}

TEST(CreateType, RefusesByNameWhatIsNotRead) {
  for (const char* create_type :
       {"fullDevice", "partitionedDevice", "vmfsRaw", "vmfsRDM", "vmfsRDMP", "vmfsRawDeviceMap",
        "vmfsPassthroughRawDeviceMap", "seSparse", "vmfsSeSparse", "vsanSparse", "holographic"})
    EXPECT_TRUE(HasError(check(create_type, {"FLAT"}), ErrorKind::unsupported, create_type));
}

TEST(CreateType, RefusesExtentsOfAnUnreadableKindWhateverTheTypeSays) {
  const Status sesparse = check("custom", {"FLAT", "SESPARSE"});
  EXPECT_TRUE(HasError(sesparse, ErrorKind::unsupported, "seSparse"));
  EXPECT_EQ(sesparse.error().offset, 512U + 200U);
  EXPECT_TRUE(HasError(check("vmfs", {"VMFSRDM"}), ErrorKind::unsupported, "VMFSRDM"));
  EXPECT_TRUE(HasError(check("vmfs", {"VMFSRAW"}), ErrorKind::unsupported, "VMFSRAW"));
}

TEST(CreateType, ContradictingExtentsAreDamage) {
  EXPECT_TRUE(HasError(check("monolithicSparse", {"SPARSE", "SPARSE"}), ErrorKind::corrupt, "one"));
  EXPECT_TRUE(HasError(check("streamOptimized", {}), ErrorKind::corrupt, "expected one"));
  EXPECT_TRUE(HasError(check("monolithicSparse", {"FLAT"}), ErrorKind::corrupt, "SPARSE"));
  EXPECT_TRUE(HasError(check("monolithicFlat", {"SPARSE"}), ErrorKind::corrupt, "FLAT"));
  EXPECT_TRUE(HasError(check("vmfsSparse", {"SPARSE"}), ErrorKind::corrupt, "VMFSSPARSE"));
  EXPECT_TRUE(HasError(check("custom", {"SPARS"}), ErrorKind::corrupt));
  EXPECT_TRUE(HasError(check("custom", {"FLAT VMFS"}), ErrorKind::corrupt) ||
              HasError(check("custom", {""}), ErrorKind::corrupt));
}

TEST(CreateType, KnowsWhichFlatFilesAreExact) {
  for (const char* type : {"monolithicFlat", "twoGbMaxExtentFlat", "2gbMaxExtentFlat", "vmfs",
                           "VMFSThin", "vmfsThick"})
    EXPECT_TRUE(flat_files_are_exact(of(type, {}))) << type;
  for (const char* type : {"custom", "monolithicSparse", "streamOptimized", "fullDevice"})
    EXPECT_FALSE(flat_files_are_exact(of(type, {}))) << type;
}

TEST(Numbering, TakesFilesInOrder) {
  EXPECT_TRUE(IsOk(numbering({"d-s001.vmdk", "d-s002.vmdk", "d-s003.vmdk"})));
  EXPECT_TRUE(IsOk(numbering({"d-f001.vmdk", "d-f002.vmdk"})));
  EXPECT_TRUE(IsOk(numbering({"D-S001.VMDK", "D-S002.VMDK"})));
  EXPECT_TRUE(IsOk(numbering({"d-s998.vmdk"})) == false);
}

TEST(Numbering, GrowsPastThreeDigits) {
  std::vector<std::string> names;
  for (int i = 1; i <= 1001; ++i)
    names.push_back("d-s" +
                    std::string(i < 10    ? 2
                                : i < 100 ? 1
                                          : 0,
                                '0') +
                    std::to_string(i) + ".vmdk");
  EXPECT_TRUE(IsOk(numbering(names)));
  EXPECT_EQ(name_after_last(named(names)), "d-s1002.vmdk");
}

TEST(Numbering, SeesLostLines) {
  EXPECT_TRUE(HasError(numbering({"d-s001.vmdk", "d-s003.vmdk"}), ErrorKind::corrupt, "number 2"));
  EXPECT_TRUE(HasError(numbering({"d-s002.vmdk", "d-s003.vmdk"}), ErrorKind::corrupt, "number 1"));
  EXPECT_TRUE(HasError(numbering({"d-s001.vmdk", "", "d-s003.vmdk"}), ErrorKind::corrupt));
}

TEST(Numbering, LeavesOtherNamesAlone) {
  EXPECT_TRUE(IsOk(numbering({"disk-flat.vmdk"})));
  EXPECT_TRUE(IsOk(numbering({"vm-000002.vmdk", "vm-000007.vmdk"})));
  EXPECT_TRUE(IsOk(numbering({"s001.vmdk", "s003.vmdk", "x-s01.vmdk", "-s", ""})));
  EXPECT_TRUE(IsOk(numbering({"a-s001.vmdk", "b-s001.vmdk", "b-s002.vmdk"})));
}

TEST(Numbering, NamesTheFileThatWouldComeNext) {
  EXPECT_EQ(name_after_last(named({"d-s001.vmdk"})), "d-s002.vmdk");
  EXPECT_EQ(name_after_last(named({"d-f009.vmdk"})), "d-f010.vmdk");
  EXPECT_EQ(name_after_last(named({"d-s999.vmdk"})), "d-s1000.vmdk");
  EXPECT_EQ(name_after_last(named({"disk-flat.vmdk"})), "");
  EXPECT_EQ(name_after_last(named({""})), "");
}

}  // namespace
}  // namespace grainmill::vmdk
