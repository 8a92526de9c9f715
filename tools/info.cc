// SPDX-License-Identifier: Apache-2.0
#include "engine/disk/disk.h"
#include "tools/command_line.h"
#include "tools/report.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <optional>
#include <ostream>
#include <string>
#include <variant>

namespace grainmill {
namespace {

Result<std::uint64_t> actual_size(const Link& link) {
  std::uint64_t total = 0;
  for (const File* file : link.files()) {
    GM_TRY(const FileInfo info, file->info());
    total += info.allocated_bytes;
  }
  return total;
}

nlohmann::json vmdk_data(const LinkDescription& description) {
  nlohmann::json extents = nlohmann::json::array();
  for (const ExtentDescription& extent : description.extents) {
    nlohmann::json item = {
        {"virtual-size", extent.size_bytes}, {"filename", extent.path}, {"format", extent.type}};
    if (extent.grain_bytes != 0) item["cluster-size"] = extent.grain_bytes;
    if (extent.compressed) item["compressed"] = true;
    extents.push_back(std::move(item));
  }
  const std::optional<ParentRef>& parent = description.parent;
  return {{"create-type", description.create_type},
          {"cid", description.content_id.value_or(0)},
          {"parent-cid", parent ? parent->content_id.value_or(kNoContentId) : kNoContentId},
          {"extents", extents}};
}

// What only this format has; null if there is nothing.
nlohmann::json format_data(const LinkDescription& description) {
  if (description.format == "vmdk") return vmdk_data(description);
  nlohmann::json data;
  for (const FormatFact& fact : description.facts)
    std::visit([&](const auto& value) { data[fact.name] = value; }, fact.value);
  return data;
}

std::string text_of(const FormatFact& fact) {
  if (const bool* flag = std::get_if<bool>(&fact.value)) return *flag ? "yes" : "no";
  if (const auto* number = std::get_if<std::uint64_t>(&fact.value)) return std::to_string(*number);
  return std::get<std::string>(fact.value);
}

std::string text_of(const ParentRef& parent) {
  if (parent.content_id)
    return fmt::format("{} (content ID {:08x})", parent.hint, *parent.content_id);
  return parent.format.empty() ? parent.hint
                               : fmt::format("{} (format {})", parent.hint, parent.format);
}

// The field names of `qemu-img info --output=json`.
Result<nlohmann::json> to_json(const Link& link) {
  const LinkDescription& description = link.description();
  GM_TRY(const std::uint64_t actual, actual_size(link));
  nlohmann::json object = {{"filename", link.files().front()->path()},
                           {"format", description.format},
                           {"virtual-size", link.size_bytes()},
                           {"actual-size", actual},
                           {"dirty-flag", description.unclean_shutdown}};
  nlohmann::json data = format_data(description);
  if (data.empty()) return object;
  object["cluster-size"] = link.grain_bytes();
  object["format-specific"] = {{"type", description.format}, {"data", std::move(data)}};
  if (!description.parent) return object;
  object["backing-filename"] = description.parent->hint;
  if (!description.parent->format.empty())
    object["backing-filename-format"] = description.parent->format;
  return object;
}

Status print_human(const Link& link, Host& host) {
  const LinkDescription& description = link.description();
  GM_TRY(const std::uint64_t actual, actual_size(link));
  host.out << fmt::format(
      "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n",
      link.files().front()->path(), description.format, format_size(link.size_bytes()),
      link.size_bytes(), format_size(actual));
  if (!description.create_type.empty())
    host.out << "create type: " << description.create_type << '\n';
  if (description.content_id)
    host.out << fmt::format("content ID: {:08x}\n", *description.content_id);
  if (description.parent) host.out << "parent: " << text_of(*description.parent) << '\n';
  for (const FormatFact& fact : description.facts)
    host.out << fact.name << ": " << text_of(fact) << '\n';
  for (const ExtentDescription& extent : description.extents) {
    host.out << fmt::format("extent: {} {}", extent.type, format_size(extent.size_bytes));
    if (extent.grain_bytes != 0)
      host.out << fmt::format(", grains of {}", format_size(extent.grain_bytes));
    if (extent.compressed)
      host.out << (description.format == "vmdk" ? ", compressed" : ", some perhaps compressed");
    if (!extent.path.empty()) host.out << ": " << extent.path;
    host.out << '\n';
  }
  for (const std::string& warning : description.warnings) host.out << "note: " << warning << '\n';
  return {};
}

}  // namespace

int run_info(const InfoArgs& args, Host& host) {
  DiskOptions options = args.image.disk;
  options.open_parents = args.backing_chain;
  const Result<Disk> disk = Disk::open(host.files, args.image.path, options);
  if (!disk) return report_failure(disk.error(), ProgressForm::none, host);

  nlohmann::json chain = nlohmann::json::array();
  for (std::size_t i = 0; i < disk->depth(); ++i) {
    const Link& link = disk->link(i);
    if (args.form == OutputForm::json) {
      Result<nlohmann::json> object = to_json(link);
      if (!object) return report_failure(object.error(), ProgressForm::none, host);
      chain.push_back(*std::move(object));
      continue;
    }
    if (i != 0) host.out << '\n';
    if (const Status printed = print_human(link, host); !printed)
      return report_failure(printed.error(), ProgressForm::none, host);
  }
  if (args.form == OutputForm::json) {
    const nlohmann::json& shown = args.backing_chain ? chain : chain.front();
    host.out << shown.dump(4, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }
  return kExitDone;
}

}  // namespace grainmill
