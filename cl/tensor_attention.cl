/* SPDX-License-Identifier: Apache-2.0 */
/* Causal attention on tensor cores, in float32 by six products of bfloat16 parts: as cl/attention.cl, whose tasks and
 * statistics these are, with the blocks of cl/tensor.cl. Of 64 queries a pair of teams takes 16: of a tile of 64 keys
 * each computes half of the scores, and of the result half of the channels. An item's scores lie as its blocks of a
 * factor do, so probabilities become one without moving but between the two teams. Slabs of 16 channels of queries and
 * keys, or of 16 keys of values, take turns in two places; each step has one barrier. */
#define TILE_KEYS 64
#define SLAB_BLOCKS 8 /* one a team */
#define ROW_PARTS 8   /* items that share a query */

typedef struct attention_memory {
  uint4 slab[2][3 * SLAB_BLOCKS * 32];
  uint4 weights[2][16 * 32]; /* probabilities of the lines 2 g, of the lines 2 g + 1 */
  float largest[TILE_KEYS * ROW_PARTS], sum[TILE_KEYS * ROW_PARTS];
} attention_memory;

/* Two blocks of 16 columns: sum[4] += a b in six products. from: part 0 of the first block of b; parts and blocks
 * follow. */
INLINE void multiply_pair(const uint4 *a, local const uint4 *from, float4 *sum, local float *work) {
  uint4 b[3][2];
  UNROLL
  for (uint part = 0; part < 3; part++) {
    b[part][0] = from[part * SLAB_BLOCKS * 32];
    b[part][1] = from[part * SLAB_BLOCKS * 32 + 32];
  }
  UNROLL
  for (uint step = 0; step < STEPS; step++) multiply_row(2, a[PART_A(step)], b[PART_B(step)], sum, work);
}

INLINE void store_parts(piece p, local uint4 *slab) {
  store_slab(&p, TYPE_F32, 1, 3, 0, SLAB_BLOCKS, slab);
}

/* Four channels from c on of two queries (teams 0 to 3) or keys (4 to 7). */
INLINE piece load_pair(global const float *q, uint n_queries, uint q_stride, global const float *k, uint n_keys,
                       uint kv_stride, uint c, uint d_head) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32;
  bool is_query = team < 4;
  return load_piece((global const uchar *)(is_query ? q : k), TYPE_F32, is_query ? q_stride : kv_stride, 1,
                    d_head % 4 == 0, team % 4 * 16 + lane / 4 * 2, is_query ? n_queries : n_keys, c + lane % 4 * 4,
                    d_head);
}

/* Four keys from key0 on of two channels; 128 channels from `channel` on. */
INLINE piece load_values(global const float *v, uint stride, uint channel, uint d_head, uint key0, uint n_keys) {
  uint lane = get_local_id(0) % 32;
  return load_piece((global const uchar *)v, TYPE_F32, stride, 0, d_head % 2 == 0,
                    channel + get_local_id(0) / 32 * 16 + lane / 4 * 2, d_head, key0 + lane % 4 * 4, n_keys);
}

/* score[4]: 16 queries by 32 keys of this team. Every item's *turn is the slab that may be written next. */
INLINE void tile_scores(float4 *score, global const float *q, uint n_queries, uint q_stride, global const float *k,
                        uint n_keys, uint kv_stride, uint d_head, uint *turn, local attention_memory *m,
                        local float *work) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32;
  UNROLL
  for (uint j = 0; j < 4; j++) score[j] = (float4)(0, 0, 0, 0);
  piece next = load_pair(q, n_queries, q_stride, k, n_keys, kv_stride, 0, d_head);
  for (uint c = 0; c < d_head; c += DEEP, *turn ^= 1) {
    local uint4 *slab = m->slab[*turn];
    store_parts(next, slab);
    barrier(CLK_LOCAL_MEM_FENCE);
    if (d_head - c > DEEP) next = load_pair(q, n_queries, q_stride, k, n_keys, kv_stride, c + DEEP, d_head);
    local const uint4 *a = slab + team / 2 * 32 + lane;
    uint4 parts[3] = {fragment_a(a[0]), fragment_a(a[SLAB_BLOCKS * 32]), fragment_a(a[2 * SLAB_BLOCKS * 32])};
    multiply_pair(parts, slab + (4 + team % 2 * 2) * 32 + lane, score, work);
  }
}

/* Over the eight items of a query. */
INLINE float row_largest(local const float *part) {
  float x = fmax(fmax(part[0], part[1]), fmax(part[2], part[3]));
  return fmax(x, fmax(fmax(part[4], part[5]), fmax(part[6], part[7])));
}

