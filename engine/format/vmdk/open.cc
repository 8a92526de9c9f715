// SPDX-License-Identifier: Apache-2.0
#include "engine/format/vmdk/open.h"

#include "engine/base/arith.h"
#include "engine/base/text.h"
#include "engine/format/vmdk/create_type.h"
#include "engine/format/vmdk/descriptor.h"
#include "engine/format/vmdk/extent_map.h"
#include "engine/format/vmdk/file_names.h"
#include "engine/format/vmdk/layout.h"
#include "engine/format/vmdk/link.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

namespace grainmill::vmdk {
namespace {

constexpr std::uint64_t kMaxDescriptorBytes = kMiB;

Result<std::string> read_text(const File& file, std::uint64_t offset, std::uint64_t length) {
  std::string text(length, '\0');
  GM_CHECK(file.read_exact_at(offset, std::as_writable_bytes(std::span(text))));
  return text;
}

Result<std::string> read_embedded_text(const File& file, const HostedHeader& header) {
  const std::optional<std::uint64_t> offset = checked_mul(header.descriptor_sector, kSectorBytes);
  const std::uint64_t length = header.descriptor_sectors * kSectorBytes;
  GM_TRY(const FileInfo info, file.info());
  if (!offset || !range_within(*offset, length, info.size_bytes))
    return fail(ErrorKind::corrupt, file.path(), 28,
                fmt::format("embedded descriptor at sector {} does not fit in the file of {} "
                            "bytes: it is truncated, or its "
                            "header is damaged",
                            header.descriptor_sector, info.size_bytes));
  return read_text(file, *offset, length);
}

Status check_descriptor(const Descriptor& descriptor, const std::string& path,
                        std::uint64_t text_offset) {
  if (!descriptor.refusal.empty()) return fail(ErrorKind::unsupported, path, descriptor.refusal);
  GM_CHECK(check_create_type(descriptor, path, text_offset));
  if (descriptor.has_parent() && descriptor.parent_hint.empty())
    return fail(ErrorKind::corrupt, path,
                fmt::format("is a snapshot (parentCID {:08x}) whose descriptor does not name its "
                            "parent; add the line "
                            "parentFileNameHint=\"...\" with the parent's file name",
                            *descriptor.parent_content_id));
  return check_numbering(descriptor, path, text_offset);
}

// Zero bytes end a descriptor. Only more of them belong behind that.
std::optional<std::uint64_t> text_behind_end(std::string_view text) {
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::size_t more = text.find_first_not_of('\0', end);
  return more == std::string_view::npos ? std::nullopt : std::optional<std::uint64_t>(end);
}

LinkDescription describe(const Descriptor& descriptor, std::string_view text,
                         const std::string& path, std::uint64_t text_offset) {
  LinkDescription description;
  if (const std::optional<std::uint64_t> end = text_behind_end(text))
    description.warnings.push_back(
        fmt::format("{}: offset {:#x}: a zero byte ends the descriptor here, but there is text "
                    "behind it, which is not read: it is left over, or the descriptor is damaged",
                    path, text_offset + *end));
  description.format = "vmdk";
  description.create_type = descriptor.create_type;
  description.content_id = descriptor.content_id;
  if (!descriptor.parent_hint.empty())
    description.parent =
        ParentRef{descriptor.parent_hint, descriptor.parent_content_id.value_or(kNoContentId)};
  return description;
}

// What the operating system or the image does not give; not what the user or the policy forbids.
bool is_damage(const Error& error) {
  return error.kind == ErrorKind::io || error.kind == ErrorKind::not_found ||
         error.kind == ErrorKind::corrupt;
}

// Which reader a part of a disk that was opened by itself belongs to.
std::unexpected<Error> refuse_part(FileSystem& files, const File& file, std::string_view what) {
  const std::optional<std::string> owner = find_owner(files, file.path());
  return fail(
      ErrorKind::unsupported, file.path(),
      owner ? fmt::format("is {}, not a whole disk: open its descriptor, {}", what, *owner)
            : fmt::format(
                  "is {}, not a whole disk, and no descriptor beside it names it: open the "
                  "descriptor of the "
                  "disk, a small text file that is usually called like this one without its suffix",
                  what));
}

// Whether there is no descriptor inside, as in the parts of split disks.
bool is_part(const File& file, const HostedHeader& header) {
  if (header.descriptor_sector == 0) return true;
  const Result<std::string> text = read_embedded_text(file, header);
  return text && (text->empty() || text->front() == '\0');
}

struct EmbeddedDescriptor {
  std::string text;
  Descriptor parsed;
};

// The file name in the descriptor is not used, so a renamed image opens and a crafted one names
// nothing.
Result<EmbeddedDescriptor> read_embedded(const File& file, FileSystem& files,
                                         const HostedHeader& header) {
  if (header.descriptor_sector == 0) return refuse_part(files, file, "one part of a split disk");
  GM_TRY(std::string text, read_embedded_text(file, header));
  if (text.empty() || text.front() == '\0')
    return refuse_part(files, file, "one part of a split disk");
  const std::uint64_t text_offset = header.descriptor_sector * kSectorBytes;
  GM_TRY(Descriptor descriptor, parse_descriptor(text, file.path(), text_offset));
  GM_CHECK(check_descriptor(descriptor, file.path(), text_offset));
  if (descriptor.extents.size() != 1 || descriptor.extents.front().type != "SPARSE")
    return fail(ErrorKind::corrupt, file.path(), text_offset,
                fmt::format("embedded descriptor (createType '{}') names other extents than this "
                            "file itself: expected exactly "
                            "one SPARSE extent",
                            descriptor.create_type));
  if (is_stream_optimized(descriptor) && !header.compressed())
    return fail(
        ErrorKind::corrupt, file.path(), 8,
        fmt::format("header flags {:#x} say uncompressed, the descriptor says streamOptimized",
                    header.flags));
  return EmbeddedDescriptor{std::move(text), std::move(descriptor)};
}

// Without a descriptor: what header and tables say, as of a disk without a parent.
Result<std::unique_ptr<Link>> open_undescribed(std::unique_ptr<File> file,
                                               const HostedHeader& header, Error why,
                                               const OpenOptions& options) {
  why.message +=
      "; read by its header and tables alone: where they hold nothing, those of a parent may have "
      "been";
  GM_CHECK(options.tolerate->add({.code = "open", .what = std::move(why)}));
  ExtentLine line;
  line.sectors = header.capacity_sectors;
  line.type = "SPARSE";
  const ExtentClaim claim{header.capacity_bytes(), file->path(), 0};
  GM_TRY(std::unique_ptr<ExtentMap> extent, open_hosted_map(std::move(file), claim, options));
  LinkDescription description;
  description.format = "vmdk";
  VmdkLink::Builder builder(std::move(description), nullptr);
  builder.add(line, std::move(extent));
  return builder.finish();
}

// A monolithic sparse disk: header, descriptor and grains in one file.
Result<std::unique_ptr<Link>> open_monolithic(std::unique_ptr<File> file, FileSystem& files,
                                              const OpenOptions& options) {
  std::array<std::byte, kSectorBytes> sector{};
  GM_CHECK(file->read_exact_at(0, sector));
  GM_TRY(const HostedHeader header, parse_hosted_header(sector, file->path(), 0));
  Result<EmbeddedDescriptor> embedded = read_embedded(*file, files, header);
  if (!embedded) {
    const bool refused =
        options.tolerate == nullptr ||
        (embedded.error().kind == ErrorKind::unsupported && !is_part(*file, header));
    if (refused) return std::unexpected(embedded.error());
    return open_undescribed(std::move(file), header, std::move(embedded).error(), options);
  }

  const ExtentLine& line = embedded->parsed.extents.front();
  const std::uint64_t text_offset = header.descriptor_sector * kSectorBytes;
  const std::string path = file->path();
  const ExtentClaim claim{line.sectors * kSectorBytes, path, text_offset + line.text_offset};
  GM_TRY(std::unique_ptr<ExtentMap> extent, open_hosted_map(std::move(file), claim, options));
  VmdkLink::Builder builder(describe(embedded->parsed, embedded->text, path, text_offset), nullptr);
  builder.add(line, std::move(extent));
  if (options.mode == OpenMode::read_write)
    builder.make_writable(embedded->text, files,
                          VmdkLink::Builder::Place{text_offset, embedded->text.size()});
  return builder.finish();
}

Result<std::unique_ptr<ExtentMap>> open_extent(std::unique_ptr<File> file, const ExtentLine& line,
                                               const ExtentClaim& claim,
                                               const OpenOptions& options) {
  if (line.type == "FLAT" || line.type == "VMFS")
    return open_flat_map(std::move(file), line.offset_sectors * kSectorBytes, claim, options);
  if (line.type == "VMFSSPARSE" && options.mode == OpenMode::read_write)
    return fail(ErrorKind::unsupported, file->path(),
                "is a VMFS snapshot (COWD), which can only be read: make a copy of another kind "
                "(`grainmill convert` to raw, or qemu-img convert)");
  if (line.type == "VMFSSPARSE") return open_cowd_map(std::move(file), claim, options.tables);
  return open_hosted_map(std::move(file), claim, options);
}

// A descriptor that stands alone in a text file, with its extents in files that it names.
class DescriptorOpener {
 public:
  DescriptorOpener(std::unique_ptr<File> file, FileSystem& files, const OpenOptions& options)
      : path_(file->path()), file_(std::move(file)), files_(files), options_(options) {}

