// SPDX-License-Identifier: Apache-2.0
#include "pipeline/catalogue.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace grainmill {
namespace {

// docs/catalogue.md says what they mean. A change is a new version, and a way to it from each older
// one.
constexpr const char* kSchema = R"sql(
CREATE TABLE runs(
  id INTEGER PRIMARY KEY, folders TEXT NOT NULL, begun INTEGER NOT NULL, ended INTEGER,
  read_bytes INTEGER NOT NULL DEFAULT 0);
CREATE TABLE images(
  id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, format TEXT NOT NULL DEFAULT '',
  disk_bytes INTEGER NOT NULL DEFAULT 0, first_seen INTEGER NOT NULL,
  manifest INTEGER REFERENCES manifests(id));
CREATE TABLE manifests(
  id INTEGER PRIMARY KEY, image INTEGER NOT NULL REFERENCES images(id) ON DELETE CASCADE,
  begun INTEGER NOT NULL, finished INTEGER, replaced INTEGER, disk_bytes INTEGER NOT NULL,
  chunk_bytes INTEGER NOT NULL, content_id INTEGER);
CREATE INDEX manifests_of_image ON manifests(image);
CREATE TABLE files(
  manifest INTEGER NOT NULL REFERENCES manifests(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  path TEXT NOT NULL, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL, device INTEGER NOT NULL, inode INTEGER NOT NULL,
  PRIMARY KEY(manifest, number)) WITHOUT ROWID;
CREATE TABLE chunks(
  manifest INTEGER NOT NULL REFERENCES manifests(id) ON DELETE CASCADE, number INTEGER NOT NULL,
  data_bytes INTEGER NOT NULL, checked INTEGER NOT NULL, checked_run INTEGER NOT NULL,
  proven INTEGER, digests BLOB, UNIQUE(manifest, number));
CREATE TABLE flaws(
  manifest INTEGER NOT NULL REFERENCES manifests(id) ON DELETE CASCADE, chunk INTEGER NOT NULL,
  guest_offset INTEGER NOT NULL, length INTEGER NOT NULL, kind INTEGER NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY(manifest, chunk, guest_offset)) WITHOUT ROWID;
CREATE TABLE verdicts(
  run INTEGER NOT NULL REFERENCES runs(id), image INTEGER NOT NULL REFERENCES images(id)
  ON DELETE CASCADE, date INTEGER NOT NULL, verdict TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY(image, run)) WITHOUT ROWID;
CREATE TABLE ranges(
  run INTEGER NOT NULL, image INTEGER NOT NULL, guest_offset INTEGER NOT NULL,
  length INTEGER NOT NULL, kind INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(image, run, guest_offset),
  FOREIGN KEY(image, run) REFERENCES verdicts(image, run) ON DELETE CASCADE) WITHOUT ROWID;
PRAGMA application_id = 1196249422;  -- "GMSN"
)sql";

constexpr std::array<std::string_view, kVerdicts> kVerdictNames = {
    "sound", "changed", "rotten", "damaged", "missing", "new", "unreadable"};

Result<Verdict> verdict_by_name(std::string_view name, const std::string& path) {
  for (std::size_t i = 0; i < kVerdictNames.size(); ++i)
    if (kVerdictNames[i] == name) return static_cast<Verdict>(i);
  return fail(ErrorKind::corrupt, path, fmt::format("has a verdict '{}', which is none", name));
}

Flaw read_flaw(const Statement& row) {
  return {.kind = static_cast<Flaw::Kind>(row.integer(2)),
          .guest_offset = row.number(0),
          .length = row.number(1),
          .reason = row.text(3)};
}

Result<std::vector<Flaw>> read_flaws(Result<Statement> rows) {
  if (!rows) return std::unexpected(std::move(rows).error());
  std::vector<Flaw> flaws;
  while (true) {
    GM_TRY(const bool more, rows->step());
    if (!more) return flaws;
    flaws.push_back(read_flaw(*rows));
  }
}

ImageRow read_image(const Statement& row) {
  return {.id = row.integer(0),
          .path = row.text(1),
          .format = row.text(2),
          .disk_bytes = row.number(3),
          .first_seen = row.integer(4),
          .manifest = row.optional_integer(5)};
}

}  // namespace

