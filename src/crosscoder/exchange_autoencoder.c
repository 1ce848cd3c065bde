/* SPDX-License-Identifier: Apache-2.0 */
/* The autoencoders of dictionary_learning, for one checkpoint: ae.pt with config.json, whose trainer.dict_class says
 * which class it is.
 *
 *   class                 tensors                                             f
 *   AutoEncoder           bias [d], encoder.*, decoder.weight [d,D]           relu(W (x - bias) + b)
 *   AutoEncoderNew        encoder.*, decoder.weight, decoder.bias [d]         relu(W x + b)
 *   AutoEncoderTopK       encoder.*, decoder.weight, b_dec [d], k, threshold  the k largest of relu(W (x - b_dec) + b)
 *   BatchTopKSAE          the same                                            those above the threshold
 *   JumpReluAutoEncoder   W_enc [d,D], b_enc, W_dec [D,d], b_dec, threshold   those above their own threshold
 *
 * with encoder.weight W [D,d] and encoder.bias b [D]. They read activations as they are. */
#include "base/memory.h"
#include "crosscoder/foreign.h"
#include "formats/json.h"
#include <limits.h>
#include <math.h>
#include <string.h>

typedef enum class { PLAIN, NEW, TOPK, BATCH_TOPK, JUMP_RELU, N_KINDS } class;

static const struct {
  const char *name, *decoder_bias;
  bool minus_bias;
} kinds[N_KINDS] = {
  {"AutoEncoder", "bias", true}, {"AutoEncoderNew", "decoder.bias", false}, {"AutoEncoderTopK", "b_dec", true},
  {"BatchTopKSAE", "b_dec", true}, {"JumpReluAutoEncoder", "b_dec", false}};

/* ---- Reading ---- */

static const char *dict_class(const xci_foreign *file) {
  return json_string_value(json_object_get(json_object_get(file->config, "trainer"), "dict_class"));
}

bool xci_is_autoencoder(const xci_foreign *file) {
  const xci_tensor *linear = xci_foreign_find(file, "encoder.weight"), *matrix = xci_foreign_find(file, "W_enc");
  return (linear != NULL && linear->rank == 2) || (matrix != NULL && matrix->rank == 2 && dict_class(file) != NULL);
}

static xcoder_status find_kind(const xci_foreign *file, class *found, xcoder_error *err) {
  char quoted[256];
  const char *name = dict_class(file);
  if (name == NULL)
    return xci_fail(err, XCODER_MISSING, "%s: no config.json beside it whose trainer.dict_class says what it is",
                    file->path);
  for (int k = 0; k < N_KINDS; k++)
    if (strcmp(name, kinds[k].name) == 0) {
      *found = (class)k;
      return XCODER_OK;
    }
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: trainer.dict_class '%s': only AutoEncoder, AutoEncoderNew, "
                  "AutoEncoderTopK, BatchTopKSAE and JumpReluAutoEncoder are read", file->config_path,
                  xci_quote(quoted, sizeof quoted, name, strlen(name)));
}

static xcoder_status find_shape(xci_foreign *file, class kind, xcoder_error *err) {
  const char *name = kind == JUMP_RELU ? "W_dec" : "encoder.weight"; /* [D, d] both */
  const xci_tensor *tensor = xci_foreign_find(file, name);
  size_t n_values[XCI_N_TENSORS];
  if (tensor == NULL || tensor->rank != 2)
    return xci_fail(err, XCODER_FORMAT, "%s: no tensor %s of rank 2: [features, width]", file->path, name);
  file->n_checkpoints = 1, file->n_latents = tensor->shape[0], file->d_model = tensor->shape[1];
  if (xci_coder_sizes(1, file->d_model, file->n_latents, n_values, NULL))
    return xci_fail(err, XCODER_FORMAT, "%s: %s: shape [%zu, %zu] is not that of an autoencoder", file->path, name,
                    file->n_latents, file->d_model);
  return XCODER_OK;
}

static void transpose(const float *from, size_t n_rows, size_t n_columns, float *to) {
  for (size_t r = 0; r < n_rows; r++)
    for (size_t c = 0; c < n_columns; c++) to[c * n_rows + r] = from[r * n_columns + c];
}

/* A matrix that is stored as the transpose of the crosscoder's tensor, [n_rows, n_columns] in the file. */
static xcoder_status read_transposed(const xci_foreign *file, const char *name, size_t n_rows, size_t n_columns,
                                     float *to, xcoder_error *err) {
  const size_t shape[2] = {n_rows, n_columns};
  float *values;
  xcoder_status status = xci_foreign_floats(file, name, 2, shape, &values, err);
  if (status) return status;
  transpose(values, n_rows, n_columns, to);
  xci_free(values);
  return XCODER_OK;
}

