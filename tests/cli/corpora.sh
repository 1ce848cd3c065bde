#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Corpora in every form: files of tokens train and evaluate to the same bits as the text that they were made from;
# mixtures; limits of compressed text.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 300
write_plan plan.yaml <<END
tokens: 640
threads: 1
END
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=text.txt --length=32 --out=tokens.npy
hash=$(sed 's/.*hash \([0-9a-f]*\).*/\1/' stdout)

# Little-endian numbers of `$1` bytes from the ids of standard input; `words` makes 64-bit header fields.
numbers() {
  awk -v w="$1" '{
    for (i = 1; i <= NF; i++) {
      v = $i
      for (k = 0; k < w; k++) {
        printf "\\%03o", v % 256
        v = int(v / 256)
      }
    }
    print ""
  }' | while IFS= read -r line; do printf "$line"; done
}
ids() { dd if=tokens.npy bs=128 skip=1 2>/dev/null | od -An -v -tu4; }
ids | numbers 2 >tokens.u16
ids | numbers 4 >tokens.dat
ids | numbers 2 >headerless.npy
n=$(($(wc -c <tokens.u16) / 2))
rows=$((n / 32))
ids | numbers 2 >shard.bin
{
  printf 'MMIDIDX\000\000'
  echo 1 | numbers 8
  echo 8 | numbers 1
  echo "$rows $((rows + 1))" | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++) print 32 }' | numbers 4
  awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++) print 64 * i }' | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i <= n; i++) print i }' | numbers 8
} >shard.idx
cp shard.bin old.bin
{
  printf 'TNTIDX\000\000'
  echo "1 8 2 $rows $rows $((rows + 1))" | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i <= n; i++) print i }' | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i <= n; i++) print 32 * i }' | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++) print 32 }' | numbers 8
  awk -v n="$rows" 'BEGIN { for (i = 0; i <= n; i++) print i }' | numbers 8
} >old.idx
for file in tokens.npy tokens.u16 tokens.dat headerless.npy shard.idx shard.bin old.idx; do
  expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=$file --length=32
  contains "$hash"
done
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus="$source/tests/formats/golden/bare.pt" --length=3 \
  --out=pt.npy
echo "0 1 2 3 4 5" | numbers 2 >pt.u16
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=pt.u16 --length=3 --out=u16.npy
cmp -s pt.npy u16.npy || fail "a bare tensor gives other tokens than plain numbers"
gzip -c text.txt >text.gz 2>/dev/null && {
  expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=text.gz --length=32
  contains "$hash"
}

# The same bits of a crosscoder and of its evaluation.
expect 0 "" "$program" train --config=plan.yaml --corpus=text.txt --heldout=text.txt --out=text --quiet
expect 0 "" "$program" eval text --quiet
for file in tokens.u16 shard.idx old.idx headerless.npy tokens.npy; do
  expect 0 "" "$program" train --config=plan.yaml --corpus=$file --heldout=$file --out=run-$file --quiet
  cmp -s text/crosscoder.safetensors run-$file/crosscoder.safetensors || fail "$file gives another crosscoder than text"
  cmp -s text/metrics.csv run-$file/metrics.csv || fail "$file gives other metrics than text"
done
expect 0 "" "$program" eval run-shard.idx --quiet
cmp -s text/eval.csv run-shard.idx/eval.csv || fail "shard.idx evaluates otherwise than text"

# A changed .bin beside an unchanged .idx is noticed.
echo "5 6 7 8" | numbers 2 | dd of=shard.bin bs=1 conv=notrunc 2>/dev/null
expect 9 "corpus 0.bin changed" "$program" train --config=plan.yaml --corpus=shard.idx --heldout=shard.idx \
  --out=run-shard.idx --resume

# --max-tokens cuts files of tokens too; ids must fit the model.
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=tokens.u16 --length=32 --max-tokens=100
contains "3 sequences, 96 tokens"
echo "1 2 3 60000" | numbers 2 >large.u16
expect 3 "token 3 is 60000, the vocabulary has" "$program" train --config=plan.yaml --corpus=large.u16 --length=2 \
  --out=large
printf 'abcdef' >odd.bin
expect 3 "6 bytes, no multiple of 4 (--token-bits)" "$program" tokenize --tokenizer="$model" --corpus=odd.bin \
  --length=2 --token-bits=32

# Mixtures: shares of tokens, languages, one order per seed.
awk 'BEGIN { for (i = 0; i < 300; i++) print "Le chat pr\303\250s des chiens chante. " i }' >french.txt
mix() { "$program" tokenize --tokenizer="$model" --length=16 "$@"; }
expect 0 "" mix --corpus=text.txt,french.txt --mixture=en:3,fr:1 --max-tokens=3200 --out=mixed.npy
contains "200 sequences"
contains "language en: 150 sequences"
contains "language fr: 50 sequences"
mixed=$(sed -n 's/.*hash \([0-9a-f]*\).*/\1/p' stdout)
expect 0 "" mix --corpus=mixed.npy
contains "$mixed"
contains "language fr: 50 sequences"
expect 0 "" mix --corpus=text.txt,french.txt --mixture=en:3,fr:1 --max-tokens=3200
contains "$mixed"
expect 0 "" mix --corpus=text.txt,french.txt --mixture=en:3,fr:1 --max-tokens=3200 --seed=1
grep -q "$mixed" stdout && fail "another seed gives the same order"
expect 0 "" mix --corpus=tokens.u16,french.txt --mixture=1,1 --max-tokens=320
contains "20 sequences"
expect 0 "" mix --corpus=mixed.npy,mixed.npy
contains "400 sequences"
expect 2 "3 parts were found, --corpus names 2 files" mix --corpus=text.txt,french.txt --mixture=1,1,1
expect 2 "'en:x' was found" mix --corpus=text.txt,french.txt --mixture=en:x,fr:1
expect 2 "'fr:-1' was found" mix --corpus=text.txt,french.txt --mixture=en:1,fr:-1
expect 2 "its share of --max-tokens is 1 tokens" mix --corpus=text.txt,french.txt --mixture=en:100,fr:1 --max-tokens=100
expect 0 "" "$program" train --config=plan.yaml --corpus=text.txt,french.txt --mixture=en:3,fr:1 --heldout=text.txt \
  --out=mixed --quiet
[ -s mixed/stages/corpus.npy.languages.json ] || fail "a run does not keep the languages of its corpus"
expect 0 "done and unchanged" "$program" train --config=plan.yaml --corpus=text.txt,french.txt --mixture=en:3,fr:1 \
  --heldout=text.txt --out=mixed --resume
expect 9 "mixture was" "$program" train --config=plan.yaml --corpus=text.txt,french.txt --mixture=en:2,fr:1 \
  --heldout=text.txt --out=mixed --resume

# Windows of zstd beyond 128 MiB are opened on request only.
window=$source/tests/data/bad/jsonl-window.jsonl.zst
expect 5 "a window of more than 128 MiB" mix --corpus="$window"
contains_error() { grep -F -q -e "$1" stderr || fail "'$1' is not in: $(head -n 3 stderr)"; }
contains_error "--zstd-window-log=31"
expect 5 "more than 16 MiB" mix --corpus="$window" --zstd-window-log=24
expect 2 "--zstd-window-log" mix --corpus="$window" --zstd-window-log=40
finish
