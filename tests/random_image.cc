// SPDX-License-Identifier: Apache-2.0
#include "tests/random_image.h"

#include "engine/base/units.h"
#include "engine/disk/disk.h"
#include "tests/outputs.h"
#include "tests/program.h"
#include "tests/support/run_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSmall = 6 * kMiB;
// Crosses the 2047 MiB at which disks are split, twice.
constexpr std::uint64_t kLarge = 5 * kGiB;
constexpr std::uint64_t kMostTouched = 300 * kKiB;  // by one change

}  // namespace

RandomImage::RandomImage(fs::path folder, std::uint64_t seed)
    : folder_(std::move(folder)), seed_(mix(seed)) {
  fs::create_directories(folder_);
  const std::uint64_t maker = below(8);
  if (maker < 2) {
    make_qemu_vmdk();
  } else if (maker < 5) {
    make_qemu_qcow2();
  } else if (maker < 7) {
    make_converted();
  } else {
    make_created();
  }
}

// Mostly a few hundred KiB to some MiB; sometimes next to nothing, sometimes large.
std::uint64_t RandomImage::pick_size() {
  const std::uint64_t sectors = kSmall / kSectorBytes;
  switch (below(8)) {
    case 0:
      return (1 + below(8)) * kSectorBytes;
    case 1:
      return kLarge + below(sectors) * kSectorBytes;
    case 2:
      return (1 + below(kSmall / (64 * kKiB))) * 64 * kKiB;
    default:
      return (1 + below(sectors)) * kSectorBytes;
  }
}

void RandomImage::run(const Words& argv) {
  story_ += fmt::format("  {}\n", fmt::join(argv, " "));
  CommandOptions options;
  options.working_dir = folder_;
  const CommandResult result = run_command(argv, options);
  // qemu-io refuses to compress over a cluster that is stored, and goes on behind it.
  const bool refused = result.exit_status == 1 && story_.contains(" write -c ") &&
                       result.out.contains("write failed: Input/output error");
  if (!result.ok() && !refused)
    throw std::runtime_error(
        fmt::format("status {}: {}{}\n{}", result.exit_status, result.out, result.err, story_));
}

void RandomImage::run_ours(const Words& arguments) {
  story_ += fmt::format("  grainmill {}\n", fmt::join(arguments, " "));
  const CommandResult result = run_program(folder_, arguments);
  if (!result.ok())
    throw std::runtime_error(
        fmt::format("status {}: {}{}\n{}", result.exit_status, result.out, result.err, story_));
}

