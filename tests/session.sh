#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A short session on the bundled example, under a sanitized build or under valgrind: train 20 steps, resume, and every
# analysis down to the report. Usage: tests/session.sh PROGRAM [TRAIN-OPTION...]; $RUNNER is put before each command.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
program=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/crosscoder-session-XXXXXX")
trap 'rm -rf "$work"' EXIT
run() {
  status=0
  # shellcheck disable=SC2086
  ${RUNNER:-} "$program" "$@" >"$work/out" 2>"$work/err" || status=$?
  [ "$status" = 0 ] || { echo "session: $*: exit status $status"; cat "$work/err"; exit 1; }
  echo "session: $1 is clean"
}
example=$top/examples/tiny-pythia
head -n 400 "$example/gold.jsonl" >"$work/gold.jsonl"
set -- train --config="$example/plan.yaml" --out="$work/run" --length=64 --latents=64 \
  --batch-size=64 --tokens=1280 --window=256 --max-tokens=640 --validation-batches=1 --save-every=5 --log-every=1 "$@"
run "$@"
# Without its result and its newest state a training goes on from the state before.
rm -rf "$work/run/crosscoder.safetensors" "$work/run/stages/train.json" "$work/run/checkpoints/step-20"
run "$@" --resume
grep -q continues "$work/err" || { echo "session: --resume did not continue"; cat "$work/err"; exit 1; }
few="--max-pairs=4"
run eval "$work/run" $few --gold="$work/gold.jsonl" --eval-batches=1 --eval-sequences=1
run attribute "$work/run" $few --steps=2 --bootstrap=20
run ablate "$work/run" $few --ablate-features=2
run features "$work/run" $few --top=2 --contexts=2
run report "$work/run"
run show "$work/run"
[ -s "$work/run/report/index.html" ] || { echo "session: no report"; exit 1; }
