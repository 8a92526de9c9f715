// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/create.h"

#include "engine/format/vmdk/new_disk.h"

#include <utility>

namespace grainmill::vmdk {

Result<CreatedDisk> create(FileSystem& files, const std::string& path,
                           const CreateOptions& options) {
  GM_TRY(NewDisk disk, begin_disk(files, path, options, Contents::later));
  GM_CHECK(disk.outputs.publish(options.durability));
  return CreatedDisk{.descriptor = std::move(disk.plan.descriptor),
                     .database = std::move(disk.plan.database),
                     .size_bytes = disk.plan.sectors * kSectorBytes,
                     .grain_bytes = disk.plan.grain_sectors * kSectorBytes,
                     .files = disk.outputs.paths(),
                     .parent_is_elsewhere = disk.parent_is_elsewhere};
}

}  // namespace grainmill::vmdk
