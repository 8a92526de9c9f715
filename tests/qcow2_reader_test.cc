// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images as qemu makes them: every one must read as qemu reads it. And images of our own
// making, of random layouts, which both must read as the layout says.
#include "tests/qcow2_reader.h"

#include "tests/program.h"
#include "tests/support/qcow2_builder.h"
#include "tests/support/vmdk_builder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

struct Geometry {
  std::string cluster_size;
  std::string compat;
};

class Qcow2Geometry : public Qcow2Reader, public ::testing::WithParamInterface<Geometry> {
 protected:
  std::string options(const std::string& more = {}) const {
    return "cluster_size=" + GetParam().cluster_size + ",compat=" + GetParam().compat +
           (more.empty() ? "" : "," + more);
  }
  bool has_zeros() const { return GetParam().compat != "0.10"; }
  Words writes() const {
    Words commands = {"write -P 1 0 100k",  "write -P 2 1M 512",   "write -P 3 5242880 512",
                      "write -P 4 1M 1536", "write -P 0 2M 300k",  "write -P 5 3M 1M",
                      "discard 3200k 64k",  "write -P 6 4100k 3k", "discard 4100k 4k"};
    if (has_zeros())
      commands.insert(commands.end(), {"write -z 3400k 100k", "write -zu 3700k 200k"});
    return commands;
  }
};

TEST_P(Qcow2Geometry, Written) {
  create("empty.qcow2", options(), "5243392");
  expect_same("empty.qcow2");
  create("disk.qcow2", options(), "5243392");
  io("disk.qcow2", writes());
  expect_same("disk.qcow2");
}

TEST_P(Qcow2Geometry, OddSizes) {
  for (const std::string size : {"512", "65024", "66048", "1049088", "3000320"}) {
    create("disk.qcow2", options(), size);
    const std::string last = std::to_string(std::stoull(size) - 512);
    io("disk.qcow2", {"write -P 7 " + last + " 512", "write -P 8 0 512"});
    expect_same("disk.qcow2");
  }
}

TEST_P(Qcow2Geometry, Compressed) {
  make_source("source.raw", 6 * kMiB + 1536);
  Words types = {""};
  if (has_zeros()) types.emplace_back(",compression_type=zstd");
  for (const std::string& type : types) {
    img({"convert", "-f", "raw", "-O", "qcow2", "-c", "-o", options() + type, path("source.raw"),
         path("disk.qcow2")});
    expect_same("disk.qcow2");
    // Whose streams share host clusters with what is gone.
    io("disk.qcow2", {"write -P 9 64k 70k", "write -P 10 1M 512", "discard 2M 1M"});
    expect_same("disk.qcow2");
  }
}

TEST_P(Qcow2Geometry, Chains) {
  create("base.qcow2", options(), "4M");
  io("base.qcow2", {"write -P 11 0 3M", "write -P 12 4193792 512", "discard 1M 512k"});
  create("one.qcow2", options(), "", {"-b", path("base.qcow2"), "-F", "qcow2"});
  io("one.qcow2", {"write -P 21 64k 64k", "write -P 22 1100k 3k", "discard 3M 128k"});
  if (has_zeros()) io("one.qcow2", {"write -z 512k 200k"});
  create("two.qcow2", options(), "6M", {"-b", "one.qcow2", "-F", "qcow2"});
  io("two.qcow2", {"write -P 23 0 1k", "write -P 24 5M 64k", "write -P 25 4193792 1k"});
  create("three.qcow2", options(), "3M", {"-b", "two.qcow2", "-F", "qcow2"});
  io("three.qcow2", {"write -P 26 2M 4k"});
  for (const char* name : {"base.qcow2", "one.qcow2", "two.qcow2", "three.qcow2"})
    expect_same(name);
}

