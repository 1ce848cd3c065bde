/* SPDX-License-Identifier: Apache-2.0 */
/* Inner loops of the crosscoder. Compiled once per instruction set XCI_SET, with XCI_LANES floats per vector. */
#include "compute/cpu/coder_kernels.h"

#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define TEXT_OF(set) TEXT(set)
#define TEXT(set) #set
#define TABLE_OF(set) TABLE(set)
#define TABLE(set) xci_coder_kernels_##set
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

enum { LANES = XCI_LANES, MAX_VECTORS = 4, BLOCK = MAX_VECTORS * LANES };

typedef float vector __attribute__((vector_size(4 * XCI_LANES), may_alias));

INLINE vector load(const float *p) { return *(const vector *)p; }
INLINE void store(float *p, vector v) { *(vector *)p = v; }

typedef float four __attribute__((vector_size(16), may_alias));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define HAVE_SHUFFLE 1
#endif
#endif

/* The lanes of v added up to four. */
INLINE four fold(vector v) {
#if !defined(HAVE_SHUFFLE)
  float lane[LANES];
  memcpy(lane, &v, sizeof lane);
  for (int i = 4; i < LANES; i++) lane[i % 4] += lane[i];
  return *(four *)lane;
#elif XCI_LANES == 16
  typedef float eight __attribute__((vector_size(32)));
  eight half = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
               __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(half, half, 0, 1, 2, 3) + __builtin_shufflevector(half, half, 4, 5, 6, 7);
#elif XCI_LANES == 8
  return __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  return v;
#endif
}

/* The sums of four vectors. */
INLINE four sum_each(four a, four b, four c, four d) {
#if defined(HAVE_SHUFFLE)
  four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
#else
  return (four){(a[0] + a[2]) + (a[1] + a[3]), (b[0] + b[2]) + (b[1] + b[3]), (c[0] + c[2]) + (c[1] + c[3]),
                (d[0] + d[2]) + (d[1] + d[3])};
#endif
}

INLINE float sum(vector v) {
  four s = fold(v);
  return (s[0] + s[2]) + (s[1] + s[3]);
}

/* ---- Products ---- */

/* Vectors of a row that a product keeps in registers with six rows and one row of b: 6 x 4 + 4 of 32 registers with
 * AVX-512, 6 x 2 + 2 of 16 elsewhere. */
enum { PRODUCT_VECTORS = LANES == 16 ? 4 : 2 };

#define ROWS(X) X(0) X(1) X(2) X(3) X(4) X(5)

INLINE void strip(const xci_product *q, const float *a, const float *b, float *c, size_t width, const int n) {
  vector s[XCI_STRIP][PRODUCT_VECTORS];
#define LOAD_ROW(r) \
  UNROLL for (int j = 0; j < n; j++) s[r][j] = q->accumulate ? load(c + r * width + j * LANES) : (vector){0};
  ROWS(LOAD_ROW)
  size_t step = q->a_step;
  for (size_t t = 0; t < q->n_tiles; t++, a += q->a_tile) {
    const float *a0 = a, *a1 = a0 + q->a_row, *a2 = a1 + q->a_row, *a3 = a2 + q->a_row, *a4 = a3 + q->a_row,
                *a5 = a4 + q->a_row;
    size_t i = 0;
    if (step == 1)
      for (size_t l = 0; l < XCI_STRIP * q->a_row; l += 16) __builtin_prefetch(a + q->a_strip + l);
    for (size_t k = q->tile_steps; k > 0; k--, i += step, b += width) {
      vector y[PRODUCT_VECTORS];
      UNROLL for (int j = 0; j < n; j++) y[j] = load(b + j * LANES);
#define MULTIPLY_ROW(r) \
  { \
    float x = a##r[i]; \
    UNROLL for (int j = 0; j < n; j++) s[r][j] += x * y[j]; \
  }
      ROWS(MULTIPLY_ROW)
    }
  }
#define STORE_ROW(r) \
  UNROLL for (int j = 0; j < n; j++) store(c + r * width + j * LANES, s[r][j]);
  ROWS(STORE_ROW)
}