INLINE float row_sum(local const float *part) {
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

/* Scores of this item's two queries -> probabilities in m->weights; largest, sum: of the two queries up to now. What
 * earlier sums are scaled by is returned. key0, query0: from the sequence's start. */
INLINE float2 update_softmax(const float4 *score, float scale, float slope, uint query0, uint key0, uint n_keys,
                             float2 *largest, float2 *sum, local attention_memory *m) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32, row = team / 2 * 16 + lane / 4 * 2;
  uint at = row * ROW_PARTS + team % 2 * 4 + lane % 4, first_key = key0 + team % 2 * 32 + lane % 4 * 4;
  float x[2][8];
  float2 most = (float2)(-INFINITY, -INFINITY), total = (float2)(0, 0), before = *largest;
  UNROLL
  for (uint j = 0; j < 2; j++) {
    float4 even = score[2 * j], odd = score[2 * j + 1];
    x[0][4 * j] = even.x, x[0][4 * j + 1] = odd.x, x[0][4 * j + 2] = even.y, x[0][4 * j + 3] = odd.y;
    x[1][4 * j] = even.z, x[1][4 * j + 1] = odd.z, x[1][4 * j + 2] = even.w, x[1][4 * j + 3] = odd.w;
  }
  UNROLL
  for (uint i = 0; i < 8; i++) {
    uint key = first_key + i / 4 * 16 + i % 4;
    float shift = slope * (float)key;
    x[0][i] = key <= query0 + row && key < n_keys ? scale * x[0][i] + shift : -INFINITY;
    x[1][i] = key <= query0 + row + 1 && key < n_keys ? scale * x[1][i] + shift : -INFINITY;
    most.x = fmax(most.x, x[0][i]);
    most.y = fmax(most.y, x[1][i]);
  }
  m->largest[at] = most.x;
  m->largest[at + ROW_PARTS] = most.y;
  barrier(CLK_LOCAL_MEM_FENCE);
  most.x = fmax(before.x, row_largest(m->largest + row * ROW_PARTS));
  most.y = fmax(before.y, row_largest(m->largest + (row + 1) * ROW_PARTS));
  UNROLL
  for (uint i = 0; i < 8; i++) {
    x[0][i] = exp(x[0][i] - most.x);
    x[1][i] = exp(x[1][i] - most.y);
    total.x += x[0][i];
    total.y += x[1][i];
  }
  UNROLL
  for (uint j = 0; j < 2; j++) {
    uint block = (team / 2 * 4 + team % 2 * 2 + j) * 32 + lane;
    UNROLL
    for (uint h = 0; h < 2; h++)
      m->weights[h][block] = (uint4)(as_uint(x[h][4 * j]), as_uint(x[h][4 * j + 1]), as_uint(x[h][4 * j + 2]),
                                     as_uint(x[h][4 * j + 3]));
  }
  m->sum[at] = total.x;
  m->sum[at + ROW_PARTS] = total.y;
  barrier(CLK_LOCAL_MEM_FENCE);
  float2 factor = (float2)(exp(before.x - most.x), exp(before.y - most.y));
  sum->x = sum->x * factor.x + row_sum(m->sum + row * ROW_PARTS);
  sum->y = sum->y * factor.y + row_sum(m->sum + (row + 1) * ROW_PARTS);
  *largest = most;
  return factor;
}

/* out[slabs][2 pairs or 1] of 4 += probabilities times values from `channel` on. slabs: of 128 channels; pairs: of
 * blocks of 16 channels that this team has of each. */
INLINE void mix_values(float4 *out, uint slabs, uint pairs, global const float *v, uint stride, uint channel,
                       uint d_head, uint n_keys, uint *turn, local attention_memory *m, local float *work) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32;
  piece next = load_values(v, stride, channel, d_head, 0, n_keys);
  for (uint key = 0; key < n_keys; key += DEEP) {
    uint block = (team / 2 * 4 + key / DEEP) * 32 + lane;
    float x[8];
    UNROLL
    for (uint s = 0; s < slabs; s++, *turn ^= 1) {
      local uint4 *slab = m->slab[*turn];
      store_parts(next, slab);
      barrier(CLK_LOCAL_MEM_FENCE);
      uint more = s + 1 < slabs ? 0 : DEEP;
      if (n_keys - key > more) next = load_values(v, stride, channel + (more ? 0 : 128), d_head, key + more, n_keys);
      as_floats(m->weights[0][block], m->weights[1][block], x);
      uint4 parts[3];
      UNROLL
      for (uint part = 0; part < 3; part++) parts[part] = fragment_a(take_parts(x));
      UNROLL
      for (uint j = 0; j < pairs; j++)
        multiply_pair(parts, slab + (team % 2 * pairs + j) * 64 + lane, out + 4 * (s * pairs + j), work);
    }
  }
}