TEST_P(Qcow2Geometry, CompressedBelow) {
  make_source("source.raw", 3 * kMiB);
  img({"convert", "-f", "raw", "-O", "qcow2", "-c", "-o", options(), path("source.raw"),
       path("base.qcow2")});
  // Small clusters above show large ones below in pieces, and the other way round.
  for (const std::string size : {"512", "4k", "64k", "2M"}) {
    create("top.qcow2", "cluster_size=" + size, "", {"-b", "base.qcow2", "-F", "qcow2"});
    io("top.qcow2", {"write -P 31 0 512", "write -P 32 100k 3k", "write -P 33 130k 3k",
                     "write -P 34 1000k 100k", "write -P 35 2105344 512"});
    expect_same("top.qcow2");
    // A compressed image over a compressed one.
    make_source("other.raw", 2 * kMiB, 7);
    img({"convert", "-f", "raw", "-O", "qcow2", "-c", "-B", "base.qcow2", "-F", "qcow2", "-o",
         "cluster_size=" + size, path("other.raw"), path("over.qcow2")});
    expect_same("over.qcow2");
  }
}

INSTANTIATE_TEST_SUITE_P(All, Qcow2Geometry,
                         ::testing::Values(Geometry{"512", "0.10"}, Geometry{"512", "1.1"},
                                           Geometry{"4k", "0.10"}, Geometry{"4k", "1.1"},
                                           Geometry{"64k", "0.10"}, Geometry{"64k", "1.1"},
                                           Geometry{"2M", "0.10"}, Geometry{"2M", "1.1"}),
                         [](const auto& test) {
                           std::string name = test.param.cluster_size + "_" + test.param.compat;
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

TEST_F(Qcow2Reader, OtherFormatsBelow) {
  make_source("base.raw", kMiB + 512);
  create("over_raw.qcow2", "", "2M", {"-b", "base.raw", "-F", "raw"});
  io("over_raw.qcow2", {"write -P 1 300k 100k"});
  expect_same("over_raw.qcow2");

  const BuiltDisk vmdk =
      build_disk(dir_.path(), "base", parse_layout("64k:A 64k:- 1m:r 7s:B | 64k:^ 64k:C 1m:^ 7s:^"),
                 {.kind = Kind::stream_optimized});
  create("over_vmdk.qcow2", "", "", {"-b", vmdk.path().filename().string(), "-F", "vmdk"});
  io("over_vmdk.qcow2", {"write -P 1 300k 100k"});
  expect_same("over_vmdk.qcow2");

  // A raw file that looks like an image is a raw file, if that was said.
  create("inner.qcow2", "", "1M");
  create("over_inner.qcow2", "", "", {"-b", "inner.qcow2", "-F", "raw"});
  expect_same("over_inner.qcow2");
}

TEST_F(Qcow2Reader, WhatIsBelowIsNotGuessedToBeRaw) {
  make_source("base.raw", kMiB);
  create("base.qcow2", "", "1M");
  io("base.qcow2", {"write -P 1 300k 100k"});
  // Without a word of the format, as qemu made them in former times.
  create("over.qcow2", "", "", {"-b", "base.qcow2", "-F", "qcow2"});
  constexpr std::uint64_t kExtensions = 112;
  patch_file(path("over.qcow2"), kExtensions, "\1\2\3\4");
  const Result<Disk> probed = Disk::open(posix_file_system(), path("over.qcow2"), {});
  ASSERT_TRUE(probed) << probed.error();
  EXPECT_EQ(probed->link(0).description().parent->format, "");
  expect_same("over.qcow2");
  img({"rebase", "-u", "-F", "raw", "-b", "base.raw", path("over.qcow2")});
  patch_file(path("over.qcow2"), kExtensions, "\1\2\3\4");
  const Result<Disk> raw = Disk::open(posix_file_system(), path("over.qcow2"), {});
  ASSERT_FALSE(raw);
  EXPECT_EQ(raw.error().kind, ErrorKind::unsupported) << raw.error();
  EXPECT_NE(raw.error().message.find("does not say its format"), std::string::npos) << raw.error();
  img({"rebase", "-u", "-b", "base.raw", "-F", "qed", path("over.qcow2")});
  const Result<Disk> qed = Disk::open(posix_file_system(), path("over.qcow2"), {});
  ASSERT_FALSE(qed);
  EXPECT_NE(qed.error().message.find("'qed'"), std::string::npos) << qed.error();
}

TEST_F(Qcow2Reader, ImagesStayInTheirFolder) {
  fs::create_directory(dir_ / "sub");
  create("base.qcow2", "", "1M");
  create("sub/over.qcow2", "", "", {"-b", "../base.qcow2", "-F", "qcow2"});
  const Result<Disk> disk = Disk::open(posix_file_system(), path("sub/over.qcow2"), {});
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().kind, ErrorKind::denied) << disk.error();
  DiskOptions allowed;
  allowed.open.policy.allowed_folders = {dir_.path().string()};
  EXPECT_TRUE(Disk::open(posix_file_system(), path("sub/over.qcow2"), allowed));
}

TEST_F(Qcow2Reader, EveryWidthOfRefcounts) {
  for (const std::string bits : {"1", "2", "4", "8", "16", "32", "64"}) {
    create("disk.qcow2", "refcount_bits=" + bits, "20M");
    io("disk.qcow2", {"write -P 1 0 10M", "write -P 2 15M 1M", "discard 1M 1M"});
    expect_same("disk.qcow2");
  }
}

TEST_F(Qcow2Reader, Preallocated) {
  for (const std::string how : {"metadata", "falloc", "full"}) {
    create("disk.qcow2", "preallocation=" + how, "7M");
    expect_same("disk.qcow2");
    io("disk.qcow2", {"write -P 1 1M 100k"});
    expect_same("disk.qcow2");
  }
}

TEST_F(Qcow2Reader, LazyRefcountsAfterACrash) {
  create("disk.qcow2", "lazy_refcounts=on", "7M");
  // Killed, so that neither the refcounts are written nor the mark is taken away.
  const CommandResult killed = run_command({"qemu-io", "-f", "qcow2", "-c", "write -P 1 1M 1M",
                                            "-c", "flush", "-c", "sigraise 9", path("disk.qcow2")});
  ASSERT_FALSE(killed.ok());
  const std::vector<std::string> warnings = warnings_of("disk.qcow2");
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("not closed cleanly"), std::string::npos) << warnings[0];
  expect_same("disk.qcow2");
}

