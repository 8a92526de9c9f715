#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs each benchmark that is given for a moment; one whose result is wrong ends with a failure.
set -euo pipefail
export GRAINMILL_BENCH_SCALE=tiny
export GRAINMILL_BENCH_MEMORY=${TEST_TMPDIR:-/tmp} GRAINMILL_BENCH_FOLDER=${TEST_TMPDIR:-/tmp}
for program in "$@"; do
  "$program" --benchmark_min_time=0.001
done
