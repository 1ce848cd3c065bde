#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# On the bundled example, Gauss-Legendre quadrature with 10 nodes leaves at most a tenth of the left sum's completeness
# gap, at every checkpoint of every task.
. "${top_srcdir:-.}/tests/cli/common.sh"

example=$source/examples/tiny-pythia
expect 0 "" "$program" train --config="$example/plan.yaml" --tokens=600k --out=run --quiet
for rule in left gauss; do
  expect 0 "" "$program" attribute run --out=$rule --quadrature=$rule --steps=10 --max-pairs=100 --bootstrap=0 --quiet
done
# gaps RULE: "task checkpoint gap-of-examples" for each line of the summaries.
gaps() {
  for file in "$1"/effects/*.json; do
    sed -n 's/.*"label": "\([^"]*\)".*"gap_examples": \([^,]*\),.*/\1 \2/p' "$file" | sed "s|^|$(basename "$file") |"
  done
}
gaps left >left.txt
gaps gauss >gauss.txt
[ "$(wc -l <left.txt)" -eq 21 ] || fail "expected 7 tasks at 3 checkpoints: $(cat left.txt)"
# fp32 sums keep 1e-6 of the effects, far below a tenth of any of these gaps.
paste -d ' ' left.txt gauss.txt | awk '$1 != $4 || $2 != $5 || !($6 <= 0.1 * $3) { print; bad = 1 } END { exit bad }' ||
  fail "the gap of gauss is more than a tenth of that of left: $(paste left.txt gauss.txt)"
paste -d ' ' left.txt gauss.txt | awk '{ printf "%s %s: gauss leaves %.4f of the gap of left\n", $1, $2, $6 / $3 }'
finish
