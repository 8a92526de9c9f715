// SPDX-License-Identifier: Apache-2.0
#include "tools/metrics_text.h"
#include "tools/scrub_reports.h"

#include <fmt/format.h>

namespace grainmill {
namespace {

constexpr const char* kPrefix = "grainmill_scrub_";

void add_images(MetricsText& metrics, const ScrubReport& report) {
  metrics.family("image_bad", "1: rotten, damaged, missing or unreadable; 0: neither.");
  for (const ScrubImage& image : report.images)
    metrics.sample(is_bad(image.verdict) ? 1 : 0,
                   fmt::format("image=\"{}\",verdict=\"{}\"", metrics_label(image.path),
                               verdict_name(image.verdict)));
  metrics.family("image_proven_timestamp_seconds",
                 "Since when every byte of an image was proven good; not there if never.");
  for (const ScrubImage& image : report.images)
    if (image.proven)
      metrics.sample(*image.proven, fmt::format("image=\"{}\"", metrics_label(image.path)));
}

}  // namespace

std::string scrub_metrics_begin() { return metrics_begin(kPrefix); }

std::string scrub_metrics(const ScrubReport& report) {
  MetricsText metrics(kPrefix);
  metrics.family("images", "Images by verdict.");
  for (std::size_t i = 0; i < kVerdicts; ++i) {
    const auto verdict = static_cast<Verdict>(i);
    metrics.sample(report.count(verdict), fmt::format("verdict=\"{}\"", verdict_name(verdict)));
  }
  metrics.family("run_begun_timestamp_seconds", "When the last run began.");
  metrics.sample(report.begun);
  metrics.family("run_ended_timestamp_seconds", "When it ended, or was stopped.");
  metrics.sample(report.ended);
  metrics.family("run_complete", "1: it came to all images.");
  metrics.sample(report.stop == ScrubStop::done ? 1 : 0);
  metrics.family("run_read_bytes", "Bytes of guest disk that it read.");
  metrics.sample(report.read_bytes);
  metrics.family("failures", "Files and folders that could not be looked at.");
  metrics.sample(report.failures.size());
  metrics.family("overdue_images",
                 "Images with bytes not read within the time that was asked for.");
  metrics.sample(report.overdue.size());
  if (report.all_read_since) {
    metrics.family("all_read_timestamp_seconds", "Since when every byte of all images was read.");
    metrics.sample(*report.all_read_since);
  }
  add_images(metrics, report);
  return std::move(metrics).text();
}

}  // namespace grainmill
