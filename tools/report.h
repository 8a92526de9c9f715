// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "pipeline/graph.h"
#include "tools/command_line.h"
#include "tools/host.h"

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace grainmill {

// Prints "grainmill: ..." to standard error, and for programs that read progress an object; returns
// kExitFailed.
int report_failure(const Error& error, ProgressForm progress, Host& host);

// What a command must be given for this image, as the user would type it: with its format, where
// that was said (`format`), or is not to be told by content any more.
[[nodiscard]] std::string image_words(FileSystem& files, const std::string& image,
                                      const std::string& format);

// Shows how far a run is: one line that overwrites itself, or one JSON object a line, a few times a
// second.
class ProgressReporter {
 public:
  ProgressReporter(ProgressForm form, bool quiet, Host& host);

  void update(const Progress& progress);
  // Takes the line away.
  void finish();

  [[nodiscard]] ProgressForm form() const { return form_; }
  [[nodiscard]] double elapsed_seconds() const;

 private:
  void print_line(const Progress& progress);
  void print_json(const Progress& progress);

  using Clock = std::chrono::steady_clock;
  Host& host_;
  ProgressForm form_;
  Clock::time_point start_;
  Clock::time_point last_;
  bool shown_ = false;
};

// The part of the graph's options that the command line decides.
[[nodiscard]] GraphOptions graph_options(const RunArgs& args, ProgressReporter& progress,
                                         Host& host);

// What is written again and again, under a name of the user's.
struct ReportKind {
  std::string_view name;  // for messages: "page of a batch"
  std::string begin;      // all texts of this kind begin so, and no other file does
};

// Whether a report may be written to `path`: where nothing is yet, or an empty file, or a report of
// this kind. Anything else may be the very disk that the report is about. An empty path may.
[[nodiscard]] Status check_report_path(FileSystem& files, const std::string& path,
                                       const ReportKind& kind);

// Writes a file, whole or not at all: others read it while it is replaced. An empty path: nothing.
// Fails where check_report_path() does.
[[nodiscard]] Status write_report(FileSystem& files, const std::string& path,
                                  const ReportKind& kind, const std::string& text);

}  // namespace grainmill
