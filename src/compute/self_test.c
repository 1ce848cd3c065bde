/* SPDX-License-Identifier: Apache-2.0 */
/* Every operation of a device once against the reference, on data made here. */
#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include "compute/compute.h"

#include <math.h>
#include <string.h>

/* float32 sums over at most 48 terms, passed through a block there and back: 1e-5 of the largest value is what the
 * conformance tests hold the processor to; devices may contract and reorder, so ten times that. A defect shows as 1. */
static const double BOUND = 1e-4;

enum { D = 16, HEADS = 2, D_HEAD = 8, D_MLP = 24, ROWS = 11, VOCAB = 48, N = 2, LATENTS = 40, MAX_VALUES = 4096,
       MAX_WEIGHTS = 12 };

/* One side of the comparison: a device and what lives on it. */
typedef struct side {
  xcoder_device *device;
  xci_weight *weight[MAX_WEIGHTS];
  size_t n_weights;
  xci_buffer h, gradient;
  xci_tape *tape;
  xci_coder *coder;
  float out[MAX_VALUES]; /* of the operation at hand */
} side;

typedef struct test {
  side side[2]; /* the device, the reference */
  float *values; /* MAX_WEIGHTS arrays of MAX_VALUES */
} test;

static void fill(float *x, size_t n, uint64_t stream, double mean, double deviation) {
  for (size_t i = 0; i < n; i++) x[i] = (float)(mean + deviation * xci_random_normal(11, XCI_STREAM_TEST + stream, i));
}

static xcoder_status compare(const test *t, const char *operation, size_t n, xcoder_error *err) {
  const float *x = t->side[0].out, *expected = t->side[1].out;
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < n; i++) {
    double error = fabs((double)x[i] - (double)expected[i]);
    if (!(error <= worst)) worst = error;
    largest = fmax(largest, fabs((double)expected[i]));
  }
  if (worst <= BOUND * largest) return XCODER_OK;
  return xci_fail(err, XCODER_DEVICE, "device %s: self-test: %s is off by %.3g of its largest value, at most %.0e is "
                  "allowed", t->side[0].device->name, operation, worst / largest, BOUND);
}

/* ---- Transformer ---- */

static const size_t starts[] = {0, 4, 5, ROWS};
static const xci_rows rows = {3, starts};

typedef struct parts {
  xci_block block;
  xci_head head;
  const xci_weight *positions;
} parts;

static xcoder_status add_weight(test *t, side *s, size_t n_rows, size_t n_columns, double mean, const xci_weight **out,
                                xcoder_error *err) {
  float *values = t->values + s->n_weights * MAX_VALUES;
  fill(values, n_rows * n_columns, s->n_weights, mean, mean != 0 ? 0.2 : 1 / sqrt((double)n_columns));
  xcoder_status status = s->device->ops->weight_create(s->device, values, XCI_F32, n_rows, n_columns,
                                                       &s->weight[s->n_weights], err);
  if (status) return status;
  *out = s->weight[s->n_weights++];
  return XCODER_OK;
}

