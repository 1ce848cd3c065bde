#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/rounding.sh [BUILD-FOLDER] [DEVICE]: what rounding the factors of products to bfloat16 changes. Trains the
# bundled example once in float32 on the processor, then evaluates and attributes it on DEVICE (opencl) with
# --compute=fp32, bf16 and bf16-all, and prints explained variance, and how far indirect effects are from those of fp32:
# the largest difference as a share of the task's largest effect, and of RelIE among the ten features of largest effect.
build=$(cd "${1:-.}" && pwd) || exit 1
device=${2:-opencl}
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
"$build/crosscoder" train --config="$top/examples/tiny-pythia/plan.yaml" --quiet --out="$work/run" || exit 1
report() { # FOLDER NAME
  echo "$2: EV $(grep -o '"ev_pooled": *{"mean": *[0-9.e-]*' "$1/eval.json" | grep -o '[0-9.e-]*$')"
  for file in "$1"/effects/*.csv; do
    awk -F, -v name="$(basename "$file" .csv)" '
      function size(x) { return x < 0 ? -x : x }
      FNR == 1 {
        delete ie; delete rel; n = 0
        for (i = 1; i <= NF; i++) if ($i ~ /^ie_/) ie[++n] = i
        for (i = 1; i <= NF; i++) if ($i ~ /^rel_ie_/ && $i !~ /_(low|high)_/) rel[i] = 1
        files++
        next
      }
      files == 1 {
        for (i = 1; i <= NF; i++) was[$1, i] = $i
        sum = 0
        for (i = 1; i <= n; i++) { sum += size($(ie[i])); if (size($(ie[i])) > largest) largest = size($(ie[i])) }
        for (place = 10; place > 0 && sum > best[place]; place--) { best[place + 1] = best[place]; who[place + 1] = who[place] }
        if (place < 10) { best[place + 1] = sum; who[place + 1] = $1 }
        next
      }
      {
        for (i = 1; i <= n; i++) { e = size($(ie[i]) - was[$1, ie[i]]); if (e > worst) worst = e }
        for (i = 1; i <= 10; i++) if (who[i] == $1)
          for (c in rel) { e = size($c - was[$1, c]); if (e > worst_rel) worst_rel = e }
      }
      END { printf "  %-18s IE %.1e of the largest, RelIE of the top ten %.1e\n", name, worst / largest, worst_rel }' \
      "$work/fp32/effects/$(basename "$file")" "$file"
  done
}
for compute in fp32 bf16 bf16-all; do
  cp -r "$work/run" "$work/$compute"
  for what in eval attribute; do
    "$build/crosscoder" $what "$work/$compute" --device="$device" --compute=$compute --quiet >"$work/log" 2>&1 ||
      { cat "$work/log"; exit 1; }
  done
  report "$work/$compute" $compute
done
