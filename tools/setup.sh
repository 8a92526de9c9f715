#!/bin/bash
# Installs what Grainmill needs to build and to test on Debian 12; with --dev also what `./dev asan`, `lint`,
# `tsan` and the profiler need. All of it is in Debian's own archive (main and security). Says nothing
# when nothing is missing.
set -euo pipefail

packages=(
  bazel-bootstrap default-jdk-headless g++
  libtbb-dev libxxhash-dev libdeflate-dev libisal-dev libzstd-dev libcli11-dev nlohmann-json3-dev
  libfmt-dev libcpp-httplib-dev libssl-dev libsqlite3-dev libbenchmark-dev libgtest-dev libgmock-dev nbdkit-plugin-dev
  qemu-utils libvmdk-utils e2fsprogs bzip2 python3 git ca-certificates
  nbdkit libnbd-bin python3-libnbd fio fuse3 gddrescue
)
case "${1-}" in
  '') ;;
  --dev)
    packages+=(
      clang-format-19 clang-tidy-19 clang-19 libclang-rt-19-dev lld-19 universal-ctags linux-perf
      libclang-19-dev llvm-19-dev  # for the plugin that keeps clang-tidy to our own code
      cmake dpkg-dev  # oneTBB for ThreadSanitizer is built from its Debian source
    )
    ;;
  *) echo "usage: tools/setup.sh [--dev]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
  echo "setup: this is not Debian. Grainmill is built and tested on Debian 12 with: ${packages[*]}" >&2
  exit 1
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) || true
  [[ $state == installed ]] || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $EUID -eq 0 ]]; then
  as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n)
elif command -v sudo >/dev/null && [[ -t 0 ]]; then
  as_root=(sudo)
else
  {
    echo "setup: these packages are missing, and installing them needs root:"
    echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  } >&2
  exit 1
fi

echo "setup: installing ${missing[*]}"
apt_get() {
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  cat "$log" >&2
  echo "setup: apt-get failed (see above)" >&2
  exit 1
fi
