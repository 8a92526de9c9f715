// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/format/format.h"

#include <memory>
#include <string_view>

namespace grainmill::qcow2 {

// For people: what SinkOptions::settings may hold.
inline constexpr std::string_view kSettingsHelp =
    R"(Options of -o, as NAME=VALUE; more than one between commas:
  cluster_size=SIZE            a power of two from 512 to 2M (default: 64k, as VMDK's grains are)
  compression_type=zlib|zstd   what -c compresses with (default: zlib, which all versions of qemu read)
  lazy_refcounts=on|off        whether qemu may put off its bookkeeping, for speed (default: off)
  compat=1.1                   version 3 of the format; no other is made
)";

// A new qcow2 disk, version 3, without backing file, written from its first cluster to its last;
// the header comes last, so that until then no reader takes it for one. The bytes depend on the
// disk and the options alone. Memory: 8 bytes for each L2 table (512 MiB of disk) and for each
// refcount block (2 GiB of file), plus one of each, for clusters of 64 KiB.
[[nodiscard]] Result<std::unique_ptr<Sink>> make_sink(FileSystem& files,
                                                      const SinkOptions& options);

}  // namespace grainmill::qcow2
