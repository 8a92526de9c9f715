// SPDX-License-Identifier: Apache-2.0
//
// write_seeds FOLDER: writes the seeds as files, FOLDER/<target>/<number>, for libFuzzer to begin
// with.
#include "tests/fuzz/targets.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace {

void write(const std::filesystem::path& folder, const std::vector<grainmill::fuzz::Bytes>& seeds) {
  std::filesystem::create_directories(folder);
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream file(folder / std::to_string(i), std::ios::binary);
    file.write(reinterpret_cast<const char*>(seeds[i].data()),
               static_cast<std::streamsize>(seeds[i].size()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_seeds FOLDER\n", stderr);
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  write(folder / "descriptor", grainmill::fuzz::descriptor_seeds());
  write(folder / "header", grainmill::fuzz::header_seeds());
  write(folder / "image", grainmill::fuzz::image_seeds());
  write(folder / "manifest", grainmill::fuzz::manifest_seeds());
  return 0;
}
