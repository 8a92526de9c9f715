# SPDX-License-Identifier: Apache-2.0
"""The parts of the macro-benchmark; bench/macro.py is the program."""
