// SPDX-License-Identifier: Apache-2.0
//
// Healthy images, made at random by qemu-img, qemu-io and our own program: a seed says which
// commands are run. They are written to, zeroed, discarded, compressed, preallocated, put into
// chains, committed, rebased; what comes out has nothing wrong with it.
#pragma once

#include "tests/support/layout.h"

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace grainmill::testing {

class RandomImage {
 public:
  // Makes the image in `folder`. Throws std::runtime_error when one of the commands fails.
  RandomImage(std::filesystem::path folder, std::uint64_t seed);

  // What to open: the top of a chain, maybe.
  std::filesystem::path path() const { return folder_ / links_.back(); }
  // Of every link.
  const std::string& format() const { return format_; }
  // From the base up, as file names.
  const std::vector<std::string>& links() const { return links_; }
  // What kind of image it is, for a summary: "qemu-img vmdk".
  const std::string& family() const { return family_; }
  // Grains were made zero in a VMDK that may have such: what they held is kept, and of no use.
  bool leaves_grains() const { return zeroes_grains_; }
  // All that was done, a line each, with the folder as the working directory.
  const std::string& story() const { return story_; }

 private:
  using Words = std::vector<std::string>;

  // The same numbers for the same seed.
  std::uint64_t below(std::uint64_t end) { return mix(seed_ + ++drawn_) % end; }
  bool coin() { return below(2) == 0; }
  const std::string& pick(const Words& words) { return words[below(words.size())]; }
  std::uint64_t pick_size();

  void run(const Words& argv);
  void run_ours(const Words& arguments);
  void make_source(const std::string& name, std::uint64_t size_bytes);

  void make_qemu_vmdk();
  std::string vmdk_options(bool stream);
  void make_qemu_qcow2();
  std::string qcow2_options();
  void make_converted();
  void make_created();
  void write_in_process(const std::string& name);

  // A child of the last link, made by qemu-img or by us, and written to.
  void add_qemu_link(const std::string& options);
  void add_our_link();
  void change_chain();
  void take_snapshots(const std::string& name);
  // A few writes, zeros and discards by qemu-io, anywhere in the disk.
  void change(const std::string& name);
  std::string change_command();

  std::filesystem::path folder_;
  std::uint64_t seed_;
  std::uint64_t drawn_ = 0;
  std::string format_;
  std::string family_;
  std::vector<std::string> links_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t cluster_bytes_ = 65536;
  bool may_compress_ = false;  // written clusters
  bool zeroed_grain_ = false;
  bool zeroes_grains_ = false;
  std::string story_;
};

}  // namespace grainmill::testing
