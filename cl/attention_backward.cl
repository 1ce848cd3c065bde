/* SPDX-License-Identifier: Apache-2.0 */
/* Backward pass of causal attention over packed sequences, without a [T, T] matrix: the probabilities are computed
 * again from the statistics of each query, tile by tile. With D = sum_c dO O, dS = P (dO V^T - D): one pass gives dQ,
 * one dK and dV; each sums in the order of the keys (of the heads of a group, then of the queries), so the bits do not
 * depend on what lies beside a sequence.
 *
 * Tiles of SIDE x SIDE scores lie on packed rows, whatever sequences these belong to, so that short sequences share
 * one. An item holds 2 x 2 scores, and sums 2 rows of SLICE channels; heads of more channels take more groups. */
#define SIDE 32
#define SLICE 128
#define PIECES (SLICE / SIDE)
#define SPACE (SIDE * SLICE) /* two tiles at a time, or a slice */
typedef local float (*tile)[SIDE + 1];

/* SIDE rows of `width` values, channels from `channel` on; 0 beyond n_rows and d_head. */
INLINE void load_tile(global const float *x, uint row, uint n_rows, uint width, uint channel, uint d_head, tile to) {
  for (uint e = get_local_id(0); e < SIDE * SIDE; e += GROUP) {
    uint i = e / SIDE, c = channel + e % SIDE;
    to[i][e % SIDE] = row + i < n_rows && c < d_head ? x[(size_t)(row + i) * width + c] : 0;
  }
}

/* dot[2 i + j] = left row (ty + 16 i) . right row (tx + 16 j). */
INLINE void dot_rows(global const float *left, uint left_row, uint left_width, global const float *right,
                     uint right_row, uint right_width, uint n_rows, uint d_head, local float *space, float *dot) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  tile a = (tile)space, b = (tile)(space + SIDE * (SIDE + 1));
  for (uint i = 0; i < 4; i++) dot[i] = 0;
  for (uint channel = 0; channel < d_head; channel += SIDE) {
    load_tile(left, left_row, n_rows, left_width, channel, d_head, a);
    load_tile(right, right_row, n_rows, right_width, channel, d_head, b);
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint c = 0; c < SIDE; c++)
      for (uint i = 0; i < 4; i++) dot[i] += a[ty + i / 2 * 16][c] * b[tx + i % 2 * 16][c];
    barrier(CLK_LOCAL_MEM_FENCE);
  }
}

/* mean[row, head] = D; one team each. */
KERNEL attention_means(global const float *context, global const float *d_context, uint n, uint d_head,
                       global float *mean) {
  local float shared[GROUP];
  uint lane = get_local_id(0) % TEAM, at = get_group_id(0) * TEAMS + get_local_id(0) / TEAM;
  float sum = 0;
  if (at < n)
    for (uint c = lane; c < d_head; c += TEAM)
      sum += context[(size_t)at * d_head + c] * d_context[(size_t)at * d_head + c];
  sum = team_sum(sum, shared);
  if (at < n && lane == 0) mean[at] = sum;
}

/* P and dS (scaled) of the 2 x 2 scores of this item; 0 where the query does not see the key. */
INLINE void weigh_scores(const float *dot, const float *d_dot, uint query0, uint key0, uint n_rows, uint n_heads,
                         uint head, float scale, float slope, global const uint *position,
                         global const float *statistic, global const float *mean, float *p, float *ds) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  for (uint i = 0; i < 4; i++) {
    uint query = query0 + ty + i / 2 * 16, key = key0 + tx + i % 2 * 16;
    p[i] = ds[i] = 0;
    if (query >= n_rows || key > query || query - key > position[query]) continue;
    size_t at = (size_t)query * n_heads + head;
    float score = scale * dot[i] + slope * (float)(position[query] - (query - key));
    p[i] = exp(score - statistic[2 * at]) / statistic[2 * at + 1];
    ds[i] = scale * p[i] * (d_dot[i] - mean[at]);
  }
}

/* sum[4 piece + 2 j + i] += row ty + 16 i of `weight` (transposed: column) times SIDE rows of x, at channel tx + 16 j
 * of each piece of the slice. */
INLINE void add_product(tile weight, global const float *x, uint row, uint n_rows, uint width, uint channel,
                        uint d_head, uint transposed, local float *slice, float *sum) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  for (uint e = get_local_id(0); e < SIDE * SLICE; e += GROUP) {
    uint i = e / SLICE, c = channel + e % SLICE;
    slice[e] = row + i < n_rows && c < d_head ? x[(size_t)(row + i) * width + c] : 0;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
  for (uint piece = 0; piece < PIECES; piece++)
    if (channel + piece * SIDE < d_head)
      for (uint k = 0; k < SIDE; k++)
        for (uint i = 0; i < 4; i++) {
          float w = transposed ? weight[k][ty + i % 2 * 16] : weight[ty + i % 2 * 16][k];
          sum[4 * piece + i] += w * slice[k * SLICE + piece * SIDE + tx + i / 2 * 16];
        }
  barrier(CLK_LOCAL_MEM_FENCE);
}

