/* SPDX-License-Identifier: Apache-2.0 */
/* Reference: the embedding, and the final norm with the unembedding. */
#include "compute/reference/reference.h"

#include "base/memory.h"
#include <math.h>

/* x[0]: a row of h in double, x[1]: its norm (or a copy); [2, d_model]. */
static void load_row(const xci_head *head, const xci_buffer *h, size_t row, bool apply_norm, double *x) {
  size_t d = head->d_model;
  double *out = x + d;
  for (size_t i = 0; i < d; i++) x[i] = out[i] = (double)h->host[row * d + i];
  if (apply_norm) xci_reference_norm(&head->norm, x, d, out);
}

static double logit(const xci_head *head, const double *x, size_t token) {
  double sum = 0;
  for (size_t i = 0; i < head->d_model; i++)
    sum += x[i] * (double)head->unembedding->host[token * head->d_model + i];
  return sum;
}

static double log_normalizer_of(const xci_head *head, const double *x) {
  double largest = -INFINITY, sum = 0;
  for (size_t v = 0; v < head->n_vocab; v++) largest = fmax(largest, logit(head, x, v));
  for (size_t v = 0; v < head->n_vocab; v++) sum += exp(logit(head, x, v) - largest);
  return largest + log(sum);
}

static xcoder_status check_tokens(const xci_head *head, const uint32_t *token, size_t n, xcoder_error *err) {
  for (size_t i = 0; i < n; i++)
    if (token[i] >= head->n_vocab)
      return xci_fail(err, XCODER_USAGE, "token id %u: the vocabulary has %zu rows", (unsigned)token[i],
                      head->n_vocab);
  return XCODER_OK;
}

/* x: [2, d_model]. */
static void embed_row(const xci_embedding *e, uint32_t id, size_t position, double *x, float *out) {
  size_t d = e->table->columns;
  for (size_t i = 0; i < d; i++) {
    x[i] = (double)e->table->host[id * d + i];
    if (e->positions != NULL) x[i] += (double)e->positions->host[position * d + i];
    x[d + i] = x[i];
  }
  if (e->norm != NULL) xci_reference_norm(e->norm, x, d, x + d);
  for (size_t i = 0; i < d; i++) out[i] = (float)x[d + i];
}

xcoder_status xci_reference_embed(xcoder_device *device, const xci_embedding *e, const uint32_t *ids,
                                  const xci_rows *rows, xci_buffer *h, xcoder_error *err) {
  (void)device;
  size_t d = e->table->columns, n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0;
  double *x = NULL;
  for (size_t r = 0; r < n_rows; r++)
    if (ids[r] >= e->table->rows)
      return xci_fail(err, XCODER_USAGE, "token id %u at position %zu: the vocabulary has %zu rows", (unsigned)ids[r],
                      r, e->table->rows);
  if (h->bytes / sizeof(float) / d < n_rows)
    return xci_fail(err, XCODER_INTERNAL, "%zu rows of %zu values do not fit the buffer", n_rows, d);
  xcoder_status status = XCI_ALLOC(&x, 2 * d, err);
  for (size_t s = 0; !status && s < rows->n_sequences; s++) {
    size_t n = rows->start[s + 1] - rows->start[s];
    if (e->positions != NULL && n > e->positions->rows)
      status = xci_fail(err, XCODER_USAGE, "sequence %zu has %zu tokens, the model has %zu positions", s, n,
                        e->positions->rows);
    for (size_t r = rows->start[s]; !status && r < rows->start[s + 1]; r++)
      embed_row(e, ids[r], r - rows->start[s], x, h->host + r * d);
  }
  xci_free(x);
  return status;
}

xcoder_status xci_reference_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                        const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                        float *out, float *log_normalizer, xcoder_error *err) {
  (void)device;
  double *x = NULL;
  xcoder_status status = check_tokens(head, token, n_rows * n_tokens, err);
  if (!status) status = XCI_ALLOC(&x, 2 * head->d_model, err);
  for (size_t i = 0; !status && i < n_rows; i++) {
    load_row(head, h, row[i], true, x);
    for (size_t k = 0; k < n_tokens; k++)
      out[i * n_tokens + k] = (float)logit(head, x + head->d_model, token[i * n_tokens + k]);
    if (log_normalizer != NULL) log_normalizer[i] = (float)log_normalizer_of(head, x + head->d_model);
  }
  xci_free(x);
  return status;
}

xcoder_status xci_reference_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                          size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                          size_t n_tokens, const float *weight, xci_buffer *gradient,
                                          xcoder_error *err) {
  (void)device;
  size_t d = head->d_model;
  double *x = NULL;
  xcoder_status status = check_tokens(head, token, n_rows * n_tokens, err);
  if (!status) status = XCI_ALLOC(&x, 3 * d, err);
  for (size_t i = 0; !status && i < total_rows * d; i++) gradient->host[i] = 0;
  for (size_t i = 0; !status && i < n_rows; i++) {
    double *g = x + d, *dx = x + 2 * d;
    for (size_t j = 0; j < d; j++) {
      x[j] = (double)h->host[row[i] * d + j];
      g[j] = 0;
      for (size_t k = 0; k < n_tokens; k++)
        g[j] += (double)weight[i * n_tokens + k] *
                (double)head->unembedding->host[(size_t)token[i * n_tokens + k] * d + j];
    }
    xci_reference_norm_backward(&head->norm, x, g, d, dx);
    for (size_t j = 0; j < d; j++) gradient->host[row[i] * d + j] += (float)dx[j];
  }
  xci_free(x);
  return status;
}

xcoder_status xci_reference_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                           const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                           xcoder_error *err) {
  (void)device;
  double *x = NULL;
  xcoder_status status = check_tokens(head, target, n_rows, err);
  if (!status) status = XCI_ALLOC(&x, 2 * head->d_model, err);
  for (size_t i = 0; !status && i < n_rows; i++) {
    load_row(head, h, row[i], true, x);
    const double *y = x + head->d_model;
    out[i] = (float)(logit(head, y, target[i]) - log_normalizer_of(head, y));
  }
  xci_free(x);
  return status;
}

xcoder_status xci_reference_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                         const size_t *row, size_t n_rows, bool apply_norm, float *out,
                                         xcoder_error *err) {
  (void)device;
  double *x = NULL;
  xcoder_status status = XCI_ALLOC(&x, 2 * head->d_model, err);
  for (size_t i = 0; !status && i < n_rows; i++) {
    load_row(head, h, row[i], apply_norm, x);
    for (size_t v = 0; v < head->n_vocab; v++)
      out[i * head->n_vocab + v] = (float)logit(head, x + head->d_model, v);
  }
  xci_free(x);
  return status;
}
