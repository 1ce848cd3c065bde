/* SPDX-License-Identifier: Apache-2.0 */
/* c = alpha a b + beta c on the tensor cores of NVIDIA's devices from compute capability 8.0 on. A program of its own
 * (after cl/common.cl), so that a driver that does not take it costs nothing else. Without TENSOR_PTX the instructions
 * are emulated as their manual defines them (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type");
 * then the kernels run on every device, slowly: how the tests check them without such a device.
 *
 * Sums are float32. Numbers are taken apart into bfloat16 numbers, x = x0 + x1 + x2, each the nearest to what the ones
 * before leave; bfloat16 numbers are one part, float16 numbers two, exactly. Of the products of parts those are summed
 * whose indices add to less than the parts of a:
 *   gemm_bf16       one part of each;                              a b = a0 b0
 *   gemm_bf16x3     two parts of each;                             a b = a0 b1 + a1 b0 + a0 b0, within 2^-15 of |a| |b|
 *   gemm_bf16x6     three parts of each: six products within 2^-23: float32
 *   gemm_bf16x3_b16 three parts of a, b as it is;                  a b = a2 b0 + a1 b0 + a0 b0, exactly
 *   gemm_bf16x5_h16 three parts of a, two of b: five products, within 2^-25
 * _b16, _h16: b holds bfloat16 or float16 numbers. With several parts an infinity may become NaN.
 *
 * A group of 8 teams (warps) of 32 items takes a tile of 128 rows and 128 or 256 columns, each team 64 x 32 or 64 x 64
 * of it. Two slabs, 16 deep, are in local memory: the next one is on its way while this one is multiplied. So that two
 * fit, b of three parts lies there as float32 and is taken apart by each team that reads it. */
#define HIGH 128
#define DEEP 16
#define SUMS_DOWN 4                           /* blocks of 16 rows of a team */
#define LIES(parts_b) ((parts_b) > 2 ? 2 : (parts_b)) /* uint4 of an item and block of b in local memory */
#define BAND 8                                /* tiles below each other that run at a time */
#define INLINE __attribute__((always_inline)) /* sizes are then known where loops are unrolled */

#ifdef TENSOR_PTX
#define UNROLL _Pragma("unroll")
#define TEAMS_WORK local float *work = 0;
INLINE float4 multiply(uint4 a, uint2 b, float4 c, local float *work) {
  float4 d;
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
               "{%10,%11,%12,%13};"
               : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w)
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y), "f"(c.x), "f"(c.y), "f"(c.z), "f"(c.w));
  return d;
}

/* The nearest bfloat16 numbers, x in the low half. */
INLINE uint round_pair(float x, float y) {
  uint word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(y), "f"(x));
  return word;
}

INLINE float half_value(uint bits) {
  float x;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(x) : "r"(bits));
  return x;
}
#else
#define UNROLL
#define WORK (16 * 16 + 16 * 8) /* floats of a team: A [16,16], B [16,8] */
#define TEAMS_WORK local float all_work[GROUP / 32 * WORK], *work = all_work + get_local_id(0) / 32 * WORK;
INLINE uint round_pair(float x, float y) { return bf16_bits(x) | bf16_bits(y) << 16; }

INLINE float half_value(uint bits) {
  ushort number = (ushort)bits;
  return vload_half(0, (const half *)&number);
}

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

/* ---- From global to local memory ----
 * Local memory holds blocks of 16 lines (rows of a, columns of b) x 16 deep, as the items of a team take them: item
 * 4 g + t has one uint4, of the lines 2 g (x, y) and 2 g + 1 (z, w), each 4 deep from 4 t on. The instruction's places
 * are given out accordingly: its rows g and g + 8, or its columns g of two neighbouring instructions, are lines 2 g and
 * 2 g + 1, and its depths 2 t, 2 t + 1, 2 t + 8, 2 t + 9 are 4 t .. 4 t + 3. Then an item loads, stores and reads again
 * 16 bytes at a time, a team 512 bytes in a row, and four results of a row lie side by side. */

/* What an item loads of a block: of 4-byte numbers one word each, line by line; of 2-byte numbers (the first uint4
 * alone) two words a line, or where lines lie side by side in memory, a word for each depth. */
