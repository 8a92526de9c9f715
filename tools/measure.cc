// SPDX-License-Identifier: Apache-2.0
#include "pipeline/measure.h"

#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <ostream>

namespace grainmill {
namespace {

Result<OutputSize> measure_as(const MeasureArgs& args, ProgressReporter& progress, Host& host) {
  if (args.image.path.empty() != args.size_bytes.has_value())
    return fail(ErrorKind::invalid_argument, "",
                "either an image or --size is needed: grainmill measure -O qcow2 disk.vmdk");
  MeasureOptions options;
  if (!args.image.path.empty()) options.source = args.image.path;
  options.size_bytes = args.size_bytes;
  options.disk = args.image.disk;
  options.output_format = args.format;
  options.sink.settings = split_settings(args.options);
  options.sink.compress = args.compress;
  options.sink.level = args.level;
  options.exact = args.exact;
  options.graph = graph_options(args.run, progress, host);
  return measure(host.files, options);
}

}  // namespace

int run_measure(const MeasureArgs& args, Host& host) {
  ProgressReporter progress(args.exact ? args.run.progress : ProgressForm::none, args.run.quiet,
                            host);
  const Result<OutputSize> size = measure_as(args, progress, host);
  progress.finish();
  if (!size) return report_failure(size.error(), args.run.progress, host);
  if (args.form == OutputForm::json)
    host.out << nlohmann::json{{"required", size->required_bytes},
                               {"fully-allocated", size->fully_allocated_bytes}}
                    .dump(4)
             << '\n';
  else
    host.out << fmt::format("required size: {}\nfully allocated size: {}\n", size->required_bytes,
                            size->fully_allocated_bytes);
  return kExitDone;
}

}  // namespace grainmill
