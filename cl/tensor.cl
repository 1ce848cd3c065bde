/* SPDX-License-Identifier: Apache-2.0 */
/* c = alpha a b + beta c on the tensor cores of NVIDIA's devices from compute capability 8.0 on. A program of its own
 * (after cl/common.cl), so that a driver that does not take it costs nothing else. Without TENSOR_PTX the instruction
 * is emulated as its manual defines it (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type"); then
 * the kernels run on every device, slowly: how the tests check them without such a device.
 *
 * Tiles of 128 x 128 by 8 teams (warps) of 32 items, each with 64 x 32 results; slabs 16 deep, two of them in local
 * memory where they fit, so that the next one is loaded and rounded while this one is multiplied. Sums are float32.
 * Numbers are taken apart into bfloat16 numbers, x = x0 + x1 + x2, each what the ones before leave:
 *   gemm_bf16     one part;    a b = a0 b0
 *   gemm_bf16x3   two parts;   a b = a0 b1 + a1 b0 + a0 b0, within 2^-16 of |a| |b|
 *   gemm_bf16x6   three parts; the six products of indices up to 2 in sum, within 2^-23: float32
 * With several parts an infinity may become NaN. */
#define SIDE 128
#define SLAB 16
#define PAIRS (SLAB / 2)
#define LINE (SIDE + 8) /* 8 more than a multiple of 32: the four lines that a team reads at once share no bank */
#define EACH 4          /* pairs that an item loads of each matrix */
#define INLINE __attribute__((always_inline)) /* `parts` is then known where loops are unrolled */
#define MAX_PARTS 3
#define AREA (PAIRS * LINE)
#define SLABS(parts) ((parts) < 3 ? 2 : 1) /* in local memory: at most 48 KiB in all */

#ifdef TENSOR_PTX
#define UNROLL _Pragma("unroll")
#define WORK 1
INLINE float4 multiply(uint4 a, uint2 b, float4 c, local float *work) {
  float4 d;
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
               "{%10,%11,%12,%13};"
               : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "f"(c.x), "f"(c.y), "f"(c.z), "f"(c.w));
  return d;
}
#else
#define UNROLL
#define WORK (16 * 16 + 16 * 8) /* floats of a team: A [16,16], B [16,8] */
float bf16_value(uint bits) { return as_float(bits << 16); }

INLINE float4 multiply(uint4 a, uint2 b, float4 c, local float *work) {
  uint lane = get_local_id(0) % 32, group = lane >> 2, in_group = lane % 4;
  uint a_registers[4] = {a.x, a.y, a.z, a.w}, b_registers[2] = {b.x, b.y};
  float out[4] = {c.x, c.y, c.z, c.w};
  local float *matrix_a = work, *matrix_b = work + 16 * 16;
  for (uint i = 0; i < 8; i++) { /* a_i is half i % 2 of register i / 2 */
    uint row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
    uint column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
    matrix_a[row * 16 + column] = bf16_value(a_registers[i / 2] >> 16 * (i & 1) & 0xffff);
  }
  for (uint i = 0; i < 4; i++) {
    uint row = in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0), column = group;
    matrix_b[row * 8 + column] = bf16_value(b_registers[i / 2] >> 16 * (i & 1) & 0xffff);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint i = 0; i < 4; i++) {
    uint row = i < 2 ? group : group + 8, column = in_group * 2 + (i & 1);
    for (uint l = 0; l < 16; l++) out[i] += matrix_a[row * 16 + l] * matrix_b[l * 8 + column];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  return (float4)(out[0], out[1], out[2], out[3]);
}
#endif

/* Values (l, l + 1) of SIDE lines by PAIRS pairs, lines being rows of a or columns of b. deep: l runs along memory. */
INLINE void load_pairs(global const float *x, uint stride, uint deep, uint first, uint n_lines, uint k0, uint k,
                       float2 *out) {
  UNROLL
  for (uint j = 0; j < EACH; j++) {
    uint e = get_local_id(0) + GROUP * j;
    uint line = first + (deep ? e / PAIRS : e % SIDE), l = k0 + 2 * (deep ? e % PAIRS : e / SIDE);
    size_t at = deep ? (size_t)line * stride + l : (size_t)l * stride + line;
    out[j].x = line < n_lines && l < k ? x[at] : 0;
    out[j].y = line < n_lines && l + 1 < k ? x[at + (deep ? 1 : stride)] : 0;
  }
}

/* What bfloat16 leaves of x. */
INLINE float rest_of(float x, uint bits) { return (bits & 0x7f80) == 0x7f80 ? 0 : x - as_float(bits << 16); }

/* tile: [parts][PAIRS][LINE] */
INLINE void store_pairs(const float2 *pairs, uint deep, uint parts, local uint *tile) {
  UNROLL
  for (uint j = 0; j < EACH; j++) {
    uint e = get_local_id(0) + GROUP * j;
    uint at = (deep ? e % PAIRS : e / SIDE) * LINE + (deep ? e / PAIRS : e % SIDE);
    float x = pairs[j].x, y = pairs[j].y;
    UNROLL
    for (uint part = 0; part < parts; part++) {
      uint x_bits = bf16_bits(x), y_bits = bf16_bits(y);
      tile[part * AREA + at] = x_bits | y_bits << 16;
      x = rest_of(x, x_bits);
      y = rest_of(y, y_bits);
    }
  }
}

INLINE uint4 fragment_a(local const uint *tile, uint row) {
  uint at = get_local_id(0) % 4 * LINE + row;
  return (uint4)(tile[at], tile[at + 8], tile[at + 4 * LINE], tile[at + 4 * LINE + 8]);
}

