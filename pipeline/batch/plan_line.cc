// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/plan_line.h"

#include "engine/format/format.h"
#include "pipeline/batch/utc_time.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <utility>

namespace grainmill {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 3> kDigests = {"", "sha256", "blake2b512"};

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, "", std::move(message));
}

// As a plan's line, whatever bytes there are in it. Enough of it to be recognised.
std::string shown(const Json& value) {
  constexpr std::size_t kMost = 60;
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMost) text = text.substr(0, kMost) + "...";
  return text;
}

std::string to_hex(std::string_view text) {
  std::string hex;
  for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex;
}

std::optional<std::string> from_hex(std::string_view hex) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string text;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = digit(hex[i]);
    const int low = digit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    text += static_cast<char>(high * 16 + low);
  }
  return text;
}

// Names of files are bytes, and JSON's strings are UTF-8: what is none becomes an object of its
// bytes, and beside them what people can read of it.
Json name_json(const std::string& name) {
  const std::string dumped = Json(name).dump(-1, ' ', false, Json::error_handler_t::replace);
  Json readable = Json::parse(dumped, nullptr, false);
  if (readable == Json(name)) return readable;
  return {{"hex", to_hex(name)}, {"reads_as", readable}};
}

Json names_json(const std::vector<std::string>& names) {
  Json array = Json::array();
  for (const std::string& name : names) array.push_back(name_json(name));
  return array;
}

// The fields of one object. What is wrong is remembered, the first of it, and ends in done().
class Fields {
 public:
  Fields(const Json& object, std::string what) : object_(object), what_(std::move(what)) {
    if (!object.is_object())
      complain(fmt::format("{} is {}: expected an object", what_, shown(object)));
  }

  // Those that are not among these are not for this version.
  void allow(std::initializer_list<std::string_view> keys) {
    if (!object_.is_object()) return;
    for (const auto& [key, value] : object_.items())
      if (std::ranges::find(keys, key) == keys.end())
        complain(
            fmt::format("{} has a field {} that this version does not know: use a newer "
                        "grainmill, or take it out",
                        what_, shown(key)));
  }

  [[nodiscard]] bool has(std::string_view key) const {
    return object_.is_object() && object_.contains(key);
  }
  // Null, with a complaint, where it is missing.
  const Json& need(std::string_view key) {
    static const Json kNull;
    if (has(key)) return object_.at(std::string(key));
    complain(fmt::format("{} has no '{}'", what_, key));
    return kNull;
  }

  std::string text(std::string_view key) { return text_of(key, need(key)); }
  std::string text_or_empty(std::string_view key) { return has(key) ? text(key) : ""; }
  std::vector<std::string> texts(std::string_view key) {
    std::vector<std::string> found;
    if (!has(key)) return found;
    const Json& value = need(key);
    if (!value.is_array())
      complain_of(key, value, "an array of names");
    else
      for (const Json& each : value) found.push_back(text_of(key, each));
    return found;
  }
  std::uint64_t number(std::string_view key) {
    if (!has(key)) return 0;
    const Json& value = need(key);
    if (value.is_number_unsigned()) return value.get<std::uint64_t>();
    complain_of(key, value, "a whole number of bytes");
    return 0;
  }
  bool flag(std::string_view key) {
    if (!has(key)) return false;
    const Json& value = need(key);
    if (value.is_boolean()) return value.get<bool>();
    complain_of(key, value, "true or false");
    return false;
  }

  void complain(std::string message) {
    if (!error_) error_ = Error{ErrorKind::invalid_argument, "", std::nullopt, std::move(message)};
  }
  void complain_of(std::string_view key, const Json& value, std::string_view expected) {
    complain(fmt::format("'{}' is {}: expected {}", key, shown(value), expected));
  }

  [[nodiscard]] Status done() {
    if (error_) return std::unexpected(*std::move(error_));
    return {};
  }

 private:
  std::string text_of(std::string_view key, const Json& value) {
    std::optional<std::string> text;
    if (value.is_string()) {
      text = value.get<std::string>();
    } else if (value.is_object() && value.contains("hex") && value.at("hex").is_string()) {
      text = from_hex(value.at("hex").get_ref<const std::string&>());
    }
    if (!text)
      complain_of(key, value, "a text, or {\"hex\": its bytes}");
    else if (text->contains('\0'))
      complain_of(key, value, "a text without zero bytes");
    return std::move(text).value_or("");
  }

  const Json& object_;
  std::string what_;
  std::optional<Error> error_;
};

// What a parser would let pass: of two fields of one name it takes one and says nothing, and what
// is nested without end is more than those can take who print it.
class StrictReading {
 public:
  bool operator()(int depth, Json::parse_event_t event, const Json& parsed) {
    using Event = Json::parse_event_t;
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key && !open_.back().insert(parsed.get<std::string>()).second && !twin_)
      twin_ = shown(parsed);
    if (depth > kMostDepth) is_too_deep_ = true;
    return depth <= kMostDepth;
  }

  [[nodiscard]] Status result() const {
    if (is_too_deep_) return wrong("is nested too deeply for a plan");
    if (twin_) return wrong(fmt::format("has the field {} twice", *twin_));
    return {};
  }

 private:
  static constexpr int kMostDepth = 8;
  std::vector<std::set<std::string>> open_;  // the names so far in each open object
  std::optional<std::string> twin_;
  bool is_too_deep_ = false;
};

Result<Json> parse_line(std::string_view line) {
  StrictReading reading;
  Json value = Json::parse(line, std::ref(reading), false);
  GM_CHECK(reading.result());
  if (!value.is_discarded()) return value;
  return wrong("is not a JSON object: expected one, whole, on a line of its own");
}