typedef struct piece {
  uint4 word[2];
} piece;

INLINE uint number_at(global const uchar *x, uint type, size_t at, bool there) {
  if (!there) return 0;
  return type == TYPE_F32 ? ((global const uint *)x)[at] : ((global const ushort *)x)[at];
}

/* Lines `line` and the next, 4 deep from l on, one by one; 0 beyond n_lines and k. */
INLINE piece load_numbers(global const uchar *x, uint type, uint stride, uint deep, uint line, uint n_lines, uint l,
                          uint k) {
  uint n[8];
  piece p;
  UNROLL
  for (uint i = 0; i < 8; i++) {
    uint this_line = line + i / 4, this_l = l + i % 4;
    size_t at = deep ? (size_t)this_line * stride + this_l : (size_t)this_l * stride + this_line;
    n[i] = number_at(x, type, at, this_line < n_lines && this_l < k);
  }
  p.word[0] = p.word[1] = (uint4)(n[0], n[1], n[2], n[3]);
  if (type == TYPE_F32) p.word[1] = (uint4)(n[4], n[5], n[6], n[7]);
  else if (deep) p.word[0] = (uint4)(n[0] | n[1] << 16, n[2] | n[3] << 16, n[4] | n[5] << 16, n[6] | n[7] << 16);
  else p.word[0] = (uint4)(n[0] | n[4] << 16, n[1] | n[5] << 16, n[2] | n[6] << 16, n[3] | n[7] << 16);
  return p;
}

/* The same with wide loads: all of it is there, and aligned. */
INLINE piece load_vectors(global const uchar *x, uint type, uint stride, uint deep, uint line, uint l) {
  size_t at = deep ? (size_t)line * stride + l : (size_t)l * stride + line, bytes = type == TYPE_F32 ? 4 : 2;
  global const uchar *from = x + at * bytes;
  size_t step = stride * bytes;
  piece p;
  p.word[0] = p.word[1] = (uint4)(0, 0, 0, 0);
  if (type == TYPE_F32 && deep) {
    p.word[0] = *(global const uint4 *)from;
    p.word[1] = *(global const uint4 *)(from + step);
  } else if (type == TYPE_F32) {
    uint2 a = *(global const uint2 *)from, b = *(global const uint2 *)(from + step);
    uint2 c = *(global const uint2 *)(from + 2 * step), d = *(global const uint2 *)(from + 3 * step);
    p.word[0] = (uint4)(a.x, b.x, c.x, d.x);
    p.word[1] = (uint4)(a.y, b.y, c.y, d.y);
  } else if (deep) {
    p.word[0].xy = *(global const uint2 *)from;
    p.word[0].zw = *(global const uint2 *)(from + step);
  } else {
    p.word[0] = (uint4)(*(global const uint *)from, *(global const uint *)(from + step),
                        *(global const uint *)(from + 2 * step), *(global const uint *)(from + 3 * step));
  }
  return p;
}

INLINE piece load_piece(global const uchar *x, uint type, uint stride, uint deep, uint aligned, uint line,
                        uint n_lines, uint l, uint k) {
  if (aligned && line + 1 < n_lines && l + 3 < k) return load_vectors(x, type, stride, deep, line, l);
  return load_numbers(x, type, stride, deep, line, n_lines, l, k);
}

/* This item's piece of each block that its team loads, of lines first .. first + 16 blocks. deep: depth runs along
 * memory. */
INLINE void load_slab(global const uchar *x, uint type, uint stride, uint deep, uint aligned, uint first, uint blocks,
                      uint n_lines, uint k0, uint k, piece *out) {
  uint lane = get_local_id(0) % 32, l = k0 + lane % 4 * 4;
  UNROLL
  for (uint j = 0; j < blocks / 8; j++) {
    uint line = first + (get_local_id(0) / 32 + 8 * j) * 16 + lane / 4 * 2;
    out[j] = load_piece(x, type, stride, deep, aligned, line, n_lines, l, k);
  }
}

