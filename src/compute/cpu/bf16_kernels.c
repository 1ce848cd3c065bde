/* SPDX-License-Identifier: Apache-2.0 */
/* Inner loops of bfloat16 products, compiled for AVX512_BF16. */
#include "compute/cpu/bf16.h"

#include "compute/dtype.h"
#include <immintrin.h>
#include <string.h>

enum { LANES = 16 };
#define INLINED static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

static __m512i words_of_floats(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

/* The bits of the lowest n of `most` lanes. */
static uint32_t mask_of(size_t n) { return n >= 32 ? UINT32_MAX : (1u << n) - 1u; }

static __m512i words_of_row(const float *a, size_t n) {
  uint32_t mask = mask_of(n);
  return words_of_floats(_mm512_maskz_loadu_ps((__mmask16)mask, a),
                         _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), a + (mask >> 16 ? LANES : 0)));
}

void xci_bf16_pack_strip(const float *a, size_t lda, size_t n, size_t k, uint32_t *out) {
  for (size_t i = 0; i < k; i += XCI_BF16_STEP)
    for (size_t r = 0; r < XCI_BF16_STRIP; r++, out += LANES)
      _mm512_storeu_si512(out, r < n ? words_of_row(a + r * lda + i, k - i) : _mm512_setzero_si512());
}

/* n <= 32 numbers from any type of file as 16 words. Inlined, so that callers with a constant type have no branches. */
INLINED __m512i load_words(const char *source, xci_dtype dtype, size_t n) {
  float piece[XCI_BF16_STEP];
  uint32_t mask = mask_of(n);
  switch (dtype) {
    case XCI_BF16: return _mm512_maskz_loadu_epi16(mask, source);
    case XCI_F16: {
      __m512i half = _mm512_maskz_loadu_epi16(mask, source);
      return words_of_floats(_mm512_cvtph_ps(_mm512_castsi512_si256(half)),
                             _mm512_cvtph_ps(_mm512_extracti64x4_epi64(half, 1)));
    }
    case XCI_F32: return words_of_row((const float *)(const void *)source, n);
    default:
      n = n < XCI_BF16_STEP ? n : XCI_BF16_STEP;
      xci_dtype_to_f32(source, dtype, n, piece);
      return words_of_row(piece, n);
  }
}

/* Rows of 16 words each become columns. */
static inline void transpose_words(__m512i r[LANES]) {
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
INLINED void pack_rows(const xci_weight *w, xci_dtype dtype, size_t k, size_t first, size_t n, uint32_t *out) {
  const size_t row = w->columns * xci_dtype_bytes(dtype), step = XCI_BF16_STEP * xci_dtype_bytes(dtype);
  for (size_t j = 0; j < XCI_BF16_PANEL; j += LANES) {
    const char *from = (const char *)w->source + (first + j) * row;
    for (size_t i = 0; i < k; i += XCI_BF16_STEP, from += step) {
      __m512i r[LANES];
      UNROLL for (size_t l = 0; l < LANES; l++)
        r[l] = j + l < n ? load_words(from + l * row, dtype, k - i) : _mm512_setzero_si512();
      transpose_words(r);
      UNROLL for (size_t l = 0; l < LANES; l++) _mm512_storeu_si512(out + (i / 2 + l) * XCI_BF16_PANEL + j, r[l]);
    }
  }
}

/* Two rows of 32 numbers (their words) become 32 words, each of one number of both. */
static void interleave(__m512i even, __m512i odd, uint32_t *out) {
  const __m512i low = _mm512_set1_epi32(0xffff);
  __m512i first = _mm512_or_si512(_mm512_and_si512(even, low), _mm512_slli_epi32(odd, 16));
  __m512i second = _mm512_or_si512(_mm512_srli_epi32(even, 16), _mm512_andnot_si512(low, odd));
  const __m512i from_low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  const __m512i from_high = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi32(first, from_low, second));
  _mm512_storeu_si512(out + LANES, _mm512_permutex2var_epi32(first, from_high, second));
}

/* W [k, columns]: two rows of the file give the two halves of the words. */
INLINED void pack_columns(const xci_weight *w, xci_dtype dtype, size_t k, size_t first, size_t n, uint32_t *out) {
  const size_t bytes = xci_dtype_bytes(dtype), n_rows = (k + XCI_BF16_STEP - 1) / XCI_BF16_STEP * XCI_BF16_STEP;
  for (size_t i = 0; i < n_rows; i += 2)
    for (size_t j = 0; j < XCI_BF16_PANEL; j += XCI_BF16_STEP) {
      const char *from = (const char *)w->source + (i * w->columns + first + j) * bytes;
      __m512i even = _mm512_setzero_si512(), odd = even;
      if (i < k && j < n) even = load_words(from, dtype, n - j);
      if (i + 1 < k && j < n) odd = load_words(from + w->columns * bytes, dtype, n - j);
      interleave(even, odd, out + i / 2 * XCI_BF16_PANEL + j);
    }
}

void xci_bf16_pack_panel(const xci_weight *w, bool transpose, size_t k, size_t first, size_t n, uint32_t *out) {
#define PACK(dtype) \
  { \
    if (transpose) pack_rows(w, dtype, k, first, n, out); \
    else pack_columns(w, dtype, k, first, n, out); \
  } \
  break
  switch (w->dtype) {
    case XCI_BF16: PACK(XCI_BF16);
    case XCI_F16: PACK(XCI_F16);
    case XCI_F32: PACK(XCI_F32);
    default: PACK(w->dtype);
  }
}

void xci_bf16_multiply(size_t n_steps, const uint32_t *strip, const uint32_t *panel, bool accumulate, float *c,
                       size_t ldc) {
  enum { VECTORS = XCI_BF16_PANEL / LANES };
  __m512 s[XCI_BF16_STRIP][VECTORS];
  UNROLL for (size_t r = 0; r < XCI_BF16_STRIP; r++)
    UNROLL for (size_t j = 0; j < VECTORS; j++)
      s[r][j] = accumulate ? _mm512_loadu_ps(c + r * ldc + j * LANES) : _mm512_setzero_ps();
  for (size_t i = 0; i < n_steps; i++, strip += (XCI_BF16_STRIP - 1) * LANES)
    for (const uint32_t *end = strip + LANES; strip < end; strip++, panel += XCI_BF16_PANEL) {
      __m512bh y[VECTORS];
      UNROLL for (size_t j = 0; j < VECTORS; j++) y[j] = (__m512bh)_mm512_loadu_si512(panel + j * LANES);
      UNROLL for (size_t r = 0; r < XCI_BF16_STRIP; r++) {
        __m512bh x = (__m512bh)_mm512_set1_epi32((int)strip[r * LANES]);
        UNROLL for (size_t j = 0; j < VECTORS; j++) s[r][j] = _mm512_dpbf16_ps(s[r][j], x, y[j]);
      }
    }
  UNROLL for (size_t r = 0; r < XCI_BF16_STRIP; r++)
    UNROLL for (size_t j = 0; j < VECTORS; j++) _mm512_storeu_ps(c + r * ldc + j * LANES, s[r][j]);
}
