// SPDX-License-Identifier: Apache-2.0
#include "engine/io/huge_memory.h"

#include "engine/base/arith.h"
#include "engine/base/units.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

#include <sys/mman.h>

namespace grainmill {

Result<HugeMemory> HugeMemory::reserve(std::uint64_t bytes) {
  bytes = align_up(bytes, 4096);
  // mmap() aligns to small pages only: take more, and give back what is outside.
  const std::uint64_t taken = bytes + kHugePageBytes;
  void* mapped = ::mmap(nullptr, taken, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return fail(ErrorKind::io, "",
                fmt::format("cannot reserve {} of address space: {}", format_size(taken),
                            std::generic_category().message(errno)));
  auto* const begin = static_cast<std::byte*>(mapped);
  const std::uint64_t before =
      kHugePageBytes - reinterpret_cast<std::uintptr_t>(begin) % kHugePageBytes;
  ::munmap(begin, before);
  if (before != kHugePageBytes) ::munmap(begin + before + bytes, kHugePageBytes - before);
  return HugeMemory(begin + before, bytes);
}

HugeMemory::~HugeMemory() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

bool HugeMemory::make_huge(std::uint64_t offset) const {
  // Since Linux 6.1; not in every C library's headers: include/uapi/asm-generic/mman-common.h.
  constexpr int kMadvCollapse = 25;
  if (offset + kHugePageBytes > bytes_) return false;
  return ::madvise(data_ + offset, kHugePageBytes, kMadvCollapse) == 0;
}

}  // namespace grainmill
