/* SPDX-License-Identifier: Apache-2.0 */
/* Reference: causal attention, one query at a time. */
#include "compute/reference/reference.h"

#include "base/memory.h"
#include "compute/rotary.h"
#include <math.h>

/* All arrays of one call in one piece of memory: raw projections, then q, k, v after norm, clip and rotary, the mixed
 * values, and for the backward pass the gradients of each. */
typedef struct arrays {
  double *memory;
  double *raw, *normed, *final;          /* [n_rows, width] as query heads, key heads, value heads */
  double *mixed;                         /* [n_rows, n_heads d_head] */
  double *d_final, *d_raw, *d_mixed;
  double *probability, *d_probability;   /* [longest] */
} arrays;

static size_t qkv_width(const xci_block *b) { return (b->n_heads + 2 * b->n_kv_heads) * b->d_head; }

static xcoder_status create_arrays(const xci_block *b, size_t n_rows, arrays *a, xcoder_error *err) {
  size_t wide = n_rows * qkv_width(b), mixed = n_rows * b->n_heads * b->d_head;
  xcoder_status status = XCI_ALLOC(&a->memory, 5 * wide + 2 * mixed + 2 * n_rows, err);
  if (status) return status;
  double *p = a->memory;
  double **wide_arrays[] = {&a->raw, &a->normed, &a->final, &a->d_final, &a->d_raw};
  for (size_t i = 0; i < 5; i++, p += wide) *wide_arrays[i] = p;
  a->mixed = p;
  a->d_mixed = p + mixed;
  a->probability = p + 2 * mixed;
  a->d_probability = a->probability + n_rows;
  return XCODER_OK;
}

/* Where value j of head `head` of part c (0 q, 1 k, 2 v) lies in a row with the parts side by side. */
static size_t place(const xci_block *b, size_t c, size_t head, size_t j) {
  size_t first = c == 0 ? 0 : c == 1 ? b->n_heads : b->n_heads + b->n_kv_heads;
  return (first + head) * b->d_head + j;
}

/* The same value in the output of a fused product. */
static size_t fused_place(const xci_block *b, size_t c, size_t head, size_t j) {
  return b->qkv_interleaved ? head * 3 * b->d_head + c * b->d_head + j : place(b, c, head, j);
}

static size_t heads_of(const xci_block *b, size_t c) { return c == 0 ? b->n_heads : b->n_kv_heads; }

/* Copies between the order of a fused product and parts side by side. */
static void reorder(const xci_block *b, size_t n_rows, bool to_fused, const double *from, double *to) {
  size_t width = qkv_width(b);
  for (size_t r = 0; r < n_rows; r++)
    for (size_t c = 0; c < 3; c++)
      for (size_t head = 0; head < heads_of(b, c); head++)
        for (size_t j = 0; j < b->d_head; j++) {
          size_t plain = r * width + place(b, c, head, j), fused = r * width + fused_place(b, c, head, j);
          to[to_fused ? fused : plain] = from[to_fused ? plain : fused];
        }
}

static void rotate(const xci_block *b, size_t position, double direction, double *head) {
  size_t half = b->rotary_width / 2;
  for (size_t j = 0; j < half; j++) {
    double angle = direction * (double)xci_rotary_angle(b->rotary_base, b->rotary_width, j, position);
    double u = head[j], w = head[j + half];
    head[j] = u * cos(angle) - w * sin(angle);
    head[j + half] = w * cos(angle) + u * sin(angle);
  }
}

static const xci_norm *norm_of(const xci_block *b, size_t c) {
  return b->has_qk_norm && c < 2 ? (c == 0 ? &b->norm_q : &b->norm_k) : NULL;
}

