#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The manual pages and the completion are what the program prints (man/generate.sh makes them).
. "${top_srcdir:-.}/tests/cli/common.sh"

sh "$source/man/generate.sh" "$program" made || fail "man/generate.sh"
for page in made/man/*.1; do
  cmp -s "$page" "$source/man/${page##*/}" || fail "man/${page##*/} is out of date (man/generate.sh PROGRAM)"
done
cmp -s made/completions/crosscoder "$source/completions/crosscoder" || fail "completions/crosscoder is out of date"
if command -v bash >/dev/null; then
  bash -n made/completions/crosscoder || fail "the completion is no bash"
fi
if command -v mandoc >/dev/null; then
  mandoc -T lint -W error made/man/*.1 || fail "mandoc finds errors"
fi
finish
