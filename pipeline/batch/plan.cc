// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/plan.h"

#include "pipeline/batch/plan_line.h"

#include <fmt/format.h>

#include <map>
#include <span>
#include <utility>

namespace grainmill {
namespace {

// A plan of a million disks is smaller.
constexpr std::uint64_t kMaxPlanBytes = std::uint64_t{1} << 30;

Error at_line(const Error& error, const std::string& path, std::size_t number) {
  return {error.kind, path, std::nullopt, fmt::format("line {}: {}", number, error.message)};
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

class PlanParser {
 public:
  explicit PlanParser(const std::string& path) : path_(path) {}

  Result<BatchPlan> parse(std::string_view text) {
    for (std::size_t number = 1; !text.empty(); ++number) {
      const std::size_t end = text.find('\n');
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (is_blank(line)) continue;
      if (const Status taken = take(line, number); !taken)
        return std::unexpected(at_line(taken.error(), path_, number));
    }
    if (!has_header_)
      return fail(ErrorKind::invalid_argument, path_,
                  "is empty: expected a plan that `grainmill batch plan` has written");
    return std::move(plan_);
  }

 private:
  Status take(std::string_view line, std::size_t number) {
    if (!std::exchange(has_header_, true)) return parse_plan_header(line, plan_);
    GM_TRY(PlannedImage image, parse_planned_image(line));
    if (image.state == PlannedState::queued) {
      const auto [other, is_new] = lines_.emplace(image.target, number);
      if (!is_new)
        return fail(ErrorKind::invalid_argument, "",
                    fmt::format("target '{}' is that of line {} already: each disk needs one of "
                                "its own",
                                image.target, other->second));
    }
    plan_.images.push_back(std::move(image));
    return {};
  }

  const std::string& path_;
  BatchPlan plan_;
  bool has_header_ = false;
  std::map<std::string, std::size_t> lines_;  // by target
};

}  // namespace

std::string_view planned_state_name(PlannedState state) {
  return state == PlannedState::queued ? "queued" : "skipped";
}

Result<BatchPlan> parse_plan(std::string_view text, const std::string& path) {
  return PlanParser(path).parse(text);
}

std::string format_plan(const BatchPlan& plan) {
  std::string text = format_plan_header(plan) + '\n';
  for (const PlannedImage& image : plan.images) text += format_planned_image(image) + '\n';
  return text;
}

Result<BatchPlan> read_plan(FileSystem& files, const std::string& path) {
  GM_TRY(const std::unique_ptr<File> file, files.open_read(path));
  GM_TRY(const FileInfo info, file->info());
  if (info.size_bytes > kMaxPlanBytes)
    return fail(ErrorKind::invalid_argument, path,
                fmt::format("has {} bytes: that is no plan", info.size_bytes));
  std::string text(info.size_bytes, '\0');
  GM_CHECK(file->read_exact_at(0, std::as_writable_bytes(std::span(text))));
  return parse_plan(text, path);
}

Status write_plan(FileSystem& files, const std::string& path, const BatchPlan& plan) {
  const std::string text = format_plan(plan);
  GM_TRY(const std::unique_ptr<PendingFile> file, files.create_pending(path));
  GM_CHECK(file->file().write_at(0, std::as_bytes(std::span(text))));
  return file->publish(Durability::synced);
}

}  // namespace grainmill