/* Results over their sums, and the statistics. */
INLINE void put_attention(const float4 *out, uint slabs, uint pairs, float2 largest, float2 sum, uint first_query,
                          uint n_queries, uint n_heads, uint head, uint channel, uint d_head, global float *context,
                          global float *statistic) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32, row = team / 2 * 16 + lane / 4 * 2;
  uint width = n_heads * d_head;
  context += (size_t)first_query * width + head * d_head;
  UNROLL
  for (uint i = 0; i < 8; i++) {
    if (i >= slabs * pairs * 2) continue;
    float4 even = out[2 * i], odd = out[2 * i + 1];
    uint column = channel + i / (2 * pairs) * 128 + (team % 2 * 2 * pairs + i % (2 * pairs)) * 16 + lane % 4 * 4;
    put(context, row, column, n_queries, d_head, width, d_head % 4 == 0, 1, 0,
        (float4)(even.x, odd.x, even.y, odd.y) / sum.x);
    put(context, row + 1, column, n_queries, d_head, width, d_head % 4 == 0, 1, 0,
        (float4)(even.z, odd.z, even.w, odd.w) / sum.y);
  }
  if (channel > 0 || team % 2 > 0 || lane % 4 > 0) return;
  statistic += 2 * ((size_t)(first_query + row) * n_heads + head);
  if (row < n_queries) statistic[0] = largest.x, statistic[1] = sum.x;
  statistic += 2 * n_heads;
  if (row + 1 < n_queries) statistic[0] = largest.y, statistic[1] = sum.y;
}

/* task: first row, number of rows, first row of the sequence, its end. */
INLINE void attend(uint slabs, uint pairs, global const uint *tasks, uint n_tasks, uint n_heads, uint n_kv_heads,
                   uint d_head, float scale, global const float *slopes, global const float *q, global const float *k,
                   global const float *v, global float *context, global float *statistic, local attention_memory *m,
                   local float *work) {
  uint head = GROUP_Y, kv_head = head / (n_heads / n_kv_heads), channel = get_group_id(0) / n_tasks * 128 * slabs;
  global const uint *task = tasks + 4 * (get_group_id(0) % n_tasks);
  uint first_query = task[0], n_queries = task[1], start = task[2], n_keys = first_query + n_queries - start;
  uint q_stride = n_heads * d_head, kv_stride = n_kv_heads * d_head, turn = 0;
  float slope = slopes ? slopes[head] : 0;
  float2 largest = (float2)(-INFINITY, -INFINITY), sum = (float2)(0, 0);
  float4 out[16], score[4];
  q += (size_t)first_query * q_stride + head * d_head;
  k += (size_t)start * kv_stride + kv_head * d_head;
  v += (size_t)start * kv_stride + kv_head * d_head;
  UNROLL
  for (uint i = 0; i < 16; i++) out[i] = (float4)(0, 0, 0, 0);
  for (uint key0 = 0; key0 < n_keys; key0 += TILE_KEYS) {
    uint n = min(n_keys - key0, (uint)TILE_KEYS);
    size_t at = (size_t)key0 * kv_stride;
    tile_scores(score, q, n_queries, q_stride, k + at, n, kv_stride, d_head, &turn, m, work);
    float2 factor = update_softmax(score, scale, slope, first_query - start, key0, n_keys, &largest, &sum, m);
    UNROLL
    for (uint i = 0; i < 16; i++) out[i] *= (float4)(factor.x, factor.x, factor.y, factor.y);
    mix_values(out, slabs, pairs, v + at, kv_stride, channel, d_head, n, &turn, m, work);
  }
  put_attention(out, slabs, pairs, largest, sum, first_query, n_queries, n_heads, head, channel, d_head, context,
                statistic);
}

/* For heads of at most 64 and 128 channels, and for more, 256 at a time. */
#define ATTEND(name, slabs, pairs) \
  KERNEL name(global const uint *tasks, uint n_tasks, uint n_heads, uint n_kv_heads, uint d_head, float scale, \
              global const float *slopes, global const float *q, global const float *k, global const float *v, \
              global float *context, global float *statistic) { \
    local attention_memory memory; \
    TEAMS_WORK \
    attend(slabs, pairs, tasks, n_tasks, n_heads, n_kv_heads, d_head, scale, slopes, q, k, v, context, statistic, \
           &memory, work); \
  }
ATTEND(attend_tensor_64, 1, 1)
ATTEND(attend_tensor_128, 1, 2)
ATTEND(attend_tensor_256, 2, 2)
