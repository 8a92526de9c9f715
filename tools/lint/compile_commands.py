#!/usr/bin/python3
"""Writes compile_commands.json, for clang-tidy and clangd, from what Bazel would run.

usage: bazel aquery --output=jsonproto 'mnemonic("CppCompile", //...)' | compile_commands.py EXECUTION_ROOT

Paths are those of the source tree; generated files are taken from Bazel's execution root.
"""
import json
import os
import sys

GCC_ONLY = {"-fno-canonical-system-headers", "-std=c++0x", "-Wno-free-nonheap-object"}


def command(arguments, execution_root):
    kept = [
        os.path.join(execution_root, arg) if arg.startswith(("bazel-out/", "external/")) else arg
        for arg in arguments
        if arg not in GCC_ONLY
    ]
    source = arguments[arguments.index("-c") + 1]
    return {"directory": os.getcwd(), "file": source, "arguments": kept + ["-Wno-unknown-warning-option"]}


def main():
    actions = json.load(sys.stdin).get("actions", [])
    commands = [command(action["arguments"], sys.argv[1]) for action in actions]
    ours = {entry["file"]: entry for entry in commands if os.path.exists(entry["file"])}
    with open("compile_commands.json", "w", encoding="utf-8") as stream:
        json.dump(list(ours.values()), stream, indent=1)


if __name__ == "__main__":
    main()