Json output_json(const OutputChoice& output) {
  return {{"format", output.format},
          {"options", names_json(output.settings)},
          {"compress", output.compress},
          {"level", name_json(output.level)},
          {"digest", output.digest}};
}

Result<OutputChoice> parse_output(const Json& object) {
  Fields fields(object, "'output'");
  fields.allow({"format", "options", "compress", "level", "digest"});
  OutputChoice output;
  output.format = fields.text("format");
  output.settings = fields.texts("options");
  output.compress = fields.flag("compress");
  output.level = fields.text_or_empty("level");
  output.digest = fields.text_or_empty("digest");
  const Format* const format = format_by_name(output.format);
  if (format == nullptr || format->make_sink == nullptr)
    fields.complain_of("format", output.format, "a format that can be written");
  if (std::ranges::find(kDigests, output.digest) == kDigests.end())
    fields.complain_of("digest", output.digest, "sha256, blake2b512 or nothing");
  GM_CHECK(fields.done());
  return output;
}

Result<OpenPolicy> parse_policy(const Json& object) {
  Fields fields(object, "'allow'");
  fields.allow({"folders", "any_path"});
  OpenPolicy policy;
  policy.allowed_folders = fields.texts("folders");
  policy.allow_any_path = fields.flag("any_path");
  for (const std::string& folder : policy.allowed_folders)
    if (!folder.starts_with('/')) fields.complain_of("folders", folder, "absolute paths");
  GM_CHECK(fields.done());
  return policy;
}

Status check_version(const Json& object) {
  if (!object.is_object() || !object.contains("grainmill_plan"))
    return wrong(
        "has no 'grainmill_plan': expected the header of a plan that `grainmill batch plan` has "
        "written, before all disks");
  const Json& version = object.at("grainmill_plan");
  if (version == kPlanVersion) return {};
  return fail(ErrorKind::unsupported, "",
              fmt::format("is the header of a plan of version {}; version {} is known: use a newer "
                          "grainmill",
                          shown(version), kPlanVersion));
}

void check_image(const PlannedImage& image, const std::string& state, Fields& fields) {
  if (!image.source.starts_with('/'))
    fields.complain_of("source", name_json(image.source), "an absolute path");
  if (!image.source_format.empty() && format_by_name(image.source_format) == nullptr)
    fields.complain_of("source_format", image.source_format, "a format that can be read");
  if (state != "queued" && state != "skipped")
    fields.complain_of("state", state, "queued or skipped");
  const bool may_be_empty = image.state == PlannedState::skipped;
  if (!image.target.starts_with('/') && !(may_be_empty && image.target.empty()))
    fields.complain_of("target", name_json(image.target), "an absolute path");
  if (image.target.ends_with('/'))
    fields.complain_of("target", name_json(image.target), "the name of a file");
}

}  // namespace

std::string format_plan_header(const BatchPlan& plan) {
  const Json object = {{"grainmill_plan", kPlanVersion},
                       {"created", utc_text(plan.created)},
                       {"output", output_json(plan.output)},
                       {"allow",
                        {{"folders", names_json(plan.policy.allowed_folders)},
                         {"any_path", plan.policy.allow_any_path}}},
                       {"replace", plan.allow_replace}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Status parse_plan_header(std::string_view line, BatchPlan& plan) {
  GM_TRY(const Json object, parse_line(line));
  GM_CHECK(check_version(object));
  Fields fields(object, "the header");
  fields.allow({"grainmill_plan", "created", "output", "allow", "replace"});
  const std::string created = fields.text("created");
  const std::optional<std::int64_t> time = parse_utc(created);
  if (!time) fields.complain_of("created", created, "a time such as 2026-11-28T01:02:03Z");
  plan.allow_replace = fields.flag("replace");
  const Json output = fields.need("output");
  GM_CHECK(fields.done());
  plan.created = *time;
  GM_TRY(plan.output, parse_output(output));
  if (fields.has("allow")) {
    GM_TRY(plan.policy, parse_policy(fields.need("allow")));
  }
  return {};
}

std::string format_planned_image(const PlannedImage& image) {
  Json object = {{"source", name_json(image.source)}};
  if (!image.source_format.empty()) object["source_format"] = image.source_format;
  if (image.ignore_content_ids) object["ignore_cid"] = true;
  if (!image.target.empty()) object["target"] = name_json(image.target);
  object["state"] = planned_state_name(image.state);
  if (!image.reason.empty()) object["reason"] = name_json(image.reason);
  object["disk_bytes"] = image.disk_bytes;
  object["source_bytes"] = image.source_bytes;
  object["target_bytes"] = image.target_bytes;
  if (!image.chain.empty()) object["chain"] = names_json(image.chain);
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<PlannedImage> parse_planned_image(std::string_view line) {
  GM_TRY(const Json object, parse_line(line));
  Fields fields(object, "the disk");
  fields.allow({"source", "source_format", "ignore_cid", "target", "state", "reason", "disk_bytes",
                "source_bytes", "target_bytes", "chain"});
  PlannedImage image;
  image.source = fields.text("source");
  image.source_format = fields.text_or_empty("source_format");
  image.ignore_content_ids = fields.flag("ignore_cid");
  image.target = fields.text_or_empty("target");
  const std::string state = fields.text("state");
  image.state = state == "skipped" ? PlannedState::skipped : PlannedState::queued;
  image.reason = fields.text_or_empty("reason");
  image.disk_bytes = fields.number("disk_bytes");
  image.source_bytes = fields.number("source_bytes");
  image.target_bytes = fields.number("target_bytes");
  image.chain = fields.texts("chain");
  check_image(image, state, fields);
  GM_CHECK(fields.done());
  return image;
}

}  // namespace grainmill
