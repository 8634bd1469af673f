#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `make demo` runs once the program is built. Reads VIDEO, STYLE and OUT from the environment,
# so that no file name passes through a shell's parser. Works from the repository's root.
set -euo pipefail
cd "$(dirname -- "$0")/../.."
program=build/release/atelier
style=${STYLE:-starry-night}

if [ -n "${VIDEO:-}" ]; then
  video=$VIDEO
else
  tools/setup clip
  mkdir -p build/demo
  video=build/demo/sintel.ts
  cp tools/demo/node_modules/mux.js/test/segments/sintel-captions.ts "$video"
  echo "The clip is from Sintel, (c) Blender Foundation, durian.blender.org, CC-BY 3.0."
fi

name=${video##*/}
name=${name%.*}
style_name=${style##*/}
style_name=${style_name%.onnx}
out=${OUT:-build/demo/$name-$style_name.mp4}
# Options end at "--", but a path is clearer to read in messages than a lone dash.
case $video in -*) video=./$video ;; esac
case $out in -*) out=./$out ;; esac
sheet=${out%.*}-sheet.png
mkdir -p -- "$(dirname -- "$out")"

# A result that this target wrote itself is replaced; a file that the user names is kept.
force=(--force)
[ -n "${OUT:-}" ] && force=()
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
"$program" run "$video" "$out" --model "$style" "${force[@]}" | tee "$lines"
"$program" preview "$video" "$sheet" --model "$style" --force --quiet

echo
echo "Painted video:        $out"
echo "Before and after:     $sheet"
echo "How fast:             $(tail -n 1 "$lines")"
