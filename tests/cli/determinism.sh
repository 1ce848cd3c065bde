#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Forty steps of the bundled plan: one, two and three threads, and a run that was interrupted and resumed with another
# number of threads, give the same bits; so do models that run one after the other, and products in bf16.
. "${top_srcdir:-.}/tests/cli/common.sh"

steps=40
set -- train --config="$source/examples/tiny-pythia/plan.yaml" --tokens=$((steps * 1024)) --window=16384 \
  --validation-batches=1 --validate-every=20 --save-every=4 --log-every=1 --quiet
same() { # OUT [OTHER]: the same bits as with one thread, or in OTHER
  for file in crosscoder.safetensors metrics.csv; do
    cmp "${2:-one}/$file" "$1/$file" || fail "$1/$file differs"
  done
}

expect 0 "" "$program" "$@" --out=one --threads=1
[ "$(grep -c ',train,' one/metrics.csv)" -eq $steps ] || fail "expected $steps steps in metrics.csv"
expect 0 "" "$program" "$@" --out=two --threads=2
same two
expect 0 "" "$program" "$@" --out=three --threads=3
same three

expect 0 "" "$program" "$@" --out=waiting --threads=2 --sequential-models
same waiting

# Only some processors multiply bfloat16 numbers.
if "$program" "$@" --out=half-one --threads=1 --compute=bf16 >stdout 2>stderr </dev/null; then
  cmp -s one/metrics.csv half-one/metrics.csv && fail "--compute=bf16 gives the numbers of fp32"
  expect 0 "" "$program" "$@" --out=half-three --threads=3 --compute=bf16 --sequential-models
  same half-three half-one
else
  grep -F -q 'device cpu cannot compute in bf16' stderr || fail "--compute=bf16: $(head -n 3 stderr)"
  echo "skipped: --compute=bf16 ($(head -n 1 stderr))"
fi

# The signal may come too late where the machine is busy: then once more.
status=0
for try in 1 2 3 4 5; do
  rm -rf stopped
  "$program" "$@" --out=stopped --threads=2 >stdout 2>stderr &
  pid=$!
  while [ ! -e stopped/checkpoints/step-4 ] && kill -0 $pid 2>/dev/null; do sleep 0.05; done
  kill -TERM $pid 2>/dev/null
  wait $pid
  status=$?
  [ $status -eq 0 ] || break
done
[ $status -eq 143 ] || fail "SIGTERM (try $try): exit status $status, expected 143: $(cat stderr)"
[ ! -e stopped/crosscoder.safetensors ] || fail "an interrupted run has a result"
expect 0 "" "$program" "$@" --out=stopped --threads=3 --resume
same stopped
finish
