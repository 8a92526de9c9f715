// SPDX-License-Identifier: Apache-2.0
#include "tests/conversion.h"

#include "tests/support/file_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>

namespace grainmill::testing {
namespace {

// Enough for every layout of these tests, and quick to get.
constexpr std::uint64_t kMemory = 16 * kMiB;

}  // namespace

ConvertOptions convert_options(const std::filesystem::path& source,
                               const std::filesystem::path& output) {
  ConvertOptions options;
  options.source = source.string();
  options.output = output.string();
  options.manifest = default_manifest_path(options.output);
  options.durability = Durability::unsynced;
  options.graph.threads = 2;
  options.graph.memory_bytes = kMemory;
  return options;
}

Verification verify_image(const std::filesystem::path& image, const std::filesystem::path& manifest,
                          const DiskOptions& disk, FileSystem& files) {
  Verification verification{.report = VerifyReport{}, .differences = {}};
  VerifyOptions options;
  options.image = image.string();
  options.disk = disk;
  options.manifest = manifest.string();
  options.graph.threads = 2;
  options.graph.memory_bytes = kMemory;
  options.on_difference = [&](const Difference& difference) {
    verification.differences.push_back(difference);
  };
  verification.report = verify(files, options);
  return verification;
}

std::ostream& operator<<(std::ostream& out, const Verification& verification) {
  if (!verification.report) return out << verification.report.error();
  const VerifyReport& report = *verification.report;
  out << report.differing_bytes << " bytes differ, " << report.unreadable_bytes << " unreadable"
      << (report.structure_damaged ? ", structure damaged" : "");
  for (const Difference& difference : verification.differences) {
    out << "\n  " << difference.guest_offset << "+" << difference.length;
    if (difference.error) out << ' ' << *difference.error;
  }
  return out;
}

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  file.close();
  ASSERT_TRUE(file.good()) << path;
}

namespace {

std::unique_ptr<File> open_file(const std::filesystem::path& path) {
  return posix_file_system().open_read(path.string()).value();
}

std::vector<std::byte> bytes_at(const File& file, std::uint64_t offset, std::size_t size) {
  std::vector<std::byte> bytes(size);
  bytes.resize(file.read_at(offset, bytes).value());
  return bytes;
}

}  // namespace

void expect_same_disks(const std::filesystem::path& got, const std::filesystem::path& want) {
  constexpr std::uint64_t kPiece = kMiB;
  const std::unique_ptr<File> one = open_file(got);
  const std::unique_ptr<File> other = open_file(want);
  const std::uint64_t size = one->info().value().size_bytes;
  ASSERT_EQ(size, other->info().value().size_bytes);
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    std::uint64_t next = size;
    for (const File* file : {one.get(), other.get()}) {
      const DataRange data = file->next_data(at).value();
      if (data.begin != data.end) next = std::min(next, data.begin);
    }
    if (next == size) return;
    at = std::max(at, next / kPiece * kPiece);
    ASSERT_TRUE(same_bytes(bytes_at(*one, at, kPiece), bytes_at(*other, at, kPiece)))
        << "they differ in the MiB at " << at;
  }
}

void expect_same_bytes(const std::vector<std::byte>& got, const std::vector<std::byte>& want) {
  ASSERT_EQ(got.size(), want.size());
  if (same_bytes(got, want)) return;
  const auto difference = std::ranges::mismatch(got, want).in1;
  EXPECT_EQ(difference - got.begin(), std::ssize(got)) << "they differ at this offset";
}

}  // namespace grainmill::testing
