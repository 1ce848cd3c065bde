# SPDX-License-Identifier: Apache-2.0
# Usage: awk -f bench/bounds.awk examples/paper/pythia-1b.yaml: the least time that an A100 needs for the plan: a step
# of training, a batch of attribution, the whole run. Nothing here was measured. A line's time is the larger of its
# bytes at 1555 GB/s and its operations at 19.5 TFLOP/s (float32) or 312 TFLOP/s (tensor cores, bfloat16); lines follow each
# other on one queue, so they add. Bytes of rows that several groups gather count each time, as if no cache helped.
# The last column is no bound but an assumption: 40 % of the tensor cores' rate in products and 25 % in attention, 60 %
# of the float32 rate in products and 30 % in attention, 80 % of the memory's.
# With -v measured=FILE, what bench/train_step printed with XCODER_OPENCL_PROFILE=1: only its step, each line beside
# what the device took for it, and how many times the bound that is; -v batch=N -v latents=N: its sizes; -v factor=F: of
# the encoder's product (6 on tensor cores, 3 with three products, 0 without).
function largest(a, b) { return a > b ? a : b }

# kind: p product, a attention (of `factor` times as many operations on tensor cores, 0: float32), o other
# kernels: whose measured times belong to it; none are measured twice
function row(name, launches, bytes, flops, kind, factor, kernels,   peak, share, by_flops, by_bytes) {
  peak = factor ? 312e12 / factor : 19.5e12
  share = factor ? (kind == "a" ? 0.25 : 0.4) : kind == "a" ? 0.3 : 0.6
  by_bytes = bytes / 1.555e12
  by_flops = flops / peak
  least = largest(by_bytes, by_flops)
  likely = largest(by_bytes / 0.8, by_flops / share)
  sum_least += least
  sum_likely += likely
  sum_launches += launches
  if (measured != "") compare(name, launches, bytes, flops, kernels)
  else if (!silent)
    printf "%-46s %5d %9.3f %10.1f %9.3f %9.3f\n", name, launches, bytes / 1e9, flops / 1e9, least * 1e3, likely * 1e3
}
function compare(name, launches, bytes, flops, kernels,   i, n, part, took) {
  took = 0
  n = split(kernels, part, " ")
  for (i = 1; i <= n; i++) { took += seconds[part[i]] / steps; delete seconds[part[i]] }
  sum_took += took
  printf "%-46s %5d %9.3f %10.1f %9.3f ", name, launches, bytes / 1e9, flops / 1e9, least * 1e3
  if (took > 0) printf "%9.3f %7.2f\n", took * 1e3, took / least
  else printf "%9s %7s\n", "-", "-"
}
function start(title) {
  sum_least = sum_likely = sum_launches = 0
  if (silent) return
  print "\n" title
  printf "%-46s %5s %9s %10s %9s %9s%s\n", "kernels", "runs", "GB", "GFLOP", "least ms",
    measured != "" ? "measured" : "assumed", measured != "" ? "   ratio" : ""
}
function finish() {
  if (!silent) printf "%-46s %5d %30.3f %9.3f\n", "sum", sum_launches, sum_least * 1e3, sum_likely * 1e3
}

# One training step: B samples of C = n d columns, D features, L0 codes a sample. factor: of the encoder's product.
function step(factor,   B, C, D, N, W) {
  B = batch; C = n * d; D = latents; N = B * l0; W = C * D
  row("gather_samples", 1, 6 * B * C, B * C, "o", 0, "gather_samples")
  row("encode: gemm" (factor ? "_bf16" (factor > 1 ? "x" factor : "") : ""), 1, 4 * (B * C + W + B * D), 2 * B * W, "p",
      factor, "gemm gemm_bf16 gemm_bf16x3 gemm_bf16x6 CLBlast")
  row("gate", 1, 8 * B * D, 2 * B * D, "o", 0, "gate")
  row("count_rows, scan, limit_list, write_rows", 6, 8 * B * D + 8 * N, 0, "o", 0,
      "count_rows scan limit_list write_rows")
  row("decode (and residual)", 1, 4 * (N * C + 2 * B * C), 2 * N * C, "o", 0, "decode")
  row("row_norms", 1, 4 * W, 2 * W, "o", 0, "row_norms")
  row("count_columns and so on, mark_latents", 4, 8 * B * D + 12 * N, 0, "o", 0,
      "count_columns add_counts write_columns mark_latents")
  row("column_parts, add_parts, row_errors", 3, 8 * B * C, 3 * B * C, "o", 0, "column_parts add_parts row_errors")
  row("code_gradients, latent_sums, weigh", 4, 8 * N * C, 2 * N * C, "o", 0, "code_gradients latent_sums weigh")
  row("gather_gradient W_dec, W_enc", 2, 4 * (2 * N * C + 3 * W), 4 * N * C + 2 * W, "o", 0, "gather_gradient")
  row("square_parts, sum_pairs", 13, 8 * W, 4 * W, "o", 0, "square_parts sum_pairs")
  row("adam", 4, 2 * 28 * W, 2 * 12 * W, "o", 0, "adam")
}