TEST_F(Qcow2Reader, MarkedAsCorrupt) {
  create("disk.qcow2", "", "7M");
  io("disk.qcow2", {"write -P 1 1M 1M"});
  patch_quad("disk.qcow2", 72, 2);
  ASSERT_EQ(warnings_of("disk.qcow2").size(), 1U);
  EXPECT_NE(warnings_of("disk.qcow2")[0].find("corrupt"), std::string::npos);
  expect_same("disk.qcow2");
}

TEST_F(Qcow2Reader, InternalSnapshots) {
  create("disk.qcow2", "", "7M");
  io("disk.qcow2", {"write -P 1 0 3M"});
  img({"snapshot", "-c", "first", path("disk.qcow2")});
  io("disk.qcow2", {"write -P 2 1M 1M", "discard 2M 512k", "write -z 2600k 100k"});
  img({"snapshot", "-c", "a second one with a long name", path("disk.qcow2")});
  io("disk.qcow2", {"write -P 3 1500k 64k"});
  ASSERT_EQ(warnings_of("disk.qcow2").size(), 1U);
  EXPECT_NE(warnings_of("disk.qcow2")[0].find("2 internal snapshots"), std::string::npos);
  expect_same("disk.qcow2");
  img({"snapshot", "-d", "first", path("disk.qcow2")});
  expect_same("disk.qcow2");
  img({"snapshot", "-a", "a second one with a long name", path("disk.qcow2")});
  expect_same("disk.qcow2");
}

TEST_F(Qcow2Reader, Bitmaps) {
  create("disk.qcow2", "", "7M");
  img({"bitmap", "--add", path("disk.qcow2"), "b0"});
  img({"bitmap", "--add", "-g", "64k", path("disk.qcow2"), "b1"});
  io("disk.qcow2", {"write -P 1 0 3M"});
  ASSERT_EQ(warnings_of("disk.qcow2").size(), 1U);
  EXPECT_NE(warnings_of("disk.qcow2")[0].find("2 bitmaps"), std::string::npos);
  expect_same("disk.qcow2");
}