/* raw -> normed -> final. */
static void finish_row(const xci_block *b, size_t position, const double *raw, double *normed, double *final) {
  for (size_t c = 0; c < 3; c++) {
    size_t at = place(b, c, 0, 0), width = heads_of(b, c) * b->d_head;
    const xci_norm *norm = norm_of(b, c);
    double limit = (double)b->clip_qkv;
    if (norm != NULL) xci_reference_norm(norm, raw + at, width, normed + at);
    else for (size_t i = 0; i < width; i++) normed[at + i] = raw[at + i];
    for (size_t i = 0; i < width; i++)
      final[at + i] = limit > 0 ? fmin(fmax(normed[at + i], -limit), limit) : normed[at + i];
    for (size_t head = 0; c < 2 && head < heads_of(b, c); head++) rotate(b, position, 1, final + at + head * b->d_head);
  }
}

static void finish_row_backward(const xci_block *b, size_t position, const double *raw, const double *normed,
                                double *d_final, double *d_raw) {
  for (size_t c = 0; c < 3; c++) {
    size_t at = place(b, c, 0, 0), width = heads_of(b, c) * b->d_head;
    const xci_norm *norm = norm_of(b, c);
    double limit = (double)b->clip_qkv;
    for (size_t head = 0; c < 2 && head < heads_of(b, c); head++)
      rotate(b, position, -1, d_final + at + head * b->d_head);
    for (size_t i = at; limit > 0 && i < at + width; i++) if (fabs(normed[i]) > limit) d_final[i] = 0;
    if (norm != NULL) xci_reference_norm_backward(norm, raw + at, d_final + at, width, d_raw + at);
    else for (size_t i = at; i < at + width; i++) d_raw[i] = d_final[i];
  }
}

static void project(const xci_block *b, const xci_rows *rows, const double *x, arrays *a) {
  size_t n_rows = rows->start[rows->n_sequences], width = qkv_width(b);
  if (b->qkv_fused) {
    xci_reference_linear(&b->query, x, n_rows, a->normed, width);
    reorder(b, n_rows, false, a->normed, a->raw);
  } else {
    xci_reference_linear(&b->query, x, n_rows, a->raw, width);
    xci_reference_linear(&b->key, x, n_rows, a->raw + place(b, 1, 0, 0), width);
    xci_reference_linear(&b->value, x, n_rows, a->raw + place(b, 2, 0, 0), width);
  }
  for (size_t s = 0; s < rows->n_sequences; s++)
    for (size_t r = rows->start[s]; r < rows->start[s + 1]; r++)
      finish_row(b, r - rows->start[s], a->raw + r * width, a->normed + r * width, a->final + r * width);
}

/* Probabilities of query row r over the keys first .. r of its sequence. */
static void attend_row(const xci_block *b, const double *final, size_t first, size_t r, size_t head, double *p) {
  size_t width = qkv_width(b), kv = head / (b->n_heads / b->n_kv_heads);
  double largest = -INFINITY, sum = 0;
  for (size_t k = first; k <= r; k++) {
    double score = 0;
    for (size_t j = 0; j < b->d_head; j++)
      score += final[r * width + place(b, 0, head, j)] * final[k * width + place(b, 1, kv, j)];
    score *= (double)b->attention_scale;
    if (b->alibi_slopes != NULL) score += (double)b->alibi_slopes[head] * (double)(k - first);
    p[k - first] = score;
    largest = fmax(largest, score);
  }
  for (size_t k = first; k <= r; k++) sum += p[k - first] = exp(p[k - first] - largest);
  for (size_t k = first; k <= r; k++) p[k - first] /= sum;
}

/* Calls `f` for every (query row, head). */
typedef void (*visit)(const xci_block *b, arrays *a, size_t first, size_t r, size_t head);

static void visit_queries(const xci_block *b, const xci_rows *rows, arrays *a, visit f) {
  for (size_t s = 0; s < rows->n_sequences; s++)
    for (size_t r = rows->start[s]; r < rows->start[s + 1]; r++)
      for (size_t head = 0; head < b->n_heads; head++) f(b, a, rows->start[s], r, head);
}

