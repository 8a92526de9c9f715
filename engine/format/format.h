// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "engine/base/findings.h"
#include "engine/format/repair.h"
#include "engine/format/settings.h"
#include "engine/format/sink.h"
#include "engine/io/file_system.h"
#include "engine/io/open_policy.h"
#include "engine/map/grain_allocator.h"
#include "engine/map/link_map.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace grainmill {

// Which copy of a sparse extent's tables to read, and what to do where the two copies differ.
enum class TableChoice : std::uint8_t {
  agreeing,   // the primary; refuse an image whose copies differ
  primary,    // the primary, whatever the other says
  redundant,  // the redundant copy, whatever the primary says
};

struct OpenOptions {
  OpenPolicy policy;
  TableChoice tables = TableChoice::agreeing;
  // read_write: the link can be written through Link::writable(); what cannot be written is refused
  // with the reason.
  OpenMode mode = OpenMode::read;
  // Other links hide parts of this one, so reading the disk does not read all that it stores: what
  // is otherwise noticed when a grain is read, its check() looks for.
  bool partly_hidden = false;
  // To save what can be saved: damage without which the rest can be read is told here instead of
  // failing, and mapping what is lost by it fails. Only to read.
  Findings* tolerate = nullptr;
};

// The content ID of no disk: what a link without a parent says of it.
inline constexpr std::uint32_t kNoContentId = 0xffffffffU;

// What a link says of the one it builds on.
struct ParentRef {
  std::string hint;  // its name, as written
  // The content ID it had when this link was made; nullopt where the format keeps none.
  std::optional<std::uint32_t> content_id;
  std::string format{};  // stated by the link, as in `-f`; empty: told by content, and never raw
};

// One file, or one range of zeros, that the guest disk is made of.
struct ExtentDescription {
  std::string path;  // empty for a range without a file
  std::string type;  // the format's own word: SPARSE, FLAT, ...
  std::uint64_t size_bytes = 0;
  std::uint64_t grain_bytes = 0;  // 0 where nothing is allocated in grains
  bool compressed = false;        // grains may be
};

// One more thing that a format knows of a link, by the name that `qemu-img info` gives it.
struct FormatFact {
  std::string name;
  std::variant<bool, std::uint64_t, std::string> value;
};

// What a person wants to know of a link; what a conversion writes down about its source.
struct LinkDescription {
  std::string format;       // the registry's name
  std::string create_type;  // the format's own name of the variant; may be empty
  std::optional<std::uint32_t> content_id;
  std::optional<ParentRef> parent;
  std::vector<ExtentDescription> extents;
  std::vector<FormatFact> facts;
  std::vector<std::string>
      warnings;  // odd, but not wrong: each a full sentence that names its file
  bool unclean_shutdown = false;
};

// One part of a link as its writers see it. Parts are side by side, without gaps.
struct WritablePart {
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  File* file = nullptr;                 // null: nothing can be written here (ZERO extents)
  std::uint64_t file_offset = 0;        // flat parts: of the byte at guest_offset
  GrainAllocator* allocator = nullptr;  // null: a flat part, written in place
};

// What a link opened with OpenMode::read_write offers beside reading. It says where things go and
// keeps the metadata; who writes (engine/disk) writes the payload.
// Threads: parts() at any time after begin(); all else one call at a time.
class WritableLink {
 public:
  virtual ~WritableLink() = default;

  // Before the first change: marks the link as being written (uncleanShutdown), durably, and clears
  // away what a crash left behind. REQUIRES: called once.
  [[nodiscard]] virtual Status begin() = 0;

  [[nodiscard]] virtual std::span<const WritablePart> parts() const = 0;

  // Says that the contents are no longer what they were: stores a content ID, durable when it
  // returns. Nothing for formats without. `id`: nullopt for any that is not the old one.
  [[nodiscard]] virtual Status store_content_id(std::optional<std::uint32_t> id) = 0;

  // Names another parent; none if the hint is empty. Does not need begin().
  [[nodiscard]] virtual Status store_parent(const ParentRef& parent) = 0;

  // After the last flush: closes the allocators and takes the mark away, durably.
  [[nodiscard]] virtual Status end() = 0;

 protected:
  WritableLink() = default;
  WritableLink(const WritableLink&) = default;
  WritableLink& operator=(const WritableLink&) = default;
};

// Where the blocks that the tables know begin beside one of them, in the same file.
struct BlockNeighbours {
  std::optional<std::uint64_t> previous;  // the last before it
  std::optional<std::uint64_t> next;      // the first behind it
};

