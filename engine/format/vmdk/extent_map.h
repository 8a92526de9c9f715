// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/findings.h"
#include "engine/format/format.h"
#include "engine/io/file.h"
#include "engine/map/extent.h"

#include <cstdint>
#include <memory>

namespace grainmill::vmdk {

// A range of one extent's own address space, and where it begins on the guest disk.
struct AddressRange {
  std::uint64_t address = 0;
  std::uint64_t length = 0;
  std::uint64_t guest_offset = 0;
};

// Where writes to an extent go; see WritablePart.
struct WriteTarget {
  File* file = nullptr;
  std::uint64_t file_offset = 0;
  GrainAllocator* allocator = nullptr;
};

// One extent of a link: what its file (or no file) says of its own address space.
// Threads: const methods may be called from several threads at once.
class ExtentMap {
 public:
  virtual ~ExtentMap() = default;

  // As LinkMap::map and Link::examine, for this extent alone; guest ranges are its addresses.
  [[nodiscard]] virtual Status map(const AddressRange& range, ExtentList& out) const = 0;
  [[nodiscard]] virtual Status examine(Findings& /*findings*/) const { return {}; }

  [[nodiscard]] virtual const File* file() const { return nullptr; }
  // 0 where nothing is allocated in grains.
  [[nodiscard]] virtual std::uint64_t grain_bytes() const { return 0; }
  [[nodiscard]] virtual bool compressed() const { return false; }
  [[nodiscard]] virtual bool unclean_shutdown() const { return false; }

  // Of extents opened with OpenMode::read_write; see WritableLink.
  [[nodiscard]] virtual WriteTarget write_target() { return {}; }
  [[nodiscard]] virtual Status begin_writing() { return {}; }
  [[nodiscard]] virtual Status end_writing() { return {}; }
};

// What the descriptor says of an extent, for holding it against the extent file.
struct ExtentClaim {
  std::uint64_t size_bytes = 0;
  std::string descriptor_path;
  std::uint64_t line_offset = 0;  // of the extent line in that file
};

// ZERO and NOACCESS extents.
[[nodiscard]] std::unique_ptr<ExtentMap> make_zero_map();

// What cannot be opened: mapping any of it fails with `why`.
[[nodiscard]] std::unique_ptr<ExtentMap> make_lost_map(Error why);

// FLAT and VMFS extents: `offset` bytes into the file. Fails where the file ends earlier than is
// claimed, unless that is tolerated: reading behind its end then fails.
[[nodiscard]] Result<std::unique_ptr<ExtentMap>> open_flat_map(std::unique_ptr<File> file,
                                                               std::uint64_t offset,
                                                               const ExtentClaim& claim,
                                                               const OpenOptions& options);

// Hosted sparse extents (KDMV), plain and stream-optimised.
[[nodiscard]] Result<std::unique_ptr<ExtentMap>> open_hosted_map(std::unique_ptr<File> file,
                                                                 const ExtentClaim& claim,
                                                                 const OpenOptions& options);

// VMFS sparse extents (COWD). They have one copy of the tables; a choice other than `agreeing`
// means that it is believed although data lies in the file that it does not know.
[[nodiscard]] Result<std::unique_ptr<ExtentMap>> open_cowd_map(std::unique_ptr<File> file,
                                                               const ExtentClaim& claim,
                                                               TableChoice choice);

}  // namespace grainmill::vmdk
