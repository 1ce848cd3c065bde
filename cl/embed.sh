#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: cl/embed.sh NAME FILE... : a C file with the lines of the kernels as an array of texts, and their number.
name=$1
shift
echo '/* Made by cl/embed.sh from the files in cl/. */'
echo '#include "compute/opencl/opencl.h"'
echo "const char *const $name[] = {"
cat "$@" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/  "/' -e 's/$/\\n",/'
echo '};'
echo "const size_t ${name}_lines = sizeof $name / sizeof *$name;"
