# SPDX-License-Identifier: Apache-2.0
"""The parts of the benchmarks of map and allocator; bench/micro.py is the program."""