static void product(size_t width, const xci_product *q) {
  for (size_t s = 0; s < q->n_strips; s++) {
    const float *a = q->a + s * q->a_strip;
    float *c = q->c + s * XCI_STRIP * width;
    for (size_t column = 0; column < width;) {
      size_t left = (width - column) / LANES;
#if XCI_LANES == 16
      if (left >= 4) strip(q, a, q->b + column, c + column, width, 4), column += 4 * LANES;
      else if (left == 3) strip(q, a, q->b + column, c + column, width, 3), column += 3 * LANES;
      else
#endif
      if (left >= 2) strip(q, a, q->b + column, c + column, width, 2), column += 2 * LANES;
      else strip(q, a, q->b + column, c + column, width, 1), column += LANES;
    }
  }
}

/* out[k][j] = row j [k] for four rows a to d and four columns. */
INLINE void transpose_4x4(const float *pa, const float *pb, const float *pc, const float *pd, float *out) {
  four a = *(const four *)pa, b = *(const four *)pb, c = *(const four *)pc, d = *(const four *)pd;
#if defined(HAVE_SHUFFLE)
  four ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  four cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *(four *)out = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
  *(four *)(out + XCI_PANEL) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
  *(four *)(out + 2 * XCI_PANEL) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
  *(four *)(out + 3 * XCI_PANEL) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
#else
  for (int k = 0; k < 4; k++) *(four *)(out + k * XCI_PANEL) = (four){a[k], b[k], c[k], d[k]};
#endif
}

static void pack(size_t width, const float *tile, const uint32_t *chosen, size_t first, size_t n, float *out) {
  static const float zeros[64];
  for (size_t j = 0; j < XCI_PANEL; j += 4) {
    const float *row[4];
    UNROLL for (size_t i = 0; i < 4; i++)
      row[i] = j + i >= n ? zeros : tile + (chosen ? chosen[j + i] : first + j + i) * width;
    for (size_t k = 0; k < width; k += 4) transpose_4x4(row[0] + k, row[1] + k, row[2] + k, row[3] + k,
                                                        out + k * XCI_PANEL + j);
  }
}

/* Bit j: c[j] + bias[j] is not <= floor[j]; so NaN is kept, it must reach the loss. */
INLINE uint64_t keep_bits(const float *c, const float *bias, const float *floor) {
  uint64_t bits = 0;
#if defined(__AVX512F__)
  UNROLL for (int j = 0; j < XCI_PANEL; j += 16)
    bits |= (uint64_t)_mm512_cmp_ps_mask(_mm512_add_ps(_mm512_load_ps(c + j), _mm512_load_ps(bias + j)),
                                         _mm512_load_ps(floor + j), _CMP_NLE_UQ) << j;
#elif defined(__AVX2__)
  UNROLL for (int j = 0; j < XCI_PANEL; j += 8)
    bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(
              _mm256_cmp_ps(_mm256_add_ps(_mm256_load_ps(c + j), _mm256_load_ps(bias + j)), _mm256_load_ps(floor + j),
                            _CMP_NLE_UQ)) << j;
#else
  for (int j = 0; j < XCI_PANEL; j++) bits |= (uint64_t)!(c[j] + bias[j] <= floor[j]) << j;
#endif
  return bits;
}

static size_t keep(const float *c, size_t n_rows, size_t n_latents, const float *bias, const float *floor,
                   xci_kept *out, uint8_t *counts, size_t stride) {
  uint64_t valid = n_latents < XCI_PANEL ? ((uint64_t)1 << n_latents) - 1 : UINT64_MAX;
  size_t n = 0;
  for (size_t row = 0; row < n_rows; row++, c += XCI_PANEL) {
    size_t before = n;
    for (uint64_t bits = keep_bits(c, bias, floor) & valid; bits; bits &= bits - 1) {
      int j = __builtin_ctzll(bits);
      out[n++] = (xci_kept){c[j] + bias[j], (uint16_t)row, (uint16_t)j};
    }
    counts[row * stride] = (uint8_t)(n - before);
  }
  return n;
}

static void mask(size_t n_rows, size_t n, float scale, const float *c, const float *add, size_t f_row, const float *f,
                 float *df) {
  for (size_t row = 0; row < n_rows; row++, c += XCI_PANEL, f += f_row, df += f_row) {
#pragma omp simd
    for (size_t j = 0; j < n; j++) {
      float value = scale * c[j] + add[j];
      df[j] = f[j] != 0 ? value : 0;
    }
  }
}