// One opened link of a chain. It describes; it never copies payload.
// Threads: all methods may be called from several threads at once.
class Link : public LinkMap {
 public:
  [[nodiscard]] virtual const LinkDescription& description() const = 0;

  // The file it was opened by first, then those that it names.
  [[nodiscard]] virtual std::vector<const File*> files() const = 0;

  // Null unless opened with OpenMode::read_write.
  [[nodiscard]] virtual WritableLink* writable() { return nullptr; }

  // Whether any of its grains may be stored deflated. Where only the tables say so, all may until
  // check() has read them.
  [[nodiscard]] virtual bool may_deflate() const {
    return std::ranges::any_of(description().extents, &ExtentDescription::compressed);
  }

  // A block that inflates to `grain`, for the place of the one that is stored there, damaged or
  // not: it takes all the room of that one, and nothing else. Fails where it is too long, or where
  // how much room there is cannot be told. REQUIRES: extent is a whole deflated grain of this link.
  [[nodiscard]] virtual Result<std::vector<std::byte>> deflate_in_place(
      const Extent& extent, const BlockNeighbours& /*beside*/,
      std::span<const std::byte> /*grain*/) const {
    return fail(ErrorKind::unsupported, extent.file->path(), extent.file_offset,
                "compressed data of this format is not written in place");
  }

  // Reads all tables, both copies, and holds them against each other and against the files: an
  // entry that is past the end, inside metadata, unaligned or used twice is damage. Costs 4 bytes
  // of reading a grain and a copy. Fails where something cannot be read, and where `findings` do.
  [[nodiscard]] virtual Status examine(Findings& findings) const = 0;

  // examine(), up to the first damage: done before the first byte of output is written.
  [[nodiscard]] Status check() const {
    FirstDamage first;
    return examine(first);
  }
};

// An output to be made.
struct SinkOptions {
  std::string path{};               // kStandardOutputName: a stream
  std::uint64_t size_bytes = 0;     // of the disk
  std::vector<Setting> settings{};  // of the format
  std::uint64_t hole_bytes = 4096;  // of flat files: see FlatSinkOptions
  bool compress = false;            // refused where the format cannot
  std::string level{};              // of compression; empty: the usual one
  bool in_place = false;  // over a file or block device that is there, of at least this size
};

// In place of a path.
inline constexpr std::string_view kStandardOutputName = "-";

// One format. Formats are listed in registry.cc and nowhere else.
struct Format {
  std::string_view name;  // as in `-f`
  std::string_view description;

  // Whether a file that begins like this is of this format; null for a format that nothing gives
  // away (raw).
  bool (*probe)(std::span<const std::byte> head) = nullptr;

  Result<std::unique_ptr<Link>> (*open)(std::unique_ptr<File> file, FileSystem& files,
                                        const OpenOptions& options) = nullptr;

  // Null: it is not written. Fails without having changed anything that has a name.
  Result<std::unique_ptr<Sink>> (*make_sink)(FileSystem& files,
                                             const SinkOptions& options) = nullptr;
  // How the damage to the image at `path`, one link, can be undone. Writes nothing, and fails only
  // where something cannot be read. Null: not known for this format.
  Result<RepairPlan> (*plan_repair)(FileSystem& files, const std::string& path,
                                    const OpenOptions& options) = nullptr;
  // The change that makes the image at `path` expect this content ID of its parent. Null: images of
  // this format expect none.
  Result<Correction> (*plan_parent_id)(FileSystem& files, const std::string& path,
                                       std::uint32_t id) = nullptr;
  std::string_view settings_help;  // for people: what `settings` may hold
  bool whole_sectors = false;      // its disks have no size but multiples of 512 bytes
};

// How much of a file's beginning a probe is shown, at most.
inline constexpr std::size_t kProbeBytes = 65536;

[[nodiscard]] std::span<const Format> formats();
[[nodiscard]] const Format* format_by_name(std::string_view name);

// The format of a file, by its content and never by its name. A file that is something else is
// called what it is, and one that is part of a disk beside it (`files`) is refused with the name of
// the file to open instead.
[[nodiscard]] Result<const Format*> detect_format(const File& file, FileSystem& files);

// The same of a file that an image names as its parent, for putting it right: one whose header is
// lost is what the rest of it says.
[[nodiscard]] Result<const Format*> detect_damaged_format(const File& file, FileSystem& files);

// Fails where a file that is said to be of one format begins as one of another. What begins like
// none may still be of the format that is said, and damaged.
[[nodiscard]] Status check_format(const File& file, const Format& said);

}  // namespace grainmill
