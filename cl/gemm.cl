/* SPDX-License-Identifier: Apache-2.0 */
/* c = alpha a b + beta c: tiles of 64 x 64 by 256 items with 4 x 4 results each, 16 deep; sums run in the order of k.
 * rounded: numbers of a and b become bfloat16 on their way. b holds numbers of type b_type. */
#define TILE 64
#define DEPTH 16

KERNEL gemm(uint rounded, uint m, uint n, uint k, float alpha, global const float *a, uint a_high, uint a_low,
            uint a_stride, uint a_transposed, global const uchar *b, uint b_high, uint b_low, uint b_stride,
            uint b_transposed, uint b_type, float beta, global float *c, uint c_high, uint c_low, uint c_stride) {
  local float tile_a[DEPTH][TILE + 1], tile_b[DEPTH][TILE + 1];
  uint id = get_local_id(0), column0 = get_group_id(0) * TILE, row0 = GROUP_Y * TILE;
  uint tx = id % 16, ty = id / 16;
  float sum[4][4];
  a += ((ulong)a_high << 32) + a_low;
  b += (((ulong)b_high << 32) + b_low) * (b_type == TYPE_F32 ? 4 : 2);
  c += ((ulong)c_high << 32) + c_low;
  for (uint i = 0; i < 4; i++)
    for (uint j = 0; j < 4; j++) sum[i][j] = 0;
  for (uint k0 = 0; k0 < k; k0 += DEPTH) {
    /* Neighbouring items read neighbouring values, whichever way the matrix lies. */
    for (uint e = id; e < TILE * DEPTH; e += GROUP) {
      uint i = a_transposed ? e % TILE : e / DEPTH, l = a_transposed ? e / TILE : e % DEPTH;
      uint row = row0 + i, deep = k0 + l;
      size_t at = a_transposed ? (size_t)deep * a_stride + row : (size_t)row * a_stride + deep;
      float x = row < m && deep < k ? a[at] : 0;
      tile_a[l][i] = rounded ? as_float(bf16_bits(x) << 16) : x;
      uint j = b_transposed ? e / DEPTH : e % TILE, p = b_transposed ? e % DEPTH : e / TILE;
      uint column = column0 + j;
      deep = k0 + p;
      at = b_transposed ? (size_t)column * b_stride + deep : (size_t)deep * b_stride + column;
      x = column < n && deep < k ? value_of(b, b_type, at) : 0;
      tile_b[p][j] = rounded ? as_float(bf16_bits(x) << 16) : x;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint l = 0; l < DEPTH; l++) {
      float left[4], right[4];
      for (uint i = 0; i < 4; i++) left[i] = tile_a[l][ty + 16 * i];
      for (uint j = 0; j < 4; j++) right[j] = tile_b[l][tx + 16 * j];
      for (uint i = 0; i < 4; i++)
        for (uint j = 0; j < 4; j++) sum[i][j] += left[i] * right[j];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (uint i = 0; i < 4; i++)
    for (uint j = 0; j < 4; j++) {
      uint row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
      if (row >= m || column >= n) continue;
      size_t at = (size_t)row * c_stride + column;
      c[at] = beta == 0 ? alpha * sum[i][j] : alpha * sum[i][j] + beta * c[at];
    }
}
