#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every public header compiles alone, as C11 and as C++.
top=${top_srcdir:-.}
status=0
for header in "$top"/include/crosscoder.h "$top"/include/crosscoder/*.h; do
  name=${header#"$top"/include/}
  echo "#include <$name>" |
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror -fsyntax-only -I"$top/include" -Iinclude -x c - || status=1
  if command -v "${CXX:-c++}" >/dev/null 2>&1; then
    echo "#include <$name>" | ${CXX:-c++} -Wall -Wextra -Werror -fsyntax-only -I"$top/include" -Iinclude -x c++ - ||
      status=1
  fi
done
exit $status
