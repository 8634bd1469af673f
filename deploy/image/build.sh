#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# build.sh TO: compiles the program on a bare Debian 12, as root, and puts what the image is made of into TO.
set -euo pipefail
cd "$(dirname -- "$0")/../.."
tools/setup build
tools/build release atelier
deploy/image/stage.sh build/release/atelier "$1"
