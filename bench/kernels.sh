#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Usage: bench/kernels.sh: compiles the OpenCL kernels for an A100 (sm_80) with clang and ptxas, without any GPU, and
# prints for each its registers, spills (none allowed), local memory, and how many of an SM's 2048 threads they let run;
# then the least time that an A100's memory and arithmetic allow for one training step of Pythia-1B size.
top=$(dirname "$0")/..
ptxas=${PTXAS:-$(command -v ptxas || echo /usr/local/cuda/bin/ptxas)}
clang=${CLANG:-clang}
"$clang" --print-targets 2>/dev/null | grep -q nvptx64 || { echo "skipped: no clang with the target nvptx64"; exit 77; }
[ -x "$ptxas" ] || { echo "skipped: no ptxas"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' 0
files=$(sed -n 's/^CL_FILES = //p' "$top/cl/local.mk")
for file in $files; do cat "$top/$file"; done >"$work/all.cl"
"$clang" -x cl -cl-std=CL1.2 -target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang sm_80 -Xclang -target-feature \
  -Xclang +ptx70 -cl-no-stdinc -include "$top/bench/nvptx_prelude.h" -O3 -S -o "$work/all.ptx" "$work/all.cl" || exit 1
"$ptxas" -v -arch=sm_80 "$work/all.ptx" -o "$work/all.cubin" 2>"$work/log" || { cat "$work/log"; exit 1; }
# Groups of 256: 65536 registers in units of 256 a warp, 164 KiB of shared memory less 1 KiB a group, 8 groups at most.
awk '
  /Compiling entry function/ { name = $0; sub(/.*function \047/, "", name); sub(/\047.*/, "", name) }
  /spill stores/ { for (i = 1; i <= NF; i++) if ($(i + 2) == "spill" && $(i + 3) ~ /^stores/) spill = $i }
  /Used [0-9]+ registers/ {
    shared = 0
    for (i = 1; i <= NF; i++) { if ($i == "Used") registers = $(i + 1); if ($(i + 2) ~ /^smem/) shared = $i }
    groups = int(65536 / (int((registers * 32 + 255) / 256) * 256 * 8))
    by_shared = int(163 * 1024 / (shared + 1024))
    if (by_shared < groups) groups = by_shared
    if (groups > 8) groups = 8
    if (!n++) printf "%-20s %9s %6s %8s %9s\n", "kernel", "registers", "spills", "local B", "occupancy"
    printf "%-20s %9d %6d %8d %8d%%\n", name, registers, spill, shared, 100 * groups * 256 / 2048
    bad += spill > 0
  }
  END { if (bad) { print bad " kernels spill"; exit 1 } }' "$work/log" || exit 1
awk '
  # One step: n = 3 checkpoints, d = 2048, D = 16384 features, B = 4096 samples, L0 = 64 codes a sample. 1555 GB/s, 19.5
  # TFLOP/s fp32. Bytes: what a kernel must move if caches give nothing for rows that several groups gather.
  function row(name, bytes, flops,   t) {
    t = bytes / 1.555e12; if (flops / 19.5e12 > t) t = flops / 19.5e12
    printf "%-44s %9.3f GB %9.1f GFLOP %8.3f ms\n", name, bytes / 1e9, flops / 1e9, t * 1e3
    total += t
  }
  BEGIN {
    B = 4096; C = 3 * 2048; D = 16384; N = B * 64; W = C * D
    print "\nOne training step on an A100, least time by bytes or by flops (nothing here was measured):"
    row("encode (gemm)", 4 * (B * C + W + B * D), 2 * B * W)
    row("gate", 8 * B * D, B * D)
    row("count_rows, write_rows, scans", 8 * B * D + 8 * N, 0)
    row("decode and residual", 4 * (N * C + 2 * B * C), 2 * N * C)
    row("count_columns, write_columns", 8 * B * D + 12 * N, 0)
    row("column sums, errors", 8 * B * C, 3 * B * C)
    row("code_gradients", 8 * N * C, 2 * N * C)
    row("gather_gradient W_dec", 4 * (N * C + 2 * W), 2 * N * C + 2 * W)
    row("gather_gradient W_enc", 4 * (N * C + W), 2 * N * C)
    row("square_parts", 8 * W, 4 * W)
    row("adam", 2 * 28 * W, 2 * 12 * W)
    row("row_norms", 4 * W, 2 * W)
    printf "%-44s %35.3f ms\n", "sum", total * 1e3
    steps = 400e6 / B
    printf "%-44s %35.2f h\n", "crosscoder for 400 M tokens (97656 steps)", total * steps / 3600
    forward = 400e6 * 3 * 1.03e9
    printf "%-44s %35.2f h\n", "harvest: 10 of 16 blocks of 3 models, fp32", forward / 19.5e12 / 3600
    printf "%-44s %35.2f h\n", "the same at 312 TFLOP/s bf16 (no kernel here)", forward / 312e12 / 3600
  }'