  Result<std::unique_ptr<Link>> open() {
    GM_TRY(const FileInfo info, file_->info());
    if (info.size_bytes > kMaxDescriptorBytes) return refuse_size(info.size_bytes);
    GM_TRY(const std::string text, read_text(*file_, 0, info.size_bytes));
    GM_TRY(descriptor_, parse_descriptor(text, path_, 0));
    GM_CHECK(check_descriptor(descriptor_, path_, 0));
    GM_CHECK(tolerate(check_no_line_is_lost()));
    VmdkLink::Builder builder(describe(descriptor_, text, path_, 0), std::move(file_));
    for (const ExtentLine& line : descriptor_.extents) {
      Result<std::unique_ptr<ExtentMap>> extent = open_line(line);
      if (!extent) {
        GM_CHECK(tolerate(std::unexpected(extent.error())));
        extent = make_lost_map(extent.error());
      }
      builder.add(line, *std::move(extent));
    }
    if (flat_files_are_exact(descriptor_)) GM_CHECK(tolerate(check_flat_sizes()));
    if (options_.mode == OpenMode::read_write) builder.make_writable(text, files_, std::nullopt);
    return builder.finish();
  }

 private:
  [[nodiscard]] std::unexpected<Error> refuse_size(std::uint64_t size_bytes) const {
    std::vector<std::byte> head(kProbeBytes);
    if (const Result<std::size_t> got = file_->read_at(0, head)) head.resize(*got);
    if (looks_like_descriptor(head))
      return fail(ErrorKind::corrupt, path_,
                  fmt::format("begins like a descriptor but has {} bytes; expected at most {}",
                              size_bytes, kMaxDescriptorBytes));
    return fail(ErrorKind::corrupt, path_, 0,
                "no VMDK begins like this: expected the header of a sparse extent (KDMV) or the "
                "text of a descriptor; if it was one, its beginning is lost: get the file again");
  }

