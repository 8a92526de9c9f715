// SPDX-License-Identifier: Apache-2.0
#include "tests/support/file_bytes.h"

#include "tests/support/little_endian.h"

#include <array>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace grainmill::testing {

namespace fs = std::filesystem;

std::vector<std::byte> file_bytes(const fs::path& path, std::uint64_t offset, std::size_t size) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset));
  std::vector<std::byte> bytes(size);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!file.good()) {
    throw std::runtime_error(path.string() + ": no " + std::to_string(size) + " bytes at " +
                             std::to_string(offset));
  }
  return bytes;
}

std::vector<std::byte> file_bytes(const fs::path& path) {
  return file_bytes(path, 0, fs::file_size(path));
}

std::uint32_t file_word(const fs::path& path, std::uint64_t offset) {
  return get_le32(file_bytes(path, offset, 4), 0);
}

std::uint64_t file_dword(const fs::path& path, std::uint64_t offset) {
  return get_le64(file_bytes(path, offset, 8), 0);
}

void patch_file(const fs::path& path, std::uint64_t offset, std::span<const std::byte> bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file.good()) throw std::runtime_error(path.string() + ": cannot be patched");
}

void patch_file(const fs::path& path, std::uint64_t offset, std::string_view bytes) {
  patch_file(path, offset, std::as_bytes(std::span(bytes)));
}

void patch_word(const fs::path& path, std::uint64_t offset, std::uint32_t value) {
  std::array<std::byte, 4> bytes{};
  put_le32(bytes, 0, value);
  patch_file(path, offset, bytes);
}

void patch_dword(const fs::path& path, std::uint64_t offset, std::uint64_t value) {
  std::array<std::byte, 8> bytes{};
  put_le64(bytes, 0, value);
  patch_file(path, offset, bytes);
}

bool same_bytes(std::span<const std::byte> one, std::span<const std::byte> other) {
  return one.size() == other.size() &&
         (one.empty() || std::memcmp(one.data(), other.data(), one.size()) == 0);
}

void flip_bits(const fs::path& path, std::uint64_t offset, unsigned mask) {
  std::vector<std::byte> byte = file_bytes(path, offset, 1);
  byte[0] ^= static_cast<std::byte>(mask);
  patch_file(path, offset, byte);
}

}  // namespace grainmill::testing
