#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run and the commands of a run: what is done is skipped, what changed is done again, and that can be interrupted.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 300
write_pairs 8 ', "language": "en", "group": "simple"'
echo 'tokens: 1280' | write_plan plan.yaml

# worked STAGE...: exactly these stages were done by the last command.
worked() {
  wanted=$*
  found=$(sed -n 's/^\([a-z]*\)[^:]*: \(starts\|again\).*/\1/p' stderr | tr '\n' ' ')
  [ "$found" = "$wanted${wanted:+ }" ] || fail "stages '$found' were done, expected '$wanted'"
}

expect 0 "" "$program" run plan.yaml
worked tokens scales accuracy train eval attribute ablate features evolve report
contains "PASS"
contains "run/report/index.html"
[ -s run/report/index.html ] || fail "no report"
expect 0 "done and unchanged" "$program" run plan.yaml
worked
contains "PASS"
expect 0 "" "$program" run plan.yaml --threads=1 --save-every=3
worked
expect 0 'title was null, is "A title"' "$program" run plan.yaml --title="A title"
worked report
expect 0 "l1 was 2.0, is 1.5" "$program" run plan.yaml --l1=1.5 --title="A title"
worked train eval attribute ablate features evolve report
rm run/eval.json
expect 0 "" "$program" run plan.yaml --l1=1.5 --title="A title"
worked eval
echo '{"prefix": "The dog sing", "good": "s", "bad": "e"}' >>pairs.jsonl
expect 0 "changed" "$program" run plan.yaml --l1=1.5 --title="A title"
worked accuracy eval attribute ablate features evolve report

# A task may be a folder of languages: what lies in those counts too.
mkdir -p clams/en clams/fr
for i in 1 2 3 4; do printf 'True\tThe cat %d s\nFalse\tThe cat %d e\n' $i $i; done >clams/en/simple.txt
cp clams/en/simple.txt clams/fr/
set -- --task=clams:clams --out=languages --tokens=128
expect 0 "" "$program" run plan.yaml "$@"
expect 0 "done and unchanged" "$program" run plan.yaml "$@"
worked
printf 'True\tThe dog s\nFalse\tThe dog e\n' >>clams/fr/simple.txt
expect 0 "fr/simple.txt changed" "$program" run plan.yaml "$@"
worked accuracy eval attribute ablate features evolve report

# The run says what it was made with: run.yaml is a plan, from any folder.
mkdir elsewhere
(cd elsewhere && "$program" run ../run/run.yaml) >stdout 2>stderr || fail "run.yaml from elsewhere: $(cat stderr)"
worked
expect 0 "" "$program" run run
worked

# The commands of a run take its options.
expect 0 "" "$program" eval run
contains "PASS"
expect 0 "" "$program" attribute run --steps=4 --json
contains '"verdicts"'
expect 0 "bootstrap was 50, is 60" "$program" attribute run --steps=4 --bootstrap=60 --retabulate
cp run/effects/pairs-pairs.csv retabulated.csv
expect 0 "" "$program" attribute run --steps=4 --bootstrap=60
cmp retabulated.csv run/effects/pairs-pairs.csv || fail "tables made anew are not those of a new attribution"
expect 0 "specific-border was 0.7, is 0.6" "$program" attribute run --steps=4 --bootstrap=60 --specific-border=0.6 \
  --retabulate
cp run/effects/pairs-pairs.csv borders.csv
rm run/effects/pairs-pairs.safetensors run/stages/attribute-*
expect 0 "" "$program" attribute run --steps=4 --bootstrap=60 --specific-border=0.6
cmp borders.csv run/effects/pairs-pairs.csv || fail "classes of other borders are not those of a new attribution"
expect 0 "" "$program" evolve run --specific-border=0.6 --shared-border=0.2 --permutations=9 --bootstrap=9
grep -q '"specific_border": 0.6' run/evolution.json && grep -q '"shared_border": 0.2' run/evolution.json ||
  fail "evolve does not take the borders of the classes"
expect 0 "" "$program" attribute run --steps=4 --bootstrap=60 --retabulate
expect 2 "steps was 4, is 5" "$program" attribute run --steps=5 --bootstrap=60 --retabulate
expect 0 "" "$program" attribute run --steps=4 --baseline=origin --gradients=gradients
cp run/effects/pairs-pairs.csv first.csv
expect 0 "" "$program" attribute run --steps=4 --baseline=origin --gradients=gradients
cmp first.csv run/effects/pairs-pairs.csv || fail "kept gradients give other effects"
expect 0 "" "$program" attribute run --steps=4
expect 0 "" "$program" ablate run --feature=0,1
expect 2 "expected numbers from 0 to 31" "$program" ablate run --feature=32
expect 0 "" "$program" features run --feature=all
expect 0 "" "$program" evolve run --estimate
contains "expected time"
expect 0 "" "$program" evolve run --permutations=20
contains "evolution.json"
[ -s run/evolution.csv ] || fail "no evolution.csv"
cp -R run again
expect 0 "" "$program" evolve run again --permutations=20 --out=chained
contains "through all windows"
[ -s chained/chain.csv ] && [ -s chained/chain-links.csv ] || fail "no chain.csv"
expect 0 "" "$program" evolve run again --permutations=20 --compare-tokens=1000
contains "run/chain/chain.json"
[ -s run/chain/chain.json ] || fail "no run/chain/chain.json"
expect 3 "expected a run directory" "$program" evolve run none
expect 0 "" "$program" evolve run again --estimate
contains "expected time"
expect 2 "two runs are named" "$program" evolve run run
rm -r again
expect 0 "" "$program" report run --out=page
[ -s page/index.html ] || fail "no page"
expect 0 "" "$program" show run
contains "Quality"
expect 0 "" "$program" show run --json
contains '"verdicts"'
expect 0 "" "$program" show run 3
contains "Feature 3"
expect 2 "expected the number" "$program" show run three
expect 3 "not described" "$program" show run 32
expect 0 "" "$program" show run --text="The cat sing" --good=s --bad=e
contains "The whole text"
expect 2 "together" "$program" show run --text="The cat sing" --good=s
expect 3 "no such run" "$program" eval none
expect 2 "RUN is missing" "$program" eval
expect 3 "neither eval.json" "$program" show elsewhere
expect 0 "" "$program" accuracy --config=plan.yaml
contains "checkpoint,task,language,group"
expect 0 "" "$program" accuracy --config=plan.yaml --out=accuracy.csv
[ -s accuracy.csv ] || fail "no accuracy.csv"
expect 4 "expected a file" "$program" accuracy --config=plan.yaml --out=run

# One process at a time; an interrupted run is continued with the same result.
"$program" run plan.yaml --out=stopped --tokens=64000000 --save-every=50 >/dev/null 2>errors &
pid=$!
i=0
while ! ls -d stopped/checkpoints/step-*[0-9] >/dev/null 2>&1 && [ $i -lt 300 ]; do
  sleep 0.1
  i=$((i + 1))
done
expect 8 "" "$program" run plan.yaml --out=stopped --tokens=64000000 --save-every=50
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 143 ] || fail "SIGTERM: exit status $status, expected 143: $(cat errors)"
expect 0 "" "$program" report stopped
[ -e stopped/crosscoder.safetensors ] && fail "an interrupted training left a result"
finish
