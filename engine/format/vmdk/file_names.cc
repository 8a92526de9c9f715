// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/file_names.h"

#include <iconv.h>

#include <optional>

namespace grainmill::vmdk {
namespace {

std::optional<std::string> to_utf8(const std::string& name, const std::string& encoding) {
  const iconv_t converter = ::iconv_open("UTF-8", encoding.c_str());
  // NOLINTNEXTLINE(performance-no-int-to-ptr): how iconv_open(3) says that it failed.
  if (converter == reinterpret_cast<iconv_t>(-1)) return std::nullopt;
  std::string in = name;
  std::string out(4 * name.size() + 4, '\0');
  char* from = in.data();
  char* to = out.data();
  std::size_t from_left = in.size();
  std::size_t to_left = out.size();
  const bool converted =
      ::iconv(converter, &from, &from_left, &to, &to_left) != static_cast<std::size_t>(-1);
  ::iconv_close(converter);
  if (!converted) return std::nullopt;
  out.resize(out.size() - to_left);
  return out;
}

}  // namespace

Result<std::unique_ptr<File>> open_with_encoding(FileSystem& files, const OpenPolicy& policy,
                                                 const std::string& descriptor_path,
                                                 const EncodedName& name, OpenMode mode) {
  auto opened = open_named_file(files, policy, descriptor_path, name.text, mode);
  if (opened || opened.error().kind != ErrorKind::not_found || name.encoding.empty()) return opened;
  const std::optional<std::string> converted = to_utf8(name.text, name.encoding);
  if (!converted || *converted == name.text) return opened;
  auto reopened = open_named_file(files, policy, descriptor_path, *converted, mode);
  return reopened ? std::move(reopened) : std::move(opened);
}

}  // namespace grainmill::vmdk