std::string_view verdict_name(Verdict verdict) {
  return kVerdictNames[static_cast<std::size_t>(verdict)];
}

std::string_view flaw_name(Flaw::Kind kind) {
  switch (kind) {
    case Flaw::Kind::differs:
      return "differs";
    case Flaw::Kind::broken:
      return "broken";
    case Flaw::Kind::unreadable:
      break;
  }
  return "unreadable";
}

std::vector<Flaw> join_flaws(std::vector<Flaw> flaws) {
  std::vector<Flaw> joined;
  for (Flaw& flaw : flaws) {
    if (!joined.empty() && joined.back().kind == flaw.kind &&
        joined.back().guest_offset + joined.back().length == flaw.guest_offset)
      joined.back().length += flaw.length;
    else
      joined.push_back(std::move(flaw));
  }
  return joined;
}

Result<Catalogue> Catalogue::open(const std::string& path) {
  GM_TRY(Database database, Database::open(path));
  Catalogue catalogue(std::move(database));
  GM_CHECK(catalogue.prepare());
  return catalogue;
}

Status Catalogue::prepare() {
  // Held from the first change until the process ends, however it does: one scrub at a time.
  GM_CHECK(database_.run_all("PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON;"));
  GM_TRY(const std::int64_t version, database_.integer("PRAGMA user_version"));
  GM_TRY(const std::int64_t tables, database_.integer("SELECT count(*) FROM sqlite_schema"));
  if (version > kVersion)
    return fail(ErrorKind::unsupported, database_.path(),
                fmt::format("is a catalogue of version {}, this program knows up to {}: use the "
                            "program that made it, or a newer one",
                            version, kVersion));
  if (version == 0 && tables != 0)
    return fail(ErrorKind::unsupported, database_.path(),
                "is a database of another program: name another file with --catalogue");
  GM_CHECK(database_.run_all("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"));
  GM_CHECK(database_.run_all("BEGIN IMMEDIATE"));
  if (version == 0)
    GM_CHECK(database_.run_all(kSchema + fmt::format("PRAGMA user_version = {};", kVersion)));
  return database_.run_all("COMMIT");
}

Status Catalogue::begin() {
  if (changed_) return {};
  GM_CHECK(database_.run_all("BEGIN IMMEDIATE"));
  changed_ = true;
  return {};
}

Status Catalogue::change(std::string_view sql, std::initializer_list<SqlValue> values) {
  GM_CHECK(begin());
  return database_.run(sql, values);
}

Status Catalogue::save() {
  if (!changed_) return {};
  GM_CHECK(database_.run_all("COMMIT"));
  changed_ = false;
  return {};
}

Result<RunRow> Catalogue::begin_run(const std::string& folders, std::int64_t now) {
  GM_TRY(Statement row,
         database_.query("SELECT id, begun FROM runs WHERE folders = ? AND ended IS NULL "
                         "ORDER BY id DESC LIMIT 1",
                         {std::string_view(folders)}));
  GM_TRY(const bool found, row.step());
  if (found) return RunRow{row.integer(0), row.integer(1), true};
  GM_CHECK(
      change("INSERT INTO runs(folders, begun) VALUES(?, ?)", {std::string_view(folders), now}));
  return RunRow{database_.last_row(), now, false};
}

Status Catalogue::end_run(std::int64_t run, std::int64_t now) {
  return change("UPDATE runs SET ended = ? WHERE id = ?", {now, run});
}

Status Catalogue::add_read_bytes(std::int64_t run, std::uint64_t bytes) {
  return change("UPDATE runs SET read_bytes = read_bytes + ? WHERE id = ?",
                {sql_number(bytes), run});
}

Result<std::uint64_t> Catalogue::read_bytes(std::int64_t run) {
  GM_TRY(const std::int64_t bytes,
         database_.integer("SELECT read_bytes FROM runs WHERE id = ?", {run}));
  return static_cast<std::uint64_t>(bytes);
}

