// SPDX-License-Identifier: Apache-2.0
//
// qemu-img as a second oracle: it reads what the builder writes, we read what it writes, and both
// must see the same disk.
#include "tests/conversion.h"
#include "tests/program.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"
#include "tests/support/qemu_img.h"
#include "tests/support/temp_dir.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <string>
#include <tuple>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;
using enum Kind;

class QemuOracle : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_qemu_img()) GTEST_SKIP() << "no qemu-img";
  }

  void convert_disk(const fs::path& image) {
    const Result<ConvertReport> report =
        convert(posix_file_system(), convert_options(image, ours_));
    ASSERT_TRUE(report) << report.error();
  }
  void expect_qemu_agrees(const fs::path& image) {
    const CommandResult qemu = qemu_convert_to_raw(image, theirs_);
    ASSERT_TRUE(qemu.ok()) << qemu.err;
    expect_same_bytes(file_bytes(ours_), file_bytes(theirs_));
  }

  TempDir dir_;
  fs::path ours_ = dir_ / "ours.img";
  fs::path theirs_ = dir_ / "theirs.img";
};

// Any layout in any form, told by a number.
struct RandomDisk {
  explicit RandomDisk(std::uint64_t seed) : seed_(mix(seed)) {
    const std::uint64_t links = 1 + choose(4);
    for (std::uint64_t i = 0; i < links; ++i) options.push_back(random_link());
    layout = random_layout(seed_, (1 + choose(3000)) * 512, 4096U << choose(5), links);
  }

  std::vector<LinkOptions> options;
  Layout layout;
  bool qemu_reads = true;

 private:
  std::uint64_t choose(std::uint64_t bound) { return mix(seed_ + ++salt_) % bound; }

  LinkOptions random_link() {
    constexpr std::array kKinds{monolithic_sparse, two_gb_sparse, vmfs_sparse, stream_optimized,
                                monolithic_flat,   two_gb_flat,   vmfs};
    constexpr std::array kForms{StreamForm::footer, StreamForm::gd_in_front, StreamForm::qemu};
    constexpr std::array<std::uint64_t, 5> kGrains{128, 8, 16, 32, 2048};
    const bool is_base = options.empty();
    LinkOptions link{.kind = kKinds[choose(is_base ? kKinds.size() : 4)]};
    link.grain_sectors = kGrains[choose(link.kind == stream_optimized ? 4 : kGrains.size())];
    if (link.kind == vmfs_sparse && choose(2) == 0) link.grain_sectors = 1;
    link.gtes_per_gt = 1U << choose(10);
    link.header_version = 1 + static_cast<std::uint32_t>(choose(3));
    link.placement = static_cast<Placement>(choose(3));
    link.placement_seed = choose(1000);
    link.last_grain = static_cast<LastGrain>(choose(3));
    // Tables of less than a sector, of which some are missing, are what a damaged header looks
    // like.
    link.grain_tables =
        link.gtes_per_gt < 128 ? GrainTables::all : static_cast<GrainTables>(choose(3));
    link.stream.form = kForms[choose(kForms.size())];
    link.stream.deflate_level = static_cast<int>(choose(13));
    const bool splits = link.kind == two_gb_sparse || link.kind == two_gb_flat;
    if (splits) link.split_size_bytes = (1 + choose(16)) * (64ULL << 10) + choose(2) * 1536;
    // qemu looks for the rest of an extent's last grain in that extent.
    if (link.kind == two_gb_sparse && link.split_size_bytes % (link.grain_sectors * 512) != 0)
      qemu_reads = false;
    return link;
  }

  std::uint64_t seed_;
  std::uint64_t salt_ = 0;
};

class RandomDisks : public QemuOracle, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint64_t kDisksEach = 25;
};

