#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# import and export: every form both ways; where a Python with torch is at hand, what was written is loaded there.
. "${top_srcdir:-.}/tests/cli/common.sh"
golden=$source/tests/crosscoder/golden

for form in authors-l1 authors-batchtopk authors-bf16 learning-l1 learning-plain learning-batchtopk learning-neuron \
  learning-sae; do
  weights=$(ls "$golden/$form"/*.pt "$golden/$form/model.safetensors" 2>/dev/null | head -n 1)
  expect 0 "" "$program" import "$weights" --out="$form.safetensors"
  contains "all equal bit for bit"
  contains "folded"
  expect 0 "" "$program" inspect "$form.safetensors"
  contains "layer: 4"
done
for form in standard jumprelu topk topk-plain; do
  expect 0 "" "$program" import "$golden/saelens-$form/sae_weights.safetensors" --out="saelens-$form.safetensors"
  contains "weights     folded"
done
expect 0 "" "$program" inspect saelens-topk.safetensors
contains "activation: topk"
contains "k: 3"
expect 0 "" "$program" inspect authors-batchtopk.safetensors
contains "activation: batchtopk"
contains "k: 4"
contains "threshold: 1.7"
for form in plain new topk batchtopk jumprelu; do
  expect 0 "" "$program" import "$golden/autoencoder-$form/ae.pt" --out="autoencoder-$form.safetensors"
  contains "form        dictionary-learning-sae"
done
expect 0 "" "$program" import --json "$golden/authors-l1/20.pt" --out=again.safetensors --labels=a,b,c --layer=2
contains '"values_different": 0'
expect 0 "" "$program" inspect again.safetensors
contains '"label": "a"'
contains "layer: 2"

# What is written, by name.kind, in every form that can hold it.
mkdir made
expect 0 "" "$program" export "$golden/authors-l1/ours.safetensors" --out=made/authors-l1.authors
contains "all equal bit for bit"
contains "unfolded"
expect 0 "" "$program" export "$golden/authors-batchtopk/ours.safetensors" --out=made/authors-batchtopk.authors
contains "all equal bit for bit"
expect 0 "" "$program" export "$golden/authors-l1/ours.safetensors" --form=dictionary-learning \
  --out=made/authors-l1.learning
contains "largest difference" # scales below 0.25: see doc/exchange.md
expect 0 "" "$program" export "$golden/authors-batchtopk/ours.safetensors" --form=dictionary-learning \
  --out=made/authors-batchtopk.learning
expect 0 "" "$program" export "$golden/saelens-jumprelu/ours.safetensors" --form=saelens \
  --out=made/saelens-jumprelu.saelens
contains "all equal bit for bit"
expect 0 "" "$program" export saelens-standard.safetensors --form=saelens --out=made/saelens-standard.saelens
contains "all equal bit for bit"
expect 0 "" "$program" export saelens-topk.safetensors --form=saelens --out=made/saelens-topk.saelens
expect 0 "" "$program" export saelens-topk-plain.safetensors --form=saelens --out=made/saelens-topk-plain.saelens
expect 0 "" "$program" export learning-batchtopk.safetensors --form=dictionary-learning \
  --out=made/learning-batchtopk.learning
expect 0 "" "$program" export learning-l1.safetensors --out=made/learning-l1.authors
for form in new jumprelu; do
  expect 0 "" "$program" export "autoencoder-$form.safetensors" --form=dictionary-learning-sae \
    --out="made/autoencoder-$form.autoencoder"
  contains "all equal bit for bit"
done
expect 0 "" "$program" export autoencoder-plain.safetensors --form=dictionary-learning-sae \
  --out=made/autoencoder-plain.autoencoder
python=${XCODER_TORCH_PYTHON:-python3}
if "$python" -c 'import torch, safetensors, numpy' 2>/dev/null; then
  "$python" "$source/tests/crosscoder/make_exchange_golden.py" made >stdout 2>stderr ||
    fail "torch disagrees: $(tail -n 3 stderr)"
  cat stdout
else
  echo "no Python with torch and safetensors (XCODER_TORCH_PYTHON): written files are compared with golden ones only"
fi
expect 0 "" "$program" export "$golden/authors-l1/ours.safetensors" --fold --out=folded
contains "weights     folded"
expect 0 "" "$program" import folded --out=folded.safetensors
contains "weights     folded"

# What a form cannot hold, and bad calls.
expect 3 "has no jumprelu crosscoder" "$program" export saelens-jumprelu.safetensors --out=no
expect 3 "has no topk crosscoder" "$program" export saelens-topk.safetensors --form=dictionary-learning --out=no
expect 3 "fire elsewhere" "$program" export "$golden/authors-batchtopk/ours.safetensors" --fold --out=no
expect 3 "it has no crosscoders" "$program" export "$golden/authors-l1/ours.safetensors" --form=saelens --out=no
expect 3 "reads one checkpoint" "$program" export "$golden/authors-l1/ours.safetensors" \
  --form=dictionary-learning-sae --out=no
expect 3 "without the norms" "$program" export saelens-topk.safetensors --form=dictionary-learning-sae --out=no
expect 2 "exists already" "$program" export "$golden/authors-l1/ours.safetensors" --out=made
expect 2 "--out" "$program" export "$golden/authors-l1/ours.safetensors"
expect 2 "exists already" "$program" import "$golden/authors-l1/20.pt" --out=again.safetensors
expect 2 "positive numbers" "$program" import "$golden/authors-l1/20.pt" --scales=1,x,2 --out=new.safetensors
expect 2 "2 were given, expected 3" "$program" import "$golden/authors-l1/20.pt" --scales=1,2 --out=new.safetensors
expect 3 "No such file" "$program" import nowhere.pt --out=new.safetensors
cp "$golden/authors-l1/20.pt" bare.pt
expect 2 "give --layer" "$program" import bare.pt --out=new.safetensors
expect 2 "give --scales" "$program" import bare.pt --layer=4 --out=new.safetensors
expect 0 "" "$program" import bare.pt --layer=4 --scales=1,1,1 --out=new.safetensors
[ ! -e no ] || fail "a refused export left something"
ls ./*.tmp-* made/*.tmp-* 2>/dev/null && fail "temporary files were left"
finish