static xcoder_status read_straight(const xci_foreign *file, const char *name, size_t rank, size_t n_rows,
                                   size_t n_columns, float *to, xcoder_error *err) {
  const size_t shape[2] = {n_rows, n_columns};
  float *values;
  xcoder_status status = xci_foreign_floats(file, name, rank, shape, &values, err);
  if (status) return status;
  memcpy(to, values, n_rows * (rank > 1 ? n_columns : 1) * sizeof *to);
  xci_free(values);
  return XCODER_OK;
}

static xcoder_status read_weights(const xci_foreign *file, class kind, xcoder *coder, xcoder_error *err) {
  size_t d = file->d_model, n_latents = file->n_latents;
  float *const *w = coder->weights;
  bool jump = kind == JUMP_RELU;
  xcoder_status status = jump ? read_straight(file, "W_enc", 2, d, n_latents, w[XCI_W_ENC], err)
                              : read_transposed(file, "encoder.weight", n_latents, d, w[XCI_W_ENC], err);
  if (!status)
    status = jump ? read_straight(file, "W_dec", 2, n_latents, d, w[XCI_W_DEC], err)
                  : read_transposed(file, "decoder.weight", d, n_latents, w[XCI_W_DEC], err);
  if (!status) status = read_straight(file, jump ? "b_enc" : "encoder.bias", 1, n_latents, 0, w[XCI_B_ENC], err);
  if (!status) status = read_straight(file, kinds[kind].decoder_bias, 1, d, 0, w[XCI_B_DEC], err);
  return status;
}

static xcoder_status read_ranked(const xci_foreign *file, class kind, xcoder *coder, xcoder_error *err) {
  double k = 0, threshold = -1;
  bool found;
  xcoder_status status = xci_foreign_scalar(file, "k", &found, &k, err);
  if (!status) status = xci_foreign_scalar(file, "threshold", &found, &threshold, err);
  if (status) return status;
  if (!(k >= 1 && k <= (double)file->n_latents) || k != floor(k))
    return xci_fail(err, XCODER_FORMAT, "%s: k is %g, expected a whole number from 1 to %zu", file->path, k,
                    file->n_latents);
  if (kind == BATCH_TOPK && threshold < 0) {
    xci_foreign_note(file, "batchtopk without a threshold yet: every positive feature is kept");
    return xci_coder_set_activation(coder, XCODER_BATCH_TOPK, (size_t)k, -1, NULL, NULL, err);
  }
  float *values = NULL;
  status = XCI_ALLOC(&values, file->n_latents, err);
  for (size_t i = 0; i < file->n_latents && !status; i++) values[i] = kind == TOPK ? 1 : (float)threshold;
  if (!status && kind == TOPK) status = xci_coder_set_activation(coder, XCODER_TOPK, (size_t)k, -1, NULL, values, err);
  if (!status && kind == BATCH_TOPK) {
    status = xci_coder_set_activation(coder, XCODER_JUMP_RELU, 0, -1, values, NULL, err);
    xci_foreign_note(file, "the threshold, which they compare with f alone, became one for each feature (jumprelu)");
  }
  xci_free(values);
  return status;
}

static xcoder_status read_gate(const xci_foreign *file, class kind, xcoder *coder, xcoder_error *err) {
  float *values = NULL;
  if (kind == TOPK || kind == BATCH_TOPK) return read_ranked(file, kind, coder, err);
  if (kind != JUMP_RELU) return XCODER_OK;
  xcoder_status status = xci_foreign_floats(file, "threshold", 1, &file->n_latents, &values, err);
  if (!status) status = xci_coder_set_activation(coder, XCODER_JUMP_RELU, 0, -1, values, NULL, err);
  xci_free(values);
  return status;
}

