#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Opens a report full of hostile text in a real browser: its own script runs under its policy, nothing else does.
browser=
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" >/dev/null 2>&1; then browser=$name; break; fi
done
[ -n "$browser" ] || { echo "no Chromium: skipped"; exit 77; }
[ -x "$builddir/tests/report/test_report" ] || { echo "no unit tests: skipped"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
XCODER_KEEP_REPORT=$work "$builddir/tests/report/test_report" >/dev/null || exit 1
# The folder of that run must not be the working folder of another.
page=file://$work/report/index.html
HOME=$work timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
  --enable-logging=stderr \
  --user-data-dir="$work/profile" --virtual-time-budget=4000 --dump-dom "$page" >"$work/dom" 2>"$work/log"
[ -s "$work/dom" ] || { echo "the browser gave no page: skipped"; tail -n 5 "$work/log"; exit 77; }
status=0
expect() { # WHAT FOUND WANTED
  [ "$2" = "$3" ] || { echo "$1: found $2, expected $3"; status=1; }
}
expect "script elements" "$(grep -c '<script' "$work/dom")" 1
expect "cards" "$(grep -o '<section class="card"' "$work/dom" | wc -l | tr -d ' ')" 12
expect "scripts that ran and should not have" "$(grep -c '<title>P[0-9]' "$work/dom")" 0
expect "refused by the policy" "$(grep -ciE 'refused to|violates the following content security' "$work/log")" 0
expect "images and frames" "$(grep -ciE '<(img|iframe|object|embed)[ >]' "$work/dom")" 0
exit $status
