#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of examples/ against the installed library through its .pc file, and runs them: train from an array
# of floats, load a crosscoder and encode, attribute one prompt of the bundled checkpoints.
# Usage: installcheck.sh SOURCE-DIR PKGCONFIG-DIR LIBDIR BINDIR
set -eu
source=$(cd "$1" && pwd)
PKG_CONFIG_PATH=$2${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$3${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH
bin=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in encode train attribute; do
  # shellcheck disable=SC2046
  ${CC:-cc} -std=c11 -Wall -Wextra -o "$work/$program" "$source/examples/$program.c" \
    $(pkg-config --cflags --libs libcrosscoder)
done
"$work/train" "$work/run"
"$work/encode" "$work/run/crosscoder.safetensors"
example=$source/examples/tiny-pythia
"$bin/crosscoder" train --config="$example/plan.yaml" --tokens=20480 --out="$work/short" --quiet
set --
for label in $("$bin/crosscoder" inspect "$work/short" --json | sed -n 's/.*"folders": *\[\(.*\)\].*/\1/p' | tr -d '",'); do
  set -- "$@" "$label"
done
[ $# -gt 0 ] || set -- "$example/step0" "$example/step512" "$example/step4096"
head -n 1 "$example/pairs/en_simple.jsonl" | sed 's/.*"prefix": *"\([^"]*\)".*/\1/' |
  "$work/attribute" "$work/short/crosscoder.safetensors" " a" " b" "$@" >"$work/effects.json"
[ -s "$work/effects.json" ]
echo "installcheck: the installed library works"
