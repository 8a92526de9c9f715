// SPDX-License-Identifier: Apache-2.0
#include "tools/batch_options.h"

#include "tools/common_options.h"

namespace grainmill {
namespace {

constexpr const char* kBatchFooter =
    R"(A plan is a readable file: look at it, take lines out of it. A run may be stopped or killed at any moment: the
same command goes on where it was, and what is finished is not touched. One image's failure stops no other.

Examples:
  grainmill batch plan /vmfs/volumes/old --to /kvm/images -O qcow2
  grainmill batch run /kvm/images/batch.plan --verify --html report.html
  grainmill batch status --watch /kvm/images/batch.plan     in another terminal
  grainmill batch report /kvm/images/batch.plan --html report.html)";

constexpr const char* kPlanFooter =
    R"(Disks are found by their contents. Of a virtual machine with snapshots each top image counts once, its base and
deltas are part of it; so are the files of a split or flat disk. Each output has its source's path below the folder
that was named. What would overwrite something, collide with another output or not fit is refused.

Examples:
  grainmill batch plan /vmfs/volumes/old --to /kvm/images -O qcow2 -c
  grainmill batch plan @disks.txt '/old/*/*.vmdk' --to /kvm -O raw --plan friday.plan)";

constexpr const char* kRunFooter =
    R"(Large disks come first. Each is converted in a process of its own, which may crash or run out of memory alone.
I/O errors are tried again, later each time; damage is not. How far each job is stands in PLAN.db.
Exit status: 0 all done; 1 the run itself failed; 2 some jobs failed; 3 stopped, with jobs left.

Examples:
  grainmill batch run /kvm/images/batch.plan --verify
  grainmill batch run batch.plan --jobs 4 --memory 2G --per-mount 2 --listen 127.0.0.1:9180)";

constexpr const char* kStatusFooter =
    R"(At any time, also while a run works on the plan.
Exit status: 0 all done; 1 failed; 2 some jobs failed; 3 still running, or stopped, with jobs left.

Examples:
  grainmill batch status /kvm/images/batch.plan
  grainmill batch status --watch /kvm/images    the plan in that folder, again and again)";

constexpr const char* kReportFooter =
    R"(At any time, also while a run works on the plan. The text names what failed, what was skipped and what there is a
warning about; every disk, with what became of it, is in --json and --html.
Exit status: 0 all done; 1 failed; 2 some jobs failed; 3 still running, or stopped, with jobs left.

Examples:
  grainmill batch report /kvm/images/batch.plan
  grainmill batch report batch.plan --html report.html --json > report.json)";

void add_plan_argument(CLI::App& app, std::string& plan) {
  app.add_option("plan", plan, "The plan, as `batch plan` wrote it, or the folder that it is in")
      ->required()
      ->type_name("PLAN");
}

void add_patterns(CLI::App& app, const std::string& name, std::vector<std::string>& patterns,
                  const std::string& help) {
  app.add_option(name, patterns, help)->type_name("PATTERN")->take_all()->allow_extra_args(false);
}

void add_plan(CLI::App& app, BatchPlanArgs& args) {
  app.footer(kPlanFooter);
  app.add_option(
         "sources", args.sources,
         "Folders (with all below them), images, shell patterns; @FILE: a list of such, one "
         "a line")
      ->required()
      ->type_name("SRC");
  app.add_option("--to", args.target_folder, "The folder for the outputs")
      ->required()
      ->type_name("DIR");
  app.add_option("--plan", args.plan, "The plan to write (default: DIR/batch.plan)")
      ->type_name("FILE");
  add_written_format(app, args.output.format, "qcow2");
  add_options(app, args.output.settings);
  add_compression(app, args.output.compress, args.output.level);
  app.add_option("--digest", args.output.digest,
                 "Add a cryptographic root to each manifest: blake2b512 or sha256")
      ->check(CLI::IsMember({"blake2b512", "sha256"}))
      ->type_name("NAME");
  add_patterns(app, "--raw", args.raw, "Files of these names are raw disks; may be repeated");
  add_patterns(app, "--exclude", args.exclude,
               "Leave files and folders of these names alone; may be repeated");
  add_policy(app, args.policy);
  app.add_flag("--force", args.force,
               "Replace an older plan; plan outputs that replace files, or do not fit");
  app.add_flag("-q,--quiet", args.quiet, "Print errors only");
}

