#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An attribution that is killed in the middle (SIGKILL: it cannot save anything) goes on from what it wrote before, with
# the bits of one that was left in peace.
. "${top_srcdir:-.}/tests/cli/common.sh"

write_text 100
write_pairs 1
write_plan plan.yaml <<END
tokens: 640
window: 1024
bootstrap: 10
steps: auto
END
expect 0 "" "$program" train --config=plan.yaml --out=run
cp -R run whole
expect 2 "expected auto or an integer" "$program" attribute run --steps=many

# The kernel kills it by the processor time that it took, which does not depend on how busy the machine is. Where that
# was before anything was written (a slow machine) it gets more of it; where it had ended by then (a fast one), more to
# do.
pairs=3000 seconds=1
while :; do
  write_pairs "$pairs"
  rm -rf run/effects
  (
    ulimit -c 0
    ulimit -t "$seconds"
    exec "$program" attribute run --save-seconds=0.001 >stdout 2>stderr
  )
  status=$?
  if [ "$status" -lt 128 ]; then
    [ "$status" -eq 0 ] || fail "exit status $status: $(head -n 3 stderr)"
    pairs=$((2 * pairs))
  elif [ ! -s run/effects/pairs-pairs.partial.safetensors ]; then
    seconds=$((2 * seconds))
  else
    break
  fi
  [ "$failures" -eq 0 ] && [ "$pairs" -lt 1000000 ] && [ "$seconds" -lt 1000 ] || break
done
[ ! -e run/effects/pairs-pairs.csv ] || fail "the attribution was not killed in the middle"
expect 0 "goes on behind the first" "$program" attribute run
expect 0 "" "$program" attribute whole
for file in pairs-pairs.safetensors pairs-pairs.csv pairs-pairs.json; do
  cmp -s "run/effects/$file" "whole/effects/$file" || fail "$file differs from that of an attribution left in peace"
done
left=$(find run -name '*partial*' -o -name '*.tmp-*')
[ -z "$left" ] || fail "left behind: $left"
finish
