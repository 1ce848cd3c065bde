#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Options, help, hostile values, exit statuses, output that cannot be written.
. "${top_srcdir:-.}/tests/cli/common.sh"

expect 2 "a command is missing" "$program"
expect 2 "did you mean train?" "$program" trian
expect 2 "unknown command" "$program" xyzzyplugh
expect 2 "RUN is missing" "$program" evolve
expect 0 "" "$program" --version
contains "crosscoder "
expect 0 "" "$program" --help
contains "Commands:"

for command in run init inspect tokenize accuracy audit similarity select harvest train eval attribute ablate \
  features evolve compare show report labels devices import export help; do
  expect 0 "" "$program" "$command" --help
  contains "Usage: crosscoder $command"
  contains "Examples:"
  expect 0 "" "$program" help "$command"
  expect 2 "unknown option" "$program" "$command" --no-such-option-at-all
done

expect 2 "did you mean --length?" "$program" tokenize --lenght=3
expect 2 "no such option" "$program" attribute --learning-rate=3
expect 2 "unknown option" "$program" tokenize -Z
expect 2 "a value is missing" "$program" tokenize --length
expect 2 "found after the operands" "$program" run a b
expect 2 "PLAN is missing" "$program" run

for value in -1 1e99 nan 99999999999999999999 '' 1.5 0x10 ' 1' 1k; do
  expect 2 "--steps: '$value' was found, expected auto or an integer from 1 to 1000" \
    "$program" attribute "--steps=$value"
done
for value in -1 1e999 nan inf '' 0x10 1,5 two; do
  expect 2 "--l1: '$value' was found, expected a number" "$program" train "--l1=$value"
done
expect 2 "expected one of packed|documents" "$program" train --layout=loose
expect 2 "expected yes or no" "$program" train --force=maybe
expect 2 "expected stop|skip:N" "$program" train --on-nan=skip
expect 2 "expected fail|skip[:N]" "$program" train --bad-lines=skip:0
expect 2 "--layer: '-2' was found" "$program" train --layer=-2
expect 2 "hook_resid_pre" "$program" train --layer=blocks.x.hook
expect 2 "an empty item" "$program" train --checkpoints=a,,b
expect 2 "abacus" "$program" devices --self-test --device=abacus

# Underscore and hyphen are the same; options may follow operands; -- ends them; a file may be called -rf.
expect 2 "expected an integer" "$program" train --batch_size=x
expect 2 "unknown option" "$program" inspect -rf
expect 3 "-rf: No such file" "$program" inspect -- -rf
cp "$model/model.safetensors" ./-rf
expect 0 "" "$program" inspect -- -rf
contains "safetensors"
expect 0 "" "$program" inspect ./-rf --json
contains '"tensors"'
name="new
line"
expect 3 'new\x0aline' "$program" inspect "$name"
expect 3 '\xff' "$program" inspect "$(printf 'a\377b')"
expect 3 '\x1b[2J' "$program" inspect "$(printf '\033[2J')"

# Files that are no files, and output that is lost.
mkfifo fifo
expect 3 "regular file" "$program" inspect fifo
expect 3 "regular file" "$program" inspect /dev/zero
: >empty
expect 3 "empty" "$program" inspect empty
"$program" --version >&- 2>stderr
[ $? -eq 4 ] || fail "closed standard output: expected 4"
if [ -w /dev/full ]; then
  "$program" --help >/dev/full 2>stderr
  [ $? -eq 4 ] || fail "full standard output: expected 4"
fi
"$program" --version 2>&- >stdout || fail "closed standard error"
"$program" inspect --json "$model" <&- >stdout 2>stderr || fail "closed standard input"
expect 0 "" "$program" devices
contains "cpu"
expect 0 "" "$program" devices --json
contains '{'
finish
