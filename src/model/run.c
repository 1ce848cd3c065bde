/* SPDX-License-Identifier: Apache-2.0 */
/* Running a model over packed sequences, in batches of whole sequences so that memory stays bounded. */
#include "model/model.h"

#include "base/memory.h"
#include "base/size.h"
#include <string.h>

enum { BATCH_ROWS = 4096 };
static const size_t TAPE_BYTES = (size_t)1 << 30; /* aim for the largest tape; one sequence is always taken */

/* The sequences of a call and the batch at hand: sequences first .. first + n - 1, rows row0 .. row0 + n_rows - 1. */
typedef struct batch {
  xcoder_model *model;
  const size_t *start; /* the caller's */
  size_t n_sequences;
  size_t max_rows;
  size_t first, n, row0, n_rows;
  xci_rows rows; /* starts counted from row0 */
} batch;

static xcoder_status check_sequences(const xcoder_model *model, const uint32_t *ids, const size_t *start,
                                     size_t n_sequences, xcoder_error *err) {
  const xci_config *c = &model->config;
  if (n_sequences > 0 && start[0] != 0)
    return xci_fail(err, XCODER_USAGE, "the first sequence starts at %zu, expected 0", start[0]);
  for (size_t s = 0; s < n_sequences; s++) {
    if (start[s + 1] < start[s])
      return xci_fail(err, XCODER_USAGE, "sequence %zu ends at %zu, before its start %zu", s, start[s + 1], start[s]);
    if (c->n_context > 0 && start[s + 1] - start[s] > c->n_context)
      return xci_fail(err, XCODER_USAGE, "sequence %zu has %zu tokens, the model's context is %zu", s,
                      start[s + 1] - start[s], c->n_context);
  }
  size_t n = n_sequences > 0 ? start[n_sequences] : 0;
  for (size_t i = 0; ids != NULL && i < n; i++)
    if (ids[i] >= c->n_vocab)
      return xci_fail(err, XCODER_USAGE, "token id %u at position %zu: the model's vocabulary has %zu rows",
                      (unsigned)ids[i], i, c->n_vocab);
  return XCODER_OK;
}

static xcoder_status check_layer(const xcoder_model *model, long layer, xcoder_error *err) {
  if (layer < -1 || (layer >= 0 && (size_t)layer >= model->n_blocks))
    return xci_fail(err, XCODER_USAGE, "%s: there is no layer %ld (-1 to %zu are loaded)", model->files.folder, layer,
                    model->n_blocks - 1);
  return XCODER_OK;
}

static xcoder_status check_head(const xcoder_model *model, xcoder_error *err) {
  if (model->has_head) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "%s: only the first %zu blocks are loaded, no logits can be computed",
                  model->files.folder, model->n_blocks);
}

static xcoder_status reserve_buffer(xcoder_model *model, xci_buffer *buffer, size_t n_rows, xcoder_error *err) {
  const xci_backend *ops = model->device->ops;
  size_t bytes;
  if (!xci_mul_size(n_rows, model->info.d_model * sizeof(float), &bytes))
    return xci_fail(err, XCODER_MEMORY, "%zu rows of %zu values", n_rows, model->info.d_model);
  if (bytes <= buffer->bytes) return XCODER_OK;
  ops->buffer_free(model->device, buffer);
  return ops->buffer_create(model->device, bytes, buffer, err);
}

/* The next batch; n == 0 at the end. Cut by lengths alone, so that it is the same at every thread count. */
static xcoder_status next_batch(batch *b, xcoder_error *err) {
  xcoder_model *m = b->model;
  b->first += b->n;
  b->n = 0;
  if (b->first == b->n_sequences) return XCODER_OK;
  b->row0 = b->start[b->first];
  do b->n++;
  while (b->first + b->n < b->n_sequences && b->start[b->first + b->n + 1] - b->row0 <= b->max_rows);
  b->n_rows = b->start[b->first + b->n] - b->row0;
  xcoder_status status = xci_grow((void **)&m->start, &m->start_capacity, b->n + 1, sizeof *m->start, err);
  if (!status)
    status = xci_grow((void **)&m->row, &m->row_capacity, xci_max_size(b->n_rows, b->n), sizeof *m->row, err);
  if (!status) status = reserve_buffer(m, &m->h, b->n_rows, err);
  if (status) return status;
  for (size_t s = 0; s <= b->n; s++) m->start[s] = b->start[b->first + s] - b->row0;
  b->rows = (xci_rows){b->n, m->start};
  return XCODER_OK;
}

