#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a result costs and depends on: snapshots and their convergence, ending a training that is stable, baselines.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 300
write_pairs 8 ', "counterfactual": "The dog %d sing"'
write_plan plan.yaml <<END
tokens: 1920
save-every: 5
END

expect 2 "expected shares above 0 and below 1" "$program" run plan.yaml --snapshots=0.5,1
expect 2 "expected shares above 0 and below 1" "$program" run plan.yaml --snapshots=half
expect 2 "expected rising shares" "$program" run plan.yaml --snapshots=0.5,0.25
expect 0 "" "$program" run plan.yaml --snapshots=0.1,0.5 --compare-baselines
contains "disagreement between baselines a"
for share in 0.1 0.5; do
  [ -s run/snapshots/share-$share/crosscoder.safetensors ] || fail "no snapshot at $share"
  [ -s run/snapshots/share-$share/effects/pairs-pairs.csv ] || fail "no effects at $share"
done
[ "$(wc -l <run/convergence.csv)" -eq 5 ] || fail "convergence.csv: $(cat run/convergence.csv)"
grep -q '"change_from_before": [0-9]' run/convergence.json || fail "no change between snapshots"
grep -q '"stopped": null' run/convergence.json || fail "stopped: $(head -n 1 run/convergence.json)"
head -n 1 run/baselines/pairs-pairs.csv | grep -q '^checkpoint,a,b,n_top,ie_spearman' || fail "no baselines"
grep -q '^a,zero,mean,' run/baselines/pairs-pairs.csv || fail "zero and mean are not compared"
expect 0 "done and unchanged" "$program" run plan.yaml --snapshots=0.1,0.5 --compare-baselines

# Snapshots change no bit of the training, and are the same after an interruption.
expect 0 "" "$program" train --config=plan.yaml --out=plain --threads=1
cmp -s plain/crosscoder.safetensors run/crosscoder.safetensors || fail "snapshots change the crosscoder"
cmp -s plain/metrics.csv run/metrics.csv || fail "snapshots change the metrics"
"$program" train --config=plan.yaml --out=kept --snapshots=0.1,0.5 --keep-checkpoints=9 --quiet >stdout 2>stderr
rm -rf kept/crosscoder.safetensors kept/stages/train.json kept/snapshots/share-0.5 kept/checkpoints/step-30 \
  kept/checkpoints/step-25 kept/checkpoints/step-20 kept/checkpoints/step-15
expect 0 "continues" "$program" train --config=plan.yaml --out=kept --snapshots=0.1,0.5 --resume
for share in 0.1 0.5; do
  cmp -s kept/snapshots/share-$share/crosscoder.safetensors run/snapshots/share-$share/crosscoder.safetensors ||
    fail "the snapshot at $share differs"
done

# Without them nothing of it is there any more; no baseline is compared unless asked for.
expect 0 "snapshots was" "$program" run plan.yaml
[ ! -e run/snapshots ] && [ ! -e run/convergence.csv ] && [ ! -e run/baselines ] || fail "old snapshots: $(ls run)"

# A tolerance of 1 is met as soon as there are three. One that cannot be met changes nothing.
expect 0 "stable, ends at 0.3" "$program" run plan.yaml --stop-when-stable=1 --out=short
[ ! -e short/snapshots/share-0.4 ] || fail "the training went on"
cmp -s short/snapshots/share-0.3/crosscoder.safetensors short/crosscoder.safetensors ||
  fail "not the crosscoder of its end"
grep -q '"stopped": 0.3' short/convergence.json || fail "convergence.json does not say where it ended"
expect 0 "done and unchanged" "$program" run plan.yaml --stop-when-stable=1 --out=short
expect 0 "" "$program" run plan.yaml --stop-when-stable=1e-9 --out=whole
cmp -s whole/crosscoder.safetensors plain/crosscoder.safetensors || fail "a training that was not ended differs"
[ -e whole/snapshots/share-0.9 ] || fail "no snapshot at 0.9"
sed 's/^task:.*//' plan.yaml >none.yaml
expect 2 "--task is missing" "$program" run none.yaml --stop-when-stable --out=none

# Other values of one option, trained and evaluated, in one table with the run's own.
expect 2 "expected l1, latents, learning-rate or k" "$program" run plan.yaml --sweep=seed:1,2
expect 2 "expected l1, latents, learning-rate or k" "$program" run plan.yaml --sweep=0.1,0.2
expect 2 "found twice" "$program" run plan.yaml --sweep=l1:0.5,0.50
expect 2 "--sweep: latents" "$program" run plan.yaml --sweep=latents:16,many
expect 0 "" "$program" run plan.yaml --sweep=latents:16,32,64
cut -d, -f1,2 run/sweep/sweep.csv >found
printf 'latents,run\n16,sweep/latents-16\n32,.\n64,sweep/latents-64\n' | cmp -s - found ||
  fail "sweep.csv: $(cat found)"
head -n 1 run/sweep/sweep.csv | grep -q 'l0,dead_share,ev_pooled,ev_mean,delta_ce_a,delta_ce_b,ce_recovered_a' ||
  fail "columns: $(head -n 1 run/sweep/sweep.csv)"
cut -d, -f1-8 run/sweep/sweep.csv | grep -q ',,' && fail "sweep.csv has gaps: $(cat run/sweep/sweep.csv)"
[ ! -e run/sweep/latents-16/effects ] || fail "a sweep attributes"
[ "$(wc -l <run/sweep/timing.csv)" -eq 4 ] || fail "no hours"
grep -q 'id="frontier"' run/report/index.html || fail "the report has no frontier"
expect 0 "done and unchanged" "$program" run plan.yaml --sweep=latents:16,32,64
[ ! -s stderr ] || ! grep -q 'starts\|again' stderr || fail "an unchanged sweep was worked on"

expect 0 "" "$program" attribute run --compare-baselines
contains "disagreement between baselines b"
finish