# A step of the beginning, when so many features fire that everything is a dense product.
function dense_step(factor,   B, C, D, W) {
  B = batch; C = n * d; D = latents; W = C * D
  row("products: encode, decode, three of gradients", 5, 20 * (B * C + W + B * D), 10 * B * W, "p", factor)
  row("gate, start_decode, mask_gradients, start_gradient", 4, 20 * B * D + 8 * B * C + 8 * W, 0, "o", 0)
  row("counts, column sums, errors, norms", 12, 12 * B * D + 8 * B * C + 4 * W, 0, "o", 0)
  row("square_parts, sum_pairs, adam", 17, 8 * W + 56 * W, 28 * W, "o", 0)
}

# R rows through one block, forward; keys: mean number of keys of a query. Weights are read once, 2 bytes each.
function forward(R, keys, factor) {
  row("norm, twice", 2, 16 * R * d, 12 * R * d, "o", 0)
  row("products: qkv, output", 2, 4 * R * (d + 3 * d + 2 * d) + 8 * d * d, 2 * R * 4 * d * d, "p", factor)
  row("split_qkv, finish_heads", 3, 32 * R * d, 8 * R * d, "o", 0)
  # Heads have 256 channels: attend_128 computes scores twice. Scores and results are six products each.
  if (factor) row("attend_tensor_256", 1, 20 * R * d, 4 * R * keys * d, "a", 6)
  else row("attend_128", 1, 20 * R * d, 6 * R * keys * d, "a", 0)
  row("products: up, down", 2, 4 * R * (2 * d + 2 * mlp) + 4 * d * mlp, 4 * R * d * mlp, "p", factor)
  row("activate", 1, 8 * R * mlp, 15 * R * mlp, "o", 0)
  row("add", 1, 16 * R * d, 4 * R * d, "o", 0)
}
# and back, for the gradient of the residual stream alone
function backward(R, keys, factor) {
  row("norm_backward, twice", 2, 32 * R * d, 24 * R * d, "o", 0)
  row("products: qkv, output", 2, 4 * R * (d + 3 * d + 2 * d) + 8 * d * d, 2 * R * 4 * d * d, "p", factor)
  row("split_qkv, finish_heads, split_backward", 6, 64 * R * d, 16 * R * d, "o", 0)
  row("attention_means, attention_dq, attention_dkv", 3, 40 * R * d, 14 * R * keys * d, "a", 0)
  row("products: up, down", 2, 4 * R * (2 * d + 2 * mlp) + 4 * d * mlp, 4 * R * d * mlp, "p", factor)
  row("activate_backward", 1, 12 * R * mlp, 30 * R * mlp, "o", 0)
}
# Everything that bench/train_step measured; what no line names is told.
function read_measured(   line, part) {
  while ((getline line < measured) > 0) {
    split(line, part, " ")
    if (part[1] == "steps") steps = part[2]
    if (part[1] == "kernel") seconds[part[2]] = part[4]
  }
  if (!steps) { print "no measured kernels in " measured; exit 1 }
}
function show_measured(   k, rest) {
  read_measured()
  start("A step of " batch " samples with " l0 " codes each: what an A100 needs at least, and what this device took")
  step(factor)
  for (k in seconds) { rest = rest " " k; sum_took += seconds[k] / steps }
  if (rest != "") print "in none of these lines:" rest
  printf "%-46s %5d %30.3f %9.3f %7.2f\n", "sum", sum_launches, sum_least * 1e3, sum_took * 1e3, sum_took / sum_least
}
function times(k) { total_least += k * sum_least / 3600; total_likely += k * sum_likely / 3600 }
function line(name, k) {
  times(k)
  printf "%-58s %10.4g %9.3f %9.3f\n", name, k, k * sum_least / 3600, k * sum_likely / 3600
}

