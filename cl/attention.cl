/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention over packed sequences. A group takes 64 queries of one head and walks over their keys in tiles of
 * 64: scores of the tile in local memory, a running largest score and sum, results in registers (Milakov and
 * Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867; Dao et al., "FlashAttention", arXiv
 * 2205.14135). No [T, T] matrix exists, and any width of a head is walked through in pieces of 16. */
#define TILE_ROWS 64  /* XCI_CL_QUERIES */
#define TILE_DEPTH 16
#define TILE_STRIDE (TILE_ROWS + 1)
/* Arrays of an item whose places are known when it is compiled become registers. */
#define INLINE static inline __attribute__((always_inline))

/* tile[l][i] = x[row0 + i][column0 + l], 0 beyond n_rows and n_columns; rows `stride` apart. */
void load_across(local float *tile, global const float *x, uint row0, uint n_rows, uint column0, uint n_columns,
                 uint stride) {
  for (uint e = get_local_id(0); e < TILE_ROWS * TILE_DEPTH; e += GROUP) {
    uint i = e / TILE_DEPTH, l = e % TILE_DEPTH;
    bool inside = i < n_rows && column0 + l < n_columns;
    tile[l * TILE_STRIDE + i] = inside ? x[(size_t)(row0 + i) * stride + column0 + l] : 0;
  }
}

/* tile[l][j] = x[row0 + l][column0 + j], 0 beyond n_rows and n_columns. */
void load_along(local float *tile, global const float *x, uint row0, uint n_rows, uint column0, uint n_columns,
                uint stride) {
  for (uint e = get_local_id(0); e < TILE_ROWS * TILE_DEPTH; e += GROUP) {
    uint l = e / TILE_ROWS, j = e % TILE_ROWS;
    bool inside = l < n_rows && column0 + j < n_columns;
    tile[l * TILE_STRIDE + j] = inside ? x[(size_t)(row0 + l) * stride + column0 + j] : 0;
  }
}

/* score[i][j] of 4 x 4 pairs of each item: queries first_query + ty + 16 i, keys first_key + tx + 16 j. */
INLINE void tile_scores(float score[4][4], global const float *q, uint q_stride, uint first_query, uint n_queries,
                 global const float *k, uint k_stride, uint first_key, uint n_keys, uint d_head, local float *tile_q,
                 local float *tile_k) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
#pragma unroll
  for (uint i = 0; i < 4; i++)