TEST_P(RandomDisks, ConvertToWhatTheLayoutAndQemuSay) {
  for (std::uint64_t seed = GetParam(); seed < GetParam() + kDisksEach; ++seed) {
    RandomDisk random(seed);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + to_string(random.layout));
    const BuiltDisk disk = build_disk(dir_.path(), "disk", random.layout, random.options);
    convert_disk(disk.path());
    expect_same_bytes(file_bytes(ours_),
                      expected_bytes(random.layout, 0, random.layout.size_bytes()));
    if (random.qemu_reads) expect_qemu_agrees(disk.path());
    if (HasFailure()) return;
    for (const fs::path& path : disk.files()) fs::remove(path);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomDisks, ::testing::Range<std::uint64_t>(0, 300, 25));

class QemuImages : public QemuOracle, public ::testing::WithParamInterface<std::string> {
 protected:
  void create(const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> argv = {"qemu-img", "create", "-q", "-f", "vmdk"};
    argv.insert(argv.end(), more.begin(), more.end());
    for (std::string& word : argv)
      if (word == "NAME") word = (dir_ / name).string();
    const CommandResult made = run_command(argv);
    ASSERT_TRUE(made.ok()) << made.err;
  }
  void write(const std::string& name, const std::vector<std::string>& commands) {
    std::vector<std::string> argv = {"qemu-io", "-f", "vmdk"};
    for (const std::string& command : commands) argv.insert(argv.end(), {"-c", command});
    argv.push_back((dir_ / name).string());
    const CommandResult wrote = run_command(argv);
    ASSERT_TRUE(wrote.ok()) << wrote.out << wrote.err;
  }
  bool is_stream() const { return GetParam() == "streamOptimized"; }
};

TEST_P(QemuImages, Convert) {
  create("disk.vmdk", {"-o", "subformat=" + GetParam(), "NAME", "5243392"});
  convert_disk(dir_ / "disk.vmdk");
  expect_qemu_agrees(dir_ / "disk.vmdk");
  // A stream takes whole grains, each once.
  if (is_stream())
    write("disk.vmdk", {"write -P 1 0 64k", "write -P 2 1M 128k", "write -P 3 3M 64k"});
  else
    write("disk.vmdk", {"write -P 1 0 100k", "write -P 2 1M 512", "write -P 3 5242880 512",
                        "write -P 4 1M 1536", "write -P 0 2M 300k"});
  convert_disk(dir_ / "disk.vmdk");
  expect_qemu_agrees(dir_ / "disk.vmdk");
  const Verification image = verify_image(dir_ / "disk.vmdk", ours_.string() + ".manifest");
  EXPECT_TRUE(image.same()) << image;
}

TEST_P(QemuImages, ConvertWithSnapshots) {
  create("disk.vmdk", {"-o", "subformat=" + GetParam(), "NAME", "4M"});
  if (is_stream())
    write("disk.vmdk", {"write -P 1 0 64k", "write -P 2 1M 128k"});
  else
    write("disk.vmdk", {"write -P 1 0 100k", "write -P 2 1M 200k"});
  // qemu makes snapshots of this kind only.
  create("one.vmdk", {"-o", "subformat=monolithicSparse", "-F", "vmdk", "-b",
                      (dir_ / "disk.vmdk").string(), "NAME"});
  write("one.vmdk", {"write -P 5 64k 64k", "write -P 6 1100k 3k"});
  create("two.vmdk", {"-o", "subformat=monolithicSparse,zeroed_grain=on", "-F", "vmdk", "-b",
                      (dir_ / "one.vmdk").string(), "NAME"});
  write("two.vmdk", {"write -z 1M 64k", "write -P 7 3M 64k"});
  convert_disk(dir_ / "two.vmdk");
  expect_qemu_agrees(dir_ / "two.vmdk");
}

TEST_P(QemuImages, ConvertWhereQemuConverted) {
  build_long_disk(dir_ / "long.raw", 4);
  fs::resize_file(dir_ / "long.raw", 6 << 20);
  const CommandResult made = run_command({"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o",
                                          "subformat=" + GetParam(), (dir_ / "long.raw").string(),
                                          (dir_ / "disk.vmdk").string()});
  ASSERT_TRUE(made.ok()) << made.err;
  convert_disk(dir_ / "disk.vmdk");
  expect_same_disks(ours_, dir_ / "long.raw");
}

