#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/kernels.sh: compiles the OpenCL kernels for an A100 (sm_80) with clang and ptxas, without any GPU, and
# prints for each its registers, spills and private memory (none allowed), local memory, how many of an SM's 2048 threads
# they let run, and the bytes and operations of an element (bench/kernels.txt); then the least time that an A100's memory
# and arithmetic allow for a step, a batch and the whole run of examples/paper/pythia-1b.yaml (bench/bounds.awk).
top=$(dirname "$0")/..
bounds() { awk -f "$top/bench/bounds.awk" "$top/examples/paper/pythia-1b.yaml"; }
ptxas=${PTXAS:-$(command -v ptxas || echo /usr/local/cuda/bin/ptxas)}
clang=${CLANG:-clang}
missing=
"$clang" --print-targets 2>/dev/null | grep -q nvptx64 || missing="no clang with the target nvptx64"
[ -x "$ptxas" ] || missing="no ptxas"
if [ -n "$missing" ]; then
  bounds
  echo "table of kernels skipped: $missing"
  exit 77
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
for program in CL_FILES CL_TENSOR_FILES; do
  for file in $(sed -n "s/^$program +*= //p" "$top/cl/local.mk"); do cat "$top/$file"; done >"$work/all.cl"
  "$clang" -x cl -cl-std=CL1.2 -target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang sm_80 -Xclang -target-feature \
    -Xclang +ptx70 -cl-no-stdinc -include "$top/bench/nvptx_prelude.h" -DTENSOR_PTX -Wno-pass-failed -O3 -S \
    -o "$work/all.ptx" "$work/all.cl" || exit 1
  "$ptxas" -v -arch=sm_80 "$work/all.ptx" -o "$work/all.cubin" 2>"$work/log" || { cat "$work/log"; exit 1; }
  cat "$work/log" >>"$work/logs"
done
# Groups of 256: 65536 registers in units of 256 a warp, 164 KiB of shared memory less 1 KiB a group, 8 groups at most.
awk '
  FILENAME ~ /kernels.txt$/ { if ($0 !~ /^#/) { element[$1] = $2; bytes[$1] = $3; flops[$1] = $4 } next }
  /Compiling entry function/ { name = $0; sub(/.*function \047/, "", name); sub(/\047.*/, "", name); private_ = spill = 0 }
  /stack frame/ && name != "" { private_ = $1 }
  /spill stores/ { for (i = 1; i <= NF; i++) if ($(i + 2) == "spill" && $(i + 3) ~ /^stores/) spill = $i }
  /Used [0-9]+ registers/ {
    shared = 0
    for (i = 1; i <= NF; i++) { if ($i == "Used") registers = $(i + 1); if ($(i + 2) ~ /^smem/) shared = $i }
    groups = int(65536 / (int((registers * 32 + 255) / 256) * 256 * 8))
    by_shared = int(163 * 1024 / (shared + 1024))
    if (by_shared < groups) groups = by_shared
    if (groups > 8) groups = 8
    if (!n++)
      printf "%-19s %9s %6s %9s %7s %9s %11s %5s %5s\n", "kernel", "registers", "spills", "private B", "local B",
        "occupancy", "element", "bytes", "flops"
    printf "%-19s %9d %6d %9d %7d %8d%% %11s %5s %5s\n", name, registers, spill, private_, shared,
      100 * groups * 256 / 2048, (name in element) ? element[name] : "?", bytes[name], flops[name]
    bad += spill > 0 || private_ > 0
    unknown += !(name in element)
    name = ""
  }
  END {
    if (unknown) print unknown " kernels are not in bench/kernels.txt"
    if (bad) { print bad " kernels keep private memory or spill"; exit 1 }
  }' "$top/bench/kernels.txt" "$work/logs" || exit 1
bounds
