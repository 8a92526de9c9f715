// SPDX-License-Identifier: Apache-2.0
#include "tests/support/corpus.h"

#include "tests/support/run_command.h"

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>

namespace grainmill::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCatalogue = "CATALOGUE.tsv";
// A file of the workspace, by its path from the root: where tests run, it is a link to the real
// one.
constexpr const char* kKnownFile = "tests/support/corpus.h";

CorpusEntry parse_line(const std::string& line, const fs::path& folder) {
  std::istringstream fields(line);
  const auto next = [&fields] {
    std::string field;
    std::getline(fields, field, '\t');
    return field;
  };
  CorpusEntry entry;
  entry.id = next();
  entry.subformat = next();
  entry.file = folder / next();
  next();  // the size of the file
  if (const std::string size = next(); !size.empty()) entry.virtual_size_bytes = std::stoull(size);
  const std::string result = next();
  const bool is_digest =
      result.size() == 64 && result.find_first_not_of("0123456789abcdef") == std::string::npos;
  (is_digest ? entry.sha256 : entry.qemu_error) = result;
  entry.exercises = next();
  return entry;
}

}  // namespace

fs::path corpus_folder() {
  if (const char* named = std::getenv("GRAINMILL_CORPUS"); named != nullptr) return named;
  std::error_code error;
  const fs::path known = fs::canonical(kKnownFile, error);
  if (error) return {};
  const fs::path root = known.parent_path().parent_path().parent_path();
  const fs::path folder = root.parent_path() / "shared" / "corpus";
  return fs::exists(folder / kCatalogue, error) ? folder : fs::path();
}

std::vector<CorpusEntry> corpus_entries() {
  const fs::path folder = corpus_folder();
  if (folder.empty()) return {};
  std::ifstream catalogue(folder / kCatalogue);
  std::vector<CorpusEntry> entries;
  std::string line;
  std::getline(catalogue, line);  // the names of the columns
  while (std::getline(catalogue, line)) entries.push_back(parse_line(line, folder));
  return entries;
}

std::vector<CorpusEntry> corpus_disks() {
  std::vector<CorpusEntry> entries = corpus_entries();
  std::erase_if(entries, [](const CorpusEntry& entry) { return entry.sha256.empty(); });
  return entries;
}

fs::path corpus_image(const CorpusEntry& entry, const TempDir& dir) {
  if (!entry.is_packed()) return entry.file;
  const fs::path packed = dir / entry.file.filename();
  fs::copy_file(entry.file, packed);
  const CommandResult result = run_command({"bunzip2", packed.string()});
  if (!result.ok()) throw std::runtime_error("bunzip2: " + result.err);
  return dir / entry.file.stem();
}

}  // namespace grainmill::testing