static xcoder_status check_names(const xci_foreign *file, class kind, xcoder_error *err) {
  static const char *const jump[] = {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"};
  const char *linear[] = {"encoder.weight", "encoder.bias", "decoder.weight", kinds[kind].decoder_bias, "k",
                          "threshold"};
  if (kind == JUMP_RELU) return xci_foreign_check_names(file, jump, 5, err);
  return xci_foreign_check_names(file, linear, kind == TOPK || kind == BATCH_TOPK ? 6 : 4, err);
}

static xcoder_status create(const xci_foreign *file, xcoder **coder, xcoder_error *err) {
  const json_t *trainer = json_object_get(file->config, "trainer"), *layer = json_object_get(trainer, "layer");
  const char *label = json_string_value(json_object_get(trainer, "label"));
  const float one = 1;
  json_int_t number = json_is_integer(layer) ? json_integer_value(layer) : -2;
  if (file->options->n_scales > 0)
    return xci_fail(err, XCODER_USAGE, "%s: --scales was given, but it reads activations as they are", file->path);
  return xci_foreign_create(file, label != NULL ? &label : NULL, &one,
                            number >= -1 && number <= XCI_MAX_LAYER ? (long)number : LONG_MIN, coder, err);
}

xcoder_status xci_read_autoencoder(xci_foreign *file, xcoder **coder, xcoder_error *err) {
  const json_t *trainer = json_object_get(file->config, "trainer");
  class kind = PLAIN;
  xcoder *made = NULL;
  xcoder_status status = find_kind(file, &kind, err);
  if (!status) status = find_shape(file, kind, err);
  if (!status) status = check_names(file, kind, err);
  if (!status) status = create(file, &made, err);
  if (!status) status = read_weights(file, kind, made, err);
  if (!status) status = read_gate(file, kind, made, err);
  if (status) {
    xcoder_free_coder(made);
    return status;
  }
  if (kinds[kind].minus_bias) {
    xci_foreign_move_bias(made);
    xci_foreign_note(file, "%s is no longer subtracted before encoding: it moved into b_enc", kinds[kind].decoder_bias);
  }
  made->info.folded = file->report->folded = true;
  made->info.mask.keep_first = json_is_true(json_object_get(trainer, "keep_first"));
  *coder = made;
  return XCODER_OK;
}

/* ---- Writing ---- */

static xcoder_status write_linear(const xcoder *coder, const char *path, xcoder_error *err) {
  size_t d = coder->info.d_model, n_latents = coder->info.n_latents;
  float *encoder = NULL, *decoder = NULL;
  xcoder_status status = XCI_ALLOC(&encoder, coder->n_values[XCI_W_ENC], err);
  if (!status) status = XCI_ALLOC(&decoder, coder->n_values[XCI_W_DEC], err);
  if (!status) {
    transpose(coder->weights[XCI_W_ENC], d, n_latents, encoder);
    transpose(coder->weights[XCI_W_DEC], n_latents, d, decoder);
    const xci_torch_output tensors[] = {
      {.name = "encoder.weight", .rank = 2, .shape = {n_latents, d}, .values = encoder},
      {.name = "encoder.bias", .rank = 1, .shape = {n_latents}, .values = coder->weights[XCI_B_ENC]},
      {.name = "decoder.weight", .rank = 2, .shape = {d, n_latents}, .values = decoder},
      {.name = "decoder.bias", .rank = 1, .shape = {d}, .values = coder->weights[XCI_B_DEC]},
    };
    status = xci_torch_write(path, tensors, 4, err);
  }
  xci_free(encoder);
  xci_free(decoder);
  return status;
}

static xcoder_status write_jump(const xcoder *coder, const char *path, xcoder_error *err) {
  size_t d = coder->info.d_model, n_latents = coder->info.n_latents;
  float *theta = NULL;
  xcoder_status status = xci_foreign_thresholds(coder, &theta, err);
  if (!status) {
    const xci_torch_output tensors[] = {
      {.name = "W_enc", .rank = 2, .shape = {d, n_latents}, .values = coder->weights[XCI_W_ENC]},
      {.name = "b_enc", .rank = 1, .shape = {n_latents}, .values = coder->weights[XCI_B_ENC]},
      {.name = "W_dec", .rank = 2, .shape = {n_latents, d}, .values = coder->weights[XCI_W_DEC]},
      {.name = "b_dec", .rank = 1, .shape = {d}, .values = coder->weights[XCI_B_DEC]},
      {.name = "threshold", .rank = 1, .shape = {n_latents}, .values = theta},
    };
    status = xci_torch_write(path, tensors, 5, err);
  }
  xci_free(theta);
  return status;
}

static xcoder_status write_config(const xcoder *coder, const char *name, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_text text = {0};
  xci_text_format(&text, "  \"trainer\": {\n    \"dict_class\": \"%s\",\n    \"activation_dim\": %zu,\n"
                  "    \"dict_size\": %zu,\n    \"layer\": %ld,\n    \"device\": \"cpu\",\n    \"folded\": true,\n"
                  "    \"keep_first\": %s,\n    \"label\": \"", name, info->d_model, info->n_latents, info->layer,
                  info->mask.keep_first ? "true" : "false");
  xci_text_json(&text, info->labels[0], strlen(info->labels[0]));
  xci_text_add(&text, "\"\n  }");
  xcoder_status status = xci_foreign_write_json(folder, "config.json", &text, err);
  xci_text_clear(&text);
  return status;
}

xcoder_status xci_write_autoencoder(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  bool jump = xci_coder_has_thresholds(coder);
  char *path = NULL;
  if (info->n_checkpoints != 1)
    return xci_fail(err, XCODER_UNSUPPORTED, "dictionary-learning-sae: an autoencoder reads one checkpoint, this has "
                    "%zu (their sum in the encoder cannot be expressed)", info->n_checkpoints);
  if (info->activation == XCODER_TOPK)
    return xci_fail(err, XCODER_UNSUPPORTED, "dictionary-learning-sae: its topk ranks features without the norms of "
                    "the decoder, so other features would fire (saelens can hold it)");
  xcoder_status status = xci_join_path(folder, "ae.pt", &path, err);
  if (!status) status = jump ? write_jump(coder, path, err) : write_linear(coder, path, err);
  if (!status) status = write_config(coder, kinds[jump ? JUMP_RELU : NEW].name, folder, err);
  xci_free(path);
  return status;
}
