// SPDX-License-Identifier: Apache-2.0
#include "tools/command_line.h"

#include "tools/batch_options.h"
#include "tools/common_options.h"
#include "tools/help_text.h"
#include "tools/usage_errors.h"

#include <map>
#include <ostream>
#include <span>

namespace grainmill {
namespace {

const std::map<std::string, OutputForm> kOutputForms = {{"human", OutputForm::human},
                                                        {"json", OutputForm::json}};
const std::map<std::string, ProgressForm> kProgressForms = {{"auto", ProgressForm::automatic},
                                                            {"line", ProgressForm::line},
                                                            {"json", ProgressForm::json},
                                                            {"none", ProgressForm::none}};
const std::map<std::string, TableChoice> kTableChoices = {{"primary", TableChoice::primary},
                                                          {"redundant", TableChoice::redundant}};
const std::map<std::string, CryptoAlgorithm> kCrypto = {{"blake2b512", CryptoAlgorithm::blake2b512},
                                                        {"sha256", CryptoAlgorithm::sha256}};

constexpr const char* kImageHelp =
    "The image: a VMDK (its descriptor, if it has several files), a qcow2 image, or with -f raw "
    "any disk";

// How images are opened.
void add_image_flags(CLI::App& app, ImageArgs& args) {
  app.add_option("-f", args.disk.format,
                 "Format of the image: vmdk, qcow2 or raw. Without it the content tells, never the "
                 "name")
      ->type_name("FMT");
  app.add_flag_callback(
      "-U,--force-share", [] {},
      "Accepted for qemu-img's sake: images that are only read are never locked");
  add_policy(app, args.disk.open.policy);
  app.add_flag("--ignore-cid", args.disk.ignore_content_ids,
               "Read a chain although its content IDs do not match");
  add_choice(
      app, "--tables", args.disk.open.tables, kTableChoices,
      "Believe this copy of the grain tables where the two differ (default: refuse such an image). "
      "Of a qcow2 image either one means: believe the mapping, whatever the refcounts say");
}

void add_progress(CLI::App& app, ProgressForm& progress, bool& quiet) {
  app.add_flag("-q,--quiet", quiet, "Print errors only");
  app.add_flag_callback(
      "-p", [&progress] { progress = ProgressForm::line; }, "Show progress, terminal or not");
  add_choice(app, "--progress", progress, kProgressForms,
             "How to show progress; json: one object a line on standard output");
}

void add_image(CLI::App& app, ImageArgs& args, const std::string& name, bool is_needed = true) {
  app.add_option(name, args.path, kImageHelp)->required(is_needed)->type_name("FILE");
  add_image_flags(app, args);
}

void add_run(CLI::App& app, RunArgs& args) {
  add_progress(app, args.progress, args.quiet);
  app.add_option("--threads", args.threads, "Threads (default: one a processor)")
      ->check(CLI::Range(1U, 1024U))
      ->type_name("N");
  add_size(app, "--memory", args.memory_bytes, "Memory for payload, at most (default: 64M)");
}

void add_convert(CLI::App& app, ConvertArgs& args) {
  app.footer(kConvertFooter);
  // Both are required, but not for -o help.
  add_image(app, args.source, "source", false);
  app.add_option("output", args.output,
                 "The disk to make; replaced in one step when it is whole. A block device is "
                 "overwritten; - is standard output (raw, streamOptimized)")
      ->type_name("FILE");
  add_written_format(app, args.format, "raw");
  add_options(app, args.options);
  add_compression(app, args.compress, args.level);
  app.add_flag(
      "-n", args.in_place,
      "Write over a raw OUTPUT that is there, instead of making a new one: what it held is "
      "lost at once");
  app.add_flag("--resume", args.resume,
               "Go on where the same command was stopped, killed or ran out of space, and leave "
               "what lets it go on again. What was written before is proven first");
  add_size(app, "-S", args.hole_bytes,
           "Runs of zeros this long become holes in the output (default: 4k; 0: only what the "
           "source does not store, and whole pieces of 256 KiB)");
  CLI::Option* manifest = app.add_option("--manifest", args.manifest,
                                         "Where to write the manifest (default: OUTPUT.manifest)");
  manifest->type_name("FILE");
  app.add_flag("--no-manifest", args.no_manifest,
               "Write no manifest; an older OUTPUT.manifest goes away")
      ->excludes(manifest);
  add_choice(
      app, "--digest", args.crypto, kCrypto,
      "Add a cryptographic root to the manifest: it holds against people, not only accidents");
  app.add_flag("--no-sync", args.no_sync, "Do not wait for the disk: for scratch work");
  add_run(app, args.run);
}

void add_verify(CLI::App& app, VerifyArgs& args) {
  add_image(app, args.image, "image");
  app.footer(kVerifyFooter);
  app.add_option("--manifest", args.manifest, "The manifest (default: IMAGE.manifest)")
      ->type_name("FILE");
  CLI::Option* const heal =
      app.add_option("--heal", args.heal_from,
                     "Say what of the image can be healed from another image of the same disk, in "
                     "any format; with --yes, do it")
          ->type_name("FROM");
  app.add_option("--heal-format", args.heal_format, "Format of FROM (default: told by its content)")
      ->type_name("FORMAT")
      ->needs(heal);
  app.add_flag("--yes", args.yes, "Write what is healed")->needs(heal);
  add_choice(app, "--output", args.form, kOutputForms, "Form of the report");
  add_run(app, args.run);
}

void add_check(CLI::App& app, CheckArgs& args) {
  app.footer(kCheckFooter);
  app.add_option("images", args.images, kImageHelp)->required()->type_name("FILE");
  add_image_flags(app, args.image);
  app.add_flag("--quick", args.quick, "Structure only: do not inflate compressed grains");
  CLI::Option* const repair = app.add_flag(
      "--repair", args.repair,
      "Say how what is damaged can be put right from what is whole; with --yes, do it");
  app.add_flag("--yes", args.yes,
               "Write the repair; IMAGE.undo can take it back until it is proven")
      ->needs(repair);
  app.add_flag("--accept-parent", args.accept_parent,
               "Where the content ID of a parent is not the one that its snapshot expects: the "
               "parent is the right one, and the snapshot's parentCID is what is repaired")
      ->needs(repair);
  CLI::Option* const undo =
      app.add_flag("--undo", args.undo, "Take a repair back that left its journal, IMAGE.undo")
          ->excludes(repair);
  app.add_option("--salvage", args.salvage,
                 "Write all that can still be read to a raw disk, and to RAW.map what is missing: "
                 "new files, or a block device; the image stays as it is")
      ->type_name("RAW")
      ->excludes(repair)
      ->excludes(undo);
  add_choice(app, "--output", args.form, kOutputForms, "Form of the report");
  add_run(app, args.run);
}

void add_scrub(CLI::App& app, ScrubArgs& args) {
  app.footer(kScrubFooter);
  app.add_option("folders", args.folders, "Folders with images, in them or anywhere below")
      ->required()
      ->type_name("FOLDER");
  app.add_option("--catalogue", args.catalogue,
                 "Where what was found is remembered (default: grainmill/catalogue.db in "
                 "$XDG_STATE_HOME; of a service in its $STATE_DIRECTORY)")
      ->type_name("FILE");
  app.add_option("--raw", args.raw,
                 "Files of such names are raw disks (a shell pattern); may be repeated")
      ->type_name("PATTERN")
      ->take_all()
      ->allow_extra_args(false);
  app.add_option(
         "--exclude", args.exclude,
         "Files and folders of such names are left alone (a shell pattern); may be repeated")
      ->type_name("PATTERN")
      ->take_all()
      ->allow_extra_args(false);
  add_parsed(app, "--within", args.within_seconds, parse_duration, "a time such as 7d, 12h or 90m",
             "TIME",
             "Read each byte at least once in this time, the oldest first (default: in every run)");
  add_parsed(app, "--budget", args.bytes_per_second, parse_rate, "a rate such as 200M/s", "RATE",
             "Read so much a second at most");
  add_parsed(app, "--hours", args.hours, parse_hours, "a part of the day such as 22:00-06:00",
             "FROM-TO", "Read only then, by the local clock; stop when it is over");
  app.add_flag("--forget-missing", args.forget_missing,
               "Images that are gone were meant to go: take them out of the catalogue");
  add_choice(app, "--output", args.form, kOutputForms, "Form of the report");
  app.add_option("--html", args.html, "Write a page for people as well")->type_name("FILE");
  app.add_option("--metrics", args.metrics,
                 "Write a file for node_exporter's textfile collector as well")
      ->type_name("FILE");
  add_policy(app, args.policy);
  add_run(app, args.run);
}

void add_measure(CLI::App& app, MeasureArgs& args) {
  app.footer(kMeasureFooter);
  add_image(app, args.image, "image", false);
  add_size(app, "--size", args.size_bytes, "Instead of an image: the size of a new, empty disk");
  add_written_format(app, args.format, "raw");
  add_options(app, args.options);
  app.add_flag("-c", args.compress, "Compressed, as by convert -c");
  app.add_option("--level", args.level, "As of convert")->type_name("LEVEL");
  app.add_flag("--exact", args.exact,
               "Read the disk, and compress it, as a conversion would: without it the tables alone "
               "tell, and the size is the most that it can be");
  add_choice(app, "--output", args.form, kOutputForms, "Form of the report");
  add_run(app, args.run);
}

void add_compare(CLI::App& app, CompareArgs& args) {
  app.footer(kCompareFooter);
  add_image(app, args.one, "image");
  app.add_option("other", args.other, "The image to hold against it")
      ->required()
      ->type_name("FILE");
  app.add_option("-F", args.other_format, "Format of the other image, as -f")->type_name("FMT");
  app.add_flag("-s", args.strict,
               "Strict: sizes must be equal, and each range be stored in the same way (as it is, "
               "compressed, as zeros, not at all)");
  app.add_flag("--all", args.all, "List all ranges that differ, to the sector, not only the first");
  add_choice(app, "--output", args.form, kOutputForms, "Form of the report");
  add_run(app, args.run);
}

void add_create(CLI::App& app, CreateArgs& args) {
  app.footer(kCreateFooter);
  app.add_option("file", args.path, "The disk to make")->type_name("FILE");
  add_size(app, "size", args.size_bytes,
           "Its size, rounded up to whole sectors of 512 bytes; a snapshot has its parent's");
  const auto only_vmdk = [&app](const std::string& name, const std::string& refusal,
                                const std::string& help) {
    app.add_option_function<std::string>(
           name,
           [name, refusal](const std::string& format) {
             if (format != "vmdk") throw CLI::ValidationError(name, "'" + format + "' " + refusal);
           },
           help)
        ->type_name("FMT");
  };
  only_vmdk("-f", "cannot be made; vmdk can", "Format of the new disk: vmdk (the default)");
  only_vmdk("-F", "cannot have snapshots here; vmdk can", "Format of the parent: vmdk");
  add_options(app, args.options);
  app.add_option("-b", args.parent, "Make a snapshot of this disk")->type_name("PARENT");
  app.add_flag("--force", args.force, "Replace files that are there already");
  app.add_flag("-q,--quiet", args.quiet, "Print errors only");
  add_policy(app, args.parent_disk.open.policy);
}

void add_commit(CLI::App& app, CommitArgs& args) {
  app.footer(kCommitFooter);
  add_image(app, args.snapshot, "snapshot");
  add_progress(app, args.progress, args.quiet);
}

void add_rebase(CLI::App& app, RebaseArgs& args) {
  app.footer(kRebaseFooter);
  add_image(app, args.image, "image");
  app.add_option("-b", args.parent,
                 "The new parent, as seen from the image's folder; \"\" for none (default: the one "
                 "it has)")
      ->type_name("PARENT");
  app.add_flag("-u", args.header_only,
               "Only change what the image says of its parent: its contents change if the parent's "
               "do");
  app.add_flag("-n,--dry-run", args.dry_run, "Show what would change, and change nothing");
  add_progress(app, args.progress, args.quiet);
}

void add_info(CLI::App& app, InfoArgs& args) {
  app.footer(kInfoFooter);
  add_image(app, args.image, "image");
  add_choice(app, "--output", args.form, kOutputForms, "Form of the description");
  app.add_flag("--backing-chain", args.backing_chain, "Describe its ancestors too");
}

void add_map(CLI::App& app, MapArgs& args) {
  app.footer(kMapFooter);
  add_image(app, args.image, "image");
  add_choice(app, "--output", args.form, kOutputForms, "Form of the map");
}

// In the order of the help.
void add_verbs(CLI::App& root, std::optional<Command>& command) {
  add_verb<ConvertArgs>(
      root, "convert",
      "Make a disk of another kind of an image and its snapshots, with a manifest as proof",
      command, add_convert);
  add_verb<VerifyArgs>(root, "verify",
                       "Hold every 64 KiB of an image, of any format, against a manifest", command,
                       add_verify);
  add_verb<CompareArgs>(root, "compare", "Hold two disks against each other", command, add_compare);
  add_verb<InfoArgs>(root, "info", "Describe an image", command, add_info);
  add_verb<MapArgs>(root, "map", "Show where the data of a disk lies", command, add_map);
  add_verb<CreateArgs>(root, "create", "Make a new, empty VMDK disk, or a snapshot", command,
                       add_create);
  add_verb<CommitArgs>(root, "commit", "Merge a snapshot into its parent", command, add_commit);
  add_verb<RebaseArgs>(root, "rebase", "Make a snapshot build on another parent", command,
                       add_rebase);
  add_verb<MeasureArgs>(root, "measure",
                        "Say how large an output of convert would be, before making it", command,
                        add_measure);
  add_verb<CheckArgs>(root, "check", "Look for all that is wrong with images and their ancestors",
                      command, add_check);
  add_verb<ScrubArgs>(root, "scrub",
                      "Read all images below folders, and say which are no longer what they were",
                      command, add_scrub);
}

}  // namespace

ParsedCommandLine parse_command_line(int argc, const char* const* argv, Host& host) {
  CLI::App app(
      "grainmill: converts VMware disks at the speed of the machine, and proves that every byte "
      "arrived",
      "grainmill");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", "grainmill 0.1");

  std::optional<Command> command;
  add_verbs(app, command);
  std::optional<BatchCommand> batch;
  add_batch(app, batch);

  app.failure_message(usage_error);
  if (const auto message =
          unknown_verb(app, std::span(argv, static_cast<std::size_t>(argc)).subspan(1))) {
    host.err << *message;
    return {std::nullopt, kExitFailed};
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error, host.out, host.err);
    const int failed = app.got_subcommand("compare") ? kExitNotCompared : kExitFailed;
    return {std::nullopt, status == 0 ? kExitDone : failed};
  }
  if (batch) command = *std::move(batch);
  return {std::move(command), kExitDone};
}

}  // namespace grainmill
