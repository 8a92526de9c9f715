// SPDX-License-Identifier: Apache-2.0
#include "tools/scrub_reports.h"

#include <nlohmann/json.hpp>

#include <string_view>

namespace grainmill {
namespace {

template <typename T>
nlohmann::json or_null(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json(nullptr);
}

std::string_view stop_name(ScrubStop stop) {
  switch (stop) {
    case ScrubStop::done:
      return "done";
    case ScrubStop::cancelled:
      return "cancelled";
    case ScrubStop::hours:
      break;
  }
  return "hours";
}

nlohmann::json to_json(const Flaw& flaw) {
  nlohmann::json object = {
      {"kind", flaw_name(flaw.kind)}, {"offset", flaw.guest_offset}, {"length", flaw.length}};
  if (!flaw.reason.empty()) object["reason"] = flaw.reason;
  return object;
}

nlohmann::json to_json(const ScrubImage& image) {
  nlohmann::json ranges = nlohmann::json::array();
  for (const Flaw& flaw : image.flaws) ranges.push_back(to_json(flaw));
  nlohmann::json history = nlohmann::json::array();
  for (const VerdictRow& row : image.history)
    history.push_back(
        {{"run", row.run}, {"date", row.date}, {"verdict", verdict_name(row.verdict)}});
  return {{"path", image.path},
          {"format", image.format},
          {"disk_bytes", image.disk_bytes},
          {"verdict", verdict_name(image.verdict)},
          {"date", image.date},
          {"of_this_run", image.is_of_this_run},
          {"detail", image.detail},
          {"ranges", std::move(ranges)},
          {"first_seen", image.first_seen},
          {"read_since", or_null(image.read)},
          {"proven_since", or_null(image.proven)},
          {"history", std::move(history)}};
}

}  // namespace

std::string scrub_json(const ScrubReport& report) {
  nlohmann::json counts = nlohmann::json::object();
  for (std::size_t i = 0; i < kVerdicts; ++i) {
    const auto verdict = static_cast<Verdict>(i);
    counts[std::string(verdict_name(verdict))] = report.count(verdict);
  }
  nlohmann::json images = nlohmann::json::array();
  for (const ScrubImage& image : report.images) images.push_back(to_json(image));
  nlohmann::json failures = nlohmann::json::array();
  for (const Error& failure : report.failures) failures.push_back(failure.to_string());
  const nlohmann::json object = {{"run", report.run},
                                 {"begun", report.begun},
                                 {"ended", report.ended},
                                 {"resumed", report.resumed},
                                 {"stop", stop_name(report.stop)},
                                 {"waiting", report.waiting},
                                 {"read_bytes", report.read_bytes},
                                 {"within", or_null(report.within)},
                                 {"all_read_since", or_null(report.all_read_since)},
                                 {"overdue", report.overdue},
                                 {"verdicts", std::move(counts)},
                                 {"failures", std::move(failures)},
                                 {"images", std::move(images)}};
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace grainmill