/* ---- Passes over lists of codes. All work on blocks of at most MAX_VECTORS vectors of a tile's columns. ---- */

#define FOR_BLOCKS(width, column, CALL) \
  for (size_t column = 0; column < (width); column += BLOCK) switch (((width)-column) / LANES) { \
      case 1: CALL(1); break; \
      case 2: CALL(2); break; \
      case 3: CALL(3); break; \
      default: CALL(4); break; \
    }

INLINE void decode_block(size_t width, size_t n_samples, const xci_lists *list, const float *weight, const float *bias,
                         const float *x, float *r, const int n) {
  for (size_t b = 0; b < n_samples; b++) {
    vector s[MAX_VECTORS], t[MAX_VECTORS];
    UNROLL for (int j = 0; j < n; j++) {
      s[j] = load(bias + j * LANES);
      if (x) s[j] -= load(x + b * width + j * LANES);
      t[j] = (vector){0};
    }
    size_t p = list->start[b], end = list->start[b + 1];
    for (; p + 2 <= end; p += 2) {
      const float *w = weight + list->index[p] * width, *y = weight + list->index[p + 1] * width;
      UNROLL for (int j = 0; j < n; j++) {
        s[j] += list->value[p] * load(w + j * LANES);
        t[j] += list->value[p + 1] * load(y + j * LANES);
      }
    }
    if (p < end) {
      const float *w = weight + list->index[p] * width;
      UNROLL for (int j = 0; j < n; j++) s[j] += list->value[p] * load(w + j * LANES);
    }
    UNROLL for (int j = 0; j < n; j++) store(r + b * width + j * LANES, s[j] + t[j]);
  }
}

static void decode(size_t width, size_t n_samples, const xci_lists *list, const float *weight, const float *bias,
                   const float *x, float *r) {
#define CALL(n) decode_block(width, n_samples, list, weight + k, bias + k, x ? x + k : NULL, r + k, n)
  FOR_BLOCKS(width, k, CALL)
#undef CALL
}

/* Sums of 16 rows in single precision, then in double: the error stays below 16 roundings. */
static double squares(size_t width, size_t n_rows, const float *tile, float *columns) {
  double total = 0;
  memset(columns, 0, width * sizeof *columns);
  for (size_t row0 = 0; row0 < n_rows; row0 += 16) {
    size_t n = n_rows - row0 < 16 ? n_rows - row0 : 16;
    for (size_t k = 0; k < width; k += LANES) {
      vector s = {0}, q = {0};
      for (size_t row = row0; row < row0 + n; row++) {
        vector r = load(tile + row * width + k);
        s += r;
        q += r * r;
      }
      store(columns + k, load(columns + k) + s);
      total += (double)sum(q);
    }
  }
  return total;
}

INLINE double decoder_latent(size_t width, const xci_decoder_pass *q, size_t i, size_t column, const int n) {
  const uint32_t *index = q->by_latent.index;
  const float *value = q->by_latent.value, *residual = q->residual + column;
  vector w[MAX_VECTORS], g[MAX_VECTORS];
  UNROLL for (int j = 0; j < n; j++) {
    w[j] = load(q->weight + i * width + column + j * LANES);
    g[j] = (vector){0};
  }
  size_t p = q->by_latent.start[i], end = q->by_latent.start[i + 1];
  for (; p + 4 <= end; p += 4) {
    four part[4];
    UNROLL for (int m = 0; m < 4; m++) {
      const float *r = residual + index[p + (size_t)m] * width;
      vector dot = {0};
      UNROLL for (int j = 0; j < n; j++) {
        vector y = load(r + j * LANES);
        g[j] += value[p + (size_t)m] * y;
        dot += y * w[j];
      }
      part[m] = fold(dot);
    }
    four sums = sum_each(part[0], part[1], part[2], part[3]);
    UNROLL for (int m = 0; m < 4; m++) q->df[p + (size_t)m] += sums[m];
  }
  for (; p < end; p++) {
    const float *r = residual + index[p] * width;
    vector dot = {0};
    UNROLL for (int j = 0; j < n; j++) {
      vector y = load(r + j * LANES);
      g[j] += value[p] * y;
      dot += y * w[j];
    }
    q->df[p] += sum(dot);
  }
  vector square = {0};
  UNROLL for (int j = 0; j < n; j++) {
    g[j] = q->scale * g[j] + q->decay[i] * w[j];
    store(q->gradient + i * width + column + j * LANES, g[j]);
    square += g[j] * g[j];
  }
  return (double)sum(square);
}