# The run of the plan. models, coder: factors of the products; back: of those of backward passes.
function whole(title, models, back, coder,   T) {
  silent = 1
  total_least = total_likely = 0
  printf "\n%s\n%-58s %10s %9s %9s\n", title, "what", "times", "least h", "assumed h"
  T = 4096 # rows of a pass
  start(""); forward(T, length_ / 2, models)
  line("forward, a block of " T " tokens: " n " models, " low " blocks", tokens / T * n * low)
  sum_least = sum_likely = 4 * batch * n * d / 25e9
  line("batch over the bus, there and back, 25 GB/s", 2 * tokens / batch)
  start(""); dense_step(coder); line("training, a step of " batch ", dense (the first 5 %)", 0.05 * tokens / batch)
  start(""); step(coder); line("training, a step of " batch ", " l0 " codes a sample", 0.95 * tokens / batch)
  start(""); forward(T, length_ / 2, models)
  line("evaluation: blocks, " eval_tokens " tokens, 5 passes", 5 * eval_tokens / T * n * blocks)
  start(""); forward(T, prompt, models)
  line("attribution: forward, " pairs " prompts, " nodes " nodes",
    pairs * prompt * (nodes + 2) / T * n * (blocks - low))
  start(""); backward(T, prompt, back)
  line("attribution: backward", pairs * prompt * nodes / T * n * (blocks - low))
  printf "%-58s %20.2f %9.2f\n", "A100-hours", total_least, total_likely
}

{ sub(/#.*/, "") } # the plan
/^ +step[0-9]+:/ { n++ }
/^ +- / { tasks++ }
/^layer:/ { low = $2 + 1 }
/^latents:/ && !latents { latents = $2 }
/^batch-size:/ && !batch { batch = $2 }
/^tokens:/ { tokens = $2 * ($2 ~ /M/ ? 1e6 : 1) }
/^length:/ { length_ = $2 }
/^steps:/ { nodes = $2 }
/^eval-batches:/ { eval_batches = $2 }
/^eval-sequences:/ { eval_sequences = $2 }
END {
  # Pythia-1B; 64 codes a sample; BLiMP: 1000 pairs a task, prompts of about 10 tokens.
  d = 2048; mlp = 8192; blocks = 16; l0 = 64
  prompt = 10
  pairs = 1000 * tasks
  eval_tokens = eval_batches * eval_sequences * length_
  if (measured != "") { show_measured(); exit }
  printf "\nPlan: %d checkpoints of Pythia-1B, %d of %d blocks, %d features, %.0fM tokens, %d tasks, %d nodes.\n",
    n, low, blocks, latents, tokens / 1e6, tasks, nodes
  start("One training step of " batch " samples with " l0 " codes each, encoder in float32 by six products of bfloat16")
  step(6); finish()
  start("The same with the encoder in float32")
  step(0); finish()
  start("One attribution batch, a block above the layer: 4096 rows (40 prompts of 10 tokens, 10 nodes), --compute=bf16")
  forward(4096, prompt, 1); backward(4096, prompt, 5)
  row("head_logits, head_backward: 2 tokens a prompt", 6, 40 * 4096 * d, 16 * 410 * d, "o", 0)
  finish()
  high = 1e3 * (blocks - low)
  printf "of %d blocks: %.3f ms, assumed %.3f ms\n", blocks - low, sum_least * high, sum_likely * high
  whole("The whole run: models in bfloat16 (--compute=bf16), crosscoder in float32 by six products", 1, 5, 6)
  whole("The same, models in float32: float16 weights, five products", 5, 5, 6)
  whole("The same, models in float32: bfloat16 weights, three products", 3, 3, 6)
  whole("The same, all in float32 without tensor cores", 0, 0, 0)
}