TEST_F(Qcow2Reader, Resized) {
  for (const std::string cluster : {"512", "64k"}) {
    create("disk.qcow2", "cluster_size=" + cluster, "3M");
    io("disk.qcow2", {"write -P 1 0 3M"});
    img({"resize", "-q", path("disk.qcow2"), "20M"});
    io("disk.qcow2", {"write -P 2 18M 1M"});
    expect_same("disk.qcow2");
    // Into the middle of a cluster and of what is stored; then beyond it again.
    img({"resize", "-q", "--shrink", path("disk.qcow2"), "1501184"});
    expect_same("disk.qcow2");
    img({"resize", "-q", path("disk.qcow2"), "2M"});
    expect_same("disk.qcow2");
    img({"resize", "-q", "--shrink", path("disk.qcow2"), "512"});
    expect_same("disk.qcow2");
  }
}

TEST_F(Qcow2Reader, Amended) {
  create("disk.qcow2", "compat=0.10", "3M");
  io("disk.qcow2", {"write -P 1 0 1M"});
  img({"amend", "-f", "qcow2", "-o", "compat=1.1,lazy_refcounts=on", path("disk.qcow2")});
  io("disk.qcow2", {"write -z 128k 64k"});
  expect_same("disk.qcow2");
  img({"amend", "-f", "qcow2", "-o", "compat=0.10", path("disk.qcow2")});
  expect_same("disk.qcow2");
}

TEST_F(Qcow2Reader, LargeDisks) {
  create("disk.qcow2", "", "64T");
  io("disk.qcow2", {"write -P 1 0 64k", "write -P 2 1T 64k", "write -P 3 70368744112128 65536"});
  const Result<Disk> disk = Disk::open(posix_file_system(), path("disk.qcow2"), {});
  ASSERT_TRUE(disk) << disk.error();
  EXPECT_TRUE(disk->check());
  expect_map("disk.qcow2");
}

TEST_F(Qcow2Reader, WhatIsNotReadIsNamed) {
  const auto refusal = [&](const std::string& name) {
    const Result<Disk> disk = Disk::open(posix_file_system(), path(name), {});
    return disk ? std::string("none") : disk.error().to_string();
  };
  create("data.qcow2", "data_file=" + path("data.raw"), "1M");
  EXPECT_NE(refusal("data.qcow2").find("external data file"), std::string::npos);
  create("extended.qcow2", "extended_l2=on", "1M");
  EXPECT_NE(refusal("extended.qcow2").find("extended L2"), std::string::npos);
  create("luks.qcow2", "", "1M");
  patch_file(path("luks.qcow2"), 35, "\2");
  EXPECT_NE(refusal("luks.qcow2").find("LUKS"), std::string::npos);
  img({"create", "-q", "-f", "qcow", path("old.qcow"), "1M"});
  EXPECT_NE(refusal("old.qcow").find("version 1"), std::string::npos);
  // The names are in the image.
  create("future.qcow2", "", "1M");
  patch_quad("future.qcow2", 72, 1U << 5);
  EXPECT_NE(refusal("future.qcow2").find("feature 5"), std::string::npos);
  create("json.qcow2", "", "1M");
  img({"rebase", "-u", "-F", "raw", "-b", "json:{\"driver\":\"file\",\"filename\":\"/etc/passwd\"}",
       path("json.qcow2")});
  EXPECT_NE(refusal("json.qcow2").find("only plain paths"), std::string::npos);
}

// Any layout in any form, told by a number.
class RandomQcow2 : public Qcow2Reader, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint64_t kImagesEach = 12;

  static std::vector<Qcow2Options> random_options(std::uint64_t seed) {
    constexpr std::array<unsigned, 5> kBits{9, 12, 14, 16, 18};
    std::vector<Qcow2Options> all;
    for (std::uint64_t i = 0; i <= mix(seed) % 4; ++i) {
      const auto choose = [&](std::uint64_t salt, std::uint64_t bound) {
        return mix(seed * 1000 + i * 100 + salt) % bound;
      };
      Qcow2Options options;
      options.version = 2 + static_cast<std::uint32_t>(choose(1, 2));
      options.cluster_bits = kBits[choose(2, kBits.size())];
      options.reversed = choose(3, 3) == 0;
      options.snapshots = static_cast<std::uint32_t>(choose(4, 3) / 2);
      options.codec = static_cast<Qcow2Codec>(choose(5, options.version == 3 ? 3 : 2));
      if (options.version == 3) options.refcount_order = static_cast<unsigned>(choose(6, 7));
      // Streams that share clusters need larger counts.
      if (options.codec != Qcow2Codec::none) options.refcount_order |= 4;
      options.refcount_order = std::min(options.refcount_order, 6U);
      if (options.version == 2) options.refcount_order = 4;
      all.push_back(options);
    }
    return all;
  }
};

