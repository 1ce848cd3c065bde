#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The shared library exports exactly the functions of tests/symbols.txt, all with the prefix xcoder_.
library=$(ls .libs/libcrosscoder.so .libs/libcrosscoder.dylib 2>/dev/null | head -n 1)
[ -n "$library" ] || { echo "no shared library: skipped"; exit 77; }
if ldd "$library" 2>/dev/null | grep -q asan; then echo "sanitized build: skipped"; exit 77; fi
LC_ALL=C
export LC_ALL
nm -D --defined-only "$library" | awk '$2 ~ /[TDBRVWGiu]/ { print $3 }' | sed 's/@.*//' | grep -v -e '^_' |
  sort >symbols.tmp
[ -s symbols.tmp ] || { echo "nm shows no symbols: skipped"; exit 77; }
if grep -v '^xcoder_' symbols.tmp; then
  echo "exported symbols without the prefix xcoder_ (above)"
  exit 1
fi
if ! diff "${top_srcdir:-.}/tests/symbols.txt" symbols.tmp; then
  echo "exported symbols differ from tests/symbols.txt (< expected, > found)"
  exit 1
fi
rm -f symbols.tmp
