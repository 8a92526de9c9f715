// SPDX-License-Identifier: Apache-2.0
#include "pipeline/check.h"

#include "engine/base/units.h"
#include "engine/format/vmdk/open.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace grainmill {
namespace {

// Counts what is found, and reports neighbours of a kind as one.
class Collector final : public Findings {
 public:
  Collector(const CheckOptions& options, CheckReport& report)
      : options_(options), report_(report) {}

  [[nodiscard]] Status add(Finding finding) override {
    // What the tables say is found again when the grains behind them are read.
    const Error& what = finding.what;
    if (seen_.size() < kMostRemembered ? !seen_.emplace(what.path, what.offset, what.message).second
                                       : seen_.contains({what.path, what.offset, what.message}))
      return {};
    count(finding);
    if (pending_ && continues(*pending_, finding)) {
      pending_->guest_length += finding.guest_length;
      ++joined_;
      return {};
    }
    flush();
    pending_ = std::move(finding);
    return {};
  }
  [[nodiscard]] bool wants_all() const override { return true; }

  void add_failure(const Error& error, std::string_view code) {
    static_cast<void>(add({.severity = severity_of(error), .code = code, .what = error}));
  }

  void flush() {
    if (pending_ && joined_ != 0)
      pending_->what.message +=
          " (and " + std::to_string(joined_) + " more of this kind right behind it)";
    if (pending_) options_.on_finding(*pending_);
    pending_.reset();
    joined_ = 0;
  }

 private:
  // A crafted image must not take all memory.
  static constexpr std::size_t kMostRemembered = 65536;

  static bool continues(const Finding& pending, const Finding& next) {
    return pending.severity == next.severity && pending.code == next.code &&
           pending.what.path == next.what.path && pending.guest_length != 0 &&
           next.guest_length != 0 &&
           pending.guest_offset + pending.guest_length == next.guest_offset;
  }

  void count(const Finding& finding) {
    report_.leaked_bytes += finding.leaked_bytes;
    switch (finding.severity) {
      case Severity::damage:
        ++report_.damage;
        return;
      case Severity::unchecked:
        ++report_.unchecked;
        return;
      case Severity::suspicious:
        ++report_.suspicious;
        return;
      case Severity::cosmetic:
        ++report_.cosmetic;
        return;
      case Severity::leak:
        return;
    }
  }

  const CheckOptions& options_;
  CheckReport& report_;
  std::optional<Finding> pending_;
  std::uint64_t joined_ = 0;  // to it
  std::set<std::tuple<std::string, std::optional<std::uint64_t>, std::string>> seen_;
};

// Makes findings of what could not be read.
class ReadLog final : public GrainLog {
 public:
  ReadLog(Collector& findings, std::uint64_t disk_bytes)
      : findings_(findings), disk_bytes_(disk_bytes) {}

  [[nodiscard]] Status add_zeros(std::uint64_t grains) override {
    position_ += grains * kDigestGrain;
    return {};
  }

  [[nodiscard]] Status add(std::span<const GrainRecord> records,
                           std::span<const std::byte> /*leaves*/,
                           std::span<const std::optional<Error>> errors) override {
    for (std::size_t i = 0; i < records.size(); ++i, position_ += kDigestGrain) {
      if (records[i].kind != GrainRecord::Kind::unreadable) read_bytes_ += kDigestGrain;
      if (i < errors.size() && errors[i])
        GM_CHECK(findings_.add({.severity = severity_of(*errors[i]),
                                .code = "unreadable",
                                .what = *errors[i],
                                .guest_offset = position_,
                                .guest_length = std::min(kDigestGrain, disk_bytes_ - position_)}));
    }
    return {};
  }

  [[nodiscard]] std::uint64_t read_bytes() const { return read_bytes_; }

 private:
  Collector& findings_;
  std::uint64_t disk_bytes_;
  std::uint64_t position_ = 0;
  std::uint64_t read_bytes_ = 0;
};

class Check {
 public:
  Check(FileSystem& files, const CheckOptions& options, CheckReport& report)
      : files_(files), options_(options), report_(report), findings_(options, report) {}

