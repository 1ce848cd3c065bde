#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Writes the manual pages and the completion from the program's own tables: man/generate.sh PROGRAM [FOLDER].
# Run it after a change of src/cli/options.def or src/cli/commands.c; make check tells when that was forgotten.
set -e
program=${1:?usage: man/generate.sh PROGRAM [FOLDER]}
folder=${2:-$(dirname "$0")/..}
mkdir -p "$folder/man" "$folder/completions"
"$program" help --man >"$folder/man/crosscoder.1"
for command in run init inspect tokenize accuracy audit similarity select harvest train eval attribute ablate \
  features evolve compare show report labels devices import export help; do
  "$program" help --man "$command" >"$folder/man/crosscoder-$command.1"
done
"$program" help --completion >"$folder/completions/crosscoder"
