// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/base/error.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace grainmill {

enum class Severity : std::uint8_t {
  damage,      // the image contradicts itself: what it reads as cannot be trusted
  unchecked,   // something could not be looked at; what is there is not known
  leak,        // space that nothing refers to
  suspicious,  // right as far as can be told, but nobody means to leave it so
  cosmetic,    // no reader minds
};

[[nodiscard]] std::string_view severity_name(Severity severity);

// The severity of an error that ends the look at something: what the image says is wrong, or it
// could not be asked.
[[nodiscard]] Severity severity_of(const Error& error);

// One thing that was found in an image.
struct Finding {
  Severity severity = Severity::damage;
  std::string_view code{};  // a short name of the kind, with static storage: "shared-grain"
  Error what;               // the file, the place in it, what was found and what was expected
  // The part of the guest disk that it is about; of no length where it is about none, or all.
  std::uint64_t guest_offset = 0;
  std::uint64_t guest_length = 0;
  std::string repair{};            // from what it can be repaired; empty: nothing here knows
  std::uint64_t leaked_bytes = 0;  // leak: of its files
};

// Takes what a check finds. Threads: one call at a time.
class Findings {
 public:
  virtual ~Findings() = default;

  // An error ends the check, as its result.
  [[nodiscard]] virtual Status add(Finding finding) = 0;

  // Whether it is worth going on behind damage, and looking for what is none.
  [[nodiscard]] virtual bool wants_all() const = 0;

 protected:
  Findings() = default;
  Findings(const Findings&) = default;
  Findings& operator=(const Findings&) = default;
};

// For who needs a sound image: the first damage is an error, all else does not count.
class FirstDamage final : public Findings {
 public:
  [[nodiscard]] Status add(Finding finding) override;
  [[nodiscard]] bool wants_all() const override { return false; }
};

}  // namespace grainmill
