/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention over packed sequences, forward and backward.
 *
 * A block of queries meets all keys before it in one tile of scores; no [T, T] matrix is kept. The backward pass
 * computes the probabilities again, with the same operations and so the same bits, instead of storing them; where the
 * forward pass computes in bf16, the backward pass is that of float32 at the same queries, keys and values. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/bf16.h"
#include "compute/cpu/gemm.h"
#include "compute/cpu/vector_math.h"
#include <string.h>

/* One tile: `n_queries` queries of one head from position `position` on, against the keys before and at them. */
typedef struct tile {
  size_t head, kv_head;
  size_t first_row, n_queries; /* of the queries, in the packed rows */
  size_t key_row, n_keys;      /* first row of the sequence; keys up to the last query */
} tile;

static void make_tile(const xci_block *block, const xci_plan *plan, size_t task, size_t head, tile *t) {
  size_t sequence = plan->task[2 * task], end = plan->rows->start[sequence + 1];
  t->head = head;
  t->kv_head = head / (block->n_heads / block->n_kv_heads);
  t->first_row = plan->task[2 * task + 1];
  t->n_queries = xci_min_size(XCI_QUERY_BLOCK, end - t->first_row);
  t->key_row = plan->rows->start[sequence];
  t->n_keys = t->first_row + t->n_queries - t->key_row;
}

/* softmax over the keys that query `i` of the tile may see; the others get probability 0. */
static void softmax_row(const xci_block *block, const tile *t, size_t i, float *scores) {
  size_t n_seen = t->first_row + i - t->key_row + 1;
  if (block->alibi_slopes != NULL) {
    float slope = block->alibi_slopes[t->head];
    for (size_t j = 0; j < n_seen; j++) scores[j] += slope * (float)j;
  }
  float sum = xci_exp_minus(scores, n_seen, xci_max_f32(scores, n_seen));
  xci_scale_by(scores, 1.0f / sum, n_seen);
  memset(scores + n_seen, 0, (t->n_keys - n_seen) * sizeof *scores);
}

static void compute_probabilities(const xci_block *block, const tile *t, const float *q, const float *k, float *p) {
  size_t hd = block->d_head, q_width = block->n_heads * hd, kv_width = block->n_kv_heads * hd;
  xci_gemm_serial(false, true, t->n_queries, t->n_keys, hd, block->attention_scale,
                  q + t->first_row * q_width + t->head * hd, q_width, k + t->key_row * kv_width + t->kv_head * hd,
                  kv_width, 0, p, t->n_keys);
  for (size_t i = 0; i < t->n_queries; i++) softmax_row(block, t, i, p + i * t->n_keys);
}

/* One or two tiles of scores for every thread. */
static xcoder_status reserve_tiles(xcoder_device *device, const xci_plan *plan, size_t n_tiles, float **tiles,
                                   size_t *tile_size, xcoder_error *err) {
  size_t rows = xci_min_size(XCI_QUERY_BLOCK, plan->longest), count;
  if (!xci_mul_size(rows * n_tiles, plan->longest, tile_size) ||
      !xci_mul_size(*tile_size, (size_t)xci_threads(), &count))
    return xci_fail(err, XCODER_MEMORY, "attention over a sequence of %zu tokens", plan->longest);
  return xci_cpu_work(device, XCI_WORK_SCORES, count, tiles, err);
}

/* What the products of one tile read and write. */
typedef struct operands {
  const xci_block *block;
  const float *q, *k, *v;
  float *context;
  size_t q_width, kv_width;
} operands;

static void attend_tile(const operands *o, const tile *t, float *p) {
  size_t hd = o->block->d_head;
  compute_probabilities(o->block, t, o->q, o->k, p);
  xci_gemm_serial(false, false, t->n_queries, hd, t->n_keys, 1, p, t->n_keys,
                  o->v + t->key_row * o->kv_width + t->kv_head * hd, o->kv_width, 0,
                  o->context + t->first_row * o->q_width + t->head * hd, o->q_width);
}

/* The same with queries, keys, probabilities and values rounded to bfloat16; the softmax is that of float32. */
static void attend_tile_bf16(const operands *o, const tile *t, float *p, uint32_t *scratch) {
  size_t hd = o->block->d_head, q_at = t->first_row * o->q_width + t->head * hd;
  size_t kv_at = t->key_row * o->kv_width + t->kv_head * hd;
  xci_bf16_product_serial(true, t->n_queries, t->n_keys, hd, (xci_bf16_matrix){o->q + q_at, o->q_width},
                          (xci_bf16_matrix){o->k + kv_at, o->kv_width}, p, t->n_keys, scratch);
  xci_scale_by(p, o->block->attention_scale, t->n_queries * t->n_keys);
  for (size_t i = 0; i < t->n_queries; i++) softmax_row(o->block, t, i, p + i * t->n_keys);
  xci_bf16_product_serial(false, t->n_queries, hd, t->n_keys, (xci_bf16_matrix){p, t->n_keys},
                          (xci_bf16_matrix){o->v + kv_at, o->kv_width}, o->context + q_at, o->q_width, scratch);
}

