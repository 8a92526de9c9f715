// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"
#include "pipeline/sqlite.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace grainmill {

// What a scrub says of an image.
enum class Verdict : std::uint8_t {
  sound,
  changed,     // the contents differ, and CID, mtime or size say that someone wrote them
  rotten,      // the contents differ, and nothing says that they were written
  damaged,     // the structure is broken: its own, or its chain's
  missing,     // was there once
  fresh,       // "new": seen for the first time
  unreadable,  // the operating system, or the kind of image, does not let it be read
};
inline constexpr std::size_t kVerdicts = 7;

[[nodiscard]] std::string_view verdict_name(Verdict verdict);
// Whether someone has to see to it.
[[nodiscard]] constexpr bool is_bad(Verdict verdict) {
  return verdict == Verdict::rotten || verdict == Verdict::damaged || verdict == Verdict::missing ||
         verdict == Verdict::unreadable;
}

// One file as it was when the contents of its image were last known.
struct FileStamp {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
};

// What can tell whether an image was written since.
struct Evidence {
  std::vector<FileStamp> files;
  std::optional<std::uint32_t> content_id;
};

// A guest range that is not as it was.
struct Flaw {
  enum class Kind : std::uint8_t {
    differs,
    broken,      // what is stored there cannot be decoded
    unreadable,  // the operating system could not read it
  };
  Kind kind = Kind::differs;
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;
  std::string reason{};  // but for what differs: why
};
[[nodiscard]] std::string_view flaw_name(Flaw::Kind kind);

// Neighbours of a kind as one. REQUIRES: in guest order.
[[nodiscard]] std::vector<Flaw> join_flaws(std::vector<Flaw> flaws);

struct ImageRow {
  std::int64_t id = 0;
  std::string path;
  std::string format;
  std::uint64_t disk_bytes = 0;
  std::int64_t first_seen = 0;
  std::optional<std::int64_t> manifest;  // the one that holds
};

// What an image held. One that is not finished is still being read.
struct ManifestRow {
  std::int64_t id = 0;
  std::int64_t begun = 0;
  std::optional<std::int64_t> finished;
  std::uint64_t disk_bytes = 0;
  std::uint64_t chunk_bytes = 0;
  Evidence evidence;

  [[nodiscard]] std::uint64_t chunks() const {
    return (disk_bytes + chunk_bytes - 1) / chunk_bytes;
  }
};

// A piece of a manifest: what is read, compared and committed as one.
struct ChunkRow {
  std::uint64_t number = 0;
  std::uint64_t data_bytes = 0;
  std::int64_t checked = 0;              // when it was last read
  std::int64_t checked_run = 0;          // by which run
  std::optional<std::int64_t> proven{};  // when it last was what it must be
  bool has_digests = false;
  bool has_flaws = false;
};

// Of the manifest of an image that holds; nullopt where there is none, or something never was.
struct Ages {
  std::optional<std::int64_t> read;    // since then each byte was read
  std::optional<std::int64_t> proven;  // and was what it must be
};

struct VerdictRow {
  std::int64_t run = 0;
  std::int64_t image = 0;
  std::int64_t date = 0;
  Verdict verdict = Verdict::sound;
  std::string detail;
};

struct RunRow {
  std::int64_t id = 0;
  std::int64_t begun = 0;
  bool resumed = false;
};

// All that is known of images from one night to the next: an SQLite file whose tables docs/
// catalogue.md explains. Dates are seconds since the epoch. What is changed is kept by save().
// Threads: one at a time.
class Catalogue {
 public:
  static constexpr std::int64_t kVersion = 1;

  // Makes it if there is none. `busy` while another process has it open.
  [[nodiscard]] static Result<Catalogue> open(const std::string& path);

  // Makes what was changed since the last time durable, all of it or nothing.
  [[nodiscard]] Status save();

  // Goes on with the run over these folders that was not brought to its end, or begins one.
  [[nodiscard]] Result<RunRow> begin_run(const std::string& folders, std::int64_t now);
  [[nodiscard]] Status end_run(std::int64_t run, std::int64_t now);
  [[nodiscard]] Status add_read_bytes(std::int64_t run, std::uint64_t bytes);
  [[nodiscard]] Result<std::uint64_t> read_bytes(std::int64_t run);
  // When the last runs over these folders that were brought to their end began, the last first.
  [[nodiscard]] Result<std::vector<std::int64_t>> past_runs(const std::string& folders,
                                                            std::size_t most);

  // Sorted by path.
  [[nodiscard]] Result<std::vector<ImageRow>> images();
  [[nodiscard]] Result<ImageRow> add_image(const std::string& path, std::int64_t now);
  [[nodiscard]] Status describe_image(std::int64_t image, std::string_view format,
                                      std::uint64_t disk_bytes);
  // With all that is known of it.
  [[nodiscard]] Status forget_image(std::int64_t image);

  [[nodiscard]] Result<ManifestRow> manifest(std::int64_t id);
  // The one that is being read, if there is one.
  [[nodiscard]] Result<std::optional<ManifestRow>> unfinished(std::int64_t image);
  [[nodiscard]] Result<ManifestRow> add_manifest(std::int64_t image, const ManifestRow& manifest);
  [[nodiscard]] Status drop_manifest(std::int64_t manifest);
  // From now on it is the one that holds; the one before it is kept.
  [[nodiscard]] Status finish_manifest(std::int64_t image, std::int64_t manifest, std::int64_t now);
  [[nodiscard]] Status set_evidence(std::int64_t manifest, const Evidence& evidence);

  [[nodiscard]] Result<std::vector<ChunkRow>> chunks(std::int64_t manifest);
  [[nodiscard]] Result<std::vector<std::byte>> digests(std::int64_t manifest, std::uint64_t chunk);
  // Stores how a chunk was found, flaws in place of those it had; `digests`: nullopt to keep what
  // is stored.
  [[nodiscard]] Status put_chunk(std::int64_t manifest, const ChunkRow& chunk,
                                 std::optional<std::span<const std::byte>> digests,
                                 std::span<const Flaw> flaws);
  // In guest order.
  [[nodiscard]] Result<std::vector<Flaw>> flaws(std::int64_t manifest);
  // Two manifests are of the same contents.
  [[nodiscard]] Result<bool> same_contents(std::int64_t one, std::int64_t other);
  [[nodiscard]] Result<Ages> ages(std::int64_t image);
  // All of it was found to be as it must be.
  [[nodiscard]] Status prove_all(std::int64_t manifest, std::int64_t run, std::int64_t now);

  // In place of what this run said before.
  [[nodiscard]] Status put_verdict(const VerdictRow& verdict, std::span<const Flaw> flaws);
  [[nodiscard]] Result<bool> has_verdict(std::int64_t run, std::int64_t image);
  // The last ones, the last first.
  [[nodiscard]] Result<std::vector<VerdictRow>> verdicts(std::int64_t image, std::size_t most);
  [[nodiscard]] Result<std::vector<Flaw>> verdict_flaws(std::int64_t run, std::int64_t image);

 private:
  explicit Catalogue(Database database) : database_(std::move(database)) {}

  [[nodiscard]] Status prepare();
  // Before each change.
  [[nodiscard]] Status change(std::string_view sql, std::initializer_list<SqlValue> values);
  [[nodiscard]] Status begin();
  [[nodiscard]] Result<std::optional<ManifestRow>> read_manifest(Statement& statement);

  Database database_;
  bool changed_ = false;
};

}  // namespace grainmill