#pragma unroll
    for (uint j = 0; j < 4; j++) score[i][j] = 0;
  for (uint c = 0; c < d_head; c += TILE_DEPTH) {
    load_across(tile_q, q, first_query, n_queries, c, d_head, q_stride);
    load_across(tile_k, k, first_key, n_keys, c, d_head, k_stride);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint l = 0; l < TILE_DEPTH; l++) {
      float left[4], right[4];
#pragma unroll
      for (uint i = 0; i < 4; i++) left[i] = tile_q[l * TILE_STRIDE + ty + 16 * i];
#pragma unroll
      for (uint j = 0; j < 4; j++) right[j] = tile_k[l * TILE_STRIDE + tx + 16 * j];
#pragma unroll
      for (uint i = 0; i < 4; i++)
#pragma unroll
        for (uint j = 0; j < 4; j++) score[i][j] += left[i] * right[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}

/* Largest and sum of each query's scores up to now, over what was before; factor: what earlier sums are scaled by. Four
 * items share a query. scores: [TILE_ROWS][TILE_STRIDE], replaced by exp(score - largest). */
void update_softmax(local float *scores, local float *partial, local float *largest, local float *sum,
                    local float *factor) {
  uint id = get_local_id(0), query = id / 4, part = id % 4;
  local float *row = scores + query * TILE_STRIDE;
  float most = -INFINITY;
  for (uint c = part; c < TILE_ROWS; c += 4) most = fmax(most, row[c]);
  partial[id] = most;
  barrier(CLK_LOCAL_MEM_FENCE);
  float before = largest[query];
  most = fmax(fmax(partial[4 * query], partial[4 * query + 1]), fmax(partial[4 * query + 2], partial[4 * query + 3]));
  most = fmax(most, before);
  barrier(CLK_LOCAL_MEM_FENCE);
  float total = 0;
  for (uint c = part; c < TILE_ROWS; c += 4) {
    float p = exp(row[c] - most);
    row[c] = p;
    total += p;
  }
  partial[id] = total;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (part == 0) {
    float scale = exp(before - most);
    total = (partial[id] + partial[id + 1]) + (partial[id + 2] + partial[id + 3]);
    sum[query] = sum[query] * scale + total;
    factor[query] = scale;
    largest[query] = most;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
}

typedef struct attention_memory {
  float tile_q[TILE_DEPTH * TILE_STRIDE], tile_k[TILE_DEPTH * TILE_STRIDE], scores[TILE_ROWS * TILE_STRIDE];
  float partial[GROUP], largest[TILE_ROWS], sum[TILE_ROWS], factor[TILE_ROWS];
} attention_memory;

/* out[i][4 b + j] += probabilities of this tile times values of columns column0 + 64 b + tx + 16 j. */
INLINE void mix_values(float out[4][8], uint blocks, local const float *scores, global const float *v, uint stride,
                uint first_key, uint n_keys, uint column0, uint d_head, local float *tile) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  for (uint l0 = 0; l0 < n_keys; l0 += TILE_DEPTH) {
#pragma unroll
    for (uint b = 0; b < 2; b++) {
      if (b >= blocks) continue;
      load_along(tile, v, first_key + l0, n_keys - l0, column0 + 64 * b, d_head, stride);
      barrier(CLK_LOCAL_MEM_FENCE);
      for (uint l = 0; l < TILE_DEPTH; l++) {
        float left[4], right[4];
#pragma unroll
        for (uint i = 0; i < 4; i++) left[i] = scores[(ty + 16 * i) * TILE_STRIDE + l0 + l];
#pragma unroll
        for (uint j = 0; j < 4; j++) right[j] = tile[l * TILE_STRIDE + tx + 16 * j];
#pragma unroll
        for (uint i = 0; i < 4; i++)
#pragma unroll
          for (uint j = 0; j < 4; j++) out[i][4 * b + j] += left[i] * right[j];
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }
}

/* task: first row, number of rows, first row of the sequence, its end. blocks: columns of the result in 64s, a constant
 * of each kernel, so that `out` stays in registers. */
INLINE void attend(uint blocks, global const uint *tasks, uint n_tasks, uint n_heads, uint n_kv_heads, uint d_head,
                   float scale, global const float *slopes, global const float *q, global const float *k,
                   global const float *v, global float *context, global float *statistic, local attention_memory *m) {
  uint id = get_local_id(0), tx = id % 16, ty = id / 16;
  uint head = GROUP_Y, kv_head = head / (n_heads / n_kv_heads);
  uint slab = get_group_id(0) / n_tasks, column0 = slab * 64 * blocks;
  global const uint *task = tasks + 4 * (get_group_id(0) % n_tasks);
  uint first_query = task[0], n_queries = task[1], start = task[2], n_keys = first_query + n_queries - start;
  uint q_stride = n_heads * d_head, kv_stride = n_kv_heads * d_head, query0 = first_query - start;
  float slope = slopes ? slopes[head] : 0, out[4][8], score[4][4];
  q += head * d_head;
  k += kv_head * d_head;
  v += kv_head * d_head;
#pragma unroll
  for (uint i = 0; i < 4; i++)
#pragma unroll
    for (uint j = 0; j < 8; j++) out[i][j] = 0;
  if (id < TILE_ROWS) {
    m->largest[id] = -INFINITY;
    m->sum[id] = 0;
  }
  for (uint key0 = 0; key0 < n_keys; key0 += TILE_ROWS) {
    uint n = min(n_keys - key0, (uint)TILE_ROWS);
    tile_scores(score, q, q_stride, first_query, n_queries, k, kv_stride, start + key0, n, d_head, m->tile_q,
                m->tile_k);
#pragma unroll
    for (uint i = 0; i < 4; i++)
#pragma unroll
      for (uint j = 0; j < 4; j++) {
        uint query = ty + 16 * i, key = key0 + tx + 16 * j;
        float x = scale * score[i][j] + slope * (float)key;
        m->scores[query * TILE_STRIDE + tx + 16 * j] = key <= query0 + query && key < n_keys ? x : -INFINITY;
      }
    barrier(CLK_LOCAL_MEM_FENCE);
    update_softmax(m->scores, m->partial, m->largest, m->sum, m->factor);
#pragma unroll
    for (uint i = 0; i < 4; i++) {
      float factor = m->factor[ty + 16 * i];
#pragma unroll
      for (uint j = 0; j < 8; j++) out[i][j] *= factor;
    }
    mix_values(out, blocks, m->scores, v, kv_stride, start + key0, n, column0, d_head, m->tile_k);
  }
#pragma unroll
  for (uint i = 0; i < 4; i++) {
    uint query = ty + 16 * i;
    if (query >= n_queries) continue;
    size_t row = first_query + query;
    float sum = m->sum[query];
#pragma unroll
    for (uint j = 0; j < 8; j++) {
      uint column = column0 + 64 * (j / 4) + tx + 16 * (j % 4);
      if (j < 4 * blocks && column < d_head) context[row * q_stride + head * d_head + column] = out[i][j] / sum;
    }
    if (slab == 0 && tx == 0) {
      statistic[2 * (row * n_heads + head)] = m->largest[query];
      statistic[2 * (row * n_heads + head) + 1] = sum;
    }
  }
}

/* For heads of at most 64 channels, and for more, 128 at a time. */
KERNEL attend_64(global const uint *tasks, uint n_tasks, uint n_heads, uint n_kv_heads, uint d_head, float scale,
                 global const float *slopes, global const float *q, global const float *k, global const float *v,
                 global float *context, global float *statistic) {
  local attention_memory memory;
  attend(1, tasks, n_tasks, n_heads, n_kv_heads, d_head, scale, slopes, q, k, v, context, statistic, &memory);
}

KERNEL attend_128(global const uint *tasks, uint n_tasks, uint n_heads, uint n_kv_heads, uint d_head, float scale,
                  global const float *slopes, global const float *q, global const float *k, global const float *v,
                  global float *context, global float *statistic) {
  local attention_memory memory;
  attend(2, tasks, n_tasks, n_heads, n_kv_heads, d_head, scale, slopes, q, k, v, context, statistic, &memory);
}
