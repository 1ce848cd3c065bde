#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# train and run on a tiny model: resume, force, locks, skipped stages, equal bits at one and two threads.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 300
write_plan plan.yaml <<END
tokens: 1920
save-every: 5
END
expect 0 "" "$program" train --config=plan.yaml --out=one --threads=1 --quiet
contains "one/crosscoder.safetensors"
[ ! -s stderr ] || fail "--quiet is not quiet: $(cat stderr)"
expect 0 "" "$program" train --config=plan.yaml --out=two --threads=2 --log=json
grep -q '^{' stderr || fail "--log=json: $(head -n 1 stderr)"
cmp -s one/crosscoder.safetensors two/crosscoder.safetensors || fail "one and two threads differ"
cmp -s one/metrics.csv two/metrics.csv || fail "metrics of one and two threads differ"
for file in run.yaml manifest.json log.jsonl metrics.csv timing.csv; do
  [ -s one/$file ] || fail "one/$file is missing"
done
expect 0 "" "$program" inspect one --json
contains '"features": 32'

expect 2 "exists already" "$program" train --config=plan.yaml --out=one
expect 3 "no such run" "$program" train --config=plan.yaml --out=none --resume
expect 9 "learning-rate was 0.001, is 0.002" "$program" train --config=plan.yaml --out=one --resume --learning-rate=2e-3
expect 9 "length was 32, is 16" "$program" train --config=plan.yaml --out=one --resume --length=16
expect 0 "done and unchanged" "$program" train --config=plan.yaml --out=one --resume
expect 2 "one of them" "$program" train --config=plan.yaml --out=one --resume --force
expect 0 "" "$program" train --config=plan.yaml --out=one --force
cmp -s one/crosscoder.safetensors two/crosscoder.safetensors || fail "--force gives other bits"
expect 2 "lies in the input" "$program" train --config=plan.yaml --out="$model/run"
: >file
expect 4 "expected a folder" "$program" train --config=plan.yaml --out=file
expect 4 "" "$program" train --config=plan.yaml --out=file/run

# Without its result a training goes on from its newest state, and ends with the same bits.
rm -f two/crosscoder.safetensors two/stages/train.json
rm -rf two/checkpoints/step-30
expect 0 "continues" "$program" train --config=plan.yaml --out=two --resume
cmp -s one/crosscoder.safetensors two/crosscoder.safetensors || fail "a continued training gives other bits"
cmp -s one/metrics.csv two/metrics.csv || fail "metrics of a continued training differ"

# A store gives the same bits as live models.
expect 0 "" "$program" harvest --config=plan.yaml --out=store
expect 0 "" "$program" inspect store
expect 0 "" "$program" train --config=plan.yaml --store=store --out=stored
cmp -s one/metrics.csv stored/metrics.csv || fail "metrics of a stored training differ"

# An interrupted training says so with its exit status and is continued.
"$program" train --config=plan.yaml --out=stopped --tokens=64000000 >stdout 2>stderr &
pid=$!
i=0
while [ ! -e stopped/metrics.csv ] && [ $i -lt 100 ]; do
  sleep 0.1
  i=$((i + 1))
done
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 143 ] || fail "SIGTERM: exit status $status, expected 143: $(cat stderr)"
expect 9 "tokens was 64000000" "$program" train --config=plan.yaml --out=stopped --resume --tokens=64000640
finish
