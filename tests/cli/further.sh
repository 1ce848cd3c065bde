#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run with seeds, layers and a transfer, and compare: what is there, what is skipped, what is refused.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 60
write_pairs 8 ', "language": "en", "group": "simple"'
write_plan plan.yaml <<END
seeds: [0, 7]
layers: [-1, 0, 1]
transfer: {b: "$model"}
line-documents: yes
tokens: 640
window: 1024
max-tokens: 1024
eval-batches: 1
bootstrap: 20
END

expect 0 "" "$program" run plan.yaml
for file in compare/compare.json compare/matches.csv compare/stability.csv compare/seeds.csv \
  compare-layers/compare.json store/store.json seeds/seed-7/crosscoder.safetensors \
  layers/layer-0/crosscoder.safetensors layers/layer--1/crosscoder.safetensors; do
  [ -s "run/$file" ] || fail "run/$file is missing"
done
[ -s "$(ls run/transfer/*/transfer.json)" ] || fail "no transfer.json"
# The same activations took the slot: nothing may change.
grep -q '"spearman": 0.99\|"spearman": 1' run/transfer/*/transfer.json ||
  fail "a transfer of the same model changes effects"

# A layer that trained from the store has the bits of one that ran the models.
sed -e '/^seeds/d' -e '/^layers/d' -e '/^transfer/d' -e 's/^layer: 1/layer: 0/' -e 's/^out: run/out: alone/' \
  plan.yaml >alone.yaml
expect 0 "" "$program" run alone.yaml
cmp alone/crosscoder.safetensors run/layers/layer-0/crosscoder.safetensors || fail "the store gives other bits"

# A crosscoder with a threshold keeps it in a transfer: the same activations have the same effects, of the same few
# features.
sed -e '/^seeds/d' -e '/^layers/d' -e 's/^out: run/out: gated/' plan.yaml >gated.yaml
printf 'activation: batchtopk\nk: 3\n' >>gated.yaml
expect 0 "" "$program" run gated.yaml
grep -q '"spearman": 0.99\|"spearman": 1' gated/transfer/*/transfer.json ||
  fail "a transfer of the same model changes effects under a threshold"
rows=$(wc -l <gated/effects/pairs-pairs.csv)
for file in gated/transfer/*/effects/pairs-pairs.csv; do
  [ "$(wc -l <"$file")" -eq "$rows" ] || fail "a transfer has effects of $(wc -l <"$file") features, the run of $rows"
done

# jumprelu: the same bits at any number of threads, and effects. Its revisions have slashes in their names, as branches
# and tags may.
hub=$work/hub/models--o--m
mkdir -p "$hub/refs/early" "$hub/snapshots"
ln -s "$model" "$hub/snapshots/0000000000000000000000000000000000000001"
printf %s 0000000000000000000000000000000000000001 >"$hub/refs/early/tag"
cp "$hub/refs/early/tag" "$hub/refs/main"
HF_HUB_CACHE=$work/hub
export HF_HUB_CACHE
sed -e 's/^out: alone/out: jump/' -e 's/^checkpoints: .*/model: o\/m\nrevisions: [early\/tag, main]/' alone.yaml \
  >jump.yaml
printf 'activation: jumprelu\nl0: 0.005\ntransfer: {main: o/m@early/tag}\n' >>jump.yaml
expect 0 "" "$program" run jump.yaml --estimate
expect 0 "" "$program" run jump.yaml --threads=1
expect 0 "" "$program" inspect jump
contains "activation: jumprelu"
[ -s jump/effects/pairs-pairs.csv ] || fail "no effects of a jumprelu crosscoder"
expect 0 "" "$program" train --config=jump.yaml --out=jump2 --threads=3
cmp jump/crosscoder.safetensors jump2/crosscoder.safetensors || fail "jumprelu: other bits with other threads"
cmp jump/metrics.csv jump2/metrics.csv || fail "jumprelu: other metrics with other threads"

expect 0 "" "$program" accuracy --checkpoints=o/m@early/tag,o/m@main --task=pairs:pairs.jsonl --out=first.csv
expect 0 "" "$program" accuracy --model=o/m --revisions=early/tag,main --task=pairs:pairs.jsonl --out=second.csv
cmp first.csv second.csv || fail "a revision with a slash has two labels"
grep -q '^early/tag,' first.csv || fail "no label with a slash"
expect 0 "" "$program" compare jump jump2 --out=slash --json
[ -s "jump/transfer/early_tag in main/transfer.json" ] || fail "no transfer from a revision with a slash"
unset HF_HUB_CACHE

# Nothing changed: nothing is done again.
expect 0 "" "$program" run plan.yaml
grep -q 'starts\|again' stderr && fail "an unchanged plan was worked on"

# select --runs: features of runs matched one to one; a run and itself agree in everything that is matched.
printf 'checkpoint,task,language,group,n,correct\na,t,,all,100,50\nb,t,,all,100,90\nc,t,,all,100,91\n' >accuracy.csv
cp -R run itself
expect 0 "" "$program" select --accuracy=accuracy.csv --count=2 --runs=run,itself,run/seeds/seed-7 --out=selection
agreement=selection/report/tables/agreement.csv
[ "$(wc -l <$agreement)" -eq 4 ] || fail "not one row a pair of runs: $(cat $agreement)"
awk -F, '
  NR == 2 && $4 > 0 && $5 == $4 && $6 == 1 && $8 > 0.999999 && $9 == 0 { found = 1 }
  END { exit !found }' $agreement ||
  fail "a run does not agree with itself: $(cat $agreement)"

# A crosscoder is like itself.
expect 0 "" "$program" compare run alone --out=both --match=correlation --json
expect 0 "" "$program" compare run run/seeds/seed-7 --threshold=-1 --json
grep -E '"n_(live_a|live_b|recurring)"' stdout | tr -dc '0-9\n' | {
  read -r a && read -r b && read -r recurring && [ "$recurring" -eq "$([ "$a" -lt "$b" ] && echo "$a" || echo "$b")" ]
} || fail "with the lowest threshold every feature that has a partner recurs: $(cat stdout)"
# RelIE of what both have has an interval over both seeds.
grep -q '^pairs-pairs,[0-9]*,a,2,' run/compare/seeds.csv || fail "seeds.csv holds no feature of both seeds"
expect 0 "" "$program" report run
[ -s run/report/tables/seeds-relie.csv ] || fail "the report has no RelIE over seeds"
grep -q 'over seeds</h3>' run/report/index.html || fail "the report says nothing of RelIE over seeds"
grep -q '2 seeds [01]' run/report/index.html || fail "no card has an interval over seeds"

expect 0 "" "$program" compare run alone --estimate --out=none
contains "expected time"
[ ! -e none ] || fail "compare --estimate wrote something"
expect 0 "" "$program" compare run "--transfer=b=$model" --estimate --json
contains '"processor_hours"'
expect 5 "of memory are needed, --max-memory allows 1.0 MiB" "$program" compare run alone --max-memory=1M --out=none
expect 2 "two or more" "$program" compare run
expect 3 "expected a run directory" "$program" compare run nowhere
expect 2 "expected LABEL=SPEC" "$program" compare run "--transfer=c=$model"
expect 2 "expected whole numbers" "$program" run plan.yaml --layers=one --out=other
[ ! -e other ] || fail "a bad plan left a folder"
finish
