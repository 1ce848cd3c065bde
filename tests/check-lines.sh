#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lines of sources have at most 120 characters (CONTRIBUTING).
cd "${top_srcdir:-.}" || exit 99
LC_ALL=C
export LC_ALL
# Generated files are left out: their lines are texts. First by bytes, then without those of UTF-8 that go on with a
# character.
find src include cl tests examples fuzz packaging man \( -name '*.[ch]' -o -name '*.cl' -o -name '*.def' \
  -o -name '*.sh' -o -name '*.mk' \) ! -path '*/opencl/*source.c' -exec grep -lE '^.{121}' {} + | sort | (
  status=0
  while read -r file; do
    tr -d '\200-\277' <"$file" | awk -v file="$file" '
      length > 120 { print file ":" NR ": " length " columns, expected at most 120"; bad = 1 }
      END { exit bad }' || status=1
  done
  exit $status
)