/* Four words of two numbers each, whichever way they were loaded. */
INLINE uint4 paired(uint4 x, uint deep) {
  if (deep) return x;
  return (uint4)((x.x & 0xffff) | x.y << 16, (x.z & 0xffff) | x.w << 16, x.x >> 16 | (x.y & 0xffff0000u),
                 x.z >> 16 | (x.w & 0xffff0000u));
}

/* The nearest bfloat16 numbers; *x, *y: what they leave. */
INLINE uint take_part(float *x, float *y) {
  uint word = round_pair(*x, *y);
  *x -= as_float(word << 16);
  *y -= as_float(word & 0xffff0000u);
  return word;
}

/* Eight float32 numbers of two lines -> one part of each, the rest in their place. */
INLINE uint4 take_parts(float *x) {
  uint a = take_part(x, x + 1), b = take_part(x + 2, x + 3), c = take_part(x + 4, x + 5);
  return (uint4)(a, b, c, take_part(x + 6, x + 7));
}

INLINE void as_floats(uint4 first, uint4 second, float *x) {
  x[0] = as_float(first.x), x[1] = as_float(first.y), x[2] = as_float(first.z), x[3] = as_float(first.w);
  x[4] = as_float(second.x), x[5] = as_float(second.y), x[6] = as_float(second.z), x[7] = as_float(second.w);
}

INLINE void halves_as_floats(uint4 pairs, float *x) {
  x[0] = half_value(pairs.x & 0xffff), x[1] = half_value(pairs.x >> 16), x[2] = half_value(pairs.y & 0xffff);
  x[3] = half_value(pairs.y >> 16), x[4] = half_value(pairs.z & 0xffff), x[5] = half_value(pairs.z >> 16);
  x[6] = half_value(pairs.w & 0xffff), x[7] = half_value(pairs.w >> 16);
}

/* tile: [parts][blocks][32]; as_is: [2][blocks][32], float32 numbers of each line. */
INLINE void store_slab(const piece *pieces, uint type, uint deep, uint parts, uint as_is, uint blocks,
                       local uint4 *tile) {
  tile += get_local_id(0);
  UNROLL
  for (uint j = 0; j < blocks / 8; j++) {
    float x[8];
    if (as_is || type == TYPE_BF16) {
      tile[GROUP * j] = as_is ? pieces[j].word[0] : paired(pieces[j].word[0], deep);
      if (as_is) tile[blocks * 32 + GROUP * j] = pieces[j].word[1];
      continue;
    }
    if (type == TYPE_F32) as_floats(pieces[j].word[0], pieces[j].word[1], x);
    else halves_as_floats(paired(pieces[j].word[0], deep), x);
    UNROLL
    for (uint part = 0; part < parts; part++) tile[part * blocks * 32 + GROUP * j] = take_parts(x);
  }
}

/* ---- Products ---- */

INLINE uint4 fragment_a(uint4 lines) { return (uint4)(lines.x, lines.z, lines.y, lines.w); }

/* One part of a by one of b: 16 rows by `across` blocks of 16 columns, two instructions each. */
INLINE void multiply_row(uint across, uint4 a, const uint4 *b, float4 *sum, local float *work) {
  UNROLL
  for (uint j = 0; j < across; j++) {
    sum[2 * j] = multiply(a, (uint2)(b[j].x, b[j].y), sum[2 * j], work);
    sum[2 * j + 1] = multiply(a, (uint2)(b[j].z, b[j].w), sum[2 * j + 1], work);
  }
}

/* The products of parts, the smallest first. */
#define STEPS 6
#define PART_A(step) (0x010210u >> 4 * (step) & 3)
#define PART_B(step) (0x001012u >> 4 * (step) & 3)

/* One slab: each team 4 x `across` blocks of 16 x 16 results. tile_a [parts_a][8][32], tile_b [parts_b, of three
 * 2][4 across][32]. */
