#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The way of a label in a real browser: typed, kept over a reload, saved, merged with another person's, reported,
# imported.
browser=
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then browser=$name; break; fi
done
[ -n "$browser" ] || { echo "no Chromium: skipped"; exit 77; }
command -v python3 >/dev/null 2>&1 || { echo "no python3: skipped"; exit 77; }
builddir=$(cd "${builddir:-.}" && pwd)
[ -x "$builddir/tests/report/test_report" ] || { echo "no unit tests: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
HOME=$work
export HOME
drive() { timeout 200 python3 "$srcdir/tests/report/label_page.py" "$browser" "${2:-$work}" "$1"; }
XCODER_KEEP_REPORT=$work "$builddir/tests/report/test_report" >/dev/null || exit 1
"$builddir/crosscoder" report "$work" >/dev/null || exit 1
drive label || exit $?
printf 'feat_id,description,confidence\n3,plural subject,high\n4,something else,1\n' >"$work/ben.csv"
mv "$work/labels.csv" "$work/anna.csv"
"$builddir/crosscoder" labels "$work" "$work/anna.csv" "$work/ben.csv" >"$work/said" || exit 1
grep -q "14 labels of 12 features" "$work/said" || { cat "$work/said"; exit 1; }
"$builddir/crosscoder" report "$work" >/dev/null || exit 1
drive import || exit $?
# Fifty features by keys alone: labelled, kept over a reload, saved, imported, shown on their cards.
fifty=$work/fifty
drive label "$fifty" || exit $?
"$builddir/crosscoder" labels "$fifty" "$fifty/labels.csv" >"$work/said" || exit 1
grep -q "50 labels of 50 features" "$work/said" || { cat "$work/said"; exit 1; }
"$builddir/crosscoder" report "$fifty" >/dev/null || exit 1
drive shown "$fifty"
