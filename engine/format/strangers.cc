// SPDX-License-Identifier: Apache-2.0
#include "engine/format/strangers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace grainmill {
namespace {

using namespace std::string_view_literals;

struct Stranger {
  std::size_t offset;
  std::string_view magic;
  std::string_view name;
};

constexpr std::string_view kUnfinished = "vmdk";

constexpr std::array kStrangers = {
    Stranger{0, "version https://git-lfs.github.com/spec/"sv,
             "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"sv},
    Stranger{
        0, "\xbe\xba\xfe\xca\0\0\0\0"sv,
        "a seSparse extent of an ESXi snapshot, which is not supported; consolidate the snapshot first"sv},
    Stranger{0, kUnfinished, "an unfinished VMDK (its writer was interrupted); make it again"sv},
    Stranger{0, "QFI\xfb\0\0\0\1"sv,
             "a qcow image of version 1; make a qcow2 image of it with qemu-img convert"sv},
    Stranger{0, "QED\0"sv, "a QED image"sv},
    Stranger{0, "conectix"sv, "a VHD image"sv},
    Stranger{0, "vhdxfile"sv, "a VHDX image"sv},
    Stranger{0x40, "\x7f\x10\xda\xbe"sv, "a VirtualBox VDI image"sv},
    Stranger{257, "ustar"sv,
             "a tar archive, perhaps an OVA; unpack it and convert the .vmdk inside"sv},
    Stranger{0, "\x1f\x8b"sv, "a gzip file; decompress it first"sv},
    Stranger{0, "BZh"sv, "a bzip2 file; decompress it first"sv},
    Stranger{0,
             "\xfd"
             "7zXZ"sv,
             "an xz file; decompress it first"sv},
    Stranger{0, "\x28\xb5\x2f\xfd"sv, "a zstd file; decompress it first"sv},
    Stranger{0, "PK\x03\x04"sv, "a zip archive; unpack it first"sv},
};

std::string_view as_text(std::span<const std::byte> head) {
  return {reinterpret_cast<const char*>(head.data()), head.size()};
}

bool has_at(std::string_view text, std::size_t offset, std::string_view magic) {
  return text.size() >= offset && text.substr(offset).starts_with(magic);
}

bool is_html(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (begin == std::string_view::npos) return false;
  std::string start(text.substr(begin, 14));
  std::ranges::transform(start, start.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return start.starts_with("<!doctype html") || start.starts_with("<html") ||
         start.starts_with("<head");
}

}  // namespace

std::string_view name_stranger(std::span<const std::byte> head) {
  if (head.empty()) return "an empty file";
  const std::string_view text = as_text(head);
  for (const Stranger& stranger : kStrangers)
    if (has_at(text, stranger.offset, stranger.magic)) return stranger.name;
  if (is_html(text))
    return "an HTML page, probably an error or login page saved under this name; download it again";
  if (std::ranges::all_of(text, [](char c) { return c == '\0'; }))
    return "nothing but zeros where a header should be; if it is a raw disk, say so with -f raw";
  return {};
}

bool is_unfinished(std::span<const std::byte> head) {
  return has_at(as_text(head), 0, kUnfinished);
}

}  // namespace grainmill