static xcoder_status make_parts(test *t, side *s, parts *p, xcoder_error *err) {
  xci_norm norm = {.kind = XCI_NORM_LAYER, .epsilon = 1e-5f};
  xci_block *b = &p->block;
  *b = (xci_block){.d_model = D, .n_heads = HEADS, .n_kv_heads = HEADS, .d_head = D_HEAD, .d_mlp = D_MLP,
                   .residual = XCI_PARALLEL, .qkv_fused = true, .qkv_interleaved = true, .activation = XCI_GELU_ERF,
                   .attention_scale = 1 / sqrtf(D_HEAD), .rotary_width = 4, .rotary_base = 100};
  xcoder_status status = add_weight(t, s, 1, D, 1, &norm.weight, err);
  if (!status) status = add_weight(t, s, 1, D, 0, &norm.bias, err);
  if (!status) status = add_weight(t, s, 3 * D, D, 0, &b->query.weight, err);
  if (!status) status = add_weight(t, s, 1, 3 * D, 0, &b->query.bias, err);
  if (!status) status = add_weight(t, s, D, D, 0, &b->output.weight, err);
  if (!status) status = add_weight(t, s, D_MLP, D, 0, &b->up.weight, err);
  if (!status) status = add_weight(t, s, 1, D_MLP, 0, &b->up.bias, err);
  if (!status) status = add_weight(t, s, D_MLP, D, 0, &b->down.weight, err);
  b->down.transposed = true;
  if (!status) status = add_weight(t, s, ROWS, D, 0, &p->positions, err);
  if (!status) status = add_weight(t, s, VOCAB, D, 0, &p->head.unembedding, err);
  b->norm_attention = b->norm_mlp = p->head.norm = norm;
  p->head.d_model = D;
  p->head.n_vocab = VOCAB;
  return status;
}

static void make_tokens(uint32_t token[2 * ROWS], size_t row[ROWS], float weight[2 * ROWS]) {
  for (uint32_t i = 0; i < 2 * ROWS; i++) {
    token[i] = i * 29 % VOCAB;
    weight[i] = (float)i - 9.5f;
  }
  for (size_t i = 0; i < ROWS; i++) row[i] = ROWS - 1 - i;
}

/* Runs operation `step` on one side and leaves *n values in s->out; *name is NULL after the last one. */
static xcoder_status run_transformer(side *s, const parts *p, size_t step, const char **name, size_t *n,
                                     xcoder_error *err) {
  const xci_backend *ops = s->device->ops;
  xcoder_device *device = s->device;
  uint32_t token[2 * ROWS];
  size_t row[ROWS];
  float weight[2 * ROWS];
  make_tokens(token, row, weight);
  *n = ROWS * D;
  xcoder_status status = XCODER_OK;
  switch (step) {
    case 0:
      *name = "embed";
      status = ops->embed(device, &(xci_embedding){p->head.unembedding, p->positions, &p->head.norm}, token, &rows,
                          &s->h, err);
      return status ? status : ops->download(device, &s->h, 0, s->out, *n * sizeof(float), err);
    case 1:
      *name = "block_forward";
      status = ops->block_forward(device, &p->block, &rows, &s->h, s->tape, 0, err);
      return status ? status : ops->download(device, &s->h, 0, s->out, *n * sizeof(float), err);
    case 2:
      *name = "head_logits";
      *n = 3 * ROWS;
      return ops->head_logits(device, &p->head, &s->h, row, ROWS, token, 2, s->out, s->out + 2 * ROWS, err);
    case 3:
      *name = "head_log_probs";
      *n = ROWS;
      return ops->head_log_probs(device, &p->head, &s->h, row, ROWS, token, s->out, err);
    case 4:
      *name = "head_project";
      *n = ROWS * VOCAB;
      return ops->head_project(device, &p->head, &s->h, row, ROWS, true, s->out, err);
    case 5:
      *name = "head_backward";
      status = ops->head_backward(device, &p->head, &s->h, ROWS, row, ROWS, token, 2, weight, &s->gradient, err);
      return status ? status : ops->download(device, &s->gradient, 0, s->out, *n * sizeof(float), err);
    case 6:
      *name = "block_backward";
      status = ops->block_backward(device, &p->block, &rows, s->tape, 0, &s->gradient, err);
      return status ? status : ops->download(device, &s->gradient, 0, s->out, *n * sizeof(float), err);
    default: *name = NULL; return XCODER_OK;
  }
}

