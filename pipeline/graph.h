// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/codec/crypto_digest.h"
#include "engine/disk/disk.h"
#include "engine/format/sink.h"
#include "pipeline/grain_log.h"
#include "pipeline/plan.h"

#include <atomic>
#include <cstdint>
#include <functional>

namespace grainmill {

struct Progress {
  std::uint64_t guest_bytes = 0;  // of the disk, done
  std::uint64_t disk_bytes = 0;
  std::uint64_t data_bytes = 0;  // of guest_bytes, those that were read
};

struct GraphOptions {
  unsigned threads = 0;  // 0: as many as there are processors. Does not change the output
  std::uint64_t memory_bytes = 64 * kMiB;  // for payload, at most. Does not change the output
  CryptoAlgorithm crypto = CryptoAlgorithm::none;
  GuestRange range{};  // read only this, which must suit the units: whole GiB always do
  // Log what cannot be read and go on, instead of stopping. With a sink, all of a unit (256 KiB, as
  // a rule) with an error in it is logged as unreadable, and nothing of it is given to the sink but
  // that it is zeros: who wants the rest of it reads it again.
  bool collect_errors = false;
  const std::atomic<bool>* cancelled = nullptr;      // set it from anywhere to stop soon
  std::function<void(const Progress&)> on_progress;  // called often, from one thread at a time
};

// Sends a disk through its stages on all cores: plan, fetch, decode, digest, write (to `sink`, if
// there is one), then, in guest order, `log`. The error it returns is the one with the lowest guest
// offset, so that runs repeat. Fails with invalid_argument when memory_bytes does not hold a single
// unit of this disk.
[[nodiscard]] Status run_graph(const Disk& disk, Sink* sink, GrainLog& log,
                               const GraphOptions& options);

}  // namespace grainmill
