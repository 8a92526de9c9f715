#!/bin/bash
# Makes a oneTBB that ThreadSanitizer understands and prints its folder. Debian's own is not instrumented: with
# it every run reports races that are none, and suppressing them hides real ones.
#
# usage: tools/tsan_tbb.sh DIR     Kept in DIR; takes about a minute the first time. Needs no root.
set -euo pipefail

mkdir -p "$1"
dir=$(cd "$1" && pwd)
version=$(dpkg-query -W -f='${source:Version}' libtbb-dev)
lib=$dir/$version

if [[ ! -e $lib/libtbb.so.12 ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{state/lists/partial,cache/archives/partial,src}
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  for part in "debian $suite" "debian $suite-updates" "debian-security $suite-security"; do
    echo "deb-src http://deb.debian.org/$part main"
  done >"$work/sources.list"
  apt=(apt-get -qq -o Dir::State="$work/state" -o Dir::State::status=/var/lib/dpkg/status
    -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=-
    -o APT::Sandbox::User=root)
  make_it() {
    "${apt[@]}" update &&
      (cd "$work/src" && "${apt[@]}" source "onetbb=$version") &&
      cmake -S "$work"/src/onetbb-*/ -B "$work/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DTBB_SANITIZE=thread -DTBB_TEST=OFF -DTBB_STRICT=OFF &&
      cmake --build "$work/build" --target tbb -j "$(nproc)"
  }
  echo "building oneTBB $version for ThreadSanitizer" >&2
  make_it >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  mkdir -p "$lib.new"
  cp -d "$work"/build/*/libtbb.so* "$lib.new/"
  mv -T "$lib.new" "$lib"
fi
echo "$lib"