static xcoder_status test_transformer(test *t, xcoder_error *err) {
  parts p[2] = {0};
  xcoder_status status = XCODER_OK;
  for (int i = 0; !status && i < 2; i++) {
    side *s = &t->side[i];
    const xci_backend *ops = s->device->ops;
    status = make_parts(t, s, &p[i], err);
    if (!status) status = ops->buffer_create(s->device, ROWS * D * sizeof(float), &s->h, err);
    if (!status) status = ops->buffer_create(s->device, ROWS * D * sizeof(float), &s->gradient, err);
    if (!status) status = ops->tape_create(s->device, &p[i].block, 1, ROWS, &s->tape, err);
  }
  const char *name = "";
  for (size_t step = 0; !status && name != NULL; step++) {
    size_t n = 0;
    for (int i = 0; !status && i < 2; i++) status = run_transformer(&t->side[i], &p[i], step, &name, &n, err);
    if (!status && name != NULL) status = compare(t, name, n, err);
  }
  return status;
}

/* ---- Crosscoder ---- */

static const size_t tensor_values[XCI_N_TENSORS] = {N * D * LATENTS, LATENTS, LATENTS * N * D, N * D};

static xcoder_status start_coder(test *t, side *s, xcoder_error *err) {
  const xci_backend *ops = s->device->ops;
  xci_coder_shape shape = {.n_checkpoints = N, .d_model = D, .n_latents = LATENTS, .max_batch = ROWS, .training = true};
  xcoder_status status = ops->coder_create(s->device, &shape, &s->coder, err);
  for (int k = 0; !status && k < XCI_N_TENSORS; k++) {
    fill(t->values, tensor_values[k], 50 + (uint64_t)k, 0, 0.3);
    status = ops->coder_write(s->device, s->coder, (xci_coder_tensor)k, XCI_VALUE, t->values, err);
  }
  return status;
}

/* Codes as a dense array, so that a feature that one side just misses is a small difference. */
static xcoder_status read_codes(side *s, xcoder_error *err) {
  xci_codes codes;
  xcoder_status status = s->device->ops->coder_codes(s->device, s->coder, &codes, err);
  if (status) return status;
  memset(s->out, 0, sizeof s->out);
  for (size_t b = 0; b < codes.n_samples; b++)
    for (size_t k = codes.start[b]; k < codes.start[b + 1]; k++)
      if (codes.index[k] < LATENTS) s->out[b * LATENTS + codes.index[k]] = codes.value[k];
  return XCODER_OK;
}

/* The reference's codes for either side. */
static xcoder_status share_codes(test *t, side *s, xcoder_error *err) {
  xci_codes codes;
  const side *reference = &t->side[1];
  xcoder_status status = reference->device->ops->coder_codes(reference->device, reference->coder, &codes, err);
  if (!status && s != reference) status = s->device->ops->coder_set_codes(s->device, s->coder, &codes, err);
  return status;
}

static void fill_losses(const xci_losses *losses, float out[5]) {
  const double values[5] = {losses->loss, losses->reconstruction, losses->sparsity, losses->gradient_norm,
                            losses->auxiliary};
  for (int i = 0; i < 5; i++) out[i] = (float)values[i];
}

/* Margins are about 0.4: the gate's half bandwidth divided by norms of about 2.4. */
static xcoder_status encode_jump(side *s, const float *x, float theta, xcoder_error *err) {
  float threshold[LATENTS];
  for (size_t i = 0; i < LATENTS; i++) threshold[i] = theta;
  const xci_gate gate = {.kind = XCI_GATE_JUMP, .threshold = threshold, .half_bandwidth = 1};
  return s->device->ops->coder_encode(s->device, s->coder, x, ROWS, &gate, err);
}

/* Which latents fired, and the least score. */
static xcoder_status read_fired(side *s, xcoder_error *err) {
  uint32_t fired[(LATENTS + 31) / 32];
  xci_losses losses = {0};
  xcoder_status status = s->device->ops->coder_backward(s->device, s->coder, &(xci_objective){.fired = fired}, &losses,
                                                        err);
  for (size_t i = 0; i < LATENTS && !status; i++) s->out[i] = (float)(fired[i / 32] >> i % 32 & 1);
  s->out[LATENTS] = (float)losses.least_score;
  return status;
}