INLINE void multiply_slab(uint parts_a, uint parts_b, uint across, local const uint4 *tile_a,
                          local const uint4 *tile_b, float4 sum[SUMS_DOWN][8], local float *work) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32, part_b = 4 * across * 32;
  uint4 b[3][4];
  tile_a += team / 4 * SUMS_DOWN * 32 + lane;
  tile_b += team % 4 * across * 32 + lane;
  UNROLL
  for (uint j = 0; j < across; j++) {
    b[0][j] = tile_b[j * 32];
    if (parts_b > 1) b[1][j] = tile_b[part_b + j * 32];
    if (parts_b > 2) {
      float x[8];
      as_floats(b[0][j], b[1][j], x);
      b[0][j] = take_parts(x);
      b[1][j] = take_parts(x);
      b[2][j] = take_parts(x);
    }
  }
  UNROLL
  for (uint i = 0; i < SUMS_DOWN; i++) {
    uint4 a[3];
    a[0] = fragment_a(tile_a[i * 32]);
    if (parts_a > 1) a[1] = fragment_a(tile_a[(8 + i) * 32]);
    if (parts_a > 2) a[2] = fragment_a(tile_a[(16 + i) * 32]);
    UNROLL
    for (uint step = 0; step < STEPS; step++)
      if (PART_B(step) < parts_b && PART_A(step) + PART_B(step) < parts_a)
        multiply_row(across, a[PART_A(step)], b[PART_B(step)], sum[i], work);
  }
}

/* Four results of a row from `column` on. */
INLINE void put(global float *c, uint row, uint column, uint m, uint n, uint stride, uint aligned, float alpha,
                float beta, float4 sum) {
  if (row >= m || column >= n) return;
  global float *to = c + (size_t)row * stride + column;
  if (aligned && n - column >= 4) {
    global float4 *four = (global float4 *)to;
    *four = beta == 0 ? alpha * sum : alpha * sum + beta * *four;
    return;
  }
  to[0] = beta == 0 ? alpha * sum.x : alpha * sum.x + beta * to[0];
  if (column + 1 < n) to[1] = beta == 0 ? alpha * sum.y : alpha * sum.y + beta * to[1];
  if (column + 2 < n) to[2] = beta == 0 ? alpha * sum.z : alpha * sum.z + beta * to[2];
  if (column + 3 < n) to[3] = beta == 0 ? alpha * sum.w : alpha * sum.w + beta * to[3];
}

INLINE void put_sums(float4 sum[SUMS_DOWN][8], uint across, uint row0, uint column0, uint m, uint n, float alpha,
                     float beta, global float *c, uint stride, uint aligned) {
  uint team = get_local_id(0) / 32, lane = get_local_id(0) % 32;
  UNROLL
  for (uint i = 0; i < SUMS_DOWN; i++)
    UNROLL
    for (uint j = 0; j < across; j++) {
      float4 even = sum[i][2 * j], odd = sum[i][2 * j + 1];
      uint row = row0 + (team / 4 * SUMS_DOWN + i) * 16 + lane / 4 * 2;
      uint column = column0 + (team % 4 * across + j) * 16 + lane % 4 * 4;
      put(c, row, column, m, n, stride, aligned, alpha, beta, (float4)(even.x, odd.x, even.y, odd.y));
      put(c, row + 1, column, m, n, stride, aligned, alpha, beta, (float4)(even.z, odd.z, even.w, odd.w));
    }
}

/* The group's tile: column x, row y. Groups run in bands of BAND rows of tiles, so that the hundred that run at a time
 * share more of a and b than a single row of tiles would. */
INLINE uint2 find_tile(void) {
  uint wide = get_num_groups(0), high = get_num_groups(1), id = get_group_id(1) * wide + get_group_id(0);
  uint first = id / (BAND * wide) * BAND, rows = min(high - first, (uint)BAND), at = id - first * wide;
  return (uint2)(at / rows, first + at % rows + (uint)get_global_offset(1));
}

/* Whether n numbers lie together for a wide load wherever n divides their index. */
INLINE uint is_aligned(uint first, uint stride, uint n) { return ((first | stride) & (n - 1)) == 0; }

