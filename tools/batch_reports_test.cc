// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_reports.h"

#include "tools/batch.h"
#include "tools/batch_words.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

namespace grainmill {
namespace {

constexpr std::int64_t kBegin = 1'795'000'000'000;
constexpr std::uint64_t kDisk = std::uint64_t{40} << 30;

const std::string kHostile = "/old/<script>alert(\"1\")</script>&'\x01\n\\\xff.vmdk";

JobRecord job_of(std::int64_t id, JobState state) {
  JobRecord job;
  job.id = id;
  job.image.source = fmt::format("/vmfs/volumes/old/customer-{:03}/server{:04}.vmdk", id % 20, id);
  job.image.target = fmt::format("/kvm/images/customer-{:03}/server{:04}.qcow2", id % 20, id);
  job.image.chain = {job.image.source, "/vmfs/volumes/old/base.vmdk"};
  job.image.disk_bytes = kDisk;
  job.image.source_bytes = kDisk / 3 + static_cast<std::uint64_t>(id) * 104'857'600;
  job.state = state;
  if (state == JobState::queued) return job;
  if (state == JobState::skipped) {
    job.image.target.clear();
    job.verdict.reason = "the disk is encrypted: decrypt it with the program that encrypted it";
    return job;
  }
  job.attempts = 1;
  job.begun_ms = kBegin + id * 30'000;
  if (state == JobState::running) {
    job.progress = {.guest_bytes = kDisk / 4, .data_bytes = kDisk / 8};
    return job;
  }
  job.ended_ms = *job.begun_ms + 61'000 + id * 700;
  job.total_cpu_ms = 45'000;
  job.verdict.state = state;
  job.verdict.disk_bytes = kDisk;
  if (state == JobState::failed) {
    job.attempts = 4;
    job.verdict.error_kind = id % 2 == 0 ? "io" : "corrupt";
    job.verdict.reason = fmt::format("{}: offset 0x5f0000: cannot be read", job.image.source);
    return job;
  }
  job.verdict.output_bytes = kDisk / 5;
  job.verdict.verified = true;
  job.verdict.root = fmt::format("{:032x}", static_cast<std::uint64_t>(id) * 0x9e3779b97f4a7c15U);
  return job;
}

void count(BatchReport& report) {
  report.totals = {};
  for (const JobRecord& job : report.jobs) {
    ++report.totals.jobs[static_cast<std::size_t>(job.state)];
    report.totals.cpu_ms += job.total_cpu_ms;
    if (job.state == JobState::skipped) continue;
    report.totals.disk_bytes += job.image.disk_bytes;
    if (job.state != JobState::done) continue;
    report.totals.done_disk_bytes += job.image.disk_bytes;
    report.totals.source_bytes += job.image.source_bytes;
    report.totals.output_bytes += job.verdict.output_bytes;
  }
}

// A rate that goes up and down around 1 GB/s.
BatchRun run_of(std::int64_t id, std::int64_t begin_ms, std::size_t samples,
                std::int64_t interval_ms = 1000) {
  BatchRun run;
  run.id = id;
  run.begun_ms = begin_ms;
  run.peak_rss_bytes = std::uint64_t{400} << 20;
  BatchSample sample{.time_ms = begin_ms};
  for (std::size_t i = 0; i < samples; ++i) {
    sample.time_ms += interval_ms;
    sample.guest_bytes +=
        (500'000 + i * 7919 % 1'000'000) * static_cast<std::uint64_t>(interval_ms);
    sample.running = 4;
    run.samples.push_back(sample);
  }
  run.ended_ms = sample.time_ms;
  return run;
}

// `images` images, of which a few are in each other state.
BatchReport report_of(std::int64_t images) {
  BatchReport report;
  report.plan = "/kvm/images/batch.plan";
  report.output.compress = true;
  for (std::int64_t id = 1; id <= images; ++id)
    report.jobs.push_back(job_of(id, id % 25 == 7    ? JobState::failed
                                     : id % 25 == 11 ? JobState::skipped
                                                     : JobState::done));
  report.runs = {run_of(1, kBegin, 900), run_of(2, kBegin + 90'000'000, 1800)};
  report.now_ms = *report.runs.back().ended_ms;
  count(report);
  return report;
}

std::size_t occurrences(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

// Elements that are opened and closed, one within another; those that need no end are left out.
void expect_balanced(const std::string& page) {
  static const std::set<std::string> kAlone = {"meta", "tr", "td", "th", "wbr", "!DOCTYPE"};
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = page.substr(at + 1, end - at - 1);
    ASSERT_EQ(tag.find('<'), std::string::npos) << tag;
    if (tag.ends_with('/')) continue;
    tag = tag.substr(0, tag.find(' '));
    if (tag.starts_with('/')) {
      if (kAlone.contains(tag.substr(1))) continue;
      ASSERT_FALSE(open.empty()) << tag;
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (!kAlone.contains(tag)) {
      open.push_back(tag);
    }
  }
  EXPECT_TRUE(open.empty());
}

// Prometheus' text format 0.0.4, and nothing more lenient. What it reads is values by name and
// labels.
class MetricsParser {
 public:
  explicit MetricsParser(const std::string& text) {
    EXPECT_TRUE(text.ends_with('\n'));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) parse(line);
  }
  std::map<std::string, double> values;

 private:
  static bool is_name(const std::string& name) {
    return !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
           std::ranges::all_of(name,
                               [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  }
  void parse(const std::string& line) {
    if (line.starts_with("# HELP ")) {
      family_ = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(is_name(family_)) << line;
      EXPECT_TRUE(families_.insert(family_).second) << "twice: " << line;
      EXPECT_GT(line.size(), family_.size() + 8) << line;
      type_ = "";
    } else if (line.starts_with("# TYPE ")) {
      EXPECT_EQ(type_, "") << line;
      type_ = line.substr(8 + family_.size());
      EXPECT_EQ(line, "# TYPE " + family_ + " " + type_);
      EXPECT_TRUE(type_ == "gauge" || type_ == "counter") << line;
      EXPECT_EQ(type_ == "counter", family_.ends_with("_total")) << line;
    } else {
      parse_sample(line);
    }
  }
  void parse_sample(const std::string& line) {
    EXPECT_TRUE(line.starts_with(family_)) << line << " in " << family_;
    EXPECT_NE(type_, "") << line;
    std::size_t at = std::min(family_.size(), line.size());
    if (at < line.size() && line[at] == '{') at = labels_end(line, at);
    ASSERT_TRUE(at < line.size() && line[at] == ' ') << line;
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + at + 1, &end);
    EXPECT_EQ(*end, '\0') << line;
    EXPECT_TRUE(values.emplace(line.substr(0, at), value).second) << "twice: " << line;
  }
  static std::size_t labels_end(const std::string& line, std::size_t at) {
    while (line[at] != '}') {
      const std::size_t equals = line.find("=\"", at);
      EXPECT_NE(equals, std::string::npos) << line;
      if (equals == std::string::npos) return line.size();
      EXPECT_TRUE(is_name(line.substr(at + 1, equals - at - 1))) << line;
      for (at = equals + 2; at < line.size() && line[at] != '"'; ++at)
        if (line[at] == '\\') {
          ++at;
          EXPECT_TRUE(line[at] == '\\' || line[at] == '"' || line[at] == 'n') << line;
        }
      ++at;
      EXPECT_TRUE(at < line.size() && (line[at] == ',' || line[at] == '}')) << line;
      if (at >= line.size()) return line.size();
    }
    return at + 1;
  }

  std::string family_;
  std::string type_;
  std::set<std::string> families_;
};

TEST(BatchReports, AnEmptyBatchHasAllForms) {
  const BatchReport report;
  const std::string page = batch_html(report);
  expect_balanced(page);
  EXPECT_NE(page.find("Nothing was to be done."), std::string::npos);
  EXPECT_NE(page.find("Nothing was measured yet."), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(batch_json(report))["images"].size(), 0U);
  EXPECT_EQ(MetricsParser(batch_metrics(report)).values["grainmill_batch_jobs{state=\"done\"}"], 0);
}

TEST(BatchReports, HostileNamesAreText) {
  BatchReport report = report_of(30);
  report.plan = kHostile;
  for (JobRecord& job : report.jobs) {
    job.image.source = kHostile;
    job.image.target = kHostile;
    job.image.reason = kHostile;
    job.verdict.reason = kHostile;
    job.verdict.error_kind = kHostile;
    job.verdict.root = kHostile;
    job.verdict.warnings = {kHostile};
  }
  report.output.settings = {kHostile};
  const std::string page = batch_html(report);
  expect_balanced(page);
  EXPECT_EQ(page.find("<script"), std::string::npos);
  EXPECT_EQ(page.find("\"1\""), std::string::npos);
  EXPECT_EQ(page.find('\x01'), std::string::npos);
  EXPECT_EQ(page.find('\xff'), std::string::npos);
  EXPECT_NE(
      page.find("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;&#39;  \\\xef\xbf\xbd"),
      std::string::npos);
  const nlohmann::json json = nlohmann::json::parse(batch_json(report));
  EXPECT_EQ(json["plan"], kHostile.substr(0, kHostile.find('\xff')) + "\xef\xbf\xbd.vmdk");
  const MetricsParser metrics(batch_metrics(report));
  EXPECT_TRUE(std::ranges::any_of(metrics.values, [](const auto& value) {
    return value.first.starts_with("grainmill_batch_info{plan=\"/old/<script>alert(\\\"1\\\")");
  }));
}

TEST(BatchReports, ThePageNeedsNothingElse) {
  const std::string page = batch_html(report_of(60));
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  EXPECT_TRUE(page.ends_with("</html>\n"));
  EXPECT_NE(page.find("default-src 'none'"), std::string::npos);
  for (const std::string elsewhere : {"http:", "https:", "src=", "url(", "<script", "<a "})
    EXPECT_EQ(page.find(elsewhere), std::string::npos) << elsewhere;
}

TEST(BatchReports, FailuresComeFirstWithWhatToDo) {
  const std::string page = batch_html(report_of(60));
  expect_balanced(page);
  EXPECT_NE(page.find("<b class=\"bad\">3 images failed; all others"), std::string::npos);
  EXPECT_EQ(occurrences(page, "<div class=\"card\">"), 3U);
  EXPECT_LT(page.find("<div class=\"card\">"), page.find("<table"));
  EXPECT_NE(page.find("grainmill check"), std::string::npos);
  EXPECT_NE(page.find("--retry-failed"), std::string::npos);
  EXPECT_NE(page.find("4 attempts, the last ended on"), std::string::npos);
}

TEST(BatchReports, ThousandsOfImagesStaySmall) {
  const std::string few = batch_html(report_of(10));
  const std::string many = batch_html(report_of(5010));
  expect_balanced(many);
  EXPECT_EQ(occurrences(many, "<tr><td>"), 5010U);
  EXPECT_EQ(occurrences(many, "<div class=\"card\">"), 100U);
  EXPECT_LT((many.size() - few.size()) / 5000, 330U);
}

TEST(BatchReports, SaysHowFarARunIs) {
  BatchReport report = report_of(3);
  for (const JobState state : {JobState::running, JobState::queued, JobState::queued})
    report.jobs.push_back(job_of(40, state));
  report.jobs.back().attempts = 1;
  report.jobs.back().not_before_ms = report.now_ms + 60'000;
  report.jobs.back().verdict.error_kind = "io";
  report.jobs.back().verdict.reason = "Input/output error";
  count(report);
  report.is_running = true;
  report.runs.back().ended_ms.reset();
  report.bytes_per_second = 1.25e9;
  report.eta_ms = report.now_ms + 600'000;
  const std::string page = batch_html(report);
  expect_balanced(page);
  EXPECT_NE(page.find("Running: 3 images left, done by "), std::string::npos);
  EXPECT_NE(page.find("<small>25 %</small>"), std::string::npos);
  EXPECT_NE(page.find("<small>is tried again on "), std::string::npos);
  EXPECT_EQ(batch_exit_status(report), kExitJobsLeft);
  const nlohmann::json json = nlohmann::json::parse(batch_json(report));
  EXPECT_EQ(json["running"], true);
  EXPECT_EQ(json["states"]["queued"], 2);
  EXPECT_EQ(json["images"][3]["progress"]["guest_bytes"], kDisk / 4);
  EXPECT_EQ(json["images"][4]["verdict"], nullptr);
  EXPECT_EQ(json["images"][5]["verdict"]["error_kind"], "io");
  EXPECT_EQ(json["runs"][1]["ended_ms"], nullptr);
  auto metrics = MetricsParser(batch_metrics(report)).values;
  EXPECT_EQ(metrics["grainmill_batch_running"], 1);
  EXPECT_EQ(metrics["grainmill_batch_rate_bytes_per_second"], 1.25e9);
  EXPECT_EQ(metrics["grainmill_batch_eta_timestamp_seconds"],
            static_cast<double>(*report.eta_ms) / 1000);
  EXPECT_FALSE(metrics.contains("grainmill_batch_last_run_ended_timestamp_seconds"));
}

TEST(BatchReports, ThePlanIsOneWordOfTheCommandThatBeginsItAgain) {
  BatchReport report = report_of(1);
  report.plan = "/my vms/it's.plan";
  EXPECT_NE(next_step(report, job_of(1, JobState::failed))
                .find("`grainmill batch run --retry-failed '/my vms/it'\\''s.plan'`"),
            std::string::npos);
}

TEST(BatchReports, OfAnOutputThatIsAnotherTheMessageSaysTheStep) {
  const BatchReport report = report_of(1);
  JobRecord job = job_of(1, JobState::failed);
  job.verdict.error_kind = "mismatch";
  EXPECT_TRUE(next_step(report, job).contains("ignore_cid"));  // of a source
  job.verdict.was_done = true;
  EXPECT_TRUE(next_step(report, job).starts_with("Then begin it again"));
  job.verdict.error_kind = "not_found";  // its manifest
  EXPECT_TRUE(next_step(report, job).starts_with("Bring the file back"));
}

TEST(BatchReports, ExitStatusAndWordsAgree) {
  BatchReport report = report_of(5);
  EXPECT_EQ(batch_exit_status(report), kExitDone);
  EXPECT_EQ(batch_verdict(report), "All done: 5 images converted.");
  report.jobs[0] = job_of(1, JobState::failed);
  count(report);
  EXPECT_EQ(batch_exit_status(report), kExitJobsFailed);
  EXPECT_EQ(batch_verdict(report), "1 image failed; all others were brought to their end.");
  report.jobs[1] = job_of(2, JobState::queued);
  count(report);
  EXPECT_EQ(batch_exit_status(report), kExitJobsLeft);
  EXPECT_EQ(
      batch_verdict(report),
      "Not finished: 1 image left, which `grainmill batch run` goes on with; 1 image failed.");
}

TEST(BatchReports, JsonHasWhatIsKnown) {
  const nlohmann::json json = nlohmann::json::parse(batch_json(report_of(60)));
  EXPECT_EQ(json["states"]["done"], 55);
  EXPECT_EQ(json["states"]["failed"], 3);
  EXPECT_EQ(json["output"]["format"], "qcow2");
  EXPECT_EQ(json["images"].size(), 60U);
  EXPECT_EQ(json["images"][0]["verdict"]["verified"], true);
  EXPECT_EQ(json["images"][0]["chain"].size(), 2U);
  EXPECT_EQ(json["images"][6]["verdict"]["error_kind"], "corrupt");
  EXPECT_EQ(json["images"][10]["verdict"], nullptr);
  EXPECT_FALSE(json["images"][10]["planned_reason"].get<std::string>().empty());
  EXPECT_EQ(json["runs"][1]["samples"].size(), 1000U);
  EXPECT_EQ(json["runs"][1]["samples"][999]["time_ms"], json["now_ms"]);
}

TEST(BatchReports, MetricsAreInPrometheusFormat) {
  BatchReport report = report_of(60);
  report.totals.cpu_ms = 12'345;
  auto values = MetricsParser(batch_metrics(report)).values;
  EXPECT_EQ(values["grainmill_batch_jobs{state=\"done\"}"], 55);
  EXPECT_EQ(values["grainmill_batch_jobs{state=\"running\"}"], 0);
  EXPECT_EQ(values["grainmill_batch_failed_jobs{kind=\"corrupt\"}"], 2);
  EXPECT_EQ(values["grainmill_batch_failed_jobs{kind=\"io\"}"], 1);
  EXPECT_EQ(values["grainmill_batch_verified_jobs"], 55);
  EXPECT_EQ(values["grainmill_batch_cpu_seconds_total"], 12.345);
  EXPECT_EQ(values["grainmill_batch_run_peak_rss_bytes{run=\"2\"}"], 400 << 20);
  EXPECT_EQ(values["grainmill_batch_last_run_begun_timestamp_seconds"],
            static_cast<double>(kBegin + 90'000'000) / 1000);
  EXPECT_FALSE(values.contains("grainmill_batch_rate_bytes_per_second"));
}

TEST(BatchReports, TheSummaryNamesAFileOnce) {
  BatchReport report = report_of(60);
  const std::string source = report.jobs[0].image.source;
  report.jobs[0].verdict.warnings = {source + ": offset 0x34d: a zero byte"};
  const std::string text = batch_summary(report);
  EXPECT_NE(text.find("warning    " + source + ": offset 0x34d: a zero byte\n"), std::string::npos)
      << text;
}

TEST(BatchReports, TheSummaryIsForPeople) {
  BatchReport report = report_of(60);
  report.jobs[0].verdict.warnings = {"its content ID was changed"};
  const std::string text = batch_summary(report);
  for (const std::string words :
       {"failed     /vmfs/volumes/old/customer-007/server0007.vmdk: ",
        "           after 4 attempts. See what is damaged with `grainmill check`",
        "skipped    /vmfs/volumes/old/customer-011/server0011.vmdk: the disk is encrypted",
        "warning    /vmfs/volumes/old/customer-001/server0001.vmdk: its content ID was changed",
        "60 images: 55 done, 3 failed, 2 skipped\n", "55 images verified\n", "2 runs, 45m00s, ",
        "3 images failed; all others were brought to their end.\n"})
    EXPECT_NE(text.find(words), std::string::npos) << words << " is not in " << text;
  EXPECT_EQ(batch_summary({}),
            "0 images: none\n0 B of disks\nno run yet\nNothing was to be done.\n");
}

// The numbers of a path: each coordinate must be within the picture.
void expect_within(const std::string& page) {
  for (std::size_t at = page.find(" d=\"M"); at != std::string::npos;
       at = page.find(" d=\"M", at + 1)) {
    const std::string path = page.substr(at + 4, page.find('"', at + 4) - at - 4);
    double last_x = 0;
    for (std::size_t i = 0; i < path.size(); ++i) {
      if (std::isupper(static_cast<unsigned char>(path[i])) == 0 || path[i] == 'Z') continue;
      const double value = std::strtod(path.c_str() + i + 1, nullptr);
      EXPECT_GE(value, 0) << path;
      EXPECT_LE(value, path[i] == 'V' ? 200.01 : 1000.01) << path;
      if (path[i] != 'H') continue;
      EXPECT_GE(value, last_x) << path;
      last_x = value;
    }
  }
  for (const std::string_view wrong : {"nan", "inf"})
    EXPECT_EQ(page.find(wrong), std::string::npos) << wrong;
}

TEST(BatchPlot, AnyNumberOfSamplesMakesAPicture) {
  for (const std::size_t samples : {0U, 1U, 2U, 7U, 100'000U}) {
    BatchReport report = report_of(1);
    report.runs = {run_of(1, kBegin, samples)};
    const std::string page = batch_html(report);
    expect_balanced(page);
    expect_within(page);
    EXPECT_LT(page.size(), 30'000U) << samples;
    EXPECT_EQ(page.find("class=\"plot\"") != std::string::npos, samples > 0) << samples;
    EXPECT_LE(occurrences(page, "text-anchor"), 8U);
  }
}

TEST(BatchPlot, TakesWhatClocksAndKillsDo) {
  BatchReport report = report_of(1);
  BatchRun back = run_of(1, kBegin, 100);
  for (std::size_t i = 50; i < 100; ++i) back.samples[i].time_ms -= 60'000;
  BatchRun backwards = run_of(2, kBegin + 1'000'000, 10);
  backwards.ended_ms = backwards.begun_ms - 5;
  BatchRun killed = run_of(3, kBegin + 2'000'000, 10);
  killed.ended_ms.reset();
  BatchRun still = run_of(4, kBegin - 5'000'000, 10);
  for (BatchSample& sample : still.samples) sample.guest_bytes = 0;
  BatchRun at_once = run_of(5, kBegin + 9'000'000, 3, 0);
  report.runs = {back, backwards, killed, still, at_once};
  const std::string page = batch_html(report);
  expect_balanced(page);
  expect_within(page);
  EXPECT_NE(page.find("and was killed"), std::string::npos);
}

TEST(BatchPlot, ShowsGapsBetweenRuns) {
  EXPECT_EQ(occurrences(batch_html(report_of(1)), "class=\"gap\""), 1U);
  BatchReport report = report_of(1);
  report.runs.clear();
  for (int i = 0; i < 500; ++i) report.runs.push_back(run_of(i, kBegin + i * 600'000, 20));
  const std::string page = batch_html(report);
  expect_within(page);
  EXPECT_EQ(occurrences(page, "class=\"gap\""), 99U);
  EXPECT_LT(page.size(), 60'000U);
  EXPECT_NE(page.find("480 earlier runs"), std::string::npos);
}

// For looking at: GRAINMILL_SAMPLE_PAGE names the file.
TEST(BatchReports, SamplePage) {
  const char* const path = std::getenv("GRAINMILL_SAMPLE_PAGE");
  if (path == nullptr) GTEST_SKIP() << "GRAINMILL_SAMPLE_PAGE is not set";
  std::ofstream(path) << batch_html(report_of(60));
}

}  // namespace
}  // namespace grainmill
