#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An attribution that is killed in the middle (SIGKILL: it cannot save anything) goes on from what it wrote before, with the
# bits of one that was left in peace.
. "${top_srcdir:-.}/tests/cli/common.sh"

awk 'BEGIN { for (i = 0; i < 100; i++) print "The cat near the dogs sings and the bears run. " i }' >text.txt
awk 'BEGIN { for (i = 0; i < 3000; i++)
  printf "{\"prefix\": \"The cat near the dogs %d sing\", \"good\": \"s\", \"bad\": \"e\"}\n", i }' >pairs.jsonl
cat >plan.yaml <<END
checkpoints: {a: "$model", b: "$model"}
layer: 1
corpus: text.txt
heldout: text.txt
task: ["pairs:pairs.jsonl"]
length: 32
latents: 32
batch-size: 64
tokens: 640
window: 1024
learning-rate: 1e-3
validation-batches: 1
bootstrap: 10
steps: auto
out: run
END
expect 0 "" "$program" train --config=plan.yaml --out=run
cp -R run whole
expect 0 "" "$program" attribute whole

killed=no
for attempt in 1 2 3 4 5; do
  rm -rf run/effects
  "$program" attribute run --save-seconds=0.001 >stdout 2>stderr &
  process=$!
  tries=0
  while [ ! -s run/effects/pairs-pairs.partial.safetensors ] && [ $tries -lt 3000 ] && kill -0 $process 2>/dev/null; do
    tries=$((tries + 1))
    sleep 0.01
  done
  kill -9 $process 2>/dev/null
  wait $process 2>/dev/null
  if [ ! -e run/effects/pairs-pairs.csv ] && [ -s run/effects/pairs-pairs.partial.safetensors ]; then
    killed=yes
    break
  fi
done
[ "$killed" = yes ] || fail "no partial effects before the end: $(head -n 3 stderr)"
expect 0 "goes on behind the first" "$program" attribute run
for file in pairs-pairs.safetensors pairs-pairs.csv pairs-pairs.json; do
  cmp -s "run/effects/$file" "whole/effects/$file" || fail "$file differs from that of an attribution left in peace"
done
[ -z "$(find run -name '*partial*' -o -name '*.tmp-*')" ] || fail "left behind: $(find run -name '*partial*' -o -name '*.tmp-*')"
expect 2 "expected auto or an integer" "$program" attribute run --steps=many
finish