Result<std::vector<std::int64_t>> Catalogue::past_runs(const std::string& folders,
                                                       std::size_t most) {
  GM_TRY(Statement rows,
         database_.query("SELECT begun FROM runs WHERE folders = ? AND ended IS NOT NULL "
                         "ORDER BY id DESC LIMIT ?",
                         {std::string_view(folders), sql_number(most)}));
  std::vector<std::int64_t> begun;
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return begun;
    begun.push_back(rows.integer(0));
  }
}

Result<std::vector<ImageRow>> Catalogue::images() {
  GM_TRY(Statement rows,
         database_.query("SELECT id, path, format, disk_bytes, first_seen, manifest FROM images "
                         "ORDER BY path"));
  std::vector<ImageRow> images;
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return images;
    images.push_back(read_image(rows));
  }
}

Result<ImageRow> Catalogue::add_image(const std::string& path, std::int64_t now) {
  GM_CHECK(
      change("INSERT INTO images(path, first_seen) VALUES(?, ?)", {std::string_view(path), now}));
  return ImageRow{database_.last_row(), path, "", 0, now, std::nullopt};
}

Status Catalogue::describe_image(std::int64_t image, std::string_view format,
                                 std::uint64_t disk_bytes) {
  return change("UPDATE images SET format = ?, disk_bytes = ? WHERE id = ?",
                {format, sql_number(disk_bytes), image});
}

Status Catalogue::forget_image(std::int64_t image) {
  GM_CHECK(change("UPDATE images SET manifest = NULL WHERE id = ?", {image}));
  return change("DELETE FROM images WHERE id = ?", {image});
}

Result<std::optional<ManifestRow>> Catalogue::read_manifest(Statement& statement) {
  GM_TRY(const bool found, statement.step());
  if (!found) return std::nullopt;
  ManifestRow manifest{.id = statement.integer(0),
                       .begun = statement.integer(1),
                       .finished = statement.optional_integer(2),
                       .disk_bytes = statement.number(3),
                       .chunk_bytes = statement.number(4),
                       .evidence = {}};
  if (!statement.is_null(5))
    manifest.evidence.content_id = static_cast<std::uint32_t>(statement.integer(5));
  if (manifest.chunk_bytes == 0)
    return fail(ErrorKind::corrupt, database_.path(),
                fmt::format("manifest {} has chunks of no length", manifest.id));
  GM_TRY(Statement rows,
         database_.query("SELECT path, size_bytes, mtime_ns, ctime_ns, device, inode FROM files "
                         "WHERE manifest = ? ORDER BY number",
                         {manifest.id}));
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return manifest;
    manifest.evidence.files.push_back({rows.text(0), rows.number(1), rows.integer(2),
                                       rows.integer(3), rows.number(4), rows.number(5)});
  }
}

Result<ManifestRow> Catalogue::manifest(std::int64_t id) {
  GM_TRY(Statement row,
         database_.query("SELECT id, begun, finished, disk_bytes, chunk_bytes, content_id "
                         "FROM manifests WHERE id = ?",
                         {id}));
  GM_TRY(std::optional<ManifestRow> found, read_manifest(row));
  if (!found)
    return fail(ErrorKind::corrupt, database_.path(), fmt::format("has no manifest {}", id));
  return *std::move(found);
}

Result<std::optional<ManifestRow>> Catalogue::unfinished(std::int64_t image) {
  GM_TRY(Statement row,
         database_.query("SELECT id, begun, finished, disk_bytes, chunk_bytes, content_id "
                         "FROM manifests WHERE image = ? AND finished IS NULL",
                         {image}));
  return read_manifest(row);
}

Result<ManifestRow> Catalogue::add_manifest(std::int64_t image, const ManifestRow& manifest) {
  GM_CHECK(change(
      "INSERT INTO manifests(image, begun, disk_bytes, chunk_bytes) VALUES(?, ?, ?, ?)",
      {image, manifest.begun, sql_number(manifest.disk_bytes), sql_number(manifest.chunk_bytes)}));
  ManifestRow added = manifest;
  added.id = database_.last_row();
  GM_CHECK(set_evidence(added.id, manifest.evidence));
  return added;
}

Status Catalogue::drop_manifest(std::int64_t manifest) {
  return change("DELETE FROM manifests WHERE id = ?", {manifest});
}