static xcoder_status reserve_scratch(xcoder_device *device, const xci_block *block, const xci_plan *plan,
                                     uint32_t **scratch, size_t *size, xcoder_error *err) {
  size_t count;
  float *words;
  *size = xci_bf16_scratch(xci_min_size(XCI_QUERY_BLOCK, plan->longest), xci_max_size(block->d_head, plan->longest));
  if (!xci_mul_size(*size, (size_t)xci_threads(), &count))
    return xci_fail(err, XCODER_MEMORY, "attention over a sequence of %zu tokens", plan->longest);
  xcoder_status status = xci_cpu_work(device, XCI_WORK_HALF, count, &words, err);
  *scratch = (uint32_t *)words; /* memory without a type of its own yet */
  return status;
}

xcoder_status xci_cpu_attend(xcoder_device *device, const xci_block *block, const xci_plan *plan, const float *q,
                             const float *k, const float *v, float *context, xcoder_error *err) {
  const operands o = {.block = block, .q = q, .k = k, .v = v, .context = context,
                      .q_width = block->n_heads * block->d_head, .kv_width = block->n_kv_heads * block->d_head};
  const bool in_bf16 = device->compute == XCI_COMPUTE_BF16;
  size_t tile_size, scratch_size = 0;
  float *tiles;
  uint32_t *scratch = NULL;
  xcoder_status status = reserve_tiles(device, plan, 1, &tiles, &tile_size, err);
  if (!status && in_bf16) status = reserve_scratch(device, block, plan, &scratch, &scratch_size, err);
  if (status) return status;
  size_t n_tasks = plan->n_tasks * block->n_heads;
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 1)
  for (size_t task = 0; task < n_tasks; task++) {
    tile t;
    float *p = tiles + (size_t)xci_thread_index() * tile_size;
    make_tile(block, plan, task / block->n_heads, task % block->n_heads, &t);
    if (in_bf16) attend_tile_bf16(&o, &t, p, scratch + (size_t)xci_thread_index() * scratch_size);
    else attend_tile(&o, &t, p);
  }
  return XCODER_OK;
}

/* p and dp [n_queries, n_keys] -> the gradient of the scores, over dp. */
static void softmax_backward(const tile *t, const float *p, float *dp) {
  for (size_t i = 0; i < t->n_queries; i++) {
    const float *prob = p + i * t->n_keys;
    float *d = dp + i * t->n_keys, mean = xci_dot_f32(prob, d, t->n_keys);
    xci_shift_multiply(d, -mean, prob, t->n_keys);
  }
}

static void tile_backward(const xci_block *block, const tile *t, const float *q, const float *k, const float *v,
                          const float *d_context, float *p, float *dp, float *dq, float *dk, float *dv) {
  size_t hd = block->d_head, q_width = block->n_heads * hd, kv_width = block->n_kv_heads * hd;
  size_t q_at = t->first_row * q_width + t->head * hd, kv_at = t->key_row * kv_width + t->kv_head * hd;
  float scale = block->attention_scale;
  compute_probabilities(block, t, q, k, p);
  xci_gemm_serial(true, false, t->n_keys, hd, t->n_queries, 1, p, t->n_keys, d_context + q_at, q_width, 1, dv + kv_at,
                  kv_width);
  xci_gemm_serial(false, true, t->n_queries, t->n_keys, hd, 1, d_context + q_at, q_width, v + kv_at, kv_width, 0, dp,
                  t->n_keys);
  softmax_backward(t, p, dp);
  xci_gemm_serial(false, false, t->n_queries, hd, t->n_keys, scale, dp, t->n_keys, k + kv_at, kv_width, 0, dq + q_at,
                  q_width);
  xci_gemm_serial(true, false, t->n_keys, hd, t->n_queries, scale, dp, t->n_keys, q + q_at, q_width, 1, dk + kv_at,
                  kv_width);
}

/* Blocks of queries add to the same keys, so one task is a whole sequence of one key head, in a fixed order. */
xcoder_status xci_cpu_attend_backward(xcoder_device *device, const xci_block *block, const xci_plan *plan,
                                      const float *q, const float *k, const float *v, const float *d_context,
                                      float *dq, float *dk, float *dv, xcoder_error *err) {
  size_t tile_size, group = block->n_heads / block->n_kv_heads, n_kv = block->n_kv_heads;
  float *tiles;
  xcoder_status status = reserve_tiles(device, plan, 2, &tiles, &tile_size, err);
  if (status) return status;
  memset(dk, 0, plan->n_rows * n_kv * block->d_head * sizeof *dk);
  memset(dv, 0, plan->n_rows * n_kv * block->d_head * sizeof *dv);
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 1)
  for (size_t job = 0; job < plan->n_tasks * n_kv; job++) {
    size_t first = job / n_kv, kv_head = job % n_kv;
    if (first > 0 && plan->task[2 * first - 2] == plan->task[2 * first]) continue; /* not the sequence's first block */
    float *p = tiles + (size_t)xci_thread_index() * tile_size, *dp = p + tile_size / 2;
    for (size_t b = first; b < plan->n_tasks && plan->task[2 * b] == plan->task[2 * first]; b++)
      for (size_t g = 0; g < group; g++) {
        tile t;
        make_tile(block, plan, b, kv_head * group + g, &t);
        tile_backward(block, &t, q, k, v, d_context, p, dp, dq, dk, dv);
      }
  }
  return XCODER_OK;
}
