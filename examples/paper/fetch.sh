#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the commands that download what a plan of this folder needs, with their sizes. It downloads nothing itself:
# read the commands, then run those you want. Usage: fetch.sh pythia-1b|olmo-1b|bloom-1b1|pythia-70m [FOLDER]
# The corpora and tasks go to FOLDER/data (default: this folder, where the plans look for them), the models to the
# Hugging Face cache, which the plans' names are looked up in. Sizes marked "about" were not seen here and may be off.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
family=${1:-}
data=${2:-$here}/data
hub=https://huggingface.co/datasets
model() { # REPOSITORY REVISION SIZE
  echo "huggingface-cli download $1 --revision $2 --include '*.json' '*.safetensors' 'pytorch_model*.bin'   # $3"
}
blimp() {
  echo
  echo "# BLiMP, the paradigms of subject-verb agreement (200 kB each)"
  echo "mkdir -p '$data/blimp'"
  for paradigm in distractor_agreement_relational_noun distractor_agreement_relative_clause \
    irregular_plural_subject_verb_agreement_1 irregular_plural_subject_verb_agreement_2 \
    regular_plural_subject_verb_agreement_1 regular_plural_subject_verb_agreement_2; do
    echo "curl -fL -o '$data/blimp/$paradigm.jsonl'" \
      "https://raw.githubusercontent.com/alexwarstadt/blimp/master/data/$paradigm.jsonl"
  done
}
head_() { # NAME DISK: what is printed first
  echo "# $1. Disk: $2 in all. Nothing is downloaded by this script."
  echo "# Where a revision holds both safetensors and pytorch_model.bin, one of them is enough: leave out the other."
  echo
}
case $family in
pythia-1b | pythia-70m)
  size="2.1 GB" total="about 18 GB"
  [ "$family" = pythia-1b ] || size="0.17 GB" total="about 12 GB"
  head_ "$family, steps 512, 2000 and 143000" "$total"
  for step in step512 step2000 step143000; do model EleutherAI/$family $step "$size"; done
  echo
  echo "# The Pile without its copyrighted parts: one of 30 training files is far more than 400M tokens"
  echo "mkdir -p '$data/pile/train'"
  echo "curl -fL -o '$data/pile/train/00.jsonl.zst' $hub/monology/pile-uncopyrighted/resolve/main/train/00.jsonl.zst" \
    "  # about 11 GB"
  echo "curl -fL -o '$data/pile/val.jsonl.zst'" \
    "$hub/monology/pile-uncopyrighted/resolve/main/val.jsonl.zst   # about 0.4 GB"
  blimp
  ;;
olmo-1b)
  head_ "OLMo-1B-0724, 4, 33 and 3048 billion tokens" "about 20 GB"
  for revision in step2000-tokens4B step16000-tokens33B step1454000-tokens3048B; do
    model allenai/OLMo-1B-0724-hf $revision "5.1 GB, float32"
  done
  echo
  echo "# Three files of Dolma's sample v1_6; the list of their addresses is part of the data set's repository"
  echo "mkdir -p '$data/dolma'"
  echo "curl -fL -o '$data/dolma/urls.txt' $hub/allenai/dolma/resolve/main/urls/v1_6-sample.txt"
  echo "for file in 0000 0001 0002; do grep -F \"v1_5r2_sample-\$file\" '$data/dolma/urls.txt' |" \
    "xargs -n 1 curl -fL -o '$data/dolma/v1_5r2_sample-'\$file.json.gz; done" \
    "  # about 0.2 GB each; more if 420M tokens need them"
  blimp
  ;;
bloom-1b1)
  head_ "BLOOM-1b1, steps 10000 and 100000 and the final model" "about 15 GB"
  model bigscience/bloom-1b1-intermediate global_step10000 "about 2 to 4 GB"
  model bigscience/bloom-1b1-intermediate global_step100000 "about 2 to 4 GB"
  model bigscience/bloom-1b1 main "2.1 GB in half precision, with the tokenizer of all three"
  echo
  echo "# mC4 in ten languages, the paper's shares of 400M tokens: so many documents of the first file of each"
  echo "mkdir -p '$data/mc4'"
  for share in en:230000 zh:125000 fr:105000 es:99000 pt:86000 ar:40000 vi:33000 hi:20000 id:13000 bn:6600; do
    language=${share%:*}
    echo "huggingface-cli download allenai/c4 --repo-type dataset --include" \
      "'multilingual/c4-$language.tfrecord-00000-of-*.json.gz' --local-dir '$data/mc4'   # a few 100 MB"
    echo "gzip -dc '$data'/mc4/multilingual/c4-$language.tfrecord-00000-of-*.json.gz | head -n ${share#*:}" \
      ">'$data/mc4/$language.jsonl'"
  done
  echo "cat '$data'/mc4/??.jsonl | shuf >'$data/mc4/train.jsonl'   # about 2 GB"
  echo "huggingface-cli download allenai/c4 --repo-type dataset --include" \
    "'multilingual/c4-en-validation.tfrecord-00000-of-*.json.gz' --local-dir '$data/mc4'   # a few 100 MB"
  echo "gzip -dc '$data'/mc4/multilingual/c4-en-validation.*.json.gz | head -n 20000 >'$data/mc4/validation.jsonl'"
  echo
  echo "# CLAMS and MultiBLiMP"
  echo "git clone https://github.com/aaronmueller/clams '$data/clams-source' &&" \
    "for l in en fr; do mkdir -p '$data/clams'/\$l && cp '$data'/clams-source/\$l*/*.txt '$data/clams'/\$l/; done" \
    "  # a few MB"
  for language in eng fra hin; do
    echo "huggingface-cli download jumelet/multiblimp --repo-type dataset --include '$language/*'" \
      "--local-dir '$data/multiblimp'   # below 1 MB"
  done
  ;;
*)
  echo "usage: fetch.sh pythia-1b|olmo-1b|bloom-1b1|pythia-70m [FOLDER]"
  exit 2
  ;;
esac
