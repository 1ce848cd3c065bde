#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the programs of examples/ against the installed library through its .pc file, and runs them.
# Usage: installcheck.sh SOURCE-DIR PKGCONFIG-DIR LIBDIR
set -eu
source=$1
PKG_CONFIG_PATH=$2${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
LD_LIBRARY_PATH=$3${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PKG_CONFIG_PATH LD_LIBRARY_PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in encode train attribute; do
  # shellcheck disable=SC2046
  ${CC:-cc} -std=c11 -Wall -Wextra -o "$work/$program" "$source/examples/$program.c" $(pkg-config --cflags --libs libcrosscoder)
done
"$work/train" "$work/run"
"$work/encode" "$work/run/crosscoder.safetensors"
if [ -f "$source/tests/analysis/golden/coder.safetensors" ] || [ -d "$source/examples/tiny-pythia/check" ]; then
  "$source/examples/installcheck-attribute.sh" "$work/attribute" "$source" || exit 1
fi
echo "installcheck: the installed library works"