// A raw disk of data, text, noise and holes.
void RandomImage::make_source(const std::string& name, std::uint64_t size_bytes) {
  const std::uint64_t layout_seed = below(1 << 20);
  story_ +=
      fmt::format("  ({}: raw, random_layout({}, {}, 65536))\n", name, layout_seed, size_bytes);
  const Layout layout = random_layout(layout_seed, size_bytes, 65536);
  std::vector<std::byte> bytes(size_bytes);
  expected_bytes(layout, 0, bytes);
  std::ofstream file(folder_ / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  file.close();
  if (!file.good()) throw std::runtime_error(name + ": cannot be written");
}

std::string RandomImage::vmdk_options(bool stream) {
  const std::string subformat =
      stream ? "streamOptimized"
             : pick({"monolithicSparse", "monolithicSparse", "twoGbMaxExtentSparse",
                     "monolithicFlat", "twoGbMaxExtentFlat"});
  std::string options = "subformat=" + subformat;
  if (coin()) options += ",adapter_type=" + pick({"ide", "buslogic", "lsilogic", "legacyESX"});
  if (coin()) options += ",hwversion=" + pick({"4", "7", "13"});
  zeroed_grain_ = subformat.ends_with("Sparse") && coin();
  if (zeroed_grain_) options += ",zeroed_grain=on";
  return options;
}

void RandomImage::make_qemu_vmdk() {
  family_ = "qemu-img vmdk";
  format_ = "vmdk";
  const bool stream = below(4) == 0;
  const std::string options = vmdk_options(stream);
  size_bytes_ = pick_size();
  links_ = {"disk.vmdk"};
  if (size_bytes_ < kLarge && (stream || coin())) {
    make_source("source.raw", size_bytes_);
    run({"qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, "source.raw",
         "disk.vmdk"});
  } else {
    run({"qemu-img", "create", "-q", "-f", "vmdk", "-o", options, "disk.vmdk",
         std::to_string(size_bytes_)});
  }
  if (stream) return;
  change("disk.vmdk");
  const bool sparse = options.contains("Sparse");
  for (std::uint64_t links = sparse ? below(4) : 0; links > 1; --links)
    add_qemu_link(zeroed_grain_ ? "zeroed_grain=on" : "");
}

std::string RandomImage::qcow2_options() {
  if (below(6) == 0) {
    cluster_bytes_ = 64 * kKiB;
    return "compat=0.10";
  }
  const std::string size = pick({"512", "4096", "65536", "65536", "65536", "2097152"});
  cluster_bytes_ = std::stoull(size);
  std::string options = "compat=1.1,cluster_size=" + size;
  if (coin()) options += ",compression_type=" + pick({"zlib", "zstd"});
  if (below(3) == 0) options += ",lazy_refcounts=on";
  if (!options.contains("lazy") && below(3) == 0)
    options += ",refcount_bits=" + pick({"8", "16", "32", "64"});
  return options;
}

void RandomImage::make_qemu_qcow2() {
  family_ = "qemu-img qcow2";
  format_ = "qcow2";
  may_compress_ = true;
  std::string options = qcow2_options();
  size_bytes_ = pick_size();
  // Tables for all of a large disk in clusters of 512 bytes take their time.
  if (cluster_bytes_ < 4096) size_bytes_ %= kSmall;
  size_bytes_ = std::max(size_bytes_, kSectorBytes);
  if (size_bytes_ < kLarge && below(3) == 0)
    options += ",preallocation=" + pick({"metadata", "falloc", "full"});
  links_ = {"disk.qcow2"};
  if (size_bytes_ < kLarge && coin()) {
    make_source("source.raw", size_bytes_);
    Words argv = {"qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", options};
    if (!options.contains("preallocation") && coin()) argv.emplace_back("-c");
    argv.insert(argv.end(), {"source.raw", "disk.qcow2"});
    run(argv);
  } else {
    run({"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, "disk.qcow2",
         std::to_string(size_bytes_)});
  }
  change("disk.qcow2");
  if (below(3) == 0) take_snapshots("disk.qcow2");
  // To commit a large disk in clusters of 512 bytes takes qemu-img a minute.
  for (std::uint64_t links = below(4); links > 1; --links)
    add_qemu_link(size_bytes_ < kLarge ? qcow2_options() : "cluster_size=65536");
  if (links_.size() > 1 && coin()) change_chain();
}

void RandomImage::take_snapshots(const std::string& name) {
  run({"qemu-img", "snapshot", "-c", "one", name});
  change(name);
  if (coin()) {
    run({"qemu-img", "snapshot", "-c", "two", name});
    change(name);
  }
  if (below(3) == 0) run({"qemu-img", "snapshot", "-a", "one", name});
  if (coin()) run({"qemu-img", "snapshot", "-d", "one", name});
}

void RandomImage::add_qemu_link(const std::string& options) {
  const std::string parent = links_.back();
  const std::string child = fmt::format("disk-{}.{}", links_.size(), format_);
  Words argv = {"qemu-img", "create", "-q", "-f", format_, "-b", parent, "-F", format_};
  if (!options.empty()) argv.insert(argv.end(), {"-o", options});
  argv.push_back(child);
  run(argv);
  links_.push_back(child);
  if (options.contains("cluster_size=65536")) cluster_bytes_ = 64 * kKiB;
  change(child);
}

// Of qcow2: by qemu-img. VMDKs know only whole links, there.
void RandomImage::change_chain() {
  const std::string top = links_.back();
  if (coin()) {
    run({"qemu-img", "commit", "-q", "-f", format_, top});
  } else if (links_.size() > 2) {
    run({"qemu-img", "rebase", "-f", format_, "-F", format_, "-b", links_.front(), top});
    links_ = {links_.front(), top};
  } else {
    run({"qemu-img", "rebase", "-f", format_, "-b", "", top});
    links_ = {top};
  }
}

// What we write of a disk that somebody else made.
void RandomImage::make_converted() {
  family_ = "grainmill convert";
  const std::vector<Output> kinds = outputs();
  Output output = kinds[below(kinds.size())];
  if (output.is_raw()) output = kinds.front();
  format_ = output.format;
  size_bytes_ = pick_size();
  std::string source = "source.raw";
  std::string source_format = "raw";
  if (size_bytes_ < kLarge) {
    make_source(source, size_bytes_);
  } else {
    source = "source.qcow2";
    source_format = "qcow2";
    cluster_bytes_ = 64 * kKiB;
    run({"qemu-img", "create", "-q", "-f", "qcow2", source, std::to_string(size_bytes_)});
    const std::string format = std::exchange(format_, "qcow2");
    change(source);
    format_ = format;
  }
  Words arguments = convert_arguments(output);
  links_ = {output_path(output, "").string()};
  arguments.insert(arguments.end(),
                   {"-q", "--no-manifest", "--no-sync", "-f", source_format, source, links_[0]});
  run_ours(arguments);
  zeroed_grain_ = output.settings.contains("zeroed_grain=on");
  if (!output.is_vmdk() || output.is_stream() || coin()) return;
  change(links_[0]);
  if (output.is_hosted_sparse()) add_our_link();
}

void RandomImage::make_created() {
  family_ = "grainmill create";
  format_ = "vmdk";
  size_bytes_ = pick_size();
  std::string options =
      "subformat=" + pick({"monolithicSparse", "monolithicSparse", "twoGbMaxExtentSparse",
                           "monolithicFlat", "twoGbMaxExtentFlat"});
  const bool sparse = options.contains("Sparse");
  zeroed_grain_ = sparse && coin();
  if (zeroed_grain_) options += ",zeroed_grain=on";
  if (sparse && below(3) == 0) options += ",grain_size=" + pick({"4k", "128k", "1M"});
  links_ = {"disk.vmdk"};
  run_ours({"create", "-q", "-o", options, "disk.vmdk", std::to_string(size_bytes_)});
  coin() ? change("disk.vmdk") : write_in_process("disk.vmdk");
  for (std::uint64_t links = below(4); links > 1; --links) add_our_link();
  if (links_.size() == 1 || coin()) return;
  if (coin()) {
    run_ours({"commit", "-q", links_.back()});
    links_.pop_back();
  } else {
    run_ours({"rebase", "-q", "-b", links_.size() > 2 ? links_.front() : "", links_.back()});
    links_ = links_.size() > 2 ? Words{links_.front(), links_.back()} : Words{links_.back()};
  }
}

void RandomImage::add_our_link() {
  const std::string child = fmt::format("disk-{:06}.vmdk", links_.size());
  run_ours({"create", "-q", "-b", links_.back(), child});
  links_.push_back(child);
  coin() ? change(child) : write_in_process(child);
}

void RandomImage::write_in_process(const std::string& name) {
  DiskOptions options;
  options.open.mode = OpenMode::read_write;
  Result<Disk> disk = Disk::open(posix_file_system(), (folder_ / name).string(), options);
  if (!disk) throw std::runtime_error(disk.error().to_string() + '\n' + story_);
  const auto done = [&](const Status& status) {
    if (!status) throw std::runtime_error(status.error().to_string() + '\n' + story_);
  };
  for (std::uint64_t i = below(8); i > 0; --i) {
    const std::uint64_t at = below(disk->size_bytes());
    const std::uint64_t length = 1 + below(std::min(disk->size_bytes() - at, kMostTouched));
    const std::uint64_t kind = below(4);
    story_ += fmt::format("  ({}: {} of {} bytes at {})\n", name,
                          kind < 2    ? "write"
                          : kind == 2 ? "write_zeroes"
                                      : "discard",
                          length, at);
    std::vector<std::byte> bytes(length);
    fill_pattern('r', at + i, bytes);
    if (kind < 2) done(disk->write_at(at, bytes));
    if (kind == 2) done(disk->write_zeroes(at, length));
    if (kind == 3) done(disk->discard(at, length));
    zeroes_grains_ = zeroes_grains_ || (kind >= 2 && zeroed_grain_);
  }
  done(disk->close());
}

void RandomImage::change(const std::string& name) {
  Words argv = {"qemu-io", "-f", format_};
  for (std::uint64_t i = below(7); i > 0; --i) argv.insert(argv.end(), {"-c", change_command()});
  if (argv.size() == 3) return;
  argv.push_back(name);
  run(argv);
}

std::string RandomImage::change_command() {
  const std::uint64_t kind = below(10);
  const bool compresses = may_compress_ && kind >= 8;
  const std::uint64_t unit = compresses ? cluster_bytes_ : kSectorBytes;
  const std::uint64_t units = size_bytes_ / unit;
  if (units == 0) return fmt::format("write -P 7 0 {}", size_bytes_);
  const std::uint64_t at = below(units);
  // Half of all changes are where the disk begins, so that they meet.
  const std::uint64_t first = coin() ? at : at % (1 + units / 16);
  const std::uint64_t most = std::max<std::uint64_t>(1, kMostTouched / unit);
  const std::uint64_t count = 1 + below(std::min(units - first, compresses ? 1 : most));
  const std::string range = fmt::format("{} {}", first * unit, count * unit);
  const std::uint64_t pattern = 1 + below(255);
  if (compresses) return fmt::format("write -c -P {} {}", pattern, range);
  if (kind >= 5 && zeroed_grain_) zeroes_grains_ = true;
  switch (kind) {
    case 5:
      return "discard " + range;
    case 6:
      return "write -z " + range;
    case 7:
      return "write -z -u " + range;
    default:
      return fmt::format("write -P {} {}", pattern, range);
  }
}

}  // namespace grainmill::testing
