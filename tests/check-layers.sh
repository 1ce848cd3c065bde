#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A directory under src/ is a layer; an #include may only go downward (doc/architecture.md).
cd "${top_srcdir:-.}/src" || exit 99
allowed() {
  case $1 in
    base) echo base ;;
    compute) echo base compute ;;
    formats) echo base compute formats ;;
    data) echo base compute formats data ;;
    model) echo base compute formats data model ;;
    crosscoder) echo base compute formats data crosscoder ;;
    harvest) echo base compute formats data model crosscoder harvest ;;
    analysis) echo base compute formats data model crosscoder harvest analysis ;;
    report) echo base compute formats data model crosscoder harvest analysis report ;;
    cli) echo cli ;;
    *) echo ;;
  esac
}
status=0
for layer in */; do
  layer=${layer%/}
  list=" $(allowed "$layer") "
  for line in $(grep -rHoE '^ *# *include "[^"]+"' --include='*.[ch]' "$layer" | sed 's/: *# *include */:/; s/"//g'); do
    target=${line#*:}
    [ "$target" != config.h ] || continue # of the build, not of a layer
    case $list in
      *" ${target%%/*} "*) ;;
      *) [ -e "$(dirname "${line%%:*}")/$target" ] || { echo "upward include: $line"; status=1; } ;;
    esac
  done
done
# The command-line program sees the public interface only.
if grep -rnE '^ *# *include <crosscoder/' --include='*.[ch]' cli; then
  echo "cli includes a part of the public interface; it should include <crosscoder.h>"
  status=1
fi
exit $status