INLINE void store_sum(const float *sum, uint row, uint n_rows, uint width, uint channel, uint d_head,
                      global float *out) {
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
#pragma unroll
  for (uint i = 0; i < 4 * PIECES; i++) {
    uint r = row + ty + i % 2 * 16, c = channel + tx + i / 2 * 16;
    if (r < n_rows && c < d_head) out[(size_t)r * width + c] = sum[i];
  }
}

/* Groups: tiles of queries, heads * slices. q, d_context, dq [n_rows, n_heads d_head]; k, v [n_rows, n_kv_heads
 * d_head]; statistic [n_rows, n_heads, 2]; mean [n_rows, n_heads]; position [n_rows] of each row in its sequence. */
KERNEL attention_dq(global const float *q, global const float *k, global const float *v,
                    global const float *d_context, global const float *statistic, global const float *mean,
                    global const uint *position, global const float *slopes, uint n_rows, uint n_heads,
                    uint heads_per_key, uint d_head, float scale, global float *dq) {
  local float space[SPACE], s[SIDE][SIDE + 1];
  uint query0 = get_group_id(0) * SIDE, head = GROUP_Y % n_heads, channel = GROUP_Y / n_heads * SLICE;
  uint tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  uint width = n_heads * d_head, kv_width = n_heads / heads_per_key * d_head, last = min(query0 + SIDE, n_rows);
  float dot[4], d_dot[4], p[4], ds[4], sum[4 * PIECES], slope = slopes ? slopes[head] : 0;
  q += head * d_head;
  d_context += head * d_head;
  k += head / heads_per_key * d_head;
  v += head / heads_per_key * d_head;
#pragma unroll
  for (uint i = 0; i < 4 * PIECES; i++) sum[i] = 0;
  for (uint key0 = query0 - position[query0]; key0 < last; key0 += SIDE) {
    dot_rows(q, query0, width, k, key0, kv_width, n_rows, d_head, space, dot);
    dot_rows(d_context, query0, width, v, key0, kv_width, n_rows, d_head, space, d_dot);
    weigh_scores(dot, d_dot, query0, key0, n_rows, n_heads, head, scale, slope, position, statistic, mean, p, ds);
    for (uint i = 0; i < 4; i++) s[ty + i / 2 * 16][tx + i % 2 * 16] = ds[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    add_product(s, k, key0, n_rows, kv_width, channel, d_head, 0, space, sum);
  }
  store_sum(sum, query0, n_rows, width, channel, d_head, dq + head * d_head);
}

/* Groups: tiles of keys, key heads * slices. Queries of later sequences than the last key's end the walk. */
KERNEL attention_dkv(global const float *q, global const float *k, global const float *v,
                     global const float *d_context, global const float *statistic, global const float *mean,
                     global const uint *position, global const float *slopes, uint n_rows, uint n_heads,
                     uint heads_per_key, uint d_head, float scale, global float *dk, global float *dv) {
  local float space[SPACE], s[SIDE][SIDE + 1], t[SIDE][SIDE + 1];
  uint n_kv_heads = n_heads / heads_per_key, key0 = get_group_id(0) * SIDE, kv_head = GROUP_Y % n_kv_heads;
  uint channel = GROUP_Y / n_kv_heads * SLICE, tx = get_local_id(0) % 16, ty = get_local_id(0) / 16;
  uint width = n_heads * d_head, kv_width = n_kv_heads * d_head, end = min(key0 + SIDE, n_rows);
  float dot[4], d_dot[4], p[4], ds[4], sum_k[4 * PIECES], sum_v[4 * PIECES];
  k += kv_head * d_head;
  v += kv_head * d_head;
#pragma unroll
  for (uint i = 0; i < 4 * PIECES; i++) sum_k[i] = sum_v[i] = 0;
  for (uint head = kv_head * heads_per_key; head < (kv_head + 1) * heads_per_key; head++) {
    float slope = slopes ? slopes[head] : 0;
    global const float *q_head = q + head * d_head, *d_head_out = d_context + head * d_head;
    for (uint query0 = key0; query0 < n_rows && query0 - position[query0] < end; query0 += SIDE) {
      dot_rows(q_head, query0, width, k, key0, kv_width, n_rows, d_head, space, dot);
      dot_rows(d_head_out, query0, width, v, key0, kv_width, n_rows, d_head, space, d_dot);
      weigh_scores(dot, d_dot, query0, key0, n_rows, n_heads, head, scale, slope, position, statistic, mean, p, ds);
      for (uint i = 0; i < 4; i++) {
        s[ty + i / 2 * 16][tx + i % 2 * 16] = ds[i];
        t[ty + i / 2 * 16][tx + i % 2 * 16] = p[i];
      }
      barrier(CLK_LOCAL_MEM_FENCE);
      add_product(s, q_head, query0, n_rows, width, channel, d_head, 1, space, sum_k);
      add_product(t, d_head_out, query0, n_rows, width, channel, d_head, 1, space, sum_v);
    }
  }
  store_sum(sum_k, key0, n_rows, kv_width, channel, d_head, dk + kv_head * d_head);
  store_sum(sum_v, key0, n_rows, kv_width, channel, d_head, dv + kv_head * d_head);
}
