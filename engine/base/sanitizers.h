// SPDX-License-Identifier: Apache-2.0
//
// The sanitizers that this code is compiled for: GCC and Clang each name them in their own way.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define GM_HAS_ADDRESS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GM_HAS_ADDRESS_SANITIZER
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define GM_HAS_THREAD_SANITIZER
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GM_HAS_THREAD_SANITIZER
#endif
#endif

namespace grainmill {

#ifdef GM_HAS_ADDRESS_SANITIZER
inline constexpr bool kHasAddressSanitizer = true;
#else
inline constexpr bool kHasAddressSanitizer = false;
#endif

#ifdef GM_HAS_THREAD_SANITIZER
inline constexpr bool kHasThreadSanitizer = true;
#else
inline constexpr bool kHasThreadSanitizer = false;
#endif

// A shadow of all memory: terabytes of address space, and more memory than a user's program takes.
inline constexpr bool kHasShadowMemory = kHasAddressSanitizer || kHasThreadSanitizer;

}  // namespace grainmill