/* Asked between blocks: a batch of a large model takes longer than anybody waits. */
static xcoder_status check_stop(const xcoder_model *model, xcoder_error *err) {
  if (model->stop == NULL || *model->stop == 0) return XCODER_OK;
  return xci_fail(err, XCODER_INTERRUPTED, "stopped");
}

static xcoder_status run_blocks(batch *b, size_t from, size_t to, xci_tape *tape, xcoder_error *err) {
  xcoder_model *m = b->model;
  xcoder_status status = XCODER_OK;
  for (size_t i = from; !status && i < to; i++) {
    status = check_stop(m, err);
    if (!status)
      status = m->device->ops->block_forward(m->device, &m->blocks[i], &b->rows, &m->h, tape, i - from, err);
  }
  return status;
}

static xcoder_status embed(batch *b, const uint32_t *ids, xcoder_error *err) {
  xcoder_model *m = b->model;
  const xci_embedding embedding = {m->outer.embedding, m->outer.positions,
                                   m->config.has_embedding_norm ? &m->embedding_norm : NULL};
  return m->device->ops->embed(m->device, &embedding, ids + b->row0, &b->rows, &m->h, err);
}

static xcoder_status upload(batch *b, const float *hidden, xcoder_error *err) {
  xcoder_model *m = b->model;
  size_t d = m->info.d_model;
  return m->device->ops->upload(m->device, &m->h, 0, hidden + b->row0 * d, b->n_rows * d * sizeof *hidden, err);
}

static batch start_batches(xcoder_model *model, const size_t *start, size_t n_sequences, size_t max_rows) {
  return (batch){.model = model, .start = start, .n_sequences = n_sequences, .max_rows = max_rows};
}

/* The blocks of one batch, leaving the residual stream of each layer that is asked for on the way. */
static xcoder_status run_to_layers(batch *b, const long *layers, size_t n_layers, float *const *hidden,
                                   xcoder_error *err) {
  xcoder_model *m = b->model;
  size_t d = m->info.d_model;
  long highest = -1;
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < n_layers; i++) highest = layers[i] > highest ? layers[i] : highest;
  for (long at = -1; !status && at <= highest; at++) {
    if (at >= 0) status = run_blocks(b, (size_t)at, (size_t)at + 1, NULL, err);
    for (size_t i = 0; !status && i < n_layers; i++)
      if (layers[i] == at)
        status = m->device->ops->download(m->device, &m->h, 0, hidden[i] + b->row0 * d, b->n_rows * d * sizeof **hidden,
                                          err);
  }
  return status;
}

static xcoder_status find_hidden(xcoder_model *model, const uint32_t *ids, const size_t *start, size_t n_sequences,
                                 const long *layers, size_t n_layers, float *const *hidden, xcoder_error *err) {
  batch b = start_batches(model, start, n_sequences, BATCH_ROWS);
  xcoder_status status = xci_model_prepare(model, err);
  for (size_t i = 0; !status && i < n_layers; i++) status = check_layer(model, layers[i], err);
  if (!status) status = check_sequences(model, ids, start, n_sequences, err);
  if (!status) status = next_batch(&b, err);
  while (!status && b.n > 0) {
    status = embed(&b, ids, err);
    if (!status) status = run_to_layers(&b, layers, n_layers, hidden, err);
    if (!status) status = next_batch(&b, err);
  }
  return status;
}

xcoder_status xcoder_model_hidden_layers(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                         size_t n_sequences, const long *layers, size_t n_layers, float *const *hidden,
                                         xcoder_error *err) {
  xcoder_status status;
  do status = find_hidden(model, ids, start, n_sequences, layers, n_layers, hidden, err);
  while (xci_device_replace(model->device, status, err));
  return status;
}

xcoder_status xcoder_model_hidden(xcoder_model *model, const uint32_t *ids, const size_t *start, size_t n_sequences,
                                  long layer, float *hidden, xcoder_error *err) {
  return xcoder_model_hidden_layers(model, ids, start, n_sequences, &layer, 1, &hidden, err);
}

