"""Stand-in for rules_java: the rules built into Bazel 4. Bazel loads it; Grainmill has no Java."""

java_binary = native.java_binary
java_import = native.java_import
java_library = native.java_library
java_plugin = native.java_plugin
java_runtime = native.java_runtime
java_test = native.java_test
java_toolchain = native.java_toolchain
