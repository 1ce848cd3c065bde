/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a model: the embedding, and the final norm with the unembedding. The softmax over the vocabulary runs
 * in pieces of rows and columns, so that [n_rows, n_vocab] is never stored. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/vector_math.h"
#include <math.h>
#include <string.h>

enum { ROW_PIECE = 256, VOCAB_PIECE = 4096, PARALLEL_ROWS = 16 };

/* spare: [d_model]. */
static void embed_row(const xci_embedding *e, uint32_t id, size_t position, float *spare, float *out) {
  size_t d = e->table->columns;
  const float *row = xci_cpu_weight_row(e->table, id, out);
  if (row != out) memcpy(out, row, d * sizeof *out);
  if (e->positions != NULL) xci_add_to(out, xci_cpu_weight_row(e->positions, position, spare), d);
  if (e->norm != NULL) xci_cpu_norm_row(e->norm, out, d, out);
}

xcoder_status xci_cpu_embed(xcoder_device *device, const xci_embedding *e, const uint32_t *ids, const xci_rows *rows,
                            xci_buffer *h, xcoder_error *err) {
  float *spare;
  size_t d = e->table->columns, n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0;
  if (h->bytes / sizeof(float) / d < n_rows)
    return xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", n_rows, d);
  for (size_t r = 0; r < n_rows; r++)
    if (ids[r] >= e->table->rows)
      return xci_fail(err, XCODER_USAGE, "token id %u at position %zu: the vocabulary has %zu rows", (unsigned)ids[r],
                      r, e->table->rows);
  for (size_t s = 0; e->positions != NULL && s < rows->n_sequences; s++)
    if (rows->start[s + 1] - rows->start[s] > e->positions->rows)
      return xci_fail(err, XCODER_USAGE, "sequence %zu has %zu tokens, the model has %zu positions", s,
                      rows->start[s + 1] - rows->start[s], e->positions->rows);
  xcoder_status status = xci_cpu_work(device, XCI_WORK_ROWS, d * (size_t)xci_threads(), &spare, err);
  for (size_t s = 0; !status && s < rows->n_sequences; s++) {
    size_t first = rows->start[s];
#pragma omp parallel for num_threads(xci_threads()) schedule(static) if (rows->start[s + 1] - first > PARALLEL_ROWS)
    for (size_t r = first; r < rows->start[s + 1]; r++)
      embed_row(e, ids[r], r - first, spare + (size_t)xci_thread_index() * d, h->host + r * d);
  }
  return status;
}

/* Copies of chosen rows, normalised if asked. */
static void gather_rows(const xci_head *head, const xci_buffer *h, const size_t *row, size_t n_rows, bool apply_norm,
                        float *out) {
  size_t d = head->d_model;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t i = 0; i < n_rows; i++) {
    const float *from = h->host + row[i] * d;
    if (apply_norm) xci_cpu_norm_row(&head->norm, from, d, out + i * d);
    else memcpy(out + i * d, from, d * sizeof *out);
  }
}

/* Running log-sum-exp of a row, and the logit of one token on the way. */
typedef struct normalizer {
  float largest;
  double sum;
  float chosen;
} normalizer;

static void update_normalizer(normalizer *z, const float *logits, size_t first, size_t n, uint32_t token) {
  float largest = xci_max_f32(logits, n);
  if (largest > z->largest || largest != largest) {
    z->sum *= exp((double)z->largest - (double)largest);
    z->largest = largest;
  }
  z->sum += (double)xci_sum_exp_minus(logits, n, z->largest);
  if (token >= first && token - first < n) z->chosen = logits[token - first];
}

/* At most ROW_PIECE rows that are already normalised; `token` may be NULL. */
static xcoder_status normalize(xcoder_device *device, const xci_head *head, const float *x, size_t n_rows,
                               const uint32_t *token, normalizer *z, xcoder_error *err) {
  size_t d = head->d_model;
  float *logits;
  xcoder_status status = xci_cpu_work(device, XCI_WORK_LOGITS, (size_t)ROW_PIECE * VOCAB_PIECE, &logits, err);
  if (status) return status;
  for (size_t i = 0; i < n_rows; i++) z[i] = (normalizer){.largest = -INFINITY};
  for (size_t first = 0; first < head->n_vocab; first += VOCAB_PIECE) {
    size_t n = xci_min_size(VOCAB_PIECE, head->n_vocab - first);
    xci_weight piece = xci_cpu_weight_rows(head->unembedding, first, n);
    status = xci_cpu_product(device, true, n_rows, x, d, &piece, 0, logits, n, err);
    if (status) return status;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
    for (size_t i = 0; i < n_rows; i++)
      update_normalizer(&z[i], logits + i * n, first, n, token != NULL ? token[i] : UINT32_MAX);
  }
  return XCODER_OK;
}