/* A use of the last block's output of one batch. */
typedef xcoder_status (*finish)(batch *b, void *context, xcoder_error *err);

/* Runs all blocks above `layer` from `hidden`, or with hidden NULL from the embedding of `ids`. */
static xcoder_status try_head(xcoder_model *model, long layer, const float *hidden, const uint32_t *ids,
                              const size_t *start, size_t n_sequences, finish use, void *context, xcoder_error *err) {
  batch b = start_batches(model, start, n_sequences, BATCH_ROWS);
  xcoder_status status = xci_model_prepare(model, err);
  if (!status) status = check_head(model, err);
  if (!status) status = check_layer(model, layer, err);
  if (!status) status = check_sequences(model, ids, start, n_sequences, err);
  if (!status) status = next_batch(&b, err);
  while (!status && b.n > 0) {
    status = hidden != NULL ? upload(&b, hidden, err) : embed(&b, ids, err);
    if (!status) status = run_blocks(&b, hidden != NULL ? (size_t)(layer + 1) : 0, model->n_blocks, NULL, err);
    if (!status) status = use(&b, context, err);
    if (!status) status = next_batch(&b, err);
  }
  return status;
}

static xcoder_status run_to_head(xcoder_model *model, long layer, const float *hidden, const uint32_t *ids,
                                 const size_t *start, size_t n_sequences, finish use, void *context,
                                 xcoder_error *err) {
  xcoder_status status;
  do status = try_head(model, layer, hidden, ids, start, n_sequences, use, context, err);
  while (xci_device_replace(model->device, status, err));
  return status;
}

static xcoder_status finish_logits(batch *b, void *context, xcoder_error *err) {
  xcoder_model *m = b->model;
  float *logits = context;
  for (size_t r = 0; r < b->n_rows; r++) m->row[r] = r;
  return m->device->ops->head_project(m->device, &m->head, &m->h, m->row, b->n_rows, true,
                                      logits + b->row0 * m->info.n_vocab, err);
}

xcoder_status xcoder_model_logits(xcoder_model *model, const uint32_t *ids, const size_t *start, size_t n_sequences,
                                  float *logits, xcoder_error *err) {
  return run_to_head(model, -1, NULL, ids, start, n_sequences, finish_logits, logits, err);
}

typedef struct log_probs_context {
  const uint32_t *ids;
  float *out;
} log_probs_context;

/* Row r predicts the token of row r + 1 of the same sequence. Results come packed and are then moved apart, from the
 * last to the first, to leave a 0 at the start of each sequence. */
static xcoder_status finish_log_probs(batch *b, void *context, xcoder_error *err) {
  const log_probs_context *c = context;
  xcoder_model *m = b->model;
  float *out = c->out + b->row0;
  size_t n = 0;
  xcoder_status status = xci_grow((void **)&m->token, &m->token_capacity, b->n_rows, sizeof *m->token, err);
  if (status) return status;
  for (size_t s = 0; s < b->n; s++)
    for (size_t r = m->start[s]; r + 1 < m->start[s + 1]; r++) {
      m->row[n] = r;
      m->token[n++] = c->ids[b->row0 + r + 1];
    }
  status = m->device->ops->head_log_probs(m->device, &m->head, &m->h, m->row, n, m->token, out, err);
  for (size_t s = b->n; !status && s-- > 0;)
    for (size_t r = m->start[s + 1]; r-- > m->start[s];) out[r] = r > m->start[s] ? out[--n] : 0.0f;
  return status;
}

xcoder_status xcoder_model_log_probs(xcoder_model *model, const uint32_t *ids, const size_t *start, size_t n_sequences,
                                     float *log_probs, xcoder_error *err) {
  log_probs_context context = {ids, log_probs};
  return run_to_head(model, -1, NULL, ids, start, n_sequences, finish_log_probs, &context, err);
}

xcoder_status xcoder_model_log_probs_from(xcoder_model *model, long layer, const float *hidden, const uint32_t *ids,
                                          const size_t *start, size_t n_sequences, float *log_probs,
                                          xcoder_error *err) {
  log_probs_context context = {ids, log_probs};
  return run_to_head(model, layer, hidden, ids, start, n_sequences, finish_log_probs, &context, err);
}

