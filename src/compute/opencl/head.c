/* SPDX-License-Identifier: Apache-2.0 */
/* The final norm and the unembedding on an OpenCL device. The softmax over the vocabulary runs in pieces of rows and
 * columns, so that [n_rows, n_vocab] is never stored; what comes down is a few numbers a row. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"
#include "base/size.h"
#include <math.h>

enum { ROW_PIECE = 2048, VOCAB_PIECE = 8192, LOGITS = ROW_PIECE * VOCAB_PIECE }; /* 64 MiB of logits */
enum { STATE = 3 }; /* largest, sum, chosen: as in cl/head.cl */

static xcoder_status check_tokens(const xci_head *head, const uint32_t *token, size_t n, xcoder_error *err) {
  for (size_t i = 0; i < n; i++)
    if (token[i] >= head->n_vocab)
      return xci_fail(err, XCODER_USAGE, "token id %u: the vocabulary has %zu rows", (unsigned)token[i],
                      head->n_vocab);
  return XCODER_OK;
}

xcoder_status xci_cl_head_rows(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                               size_t n, bool apply_norm, cl_mem *index, cl_mem *x, xcoder_error *err) {
  uint32_t *numbers = NULL;
  size_t d = head->d_model, limit = xci_min_size(h->bytes / sizeof(float) / d, UINT32_MAX);
  xcoder_status status = n < UINT32_MAX ? XCI_ALLOC(&numbers, n, err)
                                        : xci_fail(err, XCODER_MEMORY, "device %s: %zu rows", device->name, n);
  for (size_t i = 0; !status && i < n; i++) {
    numbers[i] = (uint32_t)row[i];
    if (row[i] >= limit) status = xci_fail(err, XCODER_INTERNAL, "row %zu of a buffer of %zu rows", row[i], limit);
  }
  if (!status) status = xci_cl_work(device, XCI_CL_IDS, n, 1, index, err);
  if (!status) status = xci_cl_work(device, XCI_CL_HEAD_ROWS, n, d, x, err);
  if (!status) status = xci_cl_write(device, *index, 0, numbers, n * sizeof *numbers, err);
  if (!status) status = xci_cl_norm(device, apply_norm ? &head->norm : NULL, h->handle, *index, n, d, *x, err);
  xci_free(numbers);
  return status;
}

/* state [n, STATE] of all rows; tokens may be NULL. */
static xcoder_status normalize(xcoder_device *device, const xci_head *head, cl_mem x, size_t n, cl_mem tokens,
                               cl_mem *state, xcoder_error *err) {
  size_t d = head->d_model, most = xci_min_size(n, ROW_PIECE);
  cl_mem logits;
  xcoder_status status = xci_cl_work(device, XCI_CL_RESULTS, n, STATE, state, err);
  if (!status)
    status = xci_cl_work(device, XCI_CL_LOGITS, most, xci_min_size(head->n_vocab, VOCAB_PIECE), &logits, err);
  for (size_t row = 0; !status && row < n; row += ROW_PIECE)
    for (size_t first = 0; !status && first < head->n_vocab; first += VOCAB_PIECE) {
      size_t rows = xci_min_size(ROW_PIECE, n - row), columns = xci_min_size(VOCAB_PIECE, head->n_vocab - first);
      status = xci_cl_product_rows(device, true, rows, x, row * d, d, head->unembedding, first, columns, 0, logits, 0,
                                   columns, XCI_COMPUTE_FP32, err);
      if (!status)
        status = xci_cl_run(device, "normalize_logits", rows, 1, err, "muumum", logits, (unsigned)first,
                            (unsigned)columns, tokens, (unsigned)row, *state);
    }
  return status;
}

/* The state of every row, on the host; freed with xci_free(). */
static xcoder_status read_state(xcoder_device *device, cl_mem state, size_t n, float **values, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(values, n * STATE, err);
  return status ? status : xci_cl_read(device, state, 0, *values, n * STATE * sizeof **values, err);
}

static double log_of(const float *state) { return (double)state[0] + log((double)state[1]); }