static float log_of(const normalizer *z) { return (float)((double)z->largest + log(z->sum)); }

static xcoder_status check_tokens(const xci_head *head, const uint32_t *token, size_t n, xcoder_error *err) {
  for (size_t i = 0; i < n; i++)
    if (token[i] >= head->n_vocab)
      return xci_fail(err, XCODER_USAGE, "token id %u: the vocabulary has %zu rows", (unsigned)token[i],
                      head->n_vocab);
  return XCODER_OK;
}

xcoder_status xci_cpu_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                  size_t n_rows, const uint32_t *token, size_t n_tokens, float *out,
                                  float *log_normalizer, xcoder_error *err) {
  size_t d = head->d_model;
  normalizer z[ROW_PIECE];
  float *x, *u;
  xcoder_status status = check_tokens(head, token, n_rows * n_tokens, err);
  if (!status) status = xci_cpu_work(device, XCI_WORK_ROWS, (ROW_PIECE + 1) * d, &x, err);
  for (size_t first = 0; !status && first < n_rows; first += ROW_PIECE) {
    size_t n = xci_min_size(ROW_PIECE, n_rows - first);
    gather_rows(head, h, row + first, n, true, x);
    u = x + ROW_PIECE * d;
    for (size_t i = 0; i < n; i++)
      for (size_t k = 0; k < n_tokens; k++) {
        size_t at = (first + i) * n_tokens + k;
        out[at] = xci_dot_f32(x + i * d, xci_cpu_weight_row(head->unembedding, token[at], u), d);
      }
    if (log_normalizer == NULL) continue;
    status = normalize(device, head, x, n, NULL, z, err);
    for (size_t i = 0; !status && i < n; i++) log_normalizer[first + i] = log_of(&z[i]);
  }
  return status;
}

xcoder_status xci_cpu_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                    size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                    size_t n_tokens, const float *weight, xci_buffer *gradient, xcoder_error *err) {
  size_t d = head->d_model;
  float *g;
  xcoder_status status = check_tokens(head, token, n_rows * n_tokens, err);
  if (!status) status = xci_cpu_work(device, XCI_WORK_ROWS, 2 * d, &g, err);
  if (status) return status;
  memset(gradient->host, 0, total_rows * d * sizeof(float));
  for (size_t i = 0; i < n_rows; i++) { /* few rows, and the same row may come twice: in order */
    memset(g, 0, d * sizeof *g);
    for (size_t k = 0; k < n_tokens; k++) {
      const float *u = xci_cpu_weight_row(head->unembedding, token[i * n_tokens + k], g + d);
      for (size_t j = 0; j < d; j++) g[j] += weight[i * n_tokens + k] * u[j];
    }
    xci_cpu_norm_row_backward(&head->norm, h->host + row[i] * d, g, d, g);
    xci_add_to(gradient->host + row[i] * d, g, d);
  }
  return status;
}

xcoder_status xci_cpu_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                     const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                     xcoder_error *err) {
  normalizer z[ROW_PIECE];
  float *x;
  xcoder_status status = check_tokens(head, target, n_rows, err);
  if (!status) status = xci_cpu_work(device, XCI_WORK_ROWS, ROW_PIECE * head->d_model, &x, err);
  for (size_t first = 0; !status && first < n_rows; first += ROW_PIECE) {
    size_t n = xci_min_size(ROW_PIECE, n_rows - first);
    gather_rows(head, h, row + first, n, true, x);
    status = normalize(device, head, x, n, target + first, z, err);
    for (size_t i = 0; !status && i < n; i++)
      out[first + i] = (float)((double)z[i].chosen - (double)z[i].largest - log(z[i].sum));
  }
  return status;
}

xcoder_status xci_cpu_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                   size_t n_rows, bool apply_norm, float *out, xcoder_error *err) {
  size_t d = head->d_model;
  float *x;
  xcoder_status status = xci_cpu_work(device, XCI_WORK_ROWS, ROW_PIECE * d, &x, err);
  for (size_t first = 0; !status && first < n_rows; first += ROW_PIECE) {
    size_t n = xci_min_size(ROW_PIECE, n_rows - first);
    gather_rows(head, h, row + first, n, apply_norm, x);
    status = xci_cpu_product(device, true, n, x, d, head->unembedding, 0, out + first * head->n_vocab, head->n_vocab,
                             err);
  }
  return status;
}