/* Of the batch of the last coder_backward. */
static xcoder_status mark_latents(side *s, xcoder_error *err) {
  uint32_t marks[LATENTS];
  xcoder_status status = s->device->ops->coder_mark(s->device, s->coder, 7, err);
  if (!status) status = s->device->ops->coder_marks(s->device, s->coder, marks, err);
  for (size_t i = 0; i < LATENTS && !status; i++) s->out[i] = (float)marks[i];
  return status;
}

/* Every row of a window once, and not in order. */
static xcoder_status encode_rows(test *t, side *s, const xci_gate *gate, xcoder_error *err) {
  uint16_t window[ROWS * N * D];
  uint32_t row[ROWS];
  float scales[N];
  fill(t->values, ROWS * N * D, 61, 0, 1);
  xci_f32_to_bf16_array(t->values, window, ROWS * N * D);
  for (size_t c = 0; c < N; c++) scales[c] = 0.5f + (float)c;
  for (size_t b = 0; b < ROWS; b++) row[b] = (uint32_t)(b * 7 % ROWS);
  xcoder_status status = s->device->ops->coder_window(s->device, s->coder, window, ROWS, scales, err);
  if (!status) status = s->device->ops->coder_encode_rows(s->device, s->coder, row, ROWS, gate, err);
  return status ? status : read_codes(s, err);
}

static xcoder_status run_coder(test *t, side *s, size_t step, const char **name, size_t *n, xcoder_error *err) {
  const xci_backend *ops = s->device->ops;
  const xci_gate gate = {.kind = XCI_GATE_RELU};
  const xci_gate topk = {.kind = XCI_GATE_TOPK, .k = 3}, batch_topk = {.kind = XCI_GATE_BATCH_TOPK, .k = 3};
  const uint32_t dead[] = {1, 7, 8, 20, 33, LATENTS - 1};
  const xci_objective objective = {.l1_coefficient = 0.5};
  const xci_objective auxiliary = {.l1_coefficient = 0.5, .auxiliary_coefficient = 0.25, .dead = dead,
                                   .n_dead = sizeof dead / sizeof *dead, .n_auxiliary = 2};
  const xci_adam adam = {1, 1e-3, 0.9, 0.999, 1e-8, 1};
  xci_losses losses;
  xcoder_status status;
  switch (step) {
    case 0:
      *name = "coder_norms";
      *n = LATENTS * N;
      return ops->coder_norms(s->device, s->coder, s->out, err);
    case 1:
      *name = "coder_encode";
      *n = ROWS * LATENTS;
      fill(t->values, ROWS * N * D, 60, 0, 1);
      status = ops->coder_encode(s->device, s->coder, t->values, ROWS, &gate, err);
      return status ? status : read_codes(s, err);
    case 2: /* from here on both sides work with the reference's codes */
      *name = "coder_decode";
      *n = ROWS * N * D;
      status = share_codes(t, s, err);
      return status ? status : ops->coder_decode(s->device, s->coder, s->out, err);
    case 3:
      *name = "coder_backward";
      *n = 4;
      status = ops->coder_backward(s->device, s->coder, &objective, &losses, err);
      if (!status) fill_losses(&losses, s->out);
      return status;
    case 4: case 5: case 6: case 7:
      *name = "gradient of coder_backward";
      *n = tensor_values[step - 4];
      return ops->coder_read(s->device, s->coder, (xci_coder_tensor)(step - 4), XCI_GRADIENT, s->out, err);
    case 8: case 9: /* few codes, which a backend may treat in another way than many */
      *name = step == 8 ? "coder_encode with batch top-k" : "coder_encode with top-k";
      *n = ROWS * LATENTS;
      status = ops->coder_encode(s->device, s->coder, t->values, ROWS, step == 8 ? &batch_topk : &topk, err);
      return status ? status : read_codes(s, err);
    case 10:
      *name = "coder_backward of few codes with dead latents";
      *n = 5;
      status = share_codes(t, s, err);
      if (!status) status = ops->coder_backward(s->device, s->coder, &auxiliary, &losses, err);
      if (!status) fill_losses(&losses, s->out);
      return status;
    case 11: case 12: case 13: case 14:
      *name = "gradient of coder_backward of few codes";
      *n = tensor_values[step - 11];
      return ops->coder_read(s->device, s->coder, (xci_coder_tensor)(step - 11), XCI_GRADIENT, s->out, err);
    case 15: case 18: /* many codes, then few */
      *name = "coder_encode with trained thresholds";
      *n = ROWS * LATENTS;
      status = encode_jump(s, t->values, step == 15 ? 0.5f : 3, err);
      return status ? status : read_codes(s, err);
    case 16: case 19:
      *name = "gradient of thresholds";
      *n = LATENTS;
      return ops->coder_backward(s->device, s->coder, &(xci_objective){.l0_coefficient = 2,
                                 .threshold_gradient = s->out}, &losses, err);
    case 17: case 20:
      *name = "gradient with trained thresholds";
      *n = tensor_values[XCI_W_ENC];
      return ops->coder_read(s->device, s->coder, XCI_W_ENC, XCI_GRADIENT, s->out, err);
    case 21:
      *name = "what comes with the losses";
      *n = LATENTS + 1;
      status = ops->coder_encode(s->device, s->coder, t->values, ROWS, &batch_topk, err);
      return status ? status : read_fired(s, err);
    case 22:
      *name = "coder_update";
      *n = tensor_values[XCI_B_DEC]; /* its gradient is never so small that Adam's first step could flip */
      status = ops->coder_update(s->device, s->coder, &adam, err);
      return status ? status : ops->coder_read(s->device, s->coder, XCI_B_DEC, XCI_VALUE, s->out, err);
    case 23:
      *name = "coder_mark";
      *n = LATENTS;
      return mark_latents(s, err);
    case 24:
      *name = "coder_encode_rows";
      *n = ROWS * LATENTS;
      return encode_rows(t, s, &gate, err);
    default: *name = NULL; return XCODER_OK;
  }
}

