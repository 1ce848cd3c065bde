#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inspect and tokenize on a tiny model.
. "${top_srcdir:-.}/tests/cli/common.sh"

expect 0 "" "$program" inspect "$model"
contains "kind: model"
contains "width: 16"
expect 0 "" "$program" inspect --json "$model/tokenizer.json"
contains '"kind": "tokenizer"'
expect 0 "" "$program" inspect --json "$model" "$model/model.safetensors"
contains '"family": "gpt_neox"'

printf '{"text": "The cat sings."}\n{"text": "Two lines\\nand an emoji \\ud83d\\ude00"}\n\n{"text": ""}\n' >texts.jsonl
"$program" tokenize --tokenizer="$model" --corpus=- --ids <texts.jsonl >ids.jsonl 2>stderr ||
  fail "ids from standard input: $(cat stderr)"
[ "$(grep -c '^\[' ids.jsonl)" -ge 2 ] || fail "expected an array for each document: $(cat ids.jsonl)"
expect 0 "" "$program" tokenize --tokenizer="$model/tokenizer.json" --corpus=texts.jsonl --ids
cmp -s stdout ids.jsonl || fail "a file and standard input differ"
"$program" tokenize --tokenizer="$model" --corpus=ids.jsonl --decode >back.txt 2>stderr || fail "decode: $(cat stderr)"
printf 'The cat sings.\nTwo lines\nand an emoji \360\237\230\200\n' >wanted.txt
head -n 3 back.txt | cmp -s - wanted.txt || fail "text is not what it was: $(cat back.txt)"

echo '[1, 2, "x"]' >bad.jsonl
expect 3 "bad.jsonl: line 1: item 2 is no id" "$program" tokenize --tokenizer="$model" --corpus=bad.jsonl --decode
echo '{"text": 3}' >bad.jsonl
expect 3 "bad.jsonl" "$program" tokenize --tokenizer="$model" --corpus=bad.jsonl --ids
cat texts.jsonl bad.jsonl >mixed.jsonl
expect 0 "1 bad line" "$program" tokenize --tokenizer="$model" --corpus=mixed.jsonl --ids --bad-lines=skip
expect 2 "one of them" "$program" tokenize --tokenizer="$model" --corpus=texts.jsonl --ids --decode
expect 2 "--corpus" "$program" tokenize --tokenizer="$model" --ids
expect 2 "without --ids" "$program" tokenize --tokenizer="$model" --corpus=texts.jsonl --add-special
expect 0 "" "$program" tokenize --tokenizer="$source/tests/data/golden/template.json" --corpus=texts.jsonl --ids \
  --add-special
contains "[3,1,2]"
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=texts.jsonl --ids --add-special
cmp -s stdout ids.jsonl || fail "special tokens without a template"
expect 2 "--tokenizer" "$program" tokenize --corpus=texts.jsonl --ids
expect 3 "No such file" "$program" tokenize --tokenizer="$model" --corpus=none.txt --ids

awk 'BEGIN { for (i = 0; i < 100; i++) print "The cat near the dogs sings. " i }' >text.txt
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=text.txt --length=16 --out=tokens.npy
contains "written to tokens.npy"
cp stdout built
hash=$(sed 's/.*hash \([0-9a-f]*\).*/\1/' stdout)
expect 0 "" "$program" inspect tokens.npy
contains "kind: npy"
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=tokens.npy --length=16
contains "$hash"
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=tokens.npy --length=16 --decode
contains "cat near the dogs"
expect 0 "" "$program" tokenize --tokenizer="$model" --corpus=text.txt --length=16 --out=none.npy --estimate
contains "processor time"
tokens=$(sed -n 's/.*sequences, \([0-9]*\) tokens.*/\1/p' built)
grep -q "^disk  *$(awk -v n="$tokens" 'BEGIN { printf "%.1f KiB", (4 * n + 128) / 1024 }')" stdout ||
  fail "the estimate's disk is not that of $tokens tokens: $(cat stdout)"
[ -e none.npy ] && fail "an estimate wrote tokens"
expect 2 "expected files of text" "$program" tokenize --tokenizer="$model" --corpus=tokens.npy --estimate
expect 2 "expected files of text" "$program" tokenize --tokenizer="$model" --corpus=- --estimate
expect 2 "one of them" "$program" tokenize --tokenizer="$model" --corpus=text.txt --decode --estimate
expect 2 "exists already" "$program" tokenize --tokenizer="$model" --corpus=text.txt --length=16 --out=tokens.npy
expect 2 "it is an input" "$program" tokenize --tokenizer="$model" --corpus=text.txt --length=16 --out=text.txt --force
expect 3 "" "$program" tokenize --tokenizer="$model" --corpus=texts.jsonl --length=1024
"$program" tokenize --tokenizer="$model" --corpus=text.txt --ids 2>/dev/null >&- && fail "lost ids, and exit status 0"
finish