static xcoder_status send_tokens(xcoder_device *device, const uint32_t *token, size_t n, cl_mem *tokens,
                                 xcoder_error *err) {
  xcoder_status status = xci_cl_work(device, XCI_CL_TOKENS, n, 1, tokens, err);
  return status ? status : xci_cl_write(device, *tokens, 0, token, n * sizeof *token, err);
}

/* out [n_rows, n_tokens], on the host. */
static xcoder_status token_logits(xcoder_device *device, const xci_head *head, cl_mem x, const uint32_t *token,
                                  size_t n_rows, size_t n_tokens, float *out, xcoder_error *err) {
  cl_mem tokens = NULL, u = NULL, logits = NULL;
  xci_cl_type type;
  bool gathered;
  size_t n = n_rows * n_tokens;
  if (n == 0) return XCODER_OK;
  xcoder_status status = xci_cl_weight_gather(device, head->unembedding, token, n, &u, &gathered, &type, err);
  if (!status && !gathered) status = send_tokens(device, token, n, &tokens, err);
  if (!status) status = xci_cl_work(device, XCI_CL_LOGITS, n, 1, &logits, err);
  if (!status)
    status = xci_cl_run(device, "token_logits", xci_ceil_div(n, XCI_CL_TEAMS), 1, err, "mmumuuum", x, u, (unsigned)type,
                        tokens, (unsigned)n_tokens, (unsigned)n, (unsigned)head->d_model, logits);
  return status ? status : xci_cl_read(device, logits, 0, out, n * sizeof *out, err);
}

xcoder_status xci_cl_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                 size_t n_rows, const uint32_t *token, size_t n_tokens, float *out,
                                 float *log_normalizer, xcoder_error *err) {
  cl_mem index, x, state = NULL;
  float *values = NULL;
  xcoder_status status = check_tokens(head, token, n_rows * n_tokens, err);
  if (!status) status = xci_cl_usable(device, err);
  if (status || n_rows == 0) return status;
  status = xci_cl_head_rows(device, head, h, row, n_rows, true, &index, &x, err);
  if (!status) status = token_logits(device, head, x, token, n_rows, n_tokens, out, err);
  if (status || log_normalizer == NULL) return status;
  status = normalize(device, head, x, n_rows, NULL, &state, err);
  if (!status) status = read_state(device, state, n_rows, &values, err);
  for (size_t i = 0; !status && i < n_rows; i++) log_normalizer[i] = (float)log_of(values + i * STATE);
  xci_free(values);
  return status;
}

xcoder_status xci_cl_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                    const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                    xcoder_error *err) {
  cl_mem index, x, tokens, state = NULL;
  float *values = NULL;
  xcoder_status status = check_tokens(head, target, n_rows, err);
  if (!status) status = xci_cl_usable(device, err);
  if (status || n_rows == 0) return status;
  status = xci_cl_head_rows(device, head, h, row, n_rows, true, &index, &x, err);
  if (!status) status = send_tokens(device, target, n_rows, &tokens, err);
  if (!status) status = normalize(device, head, x, n_rows, tokens, &state, err);
  if (!status) status = read_state(device, state, n_rows, &values, err);
  for (size_t i = 0; !status && i < n_rows; i++)
    out[i] = (float)((double)values[i * STATE + 2] - log_of(values + i * STATE));
  xci_free(values);
  return status;
}

xcoder_status xci_cl_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                  size_t n_rows, bool apply_norm, float *out, xcoder_error *err) {
  cl_mem index, x, logits;
  size_t d = head->d_model, n_vocab = head->n_vocab, each = xci_max_size(1, LOGITS / n_vocab);
  xcoder_status status = xci_cl_usable(device, err);
  if (status || n_rows == 0) return status;
  status = xci_cl_head_rows(device, head, h, row, n_rows, apply_norm, &index, &x, err);
  if (!status) status = xci_cl_work(device, XCI_CL_LOGITS, xci_min_size(each, n_rows), n_vocab, &logits, err);
  for (size_t first = 0; !status && first < n_rows; first += each) {
    size_t n = xci_min_size(each, n_rows - first);
    status = xci_cl_product(device, true, n, x, first * d, d, head->unembedding, 0, logits, 0, n_vocab, err);
    if (!status) status = xci_cl_read(device, logits, 0, out + first * n_vocab, n * n_vocab * sizeof *out, err);
  }
  return status;
}
