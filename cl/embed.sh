#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: cl/embed.sh FILE... : a C file with the lines of the kernels as an array of texts.
echo '/* Made by cl/embed.sh from the files in cl/. */'
echo '#include "compute/opencl/opencl.h"'
echo 'const char *const xci_cl_source[] = {'
cat "$@" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/  "/' -e 's/$/\\n",/'
echo '};'
echo 'const size_t xci_cl_source_lines = sizeof xci_cl_source / sizeof *xci_cl_source;'