/* tiles: [2 slabs][parts_a * 8 + lies_b * 4 across][32] */
INLINE void tensor_product(uint parts_a, uint parts_b, uint type, uint across, uint m, uint n, uint k, float alpha,
                           global const uchar *a, uint a_stride, uint a_deep, uint a_aligned, global const uchar *b,
                           uint b_stride, uint b_deep, uint b_aligned, float beta, global float *c, uint c_stride,
                           uint c_aligned, local uint4 *tiles, local float *work) {
  uint2 tile = find_tile();
  uint row0 = tile.y * HIGH, column0 = tile.x * 64 * across, area_a = parts_a * 8 * 32;
  uint area = area_a + LIES(parts_b) * 4 * across * 32;
  piece next_a[1], next_b[2];
  float4 sum[SUMS_DOWN][8];
  UNROLL
  for (uint i = 0; i < SUMS_DOWN; i++)
    UNROLL
    for (uint j = 0; j < 8; j++) sum[i][j] = (float4)(0, 0, 0, 0);
  load_slab(a, TYPE_F32, a_stride, a_deep, a_aligned, row0, 8, m, 0, k, next_a);
  load_slab(b, type, b_stride, b_deep, b_aligned, column0, 4 * across, n, 0, k, next_b);
  store_slab(next_a, TYPE_F32, a_deep, parts_a, 0, 8, tiles);
  store_slab(next_b, type, b_deep, parts_b, parts_b > 2, 4 * across, tiles + area_a);
  barrier(CLK_LOCAL_MEM_FENCE);
  for (uint k0 = 0, slab = 0; k0 < k; k0 += DEEP, slab ^= 1) {
    local uint4 *now = tiles + slab * area, *then = tiles + (slab ^ 1) * area;
    bool more = k - k0 > DEEP;
    if (more) {
      load_slab(a, TYPE_F32, a_stride, a_deep, a_aligned, row0, 8, m, k0 + DEEP, k, next_a);
      load_slab(b, type, b_stride, b_deep, b_aligned, column0, 4 * across, n, k0 + DEEP, k, next_b);
    }
    multiply_slab(parts_a, parts_b, across, now, now + area_a, sum, work);
    if (more) {
      store_slab(next_a, TYPE_F32, a_deep, parts_a, 0, 8, then);
      store_slab(next_b, type, b_deep, parts_b, parts_b > 2, 4 * across, then + area_a);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  put_sums(sum, across, row0, column0, m, n, alpha, beta, c, c_stride, c_aligned);
}

/* bytes: of a number of b. Local memory stays below 48 KiB, of which a compiler may keep some bytes for itself. */
#define TENSOR_GEMM(name, parts_a, parts_b, type, bytes, across) \
  KERNEL name(uint m, uint n, uint k, float alpha, global const uchar *a, uint a_high, uint a_low, uint a_stride, \
              uint a_transposed, global const uchar *b, uint b_high, uint b_low, uint b_stride, uint b_transposed, \
              float beta, global float *c, uint c_high, uint c_low, uint c_stride) { \
    local uint4 tiles[2 * (parts_a * 8 + LIES(parts_b) * 4 * across) * 32]; \
    TEAMS_WORK \
    tensor_product(parts_a, parts_b, type, across, m, n, k, alpha, a + (((ulong)a_high << 32) + a_low) * 4, \
                   a_stride, !a_transposed, is_aligned(a_low, a_stride, a_transposed ? 2 : 4), \
                   b + (((ulong)b_high << 32) + b_low) * bytes, b_stride, b_transposed, \
                   is_aligned(b_low, b_stride, b_transposed ? 4 : 2), beta, c + ((ulong)c_high << 32) + c_low, \
                   c_stride, is_aligned(c_low, c_stride, 4), tiles, work); \
  }
TENSOR_GEMM(gemm_bf16, 1, 1, TYPE_F32, 4, 4)
TENSOR_GEMM(gemm_bf16_b16, 1, 1, TYPE_BF16, 2, 4)
TENSOR_GEMM(gemm_bf16_h16, 1, 1, TYPE_F16, 2, 4)
TENSOR_GEMM(gemm_bf16x3, 2, 2, TYPE_F32, 4, 2)
TENSOR_GEMM(gemm_bf16x6, 3, 3, TYPE_F32, 4, 2)
TENSOR_GEMM(gemm_bf16x3_b16, 3, 1, TYPE_BF16, 2, 4)
TENSOR_GEMM(gemm_bf16x5_h16, 3, 2, TYPE_F16, 2, 2)