Status Catalogue::finish_manifest(std::int64_t image, std::int64_t manifest, std::int64_t now) {
  GM_CHECK(
      change("UPDATE manifests SET replaced = ? WHERE image = ? AND finished IS NOT NULL AND "
             "replaced IS NULL",
             {now, image}));
  GM_CHECK(change("UPDATE manifests SET finished = ? WHERE id = ?", {now, manifest}));
  return change("UPDATE images SET manifest = ? WHERE id = ?", {manifest, image});
}

Status Catalogue::set_evidence(std::int64_t manifest, const Evidence& evidence) {
  GM_CHECK(change("UPDATE manifests SET content_id = ? WHERE id = ?",
                  {sql_optional(evidence.content_id), manifest}));
  GM_CHECK(change("DELETE FROM files WHERE manifest = ?", {manifest}));
  std::int64_t number = 0;
  for (const FileStamp& file : evidence.files)
    GM_CHECK(
        change("INSERT INTO files VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
               {manifest, number++, std::string_view(file.path), sql_number(file.size_bytes),
                file.mtime_ns, file.ctime_ns, sql_number(file.device), sql_number(file.inode)}));
  return {};
}

Result<std::vector<ChunkRow>> Catalogue::chunks(std::int64_t manifest) {
  GM_TRY(Statement rows,
         database_.query(
             "SELECT number, data_bytes, checked, checked_run, proven, digests IS NOT NULL, "
             "EXISTS(SELECT 1 FROM flaws WHERE manifest = chunks.manifest AND chunk = number) "
             "FROM chunks WHERE manifest = ? ORDER BY number",
             {manifest}));
  std::vector<ChunkRow> chunks;
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return chunks;
    chunks.push_back({.number = rows.number(0),
                      .data_bytes = rows.number(1),
                      .checked = rows.integer(2),
                      .checked_run = rows.integer(3),
                      .proven = rows.optional_integer(4),
                      .has_digests = rows.integer(5) != 0,
                      .has_flaws = rows.integer(6) != 0});
  }
}

Result<std::vector<std::byte>> Catalogue::digests(std::int64_t manifest, std::uint64_t chunk) {
  GM_TRY(Statement row,
         database_.query("SELECT digests FROM chunks WHERE manifest = ? AND number = ?",
                         {manifest, sql_number(chunk)}));
  GM_TRY(const bool found, row.step());
  if (!found || row.is_null(0))
    return fail(ErrorKind::corrupt, database_.path(),
                fmt::format("manifest {} lacks its chunk {}", manifest, chunk));
  const std::span<const std::byte> bytes = row.blob(0);
  return std::vector<std::byte>(bytes.begin(), bytes.end());
}

Status Catalogue::put_chunk(std::int64_t manifest, const ChunkRow& chunk,
                            std::optional<std::span<const std::byte>> digests,
                            std::span<const Flaw> flaws) {
  GM_CHECK(
      change("INSERT INTO chunks(manifest, number, data_bytes, checked, checked_run, proven, "
             "digests) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET "
             "data_bytes = ?3, checked = ?4, checked_run = ?5, proven = ?6, "
             "digests = coalesce(?7, digests)",
             {manifest, sql_number(chunk.number), sql_number(chunk.data_bytes), chunk.checked,
              chunk.checked_run, sql_optional(chunk.proven),
              digests ? SqlValue(*digests) : SqlValue(nullptr)}));
  GM_CHECK(change("DELETE FROM flaws WHERE manifest = ? AND chunk = ?",
                  {manifest, sql_number(chunk.number)}));
  for (const Flaw& flaw : flaws)
    GM_CHECK(change(
        "INSERT INTO flaws VALUES(?, ?, ?, ?, ?, ?)",
        {manifest, sql_number(chunk.number), sql_number(flaw.guest_offset), sql_number(flaw.length),
         static_cast<std::int64_t>(flaw.kind), std::string_view(flaw.reason)}));
  return {};
}

Result<std::vector<Flaw>> Catalogue::flaws(std::int64_t manifest) {
  return read_flaws(
      database_.query("SELECT guest_offset, length, kind, reason FROM flaws WHERE manifest = ? "
                      "ORDER BY guest_offset",
                      {manifest}));
}

