// SPDX-License-Identifier: Apache-2.0
#include "pipeline/compare.h"

#include "engine/base/arith.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <ostream>

namespace grainmill {
namespace {

using enum DiskDifference::Kind;

// What qemu-img prints: the sector of the first byte.
std::uint64_t offset_of(const DiskDifference& difference) {
  return difference.kind == contents ? align_down(difference.first_byte, kSectorBytes)
                                     : difference.guest_offset;
}

std::string line(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json to_json(const DiskDifference& difference) {
  const char* kind = difference.kind == contents     ? "differs"
                     : difference.kind == allocation ? "allocation"
                                                     : "unreadable";
  nlohmann::json object = {
      {"kind", kind}, {"offset", difference.guest_offset}, {"length", difference.length}};
  if (difference.error) object["reason"] = difference.error->to_string();
  return object;
}

// The fields of the report but its ranges. Sizes in the names of qemu-img's.
nlohmann::json to_json(const CompareArgs& args, const CompareReport& report) {
  nlohmann::json object = {{"filename1", args.one.path},
                           {"filename2", args.other},
                           {"format1", report.one_format},
                           {"format2", report.other_format},
                           {"virtual-size1", report.one_bytes},
                           {"virtual-size2", report.other_bytes},
                           {"strict", args.strict},
                           {"same", report.same()},
                           {"same_size", report.one_bytes == report.other_bytes}};
  if (report.first) {
    object["offset"] = offset_of(*report.first);
    object["difference"] = report.first->kind == allocation ? "allocation" : "contents";
    if (report.first->kind == contents) object["first_byte"] = report.first->first_byte;
  }
  if (args.all) {
    object["differing_bytes"] = report.differing_bytes;
    object["unreadable_bytes"] = report.unreadable_bytes;
    if (args.strict) object["differently_stored_bytes"] = report.differently_stored_bytes;
  }
  return object;
}

// Prints ranges as they are found, however many, and what the report says of them at the end.
class ReportPrinter {
 public:
  ReportPrinter(const CompareArgs& args, Host& host) : args_(args), host_(host) {
    if (args.run.progress == ProgressForm::json)
      form_ = Form::events;
    else if (args.form == OutputForm::json)
      form_ = Form::object;
    else
      form_ = args.run.quiet ? Form::nothing : Form::text;
  }

  void print(const DiskDifference& difference) {
    if (form_ == Form::text) {
      print_text(difference);
    } else if (form_ == Form::object) {
      host_.out << (ranges_ == 0 ? "{\n  \"ranges\": [" : ",") << "\n    "
                << line(to_json(difference));
    } else if (form_ == Form::events) {
      nlohmann::json object = to_json(difference);
      object["event"] = "difference";
      host_.out << line(object) << '\n';
    }
    ++ranges_;
  }

  void print(const CompareReport& report) {
    if (form_ == Form::text) print_text(report);
    if (form_ == Form::object) close_object(to_json(args_, report));
    if (form_ == Form::events) {
      nlohmann::json object = to_json(args_, report);
      object["event"] = "done";
      host_.out << line(object) << '\n';
    }
  }

  // Where there will be no report.
  void print(const Error& error) {
    if (form_ == Form::object && ranges_ != 0) close_object({{"error", error.to_string()}});
  }

 private:
  enum class Form : std::uint8_t { nothing, text, object, events };

  void print_text(const DiskDifference& difference) {
    const char* kind = difference.kind == contents     ? "differs:   "
                       : difference.kind == allocation ? "allocation:"
                                                       : "unreadable:";
    host_.out << fmt::format("{} guest offset {:#x} to {:#x} ({})", kind, difference.guest_offset,
                             difference.guest_offset + difference.length,
                             format_size(difference.length));
    if (difference.error) host_.out << ": " << difference.error->to_string();
    host_.out << '\n';
  }

  // The first lines are qemu-img's, word by word.
  void print_text(const CompareReport& report) {
    if (report.wrong_size)
      host_.out << "Strict mode: Image size mismatch!\n";
    else if (warns_of_size(report))
      host_.out << "Warning: Image size mismatch!\n";
    if (report.one_bytes != report.other_bytes)
      host_.out << fmt::format("{} is a disk of {} bytes, {} one of {}.\n", args_.one.path,
                               report.one_bytes, args_.other, report.other_bytes);
    if (report.same()) host_.out << "Images are identical.\n";
    if (report.first && report.first->kind == allocation)
      host_.out << fmt::format("Strict mode: Offset {} block status mismatch!\n",
                               offset_of(*report.first));
    if (report.first && report.first->kind == contents)
      host_.out << fmt::format(
          "Content mismatch at offset {}!\nThe first byte that differs is at {}{}.\n",
          offset_of(*report.first), report.first->first_byte,
          args_.all ? "" : "; --all lists all ranges");
    if (args_.all && ranges_ != 0) print_totals(report);
  }

  // Not where a difference in what both disks have was found before the sizes count.
  static bool warns_of_size(const CompareReport& report) {
    return report.one_bytes != report.other_bytes &&
           (!report.first ||
            offset_of(*report.first) >= std::min(report.one_bytes, report.other_bytes));
  }

  void print_totals(const CompareReport& report) {
    host_.out << fmt::format("{} range{}: {} differ, {} unreadable", ranges_,
                             ranges_ == 1 ? "" : "s", format_size(report.differing_bytes),
                             format_size(report.unreadable_bytes));
    if (args_.strict)
      host_.out << fmt::format(", {} stored differently",
                               format_size(report.differently_stored_bytes));
    host_.out << '\n';
  }

  // After the ranges, if any were printed, the rest of the fields.
  void close_object(nlohmann::json fields) {
    if (ranges_ == 0) {
      fields["ranges"] = nlohmann::json::array();
      host_.out << fields.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
      return;
    }
    host_.out << "\n  ]";
    for (const auto& [name, value] : fields.items())
      host_.out << ",\n  " << nlohmann::json(name).dump() << ": " << line(value);
    host_.out << "\n}\n";
  }

  const CompareArgs& args_;
  Host& host_;
  Form form_;
  std::uint64_t ranges_ = 0;
};

}  // namespace

int run_compare(const CompareArgs& args, Host& host) {
  ProgressReporter progress(args.run.progress, args.run.quiet, host);
  ReportPrinter printer(args, host);
  CompareOptions options;
  options.one = args.one.path;
  options.one_disk = args.one.disk;
  options.other = args.other;
  options.other_disk = args.one.disk;
  options.other_disk.format = args.other_format;
  options.strict = args.strict;
  options.all = args.all;
  options.graph = graph_options(args.run, progress, host);
  options.on_difference = [&](const DiskDifference& difference) {
    progress.finish();
    printer.print(difference);
  };

  const Result<CompareReport> report = compare(host.files, options);
  progress.finish();
  if (!report) {
    printer.print(report.error());
    report_failure(report.error(), args.run.progress, host);
    return kExitNotCompared;
  }
  printer.print(*report);
  if (report->unreadable) {
    report_failure(*report->unreadable, ProgressForm::none, host);
    return kExitNotCompared;
  }
  return report->same() ? kExitDone : kExitNotIdentical;
}

}  // namespace grainmill
