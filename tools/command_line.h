// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/units.h"
#include "engine/codec/crypto_digest.h"
#include "engine/disk/disk.h"
#include "tools/batch.h"
#include "tools/host.h"
#include "tools/times.h"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace grainmill {

enum class OutputForm : std::uint8_t { human, json };
enum class ProgressForm : std::uint8_t { automatic, line, json, none };

// What all verbs that open an image take.
struct ImageArgs {
  std::string path;
  DiskOptions disk;
};

struct RunArgs {
  unsigned threads = 0;
  std::uint64_t memory_bytes = 64 * kMiB;
  ProgressForm progress = ProgressForm::automatic;
  bool quiet = false;
};

struct ConvertArgs {
  ImageArgs source;
  RunArgs run;
  std::string output;
  std::string format = "raw";
  std::vector<std::string> options;  // of -o, as written
  bool compress = false;
  std::string level;
  bool in_place = false;
  bool resume = false;
  std::uint64_t hole_bytes = 4096;
  std::string manifest;  // empty: the default name
  bool no_manifest = false;
  bool no_sync = false;
  CryptoAlgorithm crypto = CryptoAlgorithm::none;
};

struct VerifyArgs {
  ImageArgs image;
  RunArgs run;
  std::string manifest;     // empty: the default name
  std::string heal_from;    // another image of the same disk; empty: only look
  std::string heal_format;  // its; empty: told by its content
  bool yes = false;         // write what is healed
  OutputForm form = OutputForm::human;
};

struct MeasureArgs {
  ImageArgs image;                          // or
  std::optional<std::uint64_t> size_bytes;  // of a new disk
  RunArgs run;
  std::string format = "raw";
  std::vector<std::string> options;  // of -o, as written
  bool compress = false;
  std::string level;
  bool exact = false;
  OutputForm form = OutputForm::human;
};

struct CompareArgs {
  ImageArgs one;
  std::string other;
  std::string other_format;  // all else as for the one image
  RunArgs run;
  bool strict = false;
  bool all = false;
  OutputForm form = OutputForm::human;
};

struct CheckArgs {
  ImageArgs image;  // its path: none, for `images` are checked
  std::vector<std::string> images;
  RunArgs run;
  bool quick = false;
  bool repair = false;
  bool yes = false;   // write the repair
  bool undo = false;  // take it back
  bool accept_parent = false;
  std::string salvage;  // the raw disk to write; empty: none
  OutputForm form = OutputForm::human;
};

struct ScrubArgs {
  std::vector<std::string> folders;
  std::vector<std::string> raw;      // shell patterns
  std::vector<std::string> exclude;  // as well
  OpenPolicy policy;
  RunArgs run;
  std::string catalogue;  // empty: the default
  std::optional<std::int64_t> within_seconds;
  std::uint64_t bytes_per_second = 0;
  std::optional<DayHours> hours;
  bool forget_missing = false;
  OutputForm form = OutputForm::human;
  std::string html;     // empty: none
  std::string metrics;  // empty: none
};

struct InfoArgs {
  ImageArgs image;
  OutputForm form = OutputForm::human;
  bool backing_chain = false;
};

struct MapArgs {
  ImageArgs image;
  OutputForm form = OutputForm::human;
};

struct CreateArgs {
  std::string path;
  std::optional<std::uint64_t> size_bytes;
  std::vector<std::string> options;  // of -o, as written
  std::string parent;                // as written; empty: none
  DiskOptions parent_disk;
  bool force = false;
  bool quiet = false;
};

struct CommitArgs {
  ImageArgs snapshot;
  ProgressForm progress = ProgressForm::automatic;
  bool quiet = false;
};

struct RebaseArgs {
  ImageArgs image;
  std::optional<std::string> parent;  // as written; empty: none
  bool header_only = false;
  bool dry_run = false;
  ProgressForm progress = ProgressForm::automatic;
  bool quiet = false;
};

using Command =
    std::variant<ConvertArgs, VerifyArgs, InfoArgs, MapArgs, CreateArgs, CommitArgs, RebaseArgs,
                 MeasureArgs, CompareArgs, CheckArgs, ScrubArgs, BatchCommand>;

// Reads the command line. Help and errors of usage are printed here; then there is no command but
// an exit status.
struct ParsedCommandLine {
  std::optional<Command> command;
  int exit_status = kExitDone;
};
[[nodiscard]] ParsedCommandLine parse_command_line(int argc, const char* const* argv, Host& host);

int run_convert(const ConvertArgs& args, Host& host);
int run_verify(const VerifyArgs& args, Host& host);
int run_heal(const VerifyArgs& args, Host& host);  // part of run_verify()
int run_measure(const MeasureArgs& args, Host& host);
int run_compare(const CompareArgs& args, Host& host);
int run_check(const CheckArgs& args, Host& host);
// REQUIRES of both: one image. Part of run_check().
int run_repair(const CheckArgs& args, Host& host);
int run_salvage(const CheckArgs& args, Host& host);
int run_undo(const CheckArgs& args, Host& host);
int run_scrub(const ScrubArgs& args, Host& host);
int run_info(const InfoArgs& args, Host& host);
int run_map(const MapArgs& args, Host& host);
int run_create(const CreateArgs& args, Host& host);
int run_commit(const CommitArgs& args, Host& host);
int run_rebase(const RebaseArgs& args, Host& host);

}  // namespace grainmill
