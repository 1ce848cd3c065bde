#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Line coverage of the readers of foreign files by their tests; fails below 80 % in sum. Usage: tests/coverage.sh
# The build goes to build-coverage/ (or $COVERAGE_BUILD). Needs gcc and gcov.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${COVERAGE_BUILD:-$top/build-coverage}
least=80
readers="src/formats/json.c src/formats/npy.c src/formats/safetensors.c src/model/config.c src/model/weight_files.c
  src/data/corpus.c src/data/lines.c src/data/stream.c src/data/tokenizer_added.c src/data/tokenizer_load.c
  src/data/tokenizer_pipeline.c src/data/tokenizer_vocab.c src/data/pairs_own.c src/data/pairs_blimp.c
  src/data/pairs_clams.c src/data/pairs_multiblimp.c src/data/tokens_detect.c src/data/tokens_file.c
  src/data/tokens_indexed.c src/data/tokens_languages.c src/formats/torch_file.c src/formats/torch_pickle.c
  src/formats/torch_rebuild.c src/formats/torch_zip.c src/harvest/store_format.c src/crosscoder/exchange.c
  src/crosscoder/exchange_file.c
  src/crosscoder/exchange_authors.c src/crosscoder/exchange_learning.c src/crosscoder/exchange_saelens.c
  src/crosscoder/exchange_autoencoder.c
  src/analysis/csv_in.c src/analysis/features/token_labels_in.c src/report/label_list.c"
[ -x "$top/configure" ] || (cd "$top" && ./bootstrap)
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$top/configure" -q --enable-coverage --without-opencl CC="${CC:-gcc}" CFLAGS='-g -O0' >configure.out
programs=$(sed -n 's/^check_PROGRAMS += *//p' "$top"/tests/formats/local.mk "$top"/tests/data/local.mk \
  "$top"/tests/model/local.mk "$top"/tests/harvest/local.mk | tr ' ' '\n' | grep '/test_' | tr '\n' ' ')
# Not all tests of theirs.
programs="$programs tests/crosscoder/test_exchange tests/analysis/test_features tests/report/test_labels"
find . -name '*.gcda' -exec rm -f {} +
# shellcheck disable=SC2086
make -j"$(nproc)" check check_PROGRAMS="$programs" TESTS="$programs" >make.out 2>&1 ||
  { tail -n 40 make.out; exit 1; }

for source in $readers; do
  name=$(basename "$source" .c)
  gcov -n -o "$(dirname "$source")/.libs/$name.o" "$top/$source" 2>/dev/null |
    sed -n "/^File '.*$name\.c'/{n;s/Lines executed:\([0-9.]*\)% of \([0-9]*\)/\1 \2/p}" | sed "s|\$| $source|"
done | awk -v least="$least" '
  { printf "%6.1f %% of %4d lines  %s\n", $1, $2, $3; hit += $1 * $2 / 100; lines += $2 }
  END {
    if (!lines) { print "coverage: nothing measured"; exit 1 }
    share = 100 * hit / lines
    printf "coverage of the readers: %.1f %% of %d lines (at least %d %%)\n", share, lines, least
    exit share < least
  }'