  // What may still be read without, when that is asked for.
  Status tolerate(Status status) const {
    if (status || options_.tolerate == nullptr || !is_damage(status.error())) return status;
    return options_.tolerate->add({.code = "open", .what = std::move(status).error()});
  }

  Status check_no_line_is_lost() const {
    const std::string next = name_after_last(descriptor_);
    if (next.empty() || next.find('/') != std::string::npos) return {};
    const Result<std::vector<std::string>> names = files_.list(folder_of(path_));
    if (!names || std::ranges::find(*names, next) == names->end()) return {};
    return fail(ErrorKind::corrupt, path_,
                fmt::format("its last extent is '{}', but '{}' lies beside it: an extent line is "
                            "lost from the descriptor (if that "
                            "file is not part of this disk, move it away)",
                            descriptor_.extents.back().file, next));
  }

  Result<std::unique_ptr<ExtentMap>> open_line(const ExtentLine& line) {
    if (line.type == "ZERO" || line.access == Access::none) return make_zero_map();
    if (line.access == Access::read_only && options_.mode == OpenMode::read_write)
      return fail(
          ErrorKind::unsupported, path_, line.text_offset,
          fmt::format("marks the extent '{}' RDONLY: the disk cannot be written", line.file));
    Result<std::unique_ptr<File>> file = open_with_encoding(
        files_, options_.policy, path_, {line.file, descriptor_.encoding}, options_.mode);
    if (!file) {
      if (file.error().kind == ErrorKind::not_found)
        file.error().message += fmt::format(
            "; the descriptor {} needs it as an extent: put it beside the descriptor", path_);
      return std::unexpected(file.error());
    }
    GM_TRY(const FileInfo info, (*file)->info());
    const ExtentClaim claim{line.sectors * kSectorBytes, path_, line.text_offset};
    const bool flat = line.type == "FLAT" || line.type == "VMFS";
    FileUse& use = uses_[{info.device, info.inode}];
    GM_CHECK(check_use(use, line, flat));
    use.path = (*file)->path();
    use.file_bytes = info.size_bytes;
    use.flat = flat;
    use.ranges.push_back(flat ? FileRange{line.offset_sectors * kSectorBytes, claim.size_bytes}
                              : FileRange{0, info.size_bytes});
    use.line_offset = line.text_offset;
    return open_extent(*std::move(file), line, claim, options_);
  }

