/* SPDX-License-Identifier: Apache-2.0 */
/* Backward pass of the head on an OpenCL device: the gradient of a weighted sum of a few logits. All that the kernels
 * need to know goes up in one transfer. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

/* What is asked for: weight[i, k] of logit(row[i], token[i, k]). */
typedef struct request {
  const xci_head *head;
  size_t total_rows, n_rows, n_tokens;
  const size_t *row;
  const uint32_t *token;
  const float *weight;
} request;

static xcoder_status check(const request *q, const xci_buffer *h, const xci_buffer *gradient, xcoder_error *err) {
  const size_t n = q->n_rows * q->n_tokens, bytes = xci_min_size(h->bytes, gradient->bytes);
  const size_t rows = bytes / sizeof(float) / q->head->d_model;
  for (size_t i = 0; i < n; i++)
    if (q->token[i] >= q->head->n_vocab)
      return xci_fail(err, XCODER_USAGE, "token id %u: the vocabulary has %zu rows", (unsigned)q->token[i],
                      q->head->n_vocab);
  bool fits = q->total_rows <= rows && q->total_rows < UINT32_MAX && n < UINT32_MAX;
  for (size_t i = 0; i < q->n_rows; i++) fits = fits && q->row[i] < q->total_rows;
  return fits ? XCODER_OK : xci_fail(err, XCODER_INTERNAL, "the head's backward pass of %zu of %zu rows does not fit",
                                     q->n_rows, q->total_rows);
}

/* The numbers of cl/backward.cl: rows, tokens (or their places among gathered ones) and weights; then for every row of
 * the result where its list begins, and the lists. A row may come more than once: in the order of the request. */
static void fill_numbers(const request *q, bool gathered, uint32_t *numbers) {
  const size_t n = q->n_rows, n_pairs = n * q->n_tokens;
  uint32_t *token = numbers + n, *weight = token + n_pairs, *start = weight + n_pairs;
  uint32_t *from = start + q->total_rows + 1;
  for (size_t i = 0; i < n; i++) numbers[i] = (uint32_t)q->row[i];
  for (size_t i = 0; i < n_pairs; i++) token[i] = gathered ? (uint32_t)i : q->token[i];
  if (n_pairs > 0) memcpy(weight, q->weight, n_pairs * sizeof *weight);
  memset(start, 0, (q->total_rows + 1) * sizeof *start);
  for (size_t i = 0; i < n; i++) start[q->row[i] + 1]++;
  for (size_t r = 0; r < q->total_rows; r++) start[r + 1] += start[r];
  for (size_t i = 0; i < n; i++) from[start[q->row[i]]++] = (uint32_t)i; /* moves each start to the next one's */
  for (size_t r = q->total_rows; r > 0; r--) start[r] = start[r - 1];
  start[0] = 0;
}

static xcoder_status send_numbers(xcoder_device *device, const request *q, bool gathered, cl_mem *numbers,
                                  xcoder_error *err) {
  uint32_t *values = NULL;
  size_t count = 2 * q->n_rows + 2 * q->n_rows * q->n_tokens + q->total_rows + 1;
  xcoder_status status = XCI_ALLOC(&values, count, err);
  if (!status) status = xci_cl_work(device, XCI_CL_HEAD_WEIGHTS, count, 1, numbers, err);
  if (!status) {
    fill_numbers(q, gathered, values);
    status = xci_cl_write(device, *numbers, 0, values, count * sizeof *values, err);
  }
  xci_free(values);
  return status;
}

xcoder_status xci_cl_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h, size_t total_rows,
                                   const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                   const float *weight, xci_buffer *gradient, xcoder_error *err) {
  const request q = {head, total_rows, n_rows, n_tokens, row, token, weight};
  const size_t d = head->d_model;
  xci_cl_type type = XCI_CL_F32;
  bool gathered = false;
  cl_mem unembedding = NULL, numbers, rows;
  xcoder_status status = check(&q, h, gradient, err);
  if (!status && n_rows * n_tokens > 0)
    status = xci_cl_weight_gather(device, head->unembedding, token, n_rows * n_tokens, &unembedding, &gathered, &type,
                                  err);
  if (!status) status = send_numbers(device, &q, gathered, &numbers, err);
  if (!status) status = xci_cl_work(device, XCI_CL_HEAD_GRADIENT, n_rows, d, &rows, err);
  if (!status)
    status = xci_cl_run(device, "head_gradient", xci_ceil_div(n_rows, XCI_CL_TEAMS), 1, err, "mmumuuufmum",
                        (cl_mem)h->handle, unembedding, (unsigned)type, numbers, (unsigned)n_rows, (unsigned)n_tokens,
                        (unsigned)head->norm.kind, (double)head->norm.epsilon, xci_cl_vector(head->norm.weight),
                        (unsigned)d, rows);
  if (!status)
    status = xci_cl_run(device, "sum_rows", total_rows, xci_ceil_div(d, XCI_CL_GROUP), err, "mmuuum", rows, numbers,
                        (unsigned)(n_rows + 2 * n_rows * n_tokens), (unsigned)total_rows, (unsigned)d,
                        (cl_mem)gradient->handle);
  return status;
}