static xcoder_status test_coder(test *t, xcoder_error *err) {
  const char *name = "";
  xcoder_status status = start_coder(t, &t->side[0], err);
  if (!status) status = start_coder(t, &t->side[1], err);
  for (size_t step = 0; !status && name != NULL; step++) {
    size_t n = 0;
    for (int i = 0; !status && i < 2; i++) status = run_coder(t, &t->side[i], step, &name, &n, err);
    if (!status && name != NULL) status = compare(t, name, n, err);
  }
  return status;
}

static void close_side(side *s) {
  if (s->device == NULL) return;
  const xci_backend *ops = s->device->ops;
  for (size_t i = 0; i < s->n_weights; i++) ops->weight_free(s->device, s->weight[i]);
  ops->buffer_free(s->device, &s->h);
  ops->buffer_free(s->device, &s->gradient);
  ops->tape_free(s->device, s->tape);
  ops->coder_free(s->device, s->coder);
}

xcoder_status xcoder_device_self_test(xcoder_device *device, xcoder_error *err) {
  test *t = NULL;
  xcoder_device *reference = NULL;
  xcoder_status status = XCI_ALLOC(&t, 1, err);
  if (status) return status;
  status = XCI_ALLOC(&t->values, (size_t)MAX_WEIGHTS * MAX_VALUES, err);
  if (!status) status = xcoder_device_open("reference", &reference, err);
  if (!status) {
    t->side[0].device = device;
    t->side[1].device = reference;
    status = test_transformer(t, err);
  }
  if (!status) status = test_coder(t, err);
  close_side(&t->side[0]);
  close_side(&t->side[1]);
  xcoder_device_close(reference);
  xci_free(t->values);
  xci_free(t);
  return status;
}
