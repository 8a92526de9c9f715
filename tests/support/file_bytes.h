// SPDX-License-Identifier: Apache-2.0
//
// Bytes of a file at exact places, to look at or to damage. All throw std::runtime_error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace grainmill::testing {

std::vector<std::byte> file_bytes(const std::filesystem::path& path, std::uint64_t offset,
                                  std::size_t size);
std::vector<std::byte> file_bytes(const std::filesystem::path& path);  // the whole file

std::uint32_t file_word(const std::filesystem::path& path, std::uint64_t offset);   // u32
std::uint64_t file_dword(const std::filesystem::path& path, std::uint64_t offset);  // u64

// Overwrite in place; writing past the end lengthens the file.
void patch_file(const std::filesystem::path& path, std::uint64_t offset,
                std::span<const std::byte> bytes);
void patch_file(const std::filesystem::path& path, std::uint64_t offset, std::string_view bytes);
void patch_word(const std::filesystem::path& path, std::uint64_t offset, std::uint32_t value);
void patch_dword(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t value);

// The library's == compares bytes one by one, for they are enumerators: slow in sanitized tests.
bool same_bytes(std::span<const std::byte> one, std::span<const std::byte> other);

// Turns over the bits of `mask` in one byte.
void flip_bits(const std::filesystem::path& path, std::uint64_t offset, unsigned mask = 1);

}  // namespace grainmill::testing
