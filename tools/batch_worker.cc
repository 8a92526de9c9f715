// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/convert_job.h"
#include "pipeline/batch/job_json.h"
#include "tools/batch.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <chrono>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <string>

namespace grainmill {
namespace {

// Says how far it is, a few times a second and at the end of each pass.
class ProgressLines {
 public:
  explicit ProgressLines(Host& host) : host_(host) {}

  void update(const JobProgress& progress) {
    if (unsaid_ && unsaid_->verifying != progress.verifying) say();
    unsaid_ = progress;
    if (Clock::now() - last_ >= kInterval) say();
  }

  void say() {
    if (!unsaid_) return;
    last_ = Clock::now();
    host_.out << progress_line(*unsaid_) << std::flush;
    unsaid_.reset();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kInterval = std::chrono::milliseconds(300);

  Host& host_;
  Clock::time_point last_;
  std::optional<JobProgress> unsaid_;
};

}  // namespace

int run_batch_worker(const BatchWorkerArgs& /*args*/, Host& host) {
  const std::string input{std::istreambuf_iterator<char>(std::cin), {}};
  const Result<ConvertJob> job = parse_job(input);
  if (!job) return report_failure(job.error(), ProgressForm::none, host);
  ProgressLines lines(host);
  JobVerdict verdict;
  try {
    verdict = convert_job(host.files, *job, host.cancelled,
                          [&lines](const JobProgress& progress) { lines.update(progress); });
  } catch (const std::bad_alloc&) {
    verdict = failed_verdict({ErrorKind::io, job->job.image.source, std::nullopt, "out of memory"});
  }
  lines.say();
  host.out << verdict_line(verdict) << std::flush;
  return kExitDone;
}

}  // namespace grainmill