INLINE uint2 fragment_b(local const uint *tile, uint column) {
  uint at = get_local_id(0) % 4 * LINE + column;
  return (uint2)(tile[at], tile[at + 4 * LINE]);
}

/* One slab: 4 x 4 blocks of 16 x 8 results for each team. */
INLINE void multiply_slab(uint parts, local const uint *tile_a, local const uint *tile_b, float4 sum[4][4],
                          local float *work) {
  uint team = get_local_id(0) / 32, group = get_local_id(0) % 32 / 4;
  uint row = team / 4 * 64 + group, column = team % 4 * 32 + group;
  uint2 b[MAX_PARTS][4];
  UNROLL
  for (uint part = 0; part < parts; part++)
    UNROLL
    for (uint j = 0; j < 4; j++) b[part][j] = fragment_b(tile_b + part * AREA, column + 8 * j);
  UNROLL
  for (uint i = 0; i < 4; i++) {
    uint4 a[MAX_PARTS];
    UNROLL
    for (uint part = 0; part < parts; part++) a[part] = fragment_a(tile_a + part * AREA, row + 16 * i);
    UNROLL
    for (uint small = parts; small > 0; small--) /* the smallest products first */
      UNROLL
      for (uint part = 0; part < small; part++)
        UNROLL
        for (uint j = 0; j < 4; j++) sum[i][j] = multiply(a[part], b[small - 1 - part][j], sum[i][j], work);
  }
}

INLINE void put(global float *c, size_t at, bool there, float alpha, float beta, float sum) {
  if (there) c[at] = beta == 0 ? alpha * sum : alpha * sum + beta * c[at];
}

/* tiles: [SLABS(parts)][a, b][parts][PAIRS][LINE] */
INLINE void tensor_product(uint parts, uint m, uint n, uint k, float alpha, global const float *a, uint a_stride,
                           uint a_transposed, global const float *b, uint b_stride, uint b_transposed, float beta,
                           global float *c, uint c_stride, local uint *tiles, local float *work) {
  uint column0 = get_group_id(0) * SIDE, row0 = GROUP_Y * SIDE;
  float2 next_a[EACH], next_b[EACH];
  float4 sum[4][4];
  UNROLL
  for (uint i = 0; i < 4; i++)
    UNROLL
    for (uint j = 0; j < 4; j++) sum[i][j] = (float4)(0, 0, 0, 0);
  work += get_local_id(0) / 32 * WORK;
  load_pairs(a, a_stride, !a_transposed, row0, m, 0, k, next_a);
  load_pairs(b, b_stride, b_transposed, column0, n, 0, k, next_b);
  store_pairs(next_a, !a_transposed, parts, tiles);
  store_pairs(next_b, b_transposed, parts, tiles + parts * AREA);
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint k0 = 0, slab = 0; k0 < k; k0 += SLAB) {
    local uint *now = tiles + slab * 2 * parts * AREA;
    slab = (slab + 1) % SLABS(parts);
    local uint *then = tiles + slab * 2 * parts * AREA;
    bool more = k - k0 > SLAB;
    if (more) {
      load_pairs(a, a_stride, !a_transposed, row0, m, k0 + SLAB, k, next_a);
      load_pairs(b, b_stride, b_transposed, column0, n, k0 + SLAB, k, next_b);
    }
    multiply_slab(parts, now, now + parts * AREA, sum, work);
    if (SLABS(parts) == 1) barrier(CLK_LOCAL_MEM_FENCE);
    if (more) {
      store_pairs(next_a, !a_transposed, parts, then);
      store_pairs(next_b, b_transposed, parts, then + parts * AREA);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32;
  uint row = row0 + team / 4 * 64 + lane / 4, column = column0 + team % 4 * 32 + lane % 4 * 2;
  UNROLL
  for (uint i = 0; i < 4; i++)
    UNROLL
    for (uint j = 0; j < 4; j++) {
      uint r = row + 16 * i, x = column + 8 * j;
      size_t at = (size_t)r * c_stride + x, below = at + (size_t)8 * c_stride;
      put(c, at, r < m && x < n, alpha, beta, sum[i][j].x);
      put(c, at + 1, r < m && x + 1 < n, alpha, beta, sum[i][j].y);
      put(c, below, r + 8 < m && x < n, alpha, beta, sum[i][j].z);
      put(c, below + 1, r + 8 < m && x + 1 < n, alpha, beta, sum[i][j].w);
    }
}

#define TENSOR_GEMM(name, parts) \
  KERNEL name(uint m, uint n, uint k, float alpha, global const float *a, uint a_high, uint a_low, uint a_stride, \
              uint a_transposed, global const float *b, uint b_high, uint b_low, uint b_stride, uint b_transposed, \
              float beta, global float *c, uint c_high, uint c_low, uint c_stride) { \
    local uint tiles[SLABS(parts) * 2 * parts * AREA]; \
    local float work[GROUP / 32 * WORK]; \
    tensor_product(parts, m, n, k, alpha, a + ((ulong)a_high << 32) + a_low, a_stride, a_transposed, \
                   b + ((ulong)b_high << 32) + b_low, b_stride, b_transposed, beta, \
                   c + ((ulong)c_high << 32) + c_low, c_stride, tiles, work); \
  }
TENSOR_GEMM(gemm_bf16, 1)
TENSOR_GEMM(gemm_bf16x3, 2)
TENSOR_GEMM(gemm_bf16x6, 3)
