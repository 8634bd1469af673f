#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# stage.sh PROGRAM TO: puts what the image is made of into TO, for install.sh there: the program without what
# only debuggers read, its models, and the names of the packages that hold the libraries it is linked with.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "$0")")
program=$(readlink -f -- "$1")
to=$2

fail() {
  echo "deploy/image/stage.sh: $1" >&2
  exit 1
}

# The libraries that the program itself names; their packages bring what those need.
packages() {
  local found name path real package
  found=$(ldd "$program")
  objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | while read -r name; do
    path=$(awk -v name="$name" '$1 == name && $2 == "=>" { print $3 } $1 ~ "/" name "$" { print $1 }' <<<"$found")
    [ -e "$path" ] || fail "the program needs $name, which is not installed here"
    real=$(readlink -f -- "$path")
    # A package may list the file below /lib or below /usr/lib.
    package=$(dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null) ||
      fail "no package holds $real"
    echo "${package%%:*}"
  done
}

mkdir -p "$to/usr/local/bin" "$to/usr/local/share/doc/atelier"
list=$(packages)
sort -u <<<"$list" >"$to/packages"
strip -o "$to/usr/local/bin/atelier" "$program"
install -m 0755 "$here/pod.sh" "$to/usr/local/bin/atelier-pod"
cp -r "$(dirname -- "$program")/share/atelier" "$to/usr/local/share/"
install -m 0644 "$here/../../LICENSE" "$to/usr/local/share/doc/atelier/"
install -m 0755 "$here/install.sh" "$to/"
