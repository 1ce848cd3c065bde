#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of examples/ against the installed library through its .pc file, and runs them: train from an
# array of floats, load a crosscoder and encode, attribute one prompt of the bundled checkpoints. Everything is made in
# a temporary folder. Usage: installcheck.sh SOURCE-DIR PKGCONFIG-DIR LIBDIR BINDIR [DESTDIR]
set -eu
source=$(cd "$1" && pwd)
PKG_CONFIG_PATH=$2${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$3${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH
bin=$4
if [ -n "${5:-}" ]; then # the paths in the .pc file are those after the move to their place
  PKG_CONFIG_SYSROOT_DIR=$5
  export PKG_CONFIG_SYSROOT_DIR
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/crosscoder-install-XXXXXX")
trap 'rm -rf "$work"' EXIT
for program in encode train attribute; do
  # shellcheck disable=SC2046
  ${CC:-cc} -std=c11 -Wall -Wextra -Werror ${CFLAGS:-} -o "$work/$program" "$source/examples/$program.c" \
    $(${PKG_CONFIG:-pkg-config} --cflags --libs libcrosscoder) ${LDFLAGS:-}
done
"$work/train" "$work/run"
"$work/encode" "$work/run/crosscoder.safetensors"

example=$source/examples/tiny-pythia
"$bin/crosscoder" train --config="$example/plan.yaml" --tokens=20480 --window=20480 --latents=128 \
  --validation-batches=1 --out="$work/short" --quiet
# One prompt with its answers, and a folder for each checkpoint of the plan.
member() { sed -n "1s/.*\"$1\": *\"\\([^\"]*\\)\".*/\\1/p" "$example/pairs/en_simple.jsonl"; }
set --
for label in $("$bin/crosscoder" inspect "$work/short/crosscoder.safetensors" --json | grep -o '"label": "[^"]*"' |
  cut -d '"' -f 4); do
  set -- "$@" "$example/$label"
done
[ $# = 3 ] || { echo "installcheck: expected three checkpoints, found: $*"; exit 1; }
member prefix | "$work/attribute" "$work/short/crosscoder.safetensors" "$(member good)" "$(member bad)" "$@" \
  >"$work/effects.json"
grep -q '[0-9]' "$work/effects.json"
"$bin/crosscoder" --version
echo "installcheck: the installed library works"