Result<bool> Catalogue::same_contents(std::int64_t one, std::int64_t other) {
  GM_TRY(const std::int64_t different,
         database_.integer(
             "SELECT (SELECT disk_bytes IS NOT (SELECT disk_bytes FROM manifests WHERE id = ?2) OR "
             "chunk_bytes IS NOT (SELECT chunk_bytes FROM manifests WHERE id = ?2) "
             "FROM manifests WHERE id = ?1) OR "
             "EXISTS(SELECT 1 FROM chunks AS a LEFT JOIN chunks AS b ON b.manifest = ?2 AND "
             "b.number = a.number WHERE a.manifest = ?1 AND a.digests IS NOT b.digests)",
             {one, other}));
  return different == 0;
}

Result<Ages> Catalogue::ages(std::int64_t image) {
  GM_TRY(Statement row,
         database_.query("SELECT count(c.number), min(c.checked), min(c.proven), count(c.proven), "
                         "m.finished FROM images AS i JOIN manifests AS m ON m.id = i.manifest "
                         "LEFT JOIN chunks AS c ON c.manifest = m.id WHERE i.id = ? GROUP BY m.id",
                         {image}));
  GM_TRY(const bool found, row.step());
  if (!found) return Ages{};
  // A disk of no size has no chunks.
  if (row.integer(0) == 0) return Ages{row.optional_integer(4), row.optional_integer(4)};
  const bool all_proven = row.integer(3) == row.integer(0);
  return Ages{row.optional_integer(1), all_proven ? row.optional_integer(2) : std::nullopt};
}

Status Catalogue::prove_all(std::int64_t manifest, std::int64_t run, std::int64_t now) {
  GM_CHECK(change("UPDATE chunks SET checked = ?, checked_run = ?, proven = ?1 WHERE manifest = ?",
                  {now, run, manifest}));
  return change("DELETE FROM flaws WHERE manifest = ?", {manifest});
}

Status Catalogue::put_verdict(const VerdictRow& verdict, std::span<const Flaw> flaws) {
  GM_CHECK(
      change("DELETE FROM verdicts WHERE run = ? AND image = ?", {verdict.run, verdict.image}));
  GM_CHECK(change("INSERT INTO verdicts(run, image, date, verdict, detail) VALUES(?, ?, ?, ?, ?)",
                  {verdict.run, verdict.image, verdict.date, verdict_name(verdict.verdict),
                   std::string_view(verdict.detail)}));
  for (const Flaw& flaw : flaws)
    GM_CHECK(
        change("INSERT INTO ranges VALUES(?, ?, ?, ?, ?, ?)",
               {verdict.run, verdict.image, sql_number(flaw.guest_offset), sql_number(flaw.length),
                static_cast<std::int64_t>(flaw.kind), std::string_view(flaw.reason)}));
  return {};
}

Result<bool> Catalogue::has_verdict(std::int64_t run, std::int64_t image) {
  GM_TRY(
      const std::int64_t count,
      database_.integer("SELECT count(*) FROM verdicts WHERE run = ? AND image = ?", {run, image}));
  return count != 0;
}

Result<std::vector<VerdictRow>> Catalogue::verdicts(std::int64_t image, std::size_t most) {
  GM_TRY(Statement rows,
         database_.query("SELECT run, date, verdict, detail FROM verdicts WHERE image = ? "
                         "ORDER BY run DESC LIMIT ?",
                         {image, sql_number(most)}));
  std::vector<VerdictRow> verdicts;
  while (true) {
    GM_TRY(const bool more, rows.step());
    if (!more) return verdicts;
    GM_TRY(const Verdict verdict, verdict_by_name(rows.text(2), database_.path()));
    verdicts.push_back({rows.integer(0), image, rows.integer(1), verdict, rows.text(3)});
  }
}

Result<std::vector<Flaw>> Catalogue::verdict_flaws(std::int64_t run, std::int64_t image) {
  return read_flaws(database_.query(
      "SELECT guest_offset, length, kind, reason FROM ranges WHERE run = ? AND image = ? "
      "ORDER BY guest_offset",
      {run, image}));
}

}  // namespace grainmill
