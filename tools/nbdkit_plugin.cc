// SPDX-License-Identifier: Apache-2.0
//
// A disk as a network block device: `nbdkit ./nbdkit-grainmill-plugin.so disk.vmdk`.
#include "engine/base/units.h"
#include "tools/nbdkit_image.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <span>

#define NBDKIT_API_VERSION 2  // NOLINT(readability-identifier-naming): nbdkit's name
#include <nbdkit-plugin.h>

// What a Disk can do. NOLINTNEXTLINE(readability-identifier-naming): nbdkit's name
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

namespace grainmill {
namespace {

constexpr const char* kConfigHelp =
    "[file=]IMAGE         The image: a VMDK (its descriptor, if it has several files), or qcow2\n"
    "format=raw           IMAGE is a raw disk; without it the content tells, never the name\n"
    "allow-dir=FOLDER     Images may also name files below this folder; may be repeated\n"
    "allow-any-path=true  Images are trusted: open whatever file they name\n"
    "ignore-cid=true      Serve a chain although its content IDs do not match";

std::unique_ptr<NbdkitImage> image;

using Connection = std::shared_ptr<Disk>;

Disk& disk_of(void* handle) { return **static_cast<Connection*>(handle); }

int report(const Error& error) {
  nbdkit_error("%s", error.to_string().c_str());
  nbdkit_set_error(errno_of(error));
  return -1;
}

int report(const Status& status) { return status ? 0 : report(status.error()); }

// Runs `action`, which returns a Status. Errors are values; an exception is want of memory or a
// bug, and must not reach nbdkit, which is C.
template <typename Action>
int guarded(const Action& action) noexcept {
  try {
    return report(action());
  } catch (const std::bad_alloc&) {
    nbdkit_error("out of memory");
    nbdkit_set_error(ENOMEM);
  } catch (const std::exception& exception) {
    nbdkit_error("internal error: %s", exception.what());
    nbdkit_set_error(EIO);
  }
  return -1;
}

Result<std::string> absolute_path(const char* path) {
  const std::unique_ptr<char, decltype(&std::free)> absolute(nbdkit_absolute_path(path),
                                                             &std::free);
  if (!absolute) return fail(ErrorKind::invalid_argument, path, "cannot be made absolute");
  return std::string(absolute.get());
}

void on_load() {
  guarded([]() -> Status {
    image = std::make_unique<NbdkitImage>(posix_file_system());
    return {};
  });
}

void on_unload() { image.reset(); }

int on_config(const char* key, const char* value) {
  return guarded([&]() -> Status {
    const std::string_view name = key;
    if (*value == '\0' || (name != "file" && name != "allow-dir"))
      return image->configure(name, value);
    GM_TRY(const std::string path, absolute_path(value));
    return image->configure(name, path);
  });
}

int on_config_complete() {
  return guarded([] { return image->check_configured(); });
}

int on_get_ready() {
  return guarded([] { return image->get_ready(); });
}

// Ends the program's use of the image while errors can still be reported.
void on_cleanup() {
  guarded([] { return image->close(); });
}

void* on_open(int readonly) {
  Connection* connection = nullptr;
  guarded([&]() -> Status {
    GM_TRY(Connection disk, image->connect(readonly != 0));
    connection = new Connection(std::move(disk));
    return {};
  });
  return connection;
}

void on_close(void* handle) { delete static_cast<Connection*>(handle); }

std::int64_t get_size(void* handle) {
  return static_cast<std::int64_t>(disk_of(handle).size_bytes());
}

// Any alignment will do; whole grains cost no copying. The maximum is what all clients keep to.
int block_size(void* handle, std::uint32_t* minimum, std::uint32_t* preferred,
               std::uint32_t* maximum) {
  const std::uint64_t grain = std::bit_ceil(disk_of(handle).link(0).grain_bytes());
  *minimum = 1;
  *maximum = static_cast<std::uint32_t>(32 * kMiB);
  *preferred = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(grain, 4 * kKiB, *maximum));
  return 0;
}

int is_writable(void* handle) { return disk_of(handle).writable() ? 1 : 0; }
int can_fua(void* handle) {
  return disk_of(handle).writable() ? NBDKIT_FUA_NATIVE : NBDKIT_FUA_NONE;
}
// A flush on one connection covers the writes of all: there is one Disk.
int can_multi_conn(void* /*handle*/) { return 1; }
int can_extents(void* /*handle*/) { return 1; }
// Reading fills the page cache, which is all the cache there is.
int can_cache(void* /*handle*/) { return NBDKIT_CACHE_EMULATE; }

// "Forced unit access": done when it has reached the device.
Status flush_if_forced(Disk& disk, std::uint32_t flags) {
  return (flags & NBDKIT_FLAG_FUA) != 0 ? disk.flush() : Status();
}

int do_pread(void* handle, void* buffer, std::uint32_t count, std::uint64_t offset,
             std::uint32_t /*flags*/) {
  return guarded([&] {
    return disk_of(handle).read_at(offset, std::span(static_cast<std::byte*>(buffer), count));
  });
}

int do_pwrite(void* handle, const void* buffer, std::uint32_t count, std::uint64_t offset,
              std::uint32_t flags) {
  return guarded([&]() -> Status {
    Disk& disk = disk_of(handle);
    GM_CHECK(disk.write_at(offset, std::span(static_cast<const std::byte*>(buffer), count)));
    return flush_if_forced(disk, flags);
  });
}

// Without MAY_TRIM a client would rather have the space kept; a plugin may ignore that, and the
// zeros of a sparse image are entries, not space.
int do_zero(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return guarded([&]() -> Status {
    Disk& disk = disk_of(handle);
    GM_CHECK(disk.write_zeroes(offset, count));
    return flush_if_forced(disk, flags);
  });
}

int do_trim(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags) {
  return guarded([&]() -> Status {
    Disk& disk = disk_of(handle);
    GM_CHECK(disk.discard(offset, count));
    return flush_if_forced(disk, flags);
  });
}

int do_flush(void* handle, std::uint32_t /*flags*/) {
  return guarded([&] { return disk_of(handle).flush(); });
}

// All that reads as zeros is a hole by NBD's definition: writing there may need space. That goes
// for explicit zeros too, which store nothing.
int do_extents(void* handle, std::uint32_t count, std::uint64_t offset, std::uint32_t flags,
               nbdkit_extents* extents) {
  bool refused = false;
  const int status = guarded([&]() -> Status {
    const bool only_one = (flags & NBDKIT_FLAG_REQ_ONE) != 0;
    GM_TRY(const auto found, nbd_extents(disk_of(handle), offset, count, only_one));
    for (const NbdExtent& extent : found) {
      const std::uint32_t type =
          extent.reads_as_zero ? NBDKIT_EXTENT_HOLE | NBDKIT_EXTENT_ZERO : 0U;
      refused = refused || nbdkit_add_extent(extents, extent.offset, extent.length, type) != 0;
    }
    return {};
  });
  return refused ? -1 : status;  // nbdkit has said why
}

nbdkit_plugin describe_plugin() {
  nbdkit_plugin plugin{};
  plugin.name = "grainmill";
  plugin.longname = "Grainmill VMDK plugin";
  plugin.version = "0.1";
  plugin.description =
      "Serves VMware disk images (VMDK) with their snapshots; the top one can be "
      "written";
  plugin.load = on_load;
  plugin.unload = on_unload;
  plugin.config = on_config;
  plugin.config_complete = on_config_complete;
  plugin.config_help = kConfigHelp;
  plugin.magic_config_key = "file";
  plugin.get_ready = on_get_ready;
  plugin.cleanup = on_cleanup;
  plugin.open = on_open;
  plugin.close = on_close;
  plugin.get_size = get_size;
  plugin.block_size = block_size;
  plugin.can_write = is_writable;
  plugin.can_flush = is_writable;
  plugin.can_trim = is_writable;
  plugin.can_zero = is_writable;
  plugin.can_fua = can_fua;
  plugin.can_multi_conn = can_multi_conn;
  plugin.can_extents = can_extents;
  plugin.can_cache = can_cache;
  plugin.pread = do_pread;
  plugin.pwrite = do_pwrite;
  plugin.zero = do_zero;
  plugin.trim = do_trim;
  plugin.flush = do_flush;
  plugin.extents = do_extents;
  return plugin;
}

nbdkit_plugin plugin = describe_plugin();

}  // namespace
}  // namespace grainmill

NBDKIT_REGISTER_PLUGIN(grainmill::plugin)
