// SPDX-License-Identifier: Apache-2.0
//
// Asking what became of a call: EXPECT_TRUE(IsOk(status)), EXPECT_TRUE(HasError(opened,
// ErrorKind::corrupt, "part of the message")).
#pragma once

#include "engine/base/error.h"

#include <gtest/gtest.h>

#include <string_view>

namespace grainmill::testing {

template <typename T>
::testing::AssertionResult IsOk(const Result<T>& result) {
  if (result) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << error_kind_name(result.error().kind) << ": " << result.error().to_string();
}

template <typename T>
::testing::AssertionResult HasError(const Result<T>& result, ErrorKind kind,
                                    std::string_view part = {}) {
  if (result) return ::testing::AssertionFailure() << "no error";
  const bool matches =
      result.error().kind == kind && result.error().to_string().find(part) != std::string::npos;
  return (matches ? ::testing::AssertionSuccess() : ::testing::AssertionFailure())
         << error_kind_name(result.error().kind) << ": " << result.error().to_string();
}

}  // namespace grainmill::testing