TEST_P(RandomQcow2, ReadsAsTheLayoutAndQemuSay) {
  for (std::uint64_t seed = GetParam(); seed < GetParam() + kImagesEach; ++seed) {
    const std::vector<Qcow2Options> options = random_options(seed);
    const Layout layout =
        random_layout(seed, (1 + mix(seed) % 6000) * 512,
                      std::uint64_t{1} << options.back().cluster_bits, options.size());
    SCOPED_TRACE(fmt::format("seed {}: {}", seed, to_string(layout)));
    const std::vector<fs::path> paths = build_qcow2(dir_.path(), "disk", layout, options);
    const ConvertOptions conversion = convert_options(paths.back(), dir_ / "ours");
    const Result<ConvertReport> report = convert(posix_file_system(), conversion);
    ASSERT_TRUE(report) << report.error();
    expect_same_bytes(file_bytes(dir_ / "ours"), expected_bytes(layout, 0, layout.size_bytes()));
    for (const fs::path& image : paths) {
      const CommandResult checked =
          run_command({"qemu-img", "check", "-f", "qcow2", image.string()});
      EXPECT_TRUE(checked.ok()) << checked.out << checked.err;
    }
    expect_same(paths.back().filename().string());
    if (HasFailure()) return;
    for (const fs::path& image : paths) fs::remove(image);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomQcow2, ::testing::Range<std::uint64_t>(0, 120, 12));

// The fields of JSON reports that both programs print.
class Qcow2Info : public Qcow2Reader {
 protected:
  void expect_same_info(const std::string& name) {
    const nlohmann::json got = parse(run_program(dir_.path(), {"info", "--output", "json", name}));
    CommandOptions options;
    options.working_dir = dir_.path();
    const nlohmann::json want =
        parse(run_command({"qemu-img", "info", "--output=json", "-f", "qcow2", name}, options));
    for (const char* field : {"filename", "format", "virtual-size", "cluster-size", "dirty-flag",
                              "format-specific", "backing-filename", "backing-filename-format"}) {
      SCOPED_TRACE(field);
      ASSERT_EQ(got.contains(field), want.contains(field));
      if (want.contains(field)) {
        EXPECT_EQ(got[field], want_of(field, want[field]));
      }
    }
  }
  static nlohmann::json parse(const CommandResult& result) {
    EXPECT_TRUE(result.ok()) << result.err;
    return nlohmann::json::parse(result.out, nullptr, false);
  }
  // Less what is not described here.
  static nlohmann::json want_of(const std::string& field, nlohmann::json value) {
    if (field == "format-specific") value["data"].erase("bitmaps");
    return value;
  }
};

TEST_F(Qcow2Info, SaysTheSame) {
  create("v2.qcow2", "compat=0.10", "3M");
  create("v3.qcow2", "cluster_size=4k,lazy_refcounts=on,refcount_bits=8", "3000320");
  create("zstd.qcow2", "compression_type=zstd", "", {"-b", "v3.qcow2", "-F", "qcow2"});
  create("bitmap.qcow2", "", "3M");
  img({"bitmap", "--add", path("bitmap.qcow2"), "b"});
  for (const char* name : {"v2.qcow2", "v3.qcow2", "zstd.qcow2", "bitmap.qcow2"}) {
    SCOPED_TRACE(name);
    expect_same_info(name);
  }
  const CommandResult text = run_program(dir_.path(), {"info", "zstd.qcow2"});
  EXPECT_TRUE(text.ok()) << text.err;
  for (const char* part : {"file format: qcow2", "parent: v3.qcow2 (format qcow2)",
                           "compression-type: zstd", "create type: v3"})
    EXPECT_NE(text.out.find(part), std::string::npos) << part << '\n' << text.out;
}

}  // namespace
}  // namespace grainmill::testing