static double decoder_pass(size_t width, const xci_decoder_pass *q) {
  double total = 0;
  for (size_t i = 0; i < q->n_latents; i++) {
    if (q->by_latent.start[i] == q->by_latent.start[i + 1]) continue;
#define CALL(n) total += decoder_latent(width, q, i, k, n)
    FOR_BLOCKS(width, k, CALL)
#undef CALL
  }
  return total;
}

INLINE double encoder_latent(size_t width, const xci_lists *list, size_t i, const float *x, float *gradient,
                             const int n) {
  vector g[MAX_VECTORS], h[MAX_VECTORS];
  UNROLL for (int j = 0; j < n; j++) g[j] = h[j] = (vector){0};
  size_t p = list->start[i], end = list->start[i + 1];
  for (; p + 2 <= end; p += 2) {
    const float *y = x + list->index[p] * width, *z = x + list->index[p + 1] * width;
    UNROLL for (int j = 0; j < n; j++) {
      g[j] += list->value[p] * load(y + j * LANES);
      h[j] += list->value[p + 1] * load(z + j * LANES);
    }
  }
  if (p < end) {
    const float *y = x + list->index[p] * width;
    UNROLL for (int j = 0; j < n; j++) g[j] += list->value[p] * load(y + j * LANES);
  }
  vector square = {0};
  UNROLL for (int j = 0; j < n; j++) {
    g[j] += h[j];
    store(gradient + i * width + j * LANES, g[j]);
    square += g[j] * g[j];
  }
  return (double)sum(square);
}

static double encoder_pass(size_t width, size_t n_latents, const xci_lists *list, const float *x, float *gradient) {
  double total = 0;
  for (size_t i = 0; i < n_latents; i++) {
    if (list->start[i] == list->start[i + 1]) continue;
#define CALL(n) total += encoder_latent(width, list, i, x + k, gradient + k, n)
    FOR_BLOCKS(width, k, CALL)
#undef CALL
  }
  return total;
}

/* ---- Rows of parameters ---- */

static void row_squares(size_t width, const float *tile, size_t first, size_t n, double *sums) {
  for (size_t i = 0; i < n; i++) {
    vector s = {0};
    for (size_t k = 0; k < width; k += LANES) {
      vector w = load(tile + (first + i) * width + k);
      s += w * w;
    }
    sums[i] += (double)sum(s);
  }
}

static void adam(size_t width, size_t n_rows, const uint8_t *active, const xci_adam_factors *q, float *value,
                 float *moment1, float *moment2, const float *gradient) {
  const xci_adam_factors f = *q;
  for (size_t i = 0; i < n_rows; i++) {
    float *restrict p = value + i * width, *restrict m = moment1 + i * width, *restrict v = moment2 + i * width;
    const float *restrict g = gradient + i * width;
    if (!active || active[i]) {
#pragma omp simd
      for (size_t k = 0; k < width; k++) {
        float gk = f.clip * g[k], mk = f.keep1 * m[k] + f.add1 * gk, vk = f.keep2 * v[k] + f.add2 * gk * gk;
        m[k] = mk;
        v[k] = vk;
        p[k] -= f.rate * mk / (sqrtf(vk) * f.root + f.epsilon);
      }
    } else {
#pragma omp simd
      for (size_t k = 0; k < width; k++) {
        float mk = f.keep1 * m[k], vk = f.keep2 * v[k];
        m[k] = mk;
        v[k] = vk;
        p[k] -= f.rate * mk / (sqrtf(vk) * f.root + f.epsilon);
      }
    }
  }
}

const xci_coder_kernels TABLE_OF(XCI_SET) = {
  TEXT_OF(XCI_SET), product, pack, keep, mask, decode, squares, decoder_pass, encoder_pass, row_squares, adam,
};