void add_run_options(CLI::App& app, BatchRunArgs& args) {
  app.footer(kRunFooter);
  add_plan_argument(app, args.plan);
  app.add_option("--jobs", args.jobs, "Images at once (default: one a processor, 8 at most)")
      ->check(CLI::Range(1U, 256U))
      ->type_name("N");
  app.add_option("--threads", args.threads,
                 "Threads of all images together (default: one a processor)")
      ->check(CLI::Range(1U, 1024U))
      ->type_name("N");
  add_size(app, "--memory", args.memory_bytes,
           "Memory of all processes together, at most (default: 1G)");
  app.add_option("--per-mount", args.per_mount,
                 "Images at once that are on, or go to, one file system (default: no limit)")
      ->check(CLI::Range(1U, 256U))
      ->type_name("N");
  app.add_option("--retries", args.retries,
                 "Try a job so often again that failed for a reason that may pass (default: 3)")
      ->check(CLI::Range(0U, 100U))
      ->type_name("N");
  app.add_flag("--retry-failed", args.retry_failed, "Begin again what failed in an earlier run");
  app.add_flag("--verify", args.verify,
               "Read each output back from the disk, and hold it against its manifest");
  app.add_flag("--no-sync", args.no_sync, "Do not wait for the disk: for scratch work");
  app.add_option("--metrics-file", args.metrics_file,
                 "Keep this file up to date, in Prometheus' text format")
      ->type_name("FILE");
  app.add_option("--listen", args.listen, "Serve /metrics, /status and /healthz by HTTP")
      ->type_name("ADDRESS:PORT");
  app.add_option("--html", args.html,
                 "Write a report when it begins, and anew when it ends: a page that needs nothing "
                 "else")
      ->type_name("FILE");
  app.add_flag("-q,--quiet", args.quiet, "Print errors only");
}

void add_status(CLI::App& app, BatchStatusArgs& args) {
  app.footer(kStatusFooter);
  add_plan_argument(app, args.plan);
  app.add_flag("--json", args.json, "One JSON object");
  app.add_flag("--watch", args.watch, "Show it again and again, until nothing runs");
}

void add_report(CLI::App& app, BatchReportArgs& args) {
  app.footer(kReportFooter);
  add_plan_argument(app, args.plan);
  app.add_flag("--json", args.json, "One JSON object");
  app.add_option("--html", args.html, "Write a page that needs nothing else")->type_name("FILE");
  app.add_option("--metrics-file", args.metrics_file, "Write a file in Prometheus' text format")
      ->type_name("FILE");
}

}  // namespace

void add_batch(CLI::App& root, std::optional<BatchCommand>& command) {
  CLI::App& app =
      *root.add_subcommand("batch", "Convert a whole estate: plan, run, status, report");
  app.require_subcommand(1);
  app.footer(kBatchFooter);
  add_verb<BatchPlanArgs>(app, "plan", "Find disks, and write down what is to become of them",
                          command, add_plan);
  add_verb<BatchRunArgs>(app, "run", "Do what a plan says, or what is left of it", command,
                         add_run_options);
  add_verb<BatchStatusArgs>(app, "status", "How far is it?", command, add_status);
  add_verb<BatchReportArgs>(app, "report", "What failed or was skipped, and how much was done?",
                            command, add_report);
  // What `run` starts, for each job.
  add_verb<BatchWorkerArgs>(app, "worker", "", command,
                            [](CLI::App& verb, BatchWorkerArgs&) { verb.group(""); });
}

}  // namespace grainmill
