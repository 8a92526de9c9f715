// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace grainmill {

enum class MetricKind : std::uint8_t { gauge, counter };

// Text in Prometheus' exposition format 0.0.4. All samples of a family follow it at once.
class MetricsText {
 public:
  explicit MetricsText(std::string_view prefix) : prefix_(prefix) {}

  // REQUIRES: no line break or backslash in `help`.
  void family(std::string_view name, std::string_view help, MetricKind kind = MetricKind::gauge) {
    name_ = fmt::format("{}{}", prefix_, name);
    fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", name_, help,
                   kind == MetricKind::gauge ? "gauge" : "counter");
  }
  // `labels`: NAME="VALUE", with a comma between them; values by metrics_label().
  template <typename T>
  void sample(const T& value, const std::string& labels = "") {
    fmt::format_to(std::back_inserter(text_), "{}{} {}\n", name_,
                   labels.empty() ? "" : fmt::format("{{{}}}", labels), value);
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  std::string prefix_;
  std::string name_;
  std::string text_;
};

// What the text begins with: an older one of the same prefix is known by it.
[[nodiscard]] std::string metrics_begin(std::string_view prefix);

// A label's value, as it is written between the quotes.
[[nodiscard]] std::string metrics_label(const std::string& value);

}  // namespace grainmill
