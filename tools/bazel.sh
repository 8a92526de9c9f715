# Sourced by ./dev, ./test, ./demo and .ci/run, from the root of the tree: Bazel as these scripts call it.

# Plain output for logs; Bazel's own screen on a terminal.
bazel_output=()
[[ -t 2 ]] || bazel_output=(--curses=no --color=no --noshow_progress)

# Bazel keeps its files under the home folder. Without one that can be written, use /var/tmp.
bazel_startup=()
home=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
if [[ ! -w ${home:-/nonexistent} ]]; then
  root=/var/tmp/grainmill-bazel-$(id -u)
  mkdir -p -m 700 "$root" && [[ -O $root && ! -L $root ]] || { echo "cannot use $root" >&2; exit 1; }
  bazel_startup=(--output_user_root="$root")
fi

bazel() {
  command bazel ${bazel_startup[@]+"${bazel_startup[@]}"} "$1" \
    ${bazel_output[@]+"${bazel_output[@]}"} "${@:2}"
}