static xcoder_status find_last_rows(batch *b, xcoder_error *err) {
  for (size_t s = 0; s < b->n; s++) {
    if (b->rows.start[s + 1] == b->rows.start[s])
      return xci_fail(err, XCODER_USAGE, "sequence %zu is empty and has no last position", b->first + s);
    b->model->row[s] = b->rows.start[s + 1] - 1;
  }
  return XCODER_OK;
}

typedef struct logits_context {
  const uint32_t *tokens;
  size_t n_tokens;
  float *out, *log_normalizer;
} logits_context;

static xcoder_status finish_last(batch *b, void *context, xcoder_error *err) {
  const logits_context *c = context;
  xcoder_model *m = b->model;
  xcoder_status status = find_last_rows(b, err);
  if (status) return status;
  return m->device->ops->head_logits(m->device, &m->head, &m->h, m->row, b->n, c->tokens + b->first * c->n_tokens,
                                     c->n_tokens, c->out + b->first * c->n_tokens,
                                     c->log_normalizer != NULL ? c->log_normalizer + b->first : NULL, err);
}

xcoder_status xcoder_model_logits_from(xcoder_model *model, long layer, const float *hidden, const size_t *start,
                                       size_t n_sequences, const uint32_t *tokens, size_t n_tokens, float *out,
                                       float *log_normalizer, xcoder_error *err) {
  logits_context context = {tokens, n_tokens, out, log_normalizer};
  return run_to_head(model, layer, hidden, NULL, start, n_sequences, finish_last, &context, err);
}

/* ---- The metric and its gradient ---- */

/* Upper bound of what a tape keeps of one row of one block, for any arrangement. */
static size_t tape_row_bytes(const xci_block *b) {
  return (3 * b->d_model + (b->n_heads + 2 * b->n_kv_heads) * b->d_head + 2 * b->d_mlp) * sizeof(float);
}

static xcoder_status reserve_tape(xcoder_model *model, size_t n_blocks, size_t n_rows, xcoder_error *err) {
  const xci_backend *ops = model->device->ops;
  if (n_blocks <= model->tape_blocks && n_rows <= model->tape_rows) return XCODER_OK;
  n_blocks = xci_max_size(n_blocks, model->tape_blocks);
  n_rows = xci_max_size(n_rows, model->tape_rows);
  ops->tape_free(model->device, model->tape);
  model->tape = NULL;
  model->tape_blocks = model->tape_rows = 0;
  /* A loaded block, because its weights tell whether there is a gate. */
  xcoder_status status = ops->tape_create(model->device, model->blocks, n_blocks, n_rows, &model->tape, err);
  if (status) return status;
  model->tape_blocks = n_blocks;
  model->tape_rows = n_rows;
  return XCODER_OK;
}

/* gradient of the metric at the input of block `from`, for the batch whose forward pass lies on the tape. */
static xcoder_status backward(batch *b, size_t from, float *gradient, xcoder_error *err) {
  xcoder_model *m = b->model;
  const xci_backend *ops = m->device->ops;
  size_t d = m->info.d_model;
  float *weight = NULL;
  xcoder_status status = reserve_buffer(m, &m->gradient, b->n_rows, err);
  if (!status) status = XCI_ALLOC(&weight, 2 * b->n, err);
  for (size_t s = 0; !status && s < b->n; s++) {
    weight[2 * s] = 1;
    weight[2 * s + 1] = -1;
  }
  if (!status)
    status = ops->head_backward(m->device, &m->head, &m->h, b->n_rows, m->row, b->n, m->token, 2, weight, &m->gradient,
                                err);
  for (size_t i = m->n_blocks; !status && i-- > from;) {
    status = check_stop(m, err);
    if (!status)
      status = ops->block_backward(m->device, &m->blocks[i], &b->rows, m->tape, i - from, &m->gradient, err);
  }
  if (!status)
    status = ops->download(m->device, &m->gradient, 0, gradient + b->row0 * d, b->n_rows * d * sizeof *gradient, err);
  xci_free(weight);
  return status;
}

