// SPDX-License-Identifier: Apache-2.0
#include "tests/damage/victim.h"

#include "engine/codec/zero_scan.h"
#include "pipeline/convert.h"
#include "pipeline/verify.h"
#include "tests/support/file_bytes.h"
#include "tests/support/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

// Holes stay holes, as when the image was made.
void write_sparse(const fs::path& path, const std::vector<std::byte>& bytes) {
  constexpr std::size_t kBlock = 4096;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (std::size_t at = 0; at < bytes.size(); at += kBlock) {
    const std::span block = std::span(bytes).subspan(at, std::min(kBlock, bytes.size() - at));
    if (is_zero(block)) continue;
    file.seekp(static_cast<std::streamoff>(at));
    file.write(reinterpret_cast<const char*>(block.data()),
               static_cast<std::streamsize>(block.size()));
  }
  file.close();
  if (!file.good()) throw std::runtime_error(path.string() + ": cannot be written");
  fs::resize_file(path, bytes.size());
}

GraphOptions small_graph() {
  constexpr std::uint64_t kMemory = 16 << 20;
  GraphOptions graph;
  graph.threads = 1;
  graph.memory_bytes = kMemory;
  return graph;
}

}  // namespace

Victim::Victim(const ImageForm& form) {
  const Layout layout = parse_layout(form.layout);
  fs::create_directory(source());
  fs::create_directory(output().parent_path());
  disk_ = build_disk(source(), "disk", layout, form.options);
  for (const fs::path& path : disk_.files()) files_[path] = file_bytes(path);
  contents_ = expected_bytes(layout, 0, layout.size_bytes());
  const ConvertOptions options{.source = disk_.path(),
                               .disk = {},
                               .output = dir_ / "healthy.raw",
                               .manifest = manifest(),
                               .durability = Durability::unsynced,
                               .graph = small_graph()};
  if (const auto report = convert(posix_file_system(), options); !report)
    throw std::runtime_error("healthy image refused: " + report.error().to_string());
}

void Victim::heal() {
  for (const fs::directory_entry& entry : fs::directory_iterator(source()))
    if (!files_.contains(entry.path()) || !entry.is_regular_file() || entry.is_symlink())
      fs::remove_all(entry.path());
  for (const auto& [path, bytes] : files_)
    if (!fs::exists(path) || fs::file_size(path) != bytes.size() ||
        !same_bytes(file_bytes(path), bytes))
      write_sparse(path, bytes);
}

Verdict Victim::convert_now(TableChoice tables) {
  const ConvertOptions options{.source = disk_.path(),
                               .disk = {.format = "vmdk", .open = {.policy = {}, .tables = tables}},
                               .output = output(),
                               .manifest = {},
                               .durability = Durability::unsynced,
                               .graph = small_graph()};
  const Result<ConvertReport> report = convert(posix_file_system(), options);
  const Verdict verdict = report ? judge_success() : judge_failure(report.error());
  fs::remove(output());
  return verdict;
}

Verdict Victim::judge_failure(const Error& error) const {
  if (!fs::is_empty(output().parent_path()))
    return {Outcome::faulty, "failed and left an output: " + error.to_string()};
  const bool names_file = error.path.starts_with(dir_.path().string() + "/");
  if (!names_file || error.message.empty())
    return {Outcome::faulty, "the error names no file: " + error.to_string()};
  return {Outcome::refused, error.to_string()};
}

Verdict Victim::judge_success() const {
  const std::uint64_t size = fs::file_size(output());
  if (size != contents_.size())
    return {Outcome::wrong, fmt::format("{} bytes; expected {}", size, contents_.size())};
  const std::vector<std::byte> got = file_bytes(output());
  if (same_bytes(got, contents_)) return {Outcome::harmless, ""};
  const auto differ = std::ranges::mismatch(got, contents_);
  return {Outcome::wrong, fmt::format("wrong from {:#x} on", differ.in1 - got.begin())};
}

CheckReport Victim::check_now() {
  CheckOptions options;
  options.image = disk_.path();
  options.disk.format = "vmdk";
  options.graph = small_graph();
  const Result<CheckReport> report = check(posix_file_system(), options);
  if (!report) throw std::runtime_error("check failed: " + report.error().to_string());
  return *report;
}

Result<RepairReport> Victim::repair_now(std::string& log) {
  RepairOptions options;
  options.on_correction = [&](const Correction& correction) { log += correction.what + '\n'; };
  options.on_doubt = [&](const Error& doubt) { log += "in doubt: " + doubt.to_string() + '\n'; };
  options.check.image = disk_.path();
  options.check.disk.format = "vmdk";
  options.check.graph = small_graph();
  options.write = true;
  return repair(posix_file_system(), options);
}

Result<SalvageReport> Victim::salvage_now(std::vector<RescuedRange>& ranges,
                                          std::vector<std::byte>& saved) {
  SalvageOptions options;
  options.image = disk_.path();
  options.disk.format = "vmdk";
  options.output = output();
  options.graph = small_graph();
  options.durability = Durability::unsynced;
  options.on_range = [&](const RescuedRange& range) { ranges.push_back(range); };
  const Result<SalvageReport> report = salvage(posix_file_system(), options);
  if (report) saved = file_bytes(output());
  fs::remove(output());
  fs::remove(rescue_map_path(output()));
  return report;
}

bool Victim::manifest_tells() {
  const VerifyOptions options{.image = disk_.path(),
                              .disk = {.format = "vmdk", .open = {}},
                              .manifest = manifest(),
                              .graph = small_graph(),
                              .on_difference = [](const Difference&) {}};
  const Result<VerifyReport> report = verify(posix_file_system(), options);
  return !report || !report->same();
}

bool Victim::has_two_copies() const {
  bool any = false;
  for (const BuiltLink& link : disk_.links)
    for (const BuiltExtent& extent : link.extents) {
      if (extent.type != ExtentType::sparse) continue;
      if (extent.rgd_offset == 0) return false;
      any = true;
    }
  return any;
}

}  // namespace grainmill::testing