static void mix(const xci_block *b, arrays *a, size_t first, size_t r, size_t head) {
  size_t width = qkv_width(b), kv = head / (b->n_heads / b->n_kv_heads);
  double *out = a->mixed + r * b->n_heads * b->d_head + head * b->d_head;
  attend_row(b, a->final, first, r, head, a->probability);
  for (size_t j = 0; j < b->d_head; j++) {
    out[j] = 0;
    for (size_t k = first; k <= r; k++)
      out[j] += a->probability[k - first] * a->final[k * width + place(b, 2, kv, j)];
  }
}

static void mix_backward(const xci_block *b, arrays *a, size_t first, size_t r, size_t head) {
  size_t width = qkv_width(b), kv = head / (b->n_heads / b->n_kv_heads);
  const double *d_out = a->d_mixed + r * b->n_heads * b->d_head + head * b->d_head;
  double *p = a->probability, *dp = a->d_probability, mean = 0;
  attend_row(b, a->final, first, r, head, p);
  for (size_t k = first; k <= r; k++) {
    dp[k - first] = 0;
    for (size_t j = 0; j < b->d_head; j++) {
      dp[k - first] += d_out[j] * a->final[k * width + place(b, 2, kv, j)];
      a->d_final[k * width + place(b, 2, kv, j)] += p[k - first] * d_out[j];
    }
    mean += p[k - first] * dp[k - first];
  }
  for (size_t k = first; k <= r; k++) {
    double d_score = p[k - first] * (dp[k - first] - mean) * (double)b->attention_scale;
    for (size_t j = 0; j < b->d_head; j++) {
      size_t at_q = r * width + place(b, 0, head, j), at_k = k * width + place(b, 1, kv, j);
      a->d_final[at_q] += d_score * a->final[at_k];
      a->d_final[at_k] += d_score * a->final[at_q];
    }
  }
}

xcoder_status xci_reference_attention(const xci_block *b, const xci_rows *rows, const double *x, double *y,
                                      xcoder_error *err) {
  arrays a = {0};
  size_t n_rows = rows->start[rows->n_sequences];
  xcoder_status status = create_arrays(b, n_rows, &a, err);
  if (!status) {
    project(b, rows, x, &a);
    visit_queries(b, rows, &a, mix);
    xci_reference_linear(&b->output, a.mixed, n_rows, y, b->d_model);
  }
  xci_free(a.memory);
  return status;
}

xcoder_status xci_reference_attention_backward(const xci_block *b, const xci_rows *rows, const double *x,
                                               const double *dy, double *dx, xcoder_error *err) {
  arrays a = {0};
  size_t n_rows = rows->start[rows->n_sequences], width = qkv_width(b);
  xcoder_status status = create_arrays(b, n_rows, &a, err);
  if (status) return status;
  for (size_t i = 0; i < n_rows * b->d_model; i++) dx[i] = 0;
  project(b, rows, x, &a);
  xci_reference_linear_backward(&b->output, dy, b->d_model, n_rows, a.d_mixed);
  visit_queries(b, rows, &a, mix_backward);
  for (size_t s = 0; s < rows->n_sequences; s++)
    for (size_t r = rows->start[s]; r < rows->start[s + 1]; r++)
      finish_row_backward(b, r - rows->start[s], a.raw + r * width, a.normed + r * width, a.d_final + r * width,
                          a.d_raw + r * width);
  if (b->qkv_fused) {
    reorder(b, n_rows, true, a.d_raw, a.d_final);
    xci_reference_linear_backward(&b->query, a.d_final, width, n_rows, dx);
  } else {
    xci_reference_linear_backward(&b->query, a.d_raw, width, n_rows, dx);
    xci_reference_linear_backward(&b->key, a.d_raw + place(b, 1, 0, 0), width, n_rows, dx);
    xci_reference_linear_backward(&b->value, a.d_raw + place(b, 2, 0, 0), width, n_rows, dx);
  }
  xci_free(a.memory);
  return status;
}
