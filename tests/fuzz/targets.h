// SPDX-License-Identifier: Apache-2.0
//
// What is fuzzed. Each function takes any bytes at all and does everything with them that the
// program would; it aborts where a promise is broken. Memory errors are for the sanitizers to see.
// libFuzzer calls them from a program of its own each (see BUILD), seeds_test.cc with a few seeds
// and many small changes of them.
#pragma once

#include "tests/fakes/memory_file_system.h"

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace grainmill::fuzz {

using Bytes = std::vector<std::byte>;

// A text descriptor.
void descriptor(std::span<const std::byte> input);

// The first sector of a hosted sparse extent, the first four of a COWD one, and the first cluster
// of a qcow2 image.
void header(std::span<const std::byte> input);

// A whole image: opened, checked, mapped, read as `convert` and `verify` would. Several files are
// separated by kFileSeparator; the first one is opened, the others lie beside it as "b", "c", ...
void image(std::span<const std::byte> input);
inline constexpr std::string_view kFileSeparator = "\n--8<--\n";
void add_files(testing::MemoryFileSystem& files, std::string_view input);

// A manifest; its checksum is made right first, for nothing behind it is reached otherwise.
void manifest(std::span<const std::byte> input);

// Small inputs of every kind, made in code. Most are sound.
std::vector<Bytes> descriptor_seeds();
std::vector<Bytes> header_seeds();
std::vector<Bytes> image_seeds();
std::vector<Bytes> manifest_seeds();

}  // namespace grainmill::fuzz