  Status run() {
    GM_TRY(std::vector<std::unique_ptr<Link>> links, open());
    report_.links = links.size();
    if (links.empty()) return {};
    report_.format = links.front()->description().format;
    report_.disk_bytes = links.front()->size_bytes();
    for (std::size_t i = 0; i < links.size(); ++i) {
      GM_CHECK(check_cancelled());
      examine(*links[i]);
      if (i + 1 < links.size()) compare_sizes(*links[i], *links[i + 1]);
    }
    for (std::unique_ptr<Link>& link : links)
      if (!options_.quick && link->may_deflate()) GM_CHECK(inflate_all(std::move(link)));
    return {};
  }

  void finish() { findings_.flush(); }

 private:
  // As much of the chain as can be opened.
  Result<std::vector<std::unique_ptr<Link>>> open() {
    Result<std::vector<std::unique_ptr<Link>>> links =
        open_chain(files_, options_.image, options_.disk, findings_);
    if (links) return links;
    add_open_failure(links.error());
    // Where one copy of the tables is lost, the other one may tell the rest.
    DiskOptions disk = options_.disk;
    for (const TableChoice choice : {TableChoice::primary, TableChoice::redundant}) {
      disk.open.tables = choice;
      if (options_.disk.open.tables == TableChoice::agreeing)
        links = open_chain(files_, options_.image, disk, findings_);
      if (links) return links;
    }
    return std::vector<std::unique_ptr<Link>>{};
  }

  // No image of that name is no damage to it; one of its files that is missing is.
  void add_open_failure(const Error& error) {
    const bool absent = error.kind == ErrorKind::not_found && error.path == options_.image;
    static_cast<void>(findings_.add({.severity = absent ? Severity::unchecked : severity_of(error),
                                     .code = "open",
                                     .what = error}));
  }

  void examine(const Link& link) {
    for (const std::string& warning : link.description().warnings)
      static_cast<void>(findings_.add({.severity = Severity::suspicious,
                                       .code = "oddity",
                                       .what = {ErrorKind::corrupt, "", std::nullopt, warning}}));
    if (const Status examined = link.examine(findings_); !examined)
      findings_.add_failure(examined.error(), "examine");
  }

  void compare_sizes(const Link& child, const Link& parent) {
    if (parent.size_bytes() >= child.size_bytes()) return;
    static_cast<void>(findings_.add(
        {.severity = Severity::suspicious,
         .code = "smaller-parent",
         .what = fail(ErrorKind::corrupt, child.files().front()->path(),
                      "is a disk of " + format_size(child.size_bytes()) + ", its parent " +
                          parent.files().front()->path() + " one of " +
                          format_size(parent.size_bytes()) + ": it was made larger")
                     .error()}));
  }

  [[nodiscard]] Status check_cancelled() const {
    const std::atomic<bool>* const cancelled = options_.graph.cancelled;
    if (cancelled == nullptr || !cancelled->load()) return {};
    return fail(ErrorKind::cancelled, "", "cancelled");
  }

  // Each link by itself, for what its children hide may be needed when they are gone.
  Status inflate_all(std::unique_ptr<Link> link) {
    const Disk disk = Disk::of_link(std::move(link));
    GraphOptions graph = options_.graph;
    graph.collect_errors = true;
    ReadLog log(findings_, disk.size_bytes());
    const Status read = run_graph(disk, nullptr, log, graph);
    report_.read_bytes += log.read_bytes();
    if (!read && read.error().kind == ErrorKind::cancelled) return read;
    if (!read) findings_.add_failure(read.error(), "examine");
    return {};
  }

  FileSystem& files_;
  const CheckOptions& options_;
  CheckReport& report_;
  Collector findings_;
};

}  // namespace

std::string image_to_check(FileSystem& files, const std::string& path, const DiskOptions& disk) {
  const auto is_for_others = [&](const std::string& image) {
    const Result<std::unique_ptr<Link>> link = open_link(files, image, disk);
    return !link && link.error().kind == ErrorKind::unsupported;
  };
  if (!is_for_others(path)) return path;
  const std::optional<std::string> owner = vmdk::find_owner(files, path);
  // Of two that name each other, none would be checked.
  return owner && !is_for_others(*owner) ? *owner : path;
}

Result<CheckReport> check(FileSystem& files, const CheckOptions& options) {
  CheckReport report;
  Check run(files, options, report);
  const Status done = run.run();
  run.finish();
  if (!done) return std::unexpected(done.error());
  return report;
}

}  // namespace grainmill
