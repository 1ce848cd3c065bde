/* SPDX-License-Identifier: Apache-2.0 */
/* Inner loops of bfloat16 products, compiled for AVX512_BF16. */
#include "compute/cpu/bf16.h"

#include "compute/dtype.h"
#include <immintrin.h>
#include <string.h>

enum { LANES = 16 };

static __m512i words_of_floats(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

/* The bits of the lowest n of `most` lanes. */
static uint32_t mask_of(size_t n) { return n >= 32 ? UINT32_MAX : (1u << n) - 1u; }

static __m512i words_of_row(const float *a, size_t n) {
  uint32_t mask = mask_of(n);
  return words_of_floats(_mm512_maskz_loadu_ps((__mmask16)mask, a),
                         _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), a + (mask >> 16 ? LANES : 0)));
}

void xci_bf16_pack_row(const float *a, size_t k, uint32_t *out) {
  for (size_t i = 0; i < k; i += XCI_BF16_STEP, out += LANES) _mm512_storeu_si512(out, words_of_row(a + i, k - i));
}

/* n <= 32 numbers from any type of file as 16 words. */
static __m512i load_words(const char *source, xci_dtype dtype, size_t n) {
  float piece[XCI_BF16_STEP];
  uint32_t mask = mask_of(n);
  switch (dtype) {
    case XCI_BF16: return _mm512_maskz_loadu_epi16(mask, source);
    case XCI_F16: {
      __m512i half = _mm512_maskz_loadu_epi16(mask, source);
      return words_of_floats(_mm512_cvtph_ps(_mm512_castsi512_si256(half)),
                             _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1)));
    }
    default:
      n = n < XCI_BF16_STEP ? n : XCI_BF16_STEP;
      xci_dtype_to_f32(source, dtype, n, piece);
      return words_of_row(piece, n);
  }
}

/* Rows of 16 words each become columns. */
static void transpose_words(__m512i r[LANES]) {
  __m512i t[LANES];
  for (int i = 0; i < LANES; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < LANES; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < LANES; i += 8)
    for (int j = 0; j < 4; j++) {
      t[i + j] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0x88);
      t[i + j + 4] = _mm512_shuffle_i32x4(r[i + j], r[i + j + 4], 0xdd);
    }
  for (int j = 0; j < 8; j++) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
    r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
  }
}

/* W [columns, k]: each column of the panel is a row of the file. */
static void pack_rows(const xci_weight *w, size_t k, size_t first, size_t n, uint32_t *out) {
  const size_t bytes = xci_dtype_bytes(w->dtype);
  for (size_t j = 0; j < XCI_BF16_PANEL; j += LANES)
    for (size_t i = 0; i < k; i += XCI_BF16_STEP) {
      __m512i r[LANES];
      for (size_t l = 0; l < LANES; l++)
        r[l] = j + l >= n ? _mm512_setzero_si512()
                          : load_words((const char *)w->source + ((first + j + l) * w->columns + i) * bytes, w->dtype,
                                       k - i);
      transpose_words(r);
      for (size_t l = 0; l < LANES; l++) _mm512_storeu_si512(out + (i / 2 + l) * XCI_BF16_PANEL + j, r[l]);
    }
}

/* W [k, columns]: two rows of the file give the two halves of the words. */
static void pack_columns(const xci_weight *w, size_t k, size_t first, size_t n, uint32_t *out) {
  const size_t bytes = xci_dtype_bytes(w->dtype), n_words = (k + XCI_BF16_STEP - 1) / XCI_BF16_STEP * LANES;
  memset(out, 0, n_words * XCI_BF16_PANEL * sizeof *out);
  for (size_t i = 0; i < k; i++)
    for (size_t j = 0; j < n; j += XCI_BF16_STEP) {
      uint16_t half[XCI_BF16_STEP];
      size_t count = n - j < XCI_BF16_STEP ? n - j : XCI_BF16_STEP;
      uint32_t *to = out + i / 2 * XCI_BF16_PANEL + j;
      _mm512_storeu_si512(half, load_words((const char *)w->source + (i * w->columns + first + j) * bytes, w->dtype,
                                           count));
      for (size_t l = 0; l < count; l++) to[l] |= (uint32_t)half[l] << (i % 2 * 16);
    }
}

void xci_bf16_pack_panel(const xci_weight *w, bool transpose, size_t k, size_t first, size_t n, uint32_t *out) {
  if (transpose) pack_rows(w, k, first, n, out);
  else pack_columns(w, k, first, n, out);
}

#define UNROLL _Pragma("GCC unroll 8")

void xci_bf16_multiply(size_t n_words, const uint32_t *a, size_t a_row, const uint32_t *panel, bool accumulate,
                       float *c, size_t ldc) {
  enum { VECTORS = XCI_BF16_PANEL / LANES };
  __m512 s[XCI_BF16_STRIP][VECTORS];
  UNROLL for (size_t r = 0; r < XCI_BF16_STRIP; r++)
    UNROLL for (size_t j = 0; j < VECTORS; j++)
      s[r][j] = accumulate ? _mm512_loadu_ps(c + r * ldc + j * LANES) : _mm512_setzero_ps();
  const uint32_t *a0 = a, *a1 = a0 + a_row, *a2 = a1 + a_row, *a3 = a2 + a_row, *a4 = a3 + a_row, *a5 = a4 + a_row;
  for (size_t i = 0; i < n_words; i++, panel += XCI_BF16_PANEL) {
    __m512bh y[VECTORS];
    UNROLL for (size_t j = 0; j < VECTORS; j++) y[j] = (__m512bh)_mm512_loadu_si512(panel + j * LANES);
#define MULTIPLY_ROW(r) \
  { \
    __m512bh x = (__m512bh)_mm512_set1_epi32((int)a##r[i]); \
    UNROLL for (size_t j = 0; j < VECTORS; j++) s[r][j] = _mm512_dpbf16_ps(s[r][j], x, y[j]); \
  }
    MULTIPLY_ROW(0) MULTIPLY_ROW(1) MULTIPLY_ROW(2) MULTIPLY_ROW(3) MULTIPLY_ROW(4) MULTIPLY_ROW(5)
  }
  UNROLL for (size_t r = 0; r < XCI_BF16_STRIP; r++)
    UNROLL for (size_t j = 0; j < VECTORS; j++) _mm512_storeu_ps(c + r * ldc + j * LANES, s[r][j]);
}
