// SPDX-License-Identifier: Apache-2.0
#include "tests/outputs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <span>
#include <stdexcept>

namespace grainmill::testing {

std::vector<Output> outputs() {
  const std::string zstd = ",compression_type=zstd";
  return {
      {"monolithicSparse"},
      {"sparse_4k", "vmdk", "subformat=monolithicSparse,grain_size=4k"},
      {"sparse_1m", "vmdk", "grain_size=1M,adapter_type=lsilogic"},
      {"sparse_zeroed_grain", "vmdk", "zeroed_grain=on"},
      {.name = "twoGbMaxExtentSparse",
       .settings = "subformat=twoGbMaxExtentSparse",
       .mark = "-s001"},
      {.name = "twoGbMaxExtentFlat",
       .settings = "subformat=twoGbMaxExtentFlat",
       .mark = "-f001",
       .sparse = false},
      {.name = "monolithicFlat",
       .settings = "subformat=monolithicFlat",
       .mark = "-flat",
       .sparse = false},
      {.name = "vmfs", .settings = "subformat=vmfs", .mark = "-flat", .sparse = false},
      {.name = "streamOptimized", .settings = "subformat=streamOptimized", .compress = true},
      {.name = "stream_fast", .compress = true, .level = "fast"},
      {.name = "stream_12", .compress = true, .level = "12"},
      {"qcow2", "qcow2"},
      {"qcow2_512", "qcow2", "cluster_size=512"},
      {"qcow2_4k", "qcow2", "cluster_size=4k"},
      {"qcow2_2m", "qcow2", "cluster_size=2M"},
      {"qcow2_lazy", "qcow2", "lazy_refcounts=on,compat=1.1"},
      {"qcow2_zlib", "qcow2", "", true},
      {"qcow2_zlib_512", "qcow2", "cluster_size=512", true, "fast"},
      {"qcow2_zlib_4k", "qcow2", "cluster_size=4k", true},
      {"qcow2_zlib_2m", "qcow2", "cluster_size=2M", true, "1"},
      {"qcow2_zstd", "qcow2", "compression_type=zstd", true},
      {"qcow2_zstd_512", "qcow2", "cluster_size=512" + zstd, true, "1"},
      {"qcow2_zstd_4k", "qcow2", "cluster_size=4k" + zstd, true, "9"},
      {"qcow2_zstd_2m", "qcow2", "cluster_size=2M" + zstd, true, "fast"},
      {.name = "raw", .format = "raw", .sparse = false},
  };
}

Output output_named(std::string_view name) {
  const std::vector<Output> all = outputs();
  const auto found = std::ranges::find(all, name, &Output::name);
  if (found == all.end()) throw std::invalid_argument("no output is called " + std::string(name));
  return *found;
}

namespace {

std::string extension(const Output& output) {
  return output.is_raw() ? ".img" : "." + output.format;
}

}  // namespace

std::filesystem::path output_path(const Output& output, const std::filesystem::path& folder,
                                  const std::string& name) {
  return folder / (name + extension(output));
}

std::vector<std::string> output_names(const Output& output, const std::string& name) {
  const std::string file = name + extension(output);
  std::vector<std::string> names = {file, file + ".manifest"};
  if (!output.mark.empty()) names.push_back(name + output.mark + extension(output));
  std::ranges::sort(names);
  return names;
}

ConvertOptions convert_options(const std::filesystem::path& source, const Output& output,
                               const std::filesystem::path& folder) {
  ConvertOptions options = convert_options(source, output_path(output, folder));
  options.output_format = output.format;
  if (!output.settings.empty()) options.settings = split_settings({output.settings});
  options.compress = output.compress;
  options.level = output.level;
  // Large clusters, of deep chains of compressed links, take more.
  options.graph.memory_bytes = 64 * kMiB;
  return options;
}

std::vector<std::string> convert_arguments(const Output& output) {
  std::vector<std::string> arguments = {"convert", "-O", output.format};
  if (!output.settings.empty()) arguments.insert(arguments.end(), {"-o", output.settings});
  if (output.compress) arguments.emplace_back("-c");
  if (!output.level.empty()) arguments.insert(arguments.end(), {"--level", output.level});
  return arguments;
}

DiskOptions disk_options(const Output& output) {
  DiskOptions options;
  options.format = output.format;
  return options;
}

std::vector<std::byte> without_random_numbers(std::vector<std::byte> bytes) {
  constexpr std::uint64_t kMostText = 64 << 10;
  const std::span<std::byte> text = std::span(bytes).first(std::min(bytes.size(), kMostText));
  for (const std::string key : {"\nCID=", "ddb.longContentID = \"", "ddb.uuid = \""}) {
    const auto found = std::ranges::search(text, std::as_bytes(std::span(key)));
    for (auto at = found.end(); at != text.end() && *at != std::byte{'\n'}; ++at)
      *at = std::byte{'?'};
  }
  return bytes;
}

void expect_disk_holds(const std::filesystem::path& path, const Output& output,
                       const std::vector<std::byte>& want) {
  const Result<Disk> disk = Disk::open(posix_file_system(), path.string(), disk_options(output));
  ASSERT_TRUE(disk) << disk.error();
  const Status sound = disk->check();
  EXPECT_TRUE(sound) << sound.error();
  for (const std::string& warning : disk->link(0).description().warnings) ADD_FAILURE() << warning;
  ASSERT_EQ(disk->size_bytes(), want.size());
  std::vector<std::byte> got(want.size());
  const Status read = disk->read_at(0, got);
  ASSERT_TRUE(read) << read.error();
  expect_same_bytes(got, want);
}

}  // namespace grainmill::testing
