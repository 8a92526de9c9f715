// SPDX-License-Identifier: Apache-2.0
#include "engine/base/text.h"
#include "engine/format/format.h"
#include "pipeline/batch/job_catalogue.h"
#include "pipeline/batch/make_plan.h"
#include "tools/batch.h"
#include "tools/batch_reports.h"
#include "tools/batch_words.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace grainmill {
namespace {

constexpr std::size_t kMostShown = 20;

std::string plan_path(const BatchPlanArgs& args) {
  if (!args.plan.empty()) return args.plan;
  return plan_in(args.target_folder);
}

// Only a plan is replaced by a plan, whatever the user says: the name may be that of a disk.
Status refuse_older(FileSystem& files, const std::string& path, bool force) {
  const Result<std::unique_ptr<File>> file = files.open_read(path);
  if (!file && file.error().kind == ErrorKind::not_found) return {};
  if (!file) return std::unexpected(file.error());
  if (!force)
    return fail(ErrorKind::invalid_argument, path,
                "exists already: replace it (--force), or name another one (--plan FILE)");
  constexpr std::string_view kBegin = "{\"grainmill_plan\"";
  std::string begin(kBegin.size(), '\0');
  GM_TRY(const std::size_t got, (*file)->read_at(0, std::as_writable_bytes(std::span(begin))));
  if (got == 0 || begin == kBegin) return {};
  return fail(ErrorKind::invalid_argument, path,
              "exists already, and is no plan: name another one (--plan FILE)");
}

Result<MadePlan> make_and_write(const BatchPlanArgs& args, const std::string& path, Host& host) {
  const PlanOptions options = {.sources = args.sources,
                               .raw = args.raw,
                               .exclude = args.exclude,
                               .target_folder = args.target_folder,
                               .plan = path,
                               .output = args.output,
                               .policy = args.policy,
                               .force = args.force,
                               .now = std::time(nullptr),
                               .cancelled = host.cancelled};
  // A mistyped source is no reason to replace a plan.
  GM_CHECK(check_plan_sources(host.files, options));
  GM_CHECK(refuse_older(host.files, path, args.force));
  GM_TRY(MadePlan made, make_plan(host.files, options));
  const Result<std::string> run_as = host.files.canonical(path);
  GM_CHECK(forget_batch(host.files, run_as ? *run_as : path));
  GM_CHECK(write_plan(host.files, path, made.plan));
  return made;
}

std::string disks_text(std::size_t count) {
  return fmt::format("{} disk{}", count, count == 1 ? "" : "s");
}

std::string totals_text(const std::vector<PlannedImage>& images) {
  std::size_t disks = 0;
  std::size_t chains = 0;
  std::uint64_t disk_bytes = 0;
  std::uint64_t source_bytes = 0;
  std::uint64_t target_bytes = 0;
  for (const PlannedImage& image : images) {
    if (image.state != PlannedState::queued) continue;
    ++disks;
    if (image.chain.size() > 1) ++chains;
    disk_bytes += image.disk_bytes;
    source_bytes += image.source_bytes;
    target_bytes += image.target_bytes;
  }
  return fmt::format(
      "{}, {} with snapshots: {} as guests see them, {} stored; outputs take up to {}\n",
      disks_text(disks), chains == 0 ? "none" : std::to_string(chains), format_size(disk_bytes),
      format_size(source_bytes), format_size(target_bytes));
}

// The first of those that have something to be said, under a line that says how many there are.
std::string reasons_text(const std::vector<PlannedImage>& images, PlannedState state,
                         const std::string& heading) {
  std::string text;
  std::size_t count = 0;
  for (const PlannedImage& image : images) {
    if (image.state != state || image.reason.empty()) continue;
    if (++count <= kMostShown) text += fmt::format("  {}: {}\n", image.source, image.reason);
  }
  if (count == 0) return "";
  if (count > kMostShown) text += fmt::format("  and {} more\n", count - kMostShown);
  return fmt::format("{} {}:\n", disks_text(count), heading) + text;
}

std::string summary(const MadePlan& made, const std::string& path) {
  const std::vector<PlannedImage>& images = made.plan.images;
  return totals_text(images) + reasons_text(images, PlannedState::skipped, "skipped") +
         reasons_text(images, PlannedState::queued, "known to fail as things are") +
         fmt::format("the plan: {}\nto do it: grainmill batch run {}\n", path, shell_word(path));
}

// A refusal has a line for each thing that is in the way.
int report_refusal(const Error& error, Host& host) {
  const std::size_t end = std::min(error.message.find('\n'), error.message.size());
  Error first = error;
  first.message.erase(end);
  const int status = report_failure(first, ProgressForm::none, host);
  if (end != error.message.size()) host.err << error.message.substr(end + 1) << '\n';
  return status;
}

}  // namespace

int run_batch_plan(const BatchPlanArgs& args, Host& host) {
  if (asks_for_help(split_settings(args.output.settings))) {
    const std::string_view help = format_by_name(args.output.format)->settings_help;
    host.out << (help.empty() ? "This format has no options.\n" : help);
    return kExitDone;
  }
  const std::string path = plan_path(args);
  const Result<MadePlan> made = make_and_write(args, path, host);
  if (!made) return report_refusal(made.error(), host);
  for (const Error& failure : made->failures)
    host.err << "grainmill: could not be looked at: " << failure.to_string() << '\n';
  if (!args.quiet) host.out << summary(*made, path);
  return kExitDone;
}

}  // namespace grainmill
