// SPDX-License-Identifier: Apache-2.0
#include "pipeline/batch/job_json.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <exception>

namespace grainmill {
namespace {

using nlohmann::json;

std::string to_latin1(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xc0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return text;
}

// Characters past Latin-1, which nobody wrote here, lose their high bits.
std::string from_latin1(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead >= 0xc0 && i + 1 < text.size())
      bytes += static_cast<char>((lead << 6) | (static_cast<unsigned char>(text[++i]) & 0x3f));
    else
      bytes += text[i];
  }
  return bytes;
}

json to_json(const std::vector<std::string>& texts) {
  json array = json::array();
  for (const std::string& text : texts) array.push_back(to_latin1(text));
  return array;
}

// All that follow throw what the library throws where something is missing or of another type.
std::string text_of(const json& object, const char* name) {
  return from_latin1(object.at(name).get_ref<const std::string&>());
}

std::vector<std::string> texts_of(const json& object, const char* name) {
  std::vector<std::string> texts;
  for (const json& text : object.at(name))
    texts.push_back(from_latin1(text.get_ref<const std::string&>()));
  return texts;
}

template <typename T>
void read(const json& object, const char* name, T& value) {
  object.at(name).get_to(value);
}

Job read_job(const json& object) {
  Job job;
  read(object, "id", job.id);
  read(object, "attempt", job.attempt);
  read(object, "owns_target", job.owns_target);
  read(object, "was_done", job.was_done);
  job.image.source = text_of(object, "source");
  job.image.source_format = text_of(object, "source_format");
  read(object, "ignore_cid", job.image.ignore_content_ids);
  job.image.target = text_of(object, "target");
  return job;
}

OutputChoice read_output(const json& object) {
  OutputChoice output;
  output.format = text_of(object, "format");
  output.settings = texts_of(object, "settings");
  read(object, "compress", output.compress);
  output.level = text_of(object, "level");
  output.digest = text_of(object, "digest");
  return output;
}

ConvertJob read_convert_job(const json& object) {
  ConvertJob job;
  job.job = read_job(object.at("job"));
  job.output = read_output(object.at("output"));
  job.policy.allowed_folders = texts_of(object, "allowed_folders");
  read(object, "allow_any_path", job.policy.allow_any_path);
  read(object, "allow_replace", job.allow_replace);
  read(object, "verify", job.verify);
  job.durability = object.at("synced").get<bool>() ? Durability::synced : Durability::unsynced;
  read(object, "threads", job.threads);
  read(object, "memory_bytes", job.memory_bytes);
  return job;
}

JobVerdict read_verdict(const json& object) {
  JobVerdict verdict;
  verdict.state = object.at("done").get<bool>() ? JobState::done : JobState::failed;
  verdict.error_kind = text_of(object, "error_kind");
  verdict.reason = text_of(object, "reason");
  read(object, "may_retry", verdict.may_retry);
  read(object, "disk_bytes", verdict.disk_bytes);
  read(object, "data_bytes", verdict.data_bytes);
  read(object, "output_bytes", verdict.output_bytes);
  read(object, "worked_bytes", verdict.worked_bytes);
  read(object, "resumed_bytes", verdict.resumed_bytes);
  read(object, "cpu_ms", verdict.cpu_ms);
  read(object, "peak_rss_bytes", verdict.peak_rss_bytes);
  verdict.root = text_of(object, "root");
  read(object, "verified", verdict.verified);
  verdict.warnings = texts_of(object, "warnings");
  verdict.was_done = object.value("was_done", verdict.state == JobState::done);
  return verdict;
}

std::variant<JobProgress, JobVerdict> read_worker_line(const json& object) {
  if (object.at("event") != "progress") return read_verdict(object);
  JobProgress progress;
  read(object, "guest_bytes", progress.guest_bytes);
  read(object, "data_bytes", progress.data_bytes);
  read(object, "verifying", progress.verifying);
  return progress;
}

// `read`: of the object that a text holds.
template <typename Read>
auto parse(std::string_view text, const char* what, const Read& read_object)
    -> Result<decltype(read_object(json()))> {
  try {
    return read_object(json::parse(text));
  } catch (const json::exception& error) {
    return fail(ErrorKind::invalid_argument, "", fmt::format("is no {}: {}", what, error.what()));
  }
}

}  // namespace

std::string job_line(const ConvertJob& job) {
  const json object = {{"job",
                        {{"id", job.job.id},
                         {"attempt", job.job.attempt},
                         {"owns_target", job.job.owns_target},
                         {"was_done", job.job.was_done},
                         {"source", to_latin1(job.job.image.source)},
                         {"source_format", to_latin1(job.job.image.source_format)},
                         {"ignore_cid", job.job.image.ignore_content_ids},
                         {"target", to_latin1(job.job.image.target)}}},
                       {"output",
                        {{"format", to_latin1(job.output.format)},
                         {"settings", to_json(job.output.settings)},
                         {"compress", job.output.compress},
                         {"level", to_latin1(job.output.level)},
                         {"digest", to_latin1(job.output.digest)}}},
                       {"allowed_folders", to_json(job.policy.allowed_folders)},
                       {"allow_any_path", job.policy.allow_any_path},
                       {"allow_replace", job.allow_replace},
                       {"verify", job.verify},
                       {"synced", job.durability == Durability::synced},
                       {"threads", job.threads},
                       {"memory_bytes", job.memory_bytes}};
  return object.dump() + '\n';
}

Result<ConvertJob> parse_job(std::string_view text) { return parse(text, "job", read_convert_job); }

std::string progress_line(const JobProgress& progress) {
  const json object = {{"event", "progress"},
                       {"guest_bytes", progress.guest_bytes},
                       {"data_bytes", progress.data_bytes},
                       {"verifying", progress.verifying}};
  return object.dump() + '\n';
}

std::string verdict_line(const JobVerdict& verdict) {
  const json object = {{"event", "verdict"},
                       {"done", verdict.state == JobState::done},
                       {"error_kind", to_latin1(verdict.error_kind)},
                       {"reason", to_latin1(verdict.reason)},
                       {"may_retry", verdict.may_retry},
                       {"disk_bytes", verdict.disk_bytes},
                       {"data_bytes", verdict.data_bytes},
                       {"output_bytes", verdict.output_bytes},
                       {"worked_bytes", verdict.worked_bytes},
                       {"resumed_bytes", verdict.resumed_bytes},
                       {"cpu_ms", verdict.cpu_ms},
                       {"peak_rss_bytes", verdict.peak_rss_bytes},
                       {"root", to_latin1(verdict.root)},
                       {"verified", verdict.verified},
                       {"warnings", to_json(verdict.warnings)},
                       {"was_done", verdict.was_done}};
  return object.dump() + '\n';
}

Result<std::variant<JobProgress, JobVerdict>> parse_worker_line(std::string_view line) {
  return parse(line, "line of a worker", read_worker_line);
}

}  // namespace grainmill