/* m->token: (wrong, right) of each sequence of the batch. */
static xcoder_status metric_of_batch(batch *b, size_t from, const float *hidden, const uint32_t *right,
                                     const uint32_t *wrong, double *metric, float *gradient, xcoder_error *err) {
  xcoder_model *m = b->model;
  float *logits = NULL;
  size_t n_blocks = m->n_blocks - from;
  xcoder_status status = xci_grow((void **)&m->token, &m->token_capacity, 2 * b->n, sizeof *m->token, err);
  if (!status) status = find_last_rows(b, err);
  if (!status) status = XCI_ALLOC(&logits, 2 * b->n, err);
  if (!status && gradient != NULL) status = reserve_tape(m, n_blocks, b->n_rows, err);
  if (!status) status = upload(b, hidden, err);
  if (!status) status = run_blocks(b, from, m->n_blocks, gradient != NULL ? m->tape : NULL, err);
  for (size_t s = 0; !status && s < b->n; s++) {
    m->token[2 * s] = wrong[b->first + s];
    m->token[2 * s + 1] = right[b->first + s];
  }
  if (!status)
    status = m->device->ops->head_logits(m->device, &m->head, &m->h, m->row, b->n, m->token, 2, logits, NULL, err);
  for (size_t s = 0; !status && s < b->n; s++)
    metric[b->first + s] = (double)logits[2 * s] - (double)logits[2 * s + 1];
  if (!status && gradient != NULL) status = backward(b, from, gradient, err);
  xci_free(logits);
  return status;
}

static xcoder_status find_metric(xcoder_model *model, long layer, const float *hidden, const size_t *start,
                                 size_t n_sequences, const uint32_t *right, const uint32_t *wrong, double *metric,
                                 float *gradient, xcoder_error *err) {
  xcoder_status status = xci_model_prepare(model, err);
  if (!status) status = check_head(model, err);
  if (!status) status = check_layer(model, layer, err);
  if (!status) status = check_sequences(model, NULL, start, n_sequences, err);
  if (status) return status;
  size_t from = (size_t)(layer + 1), n_blocks = xci_max_size(1, model->n_blocks - from), max_rows = BATCH_ROWS;
  if (gradient != NULL)
    max_rows = xci_min_size(BATCH_ROWS, TAPE_BYTES / n_blocks / tape_row_bytes(&model->config.block));
  batch b = start_batches(model, start, n_sequences, max_rows);
  status = next_batch(&b, err);
  while (!status && b.n > 0) {
    status = metric_of_batch(&b, from, hidden, right, wrong, metric, gradient, err);
    if (!status) status = next_batch(&b, err);
  }
  return status;
}

xcoder_status xcoder_model_metric(xcoder_model *model, long layer, const float *hidden, const size_t *start,
                                  size_t n_sequences, const uint32_t *right, const uint32_t *wrong, double *metric,
                                  float *gradient, xcoder_error *err) {
  xcoder_status status;
  do status = find_metric(model, layer, hidden, start, n_sequences, right, wrong, metric, gradient, err);
  while (xci_device_replace(model->device, status, err));
  return status;
}

static xcoder_status unembed(xcoder_model *model, const float *directions, size_t n, float *out, xcoder_error *err) {
  const xci_backend *ops = model->device->ops;
  size_t d = model->info.d_model;
  xcoder_status status = xci_model_prepare(model, err);
  if (!status) status = check_head(model, err);
  for (size_t first = 0; !status && first < n; first += BATCH_ROWS) {
    size_t count = xci_min_size(BATCH_ROWS, n - first);
    status = xci_grow((void **)&model->row, &model->row_capacity, count, sizeof *model->row, err);
    if (!status) status = reserve_buffer(model, &model->h, count, err);
    if (!status)
      status = ops->upload(model->device, &model->h, 0, directions + first * d, count * d * sizeof *directions, err);
    for (size_t r = 0; !status && r < count; r++) model->row[r] = r;
    if (!status)
      status = ops->head_project(model->device, &model->head, &model->h, model->row, count, false,
                                 out + first * model->info.n_vocab, err);
  }
  return status;
}

xcoder_status xcoder_model_unembed(xcoder_model *model, const float *directions, size_t n, float *out,
                                   xcoder_error *err) {
  xcoder_status status;
  do status = unembed(model, directions, n, out, err);
  while (xci_device_replace(model->device, status, err));
  return status;
}
