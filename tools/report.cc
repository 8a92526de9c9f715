// SPDX-License-Identifier: Apache-2.0
#include "tools/report.h"

#include "engine/base/text.h"
#include "engine/format/format.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>

namespace grainmill {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(200);

std::string eta_text(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = std::llround(seconds);
  if (whole >= 3600) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

// Under such a name a file would be made that nobody looks for, or the one replaced that standard
// output goes to.
bool is_stream_name(std::string_view path) {
  return path == "-" || path == "/dev/stdout" || path == "/dev/stderr" ||
         path.starts_with("/dev/fd/") || path.starts_with("/proc/");
}

}  // namespace

int report_failure(const Error& error, ProgressForm progress, Host& host) {
  if (progress == ProgressForm::json) {
    nlohmann::json object = {{"event", "error"},
                             {"kind", error_kind_name(error.kind)},
                             {"path", error.path},
                             {"message", error.message}};
    if (error.offset) object["offset"] = *error.offset;
    host.out << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n'
             << std::flush;
  }
  host.err << "grainmill: " << error.to_string() << '\n';
  return kExitFailed;
}

std::string image_words(FileSystem& files, const std::string& image, const std::string& format) {
  std::string word = shell_word(image);
  if (!format.empty()) return fmt::format("-f {} {}", format, word);
  const Result<std::unique_ptr<File>> file = files.open_read(image);
  if (!file) return word;
  // Only a VMDK is known by more than its header.
  const Result<const Format*> found = detect_format(**file, files);
  const bool has_lost_header = !found && found.error().kind == ErrorKind::corrupt;
  return has_lost_header ? "-f vmdk " + word : word;
}

ProgressReporter::ProgressReporter(ProgressForm form, bool quiet, Host& host)
    : host_(host), form_(form), start_(Clock::now()), last_(start_) {
  if (form_ == ProgressForm::automatic)
    form_ = host.err_is_terminal && !quiet ? ProgressForm::line : ProgressForm::none;
}

double ProgressReporter::elapsed_seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void ProgressReporter::update(const Progress& progress) {
  if (form_ == ProgressForm::none) return;
  const Clock::time_point now = Clock::now();
  const bool done = progress.guest_bytes == progress.disk_bytes;
  if (!done && now - last_ < kInterval) return;
  last_ = now;
  if (form_ == ProgressForm::json)
    print_json(progress);
  else
    print_line(progress);
}

void ProgressReporter::print_line(const Progress& progress) {
  const double elapsed = elapsed_seconds();
  const double share = progress.disk_bytes == 0 ? 1.0
                                                : static_cast<double>(progress.guest_bytes) /
                                                      static_cast<double>(progress.disk_bytes);
  const double rate = static_cast<double>(progress.guest_bytes) / elapsed;
  const double left = static_cast<double>(progress.disk_bytes - progress.guest_bytes) / rate;
  host_.err << fmt::format("\r\x1b[K{:5.1f} %  {:.2f} GB/s  {} of {}  ETA {}", share * 100,
                           rate / 1e9, format_size(progress.guest_bytes),
                           format_size(progress.disk_bytes), eta_text(left))
            << std::flush;
  shown_ = true;
}

void ProgressReporter::print_json(const Progress& progress) {
  const nlohmann::json object = {{"event", "progress"},
                                 {"guest_bytes", progress.guest_bytes},
                                 {"disk_bytes", progress.disk_bytes},
                                 {"data_bytes", progress.data_bytes},
                                 {"seconds", elapsed_seconds()}};
  host_.out << object.dump() << '\n' << std::flush;
}

void ProgressReporter::finish() {
  if (shown_) host_.err << "\r\x1b[K" << std::flush;
  shown_ = false;
}

GraphOptions graph_options(const RunArgs& args, ProgressReporter& progress, Host& host) {
  GraphOptions options;
  options.threads = args.threads;
  options.memory_bytes = args.memory_bytes;
  options.cancelled = host.cancelled;
  options.on_progress = [&progress](const Progress& now) { progress.update(now); };
  return options;
}

Status check_report_path(FileSystem& files, const std::string& path, const ReportKind& kind) {
  if (path.empty()) return {};
  if (is_stream_name(path))
    return fail(ErrorKind::invalid_argument, path,
                "a report is a file that is replaced in one step, and goes to no stream: name a "
                "file (./- is one called -)");
  const Result<std::unique_ptr<File>> file = files.open_read(path);
  if (!file) {
    // What is no regular file is refused when it is made, in better words.
    const ErrorKind why = file.error().kind;
    if (why == ErrorKind::not_found || why == ErrorKind::unsupported) return {};
    return std::unexpected(file.error());
  }
  std::string begin(kind.begin.size(), '\0');
  GM_TRY(const std::size_t got, (*file)->read_at(0, std::as_writable_bytes(std::span(begin))));
  if (got == 0 || begin == kind.begin) return {};
  return fail(ErrorKind::invalid_argument, path,
              fmt::format("exists already, and is no {}, so it is not replaced by one: name "
                          "another file, or remove this one",
                          kind.name));
}

Status write_report(FileSystem& files, const std::string& path, const ReportKind& kind,
                    const std::string& text) {
  if (path.empty()) return {};
  GM_CHECK(check_report_path(files, path, kind));
  GM_TRY(const std::unique_ptr<PendingFile> file, files.create_pending(path));
  GM_CHECK(file->file().write_at(0, std::as_bytes(std::span(text))));
  return file->publish(Durability::unsynced);
}

}  // namespace grainmill