  struct FileRange {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    [[nodiscard]] std::uint64_t end() const { return offset + size; }
  };
  struct FileUse {
    std::string path;
    std::uint64_t file_bytes = 0;
    bool flat = false;
    std::vector<FileRange> ranges;
    std::uint64_t line_offset = 0;  // of the last line that names it
  };

  // Two flat lines may share a file, but no byte of it; a sparse file is one extent.
  Status check_use(const FileUse& use, const ExtentLine& line, bool flat) const {
    const std::uint64_t begin = line.offset_sectors * kSectorBytes;
    const std::uint64_t end = begin + line.sectors * kSectorBytes;
    const bool overlaps = std::ranges::any_of(use.ranges, [&](const FileRange& range) {
      return !flat || !use.flat || (begin < range.end() && range.offset < end);
    });
    if (!overlaps) return {};
    return fail(ErrorKind::corrupt, path_, line.text_offset,
                fmt::format("extent '{}' stands for data that another extent line (offset {:#x}) "
                            "stands for too: a line is repeated or "
                            "damaged",
                            line.file, use.line_offset));
  }

  // Flat files of ordinary disks hold nothing behind what the descriptor says; one that does has
  // lost its end here, or grew in a transfer.
  Status check_flat_sizes() const {
    for (const auto& [id, use] : uses_) {
      if (!use.flat) continue;
      const std::uint64_t end = std::ranges::max(use.ranges, {}, &FileRange::end).end();
      if (use.file_bytes <= end) continue;
      const bool odd = use.file_bytes % kSectorBytes != 0;
      return fail(ErrorKind::corrupt, use.path, end,
                  fmt::format("the file goes on to {:#x}; the descriptor {} (offset {:#x}) says "
                              "that the disk ends here: {}",
                              use.file_bytes, path_, use.line_offset,
                              odd ? "it is not in whole sectors, so it was probably damaged by a "
                                    "transfer in text mode"
                                  : "its extent line is damaged, or the two are of different "
                                    "disks"));
    }
    return {};
  }

  std::string path_;
  std::unique_ptr<File> file_;
  FileSystem& files_;
  const OpenOptions& options_;
  Descriptor descriptor_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, FileUse> uses_;  // by device and inode
};

}  // namespace

bool probe(std::span<const std::byte> head) {
  return has_hosted_magic(head) || has_cowd_magic(head) ||
         (looks_like_descriptor(head) && !has_lost_header(head));
}

std::unexpected<Error> refuse_lost_header(const std::string& path) {
  return fail(ErrorKind::corrupt, path, 0,
              fmt::format("a VMDK whose header is damaged: its descriptor is there, but not the "
                          "header (KDMV) before it; `grainmill check --repair -f vmdk {}` may put "
                          "it right, and `grainmill check --salvage RAW -f vmdk {}` saves what it "
                          "holds",
                          shell_word(path), shell_word(path)));
}

Result<std::unique_ptr<Link>> open(std::unique_ptr<File> file, FileSystem& files,
                                   const OpenOptions& options) {
  std::vector<std::byte> head(kProbeBytes);
  GM_TRY(const std::size_t got, file->read_at(0, head));
  head.resize(got);
  if (has_hosted_magic(head)) return open_monolithic(std::move(file), files, options);
  if (has_cowd_magic(head)) return refuse_part(files, *file, "the data of a VMFS snapshot");
  if (has_lost_header(head)) {
    if (options.tolerate == nullptr) return refuse_lost_header(file->path());
    return fail(ErrorKind::corrupt, file->path(), 0,
                "its header is lost, and neither a footer nor the usual layout tells it again: "
                "nothing says where its data lies; get the file again");
  }
  return DescriptorOpener(std::move(file), files, options).open();
}

std::optional<std::string> find_owner(FileSystem& files, const std::string& path) {
  constexpr std::size_t kMaxCandidates = 1000;
  const std::string folder = folder_of(path);
  const std::string name = name_of(path);
  const Result<std::vector<std::string>> names = files.list(folder);
  if (!names) return std::nullopt;
  const std::string quoted = fmt::format("\"{}\"", name);
  std::size_t candidates = 0;
  for (const std::string& other : *names) {
    if (other == name || !other.ends_with(".vmdk") || ++candidates > kMaxCandidates) continue;
    std::string other_path = folder == "." ? other : fmt::format("{}/{}", folder, other);
    const auto file = files.open_read(other_path);
    if (!file) continue;
    std::string text(kProbeBytes, '\0');
    const auto got = (*file)->read_at(0, std::as_writable_bytes(std::span(text)));
    if (!got) continue;
    text.resize(*got);
    if (looks_like_descriptor(std::as_bytes(std::span(text))) && text.contains(quoted))
      return other_path;
  }
  return std::nullopt;
}

}  // namespace grainmill::vmdk
