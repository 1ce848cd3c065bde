#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# labels: merging annotators' files into a run, agreement, and what is refused without changing anything.
. "${top_srcdir:-.}/tests/cli/common.sh"

mkdir -p run/effects
columns=feature,ie_a,ie_b,abs_share,rel_ie_a,rel_ie_b,rel_ie_low_a,rel_ie_low_b,rel_ie_high_a,rel_ie_high_b,rel_dec_a
printf '%s\n' "$columns,rel_dec_b,class,class_authors,evolution,n_active" \
  '3,0.25,0.75,1,0.25,0.75,0.2,0.7,0.3,0.8,0.5,0.5,specific:b,specific:b,emerging,9' \
  '5,0.5,0.5,0.5,0.5,0.5,0.4,0.4,0.6,0.6,0.25,0.75,shared:a+b,shared:a+b,persisting,9' >run/effects/blimp-x.csv
printf '{"labels": ["a", "b"], "n_examples": 9, "checkpoints": [], "verdicts": []}' >run/effects/blimp-x.json

expect 3 "no label is there yet" "$program" labels run
expect 3 "no such run" "$program" labels none anna.csv
expect 2 "expected a run directory" "$program" labels "$program"
expect 3 "anna.csv" "$program" labels run anna.csv
printf 'feat_id,description,languages,confidence\n3,Plural,en fr,high\n5,=verb,,2\n' >anna.csv
printf '\357\273\277feat_id,description\r\n3,plural\r\n5,noun\r\n' >ben.csv
expect 0 "" "$program" labels run anna.csv ben.csv
contains "4 labels of 2 features; read 4: 4 new, 0 replaced, 0 repeated"
contains "anna, ben: 2 features, 50 % equal, Cohen's kappa 0.333"
contains "Labels differ on 1 features"
contains "anna: =verb (medium)"
columns=feat_id,task,layer,version,comparison,seed,task_category,selection_source,activation_dataset
columns=$columns,ie_value_A,ie_value_B,rel_dec_norm_value,rel_dec_norm_class,rel_ie_value,rel_ie_class
columns=$columns,description,languages,annotator,confidence
head -n 1 run/labels.csv | grep -q "^$columns\$" ||
  fail "header: $(head -n 1 run/labels.csv)"
grep -q '^3,blimp-x,,,a vs. b,,formal,ie,task,0.25,0.75,0.5,0.5,0.75,1,Plural,en fr,anna,high$' run/labels.csv ||
  fail "row: $(cat run/labels.csv)"
grep -q "'=verb" run/labels.csv || fail "a formula: $(cat run/labels.csv)"

# The same again changes nothing; a later file counts; what is wrong changes nothing either.
cp run/labels.csv kept.csv
expect 0 "" "$program" labels run anna.csv run/labels.csv
contains "0 new, 0 replaced"
cmp -s kept.csv run/labels.csv || fail "labels changed: $(diff kept.csv run/labels.csv)"
printf 'feat_id,description,annotator\n5,noun,anna\n7,x,cem\n' >more.csv
printf 'feat_id,description\n3,x\n3,y\n' >dora.csv
expect 3 "dora.csv: line 3: feature 3 by 'dora' is 'y' here and 'x' on line 2" "$program" labels run more.csv dora.csv
cmp -s kept.csv run/labels.csv || fail "a refused file changed labels.csv"
printf 'feat_id;description\n3;x\n' >semicolon.csv
expect 3 "separated by ';'" "$program" labels run semicolon.csv
{
  printf 'feat_id,description\n3,'
  head -c 10000000 /dev/zero | tr '\0' x
} >long.csv
expect 3 "long.csv: line 2: the description of 10000000 bytes, at most" "$program" labels run long.csv
cmp -s kept.csv run/labels.csv || fail "a refused label changed labels.csv"
expect 0 "" "$program" labels run more.csv
contains "1 new, 1 replaced"
expect 0 "" "$program" labels run --json
contains '"kappa": 1'
contains '"annotator": "cem"'

# The next report shows them.
expect 0 "" "$program" report run
expect 0 "" "$program" show run
contains "Plural"
finish
