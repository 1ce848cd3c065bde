#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Plans: what is wrong with one is said with its line, before anything is written.
. "${top_srcdir:-.}/tests/cli/common.sh"

awk 'BEGIN { for (i = 0; i < 400; i++) print "The cat near the dogs sings and the bears run. " i }' >text.txt
cat >good.yaml <<END
checkpoints: {a: "$model", b: "$model"}
layer: 1
corpus: text.txt
heldout: [text.txt]
length: 32
latents: 32
batch_size: 64
tokens: 640
out: run
END

# refuse STATUS WORDS LINE...: the good plan with lines added is refused and leaves nothing behind.
refuse() {
  status=$1 words=$2
  shift 2
  cp good.yaml plan.yaml
  for line in "$@"; do
    key=${line%%:*}
    grep -v "^$key:" plan.yaml >other.yaml || :
    mv other.yaml plan.yaml
    printf '%s\n' "$line" >>plan.yaml
  done
  expect "$status" "$words" "$program" run plan.yaml
  [ ! -e run ] || fail "$*: something was left behind: $(ls run)"
  rm -rf run
}

refuse 2 "plan.yaml: line 10: unknown key 'lenght' (did you mean 'length'?)" "lenght: 3"
refuse 2 "line 10: unknown key 'colour'" "colour: red"
refuse 2 "line 9: batch-size: 'many' was found, expected an integer" "batch_size: many"
refuse 2 "line 9: l1: a list was found, expected a number" "l1: [1, 2]" "seed: 1" "l1: [1, 2]" "seed: 3" \
  "warmup: 0" "length: 32"
refuse 2 "layer: a mapping was found, expected a layer" "layer: {a: 1}"
refuse 2 "twice" "threads: 1" "#:" "  " "threads : 2"
refuse 2 "--layer: 3 was found" "layer: 3"
refuse 2 "expected at least one batch" "tokens: 10"
refuse 2 "context of 64 tokens" "length: 65"
refuse 2 "--min-length" "min-length: 33"
refuse 2 "--window" "window: 63"
refuse 2 "found twice" "checkpoints: [\"$model\", \"$model\"]"
refuse 2 "label" "checkpoints: {\"a,b\": \"$model\"}"
refuse 3 "no-such.txt: No such file" "corpus: no-such.txt"
refuse 3 "no-such.jsonl: No such file" "task: [\"pairs:no-such.jsonl\"]"
refuse 3 "no-such-model" "checkpoints: {a: ./no-such-model}"
refuse 3 "no-such.json" "gold: no-such.json"
refuse 3 "" "length: 64" "corpus: short.txt"
refuse 5 "--max-memory allows" "max-memory: 1M"
refuse 2 "abacus" "device: abacus"
echo "Too short." >short.txt
refuse 3 "" "length: 64" "corpus: short.txt"

for text in 'a: [' '"unfinished' '- a list' 'a: b: c' '&a [*a]' "$(printf 'layer: \001')" 'just text'; do
  printf '%s\n' "$text" >plan.yaml
  "$program" run plan.yaml >stdout 2>stderr
  status=$?
  [ "$status" -eq 3 ] || [ "$status" -eq 2 ] || fail "plan '$text': exit status $status"
  grep -q "line" stderr || fail "plan '$text': no line in $(cat stderr)"
done
: >plan.yaml
expect 3 "" "$program" run plan.yaml
expect 3 "No such file" "$program" run no-plan.yaml

# The same keys through --config, the command line winning.
expect 2 "--length: 65 was found" "$program" train --config=good.yaml --length=65 --out=out
expect 0 "" "$program" train --config=good.yaml --estimate
contains "expected time"
expect 0 "" "$program" train --config=good.yaml --estimate --json
contains '"memory_bytes"'
# Files of stages that are not asked for need not be there.
{ cat good.yaml; printf 'task: ["pairs:no-such.jsonl"]\ngold: no-such.json\n'; } |
  awk '!/^(task|gold):/ || /no-such/' >train.yaml
expect 0 "" "$program" train --config=train.yaml --estimate
expect 3 "no-such" "$program" run train.yaml --estimate
[ ! -e run ] || fail "--estimate wrote something"
expect 0 "" "$program" run good.yaml --estimate
contains "expected time"

# Paths of a plan are relative to the plan.
mkdir -p sub
sed 's,text.txt,../text.txt,' good.yaml >sub/plan.yaml
expect 0 "" "$program" run sub/plan.yaml --estimate

# What init writes is a plan that run takes.
expect 0 "" "$program" init "a=$model" "b=$model" --corpus=text.txt --heldout=text.txt --out=made.yaml --length=32 \
  --tokens=4096
expect 0 "" "$program" run made.yaml --estimate
expect 2 "exists already" "$program" init "a=$model" --out=made.yaml
expect 2 "it is an input" "$program" init "a=$model" --corpus=text.txt --out=text.txt --force
expect 0 "" "$program" init "a=$model" "b=$model" --corpus=text.txt --heldout=text.txt --hours=0.5
expect 0 "" "$program" init "a=$model" "b=$model" --corpus=text.txt --heldout=text.txt
grep -q "24 hours and 20 passes" stderr || fail "init does not say which budget it chose: $(cat stderr)"
tokens=$(sed -n 's/^tokens: *\([0-9]*\).*/\1/p' stdout)
[ "$tokens" -lt 400000000 ] || fail "20 passes over a small corpus are $tokens tokens"
contains "layer: 1"
finish