INSTANTIATE_TEST_SUITE_P(Subformats, QemuImages,
                         ::testing::Values("monolithicSparse", "monolithicFlat",
                                           "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
                                           "streamOptimized"),
                         [](const auto& test) { return test.param; });

// The fields of JSON reports that both programs print.
class QemuJson : public QemuOracle {
 protected:
  nlohmann::json ours(const std::string& verb, const fs::path& image) {
    return parse(run_program(dir_.path(), {verb, "--output", "json", image.filename().string()}));
  }
  nlohmann::json theirs(const std::string& verb, const fs::path& image) {
    CommandOptions options;
    options.working_dir = dir_.path();
    return parse(run_command(
        {"qemu-img", verb, "--output=json", "-f", "vmdk", image.filename().string()}, options));
  }
  static nlohmann::json parse(const CommandResult& result) {
    EXPECT_TRUE(result.ok()) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }

  static void expect_common_fields(const nlohmann::json& got, const nlohmann::json& want) {
    for (const auto& [name, value] : want.items()) {
      if (!got.contains(name)) continue;
      SCOPED_TRACE(name);
      if (value.is_object()) {
        expect_common_fields(got[name], value);
      } else if (value.is_array()) {
        expect_common_items(got[name], value);
      } else if (value != "") {  // qemu does not say the type of an embedded extent
        EXPECT_EQ(got[name], value);
      }
    }
  }
  static void expect_common_items(const nlohmann::json& got, const nlohmann::json& want) {
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < got.size(); ++i) expect_common_fields(got[i], want[i]);
  }

  // What each sector is: neighbours are joined differently where grains are compressed.
  using Sector = std::tuple<nlohmann::json, nlohmann::json, nlohmann::json>;
  static std::vector<Sector> sectors(const nlohmann::json& map) {
    std::vector<Sector> result;
    for (const nlohmann::json& extent : map)
      result.resize(result.size() + extent["length"].get<std::size_t>() / 512,
                    {extent["depth"], extent["zero"], extent["data"]});
    return result;
  }

  const std::string layout_ = "64k:A 64k:- 128k:B 7s:C | 64k:^ 64k:- 64k:D 64k:^ 7s:^";
};

TEST_F(QemuJson, InfoSaysTheSame) {
  for (const Kind kind : {monolithic_sparse, two_gb_sparse, two_gb_flat, stream_optimized}) {
    const std::string name = "kind" + std::to_string(static_cast<int>(kind));
    const BuiltDisk disk =
        build_disk(dir_.path(), name, parse_layout("64k:A 64k:- 7s:B"), {.kind = kind});
    SCOPED_TRACE(disk.path());
    const nlohmann::json got = ours("info", disk.path());
    for (const std::string field :
         {"virtual-size", "filename", "format", "actual-size", "format-specific", "dirty-flag"})
      EXPECT_TRUE(got.contains(field)) << field;
    expect_common_fields(got, theirs("info", disk.path()));
  }
  const BuiltDisk chain = build_disk(dir_.path(), "chain", parse_layout(layout_));
  EXPECT_EQ(ours("info", chain.path())["backing-filename"], "chain.vmdk");
  expect_common_fields(ours("info", chain.path())["format-specific"],
                       theirs("info", chain.path())["format-specific"]);
}

TEST_F(QemuJson, MapSaysTheSame) {
  const BuiltDisk chain =
      build_disk(dir_.path(), "chain", parse_layout(layout_), {.header_version = 2});
  expect_common_items(ours("map", chain.path()), theirs("map", chain.path()));
  const BuiltDisk stream =
      build_disk(dir_.path(), "stream", parse_layout(layout_), {.kind = stream_optimized});
  EXPECT_EQ(sectors(ours("map", stream.path())), sectors(theirs("map", stream.path())));
}

}  // namespace
}  // namespace grainmill::testing
