/* SPDX-License-Identifier: Apache-2.0 */
/* The form of SAELens for one checkpoint: W_enc [d,D], W_dec [D,d], b_enc [D], b_dec [d], threshold [D] (jumprelu) in
 * sae_weights.safetensors, with cfg.json. It reads activations as they are, so what is written is folded. */
#include "base/memory.h"
#include "crosscoder/foreign.h"
#include "formats/json.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct setup {
  const char *architecture;
  bool minus_bias, scaled, ranked_by_norm;
  size_t k;
} setup;

/* ---- Reading ---- */

static xcoder_status find_shape(xci_foreign *file, xcoder_error *err) {
  const xci_tensor *tensor = xci_foreign_find(file, "W_dec");
  size_t n_values[XCI_N_TENSORS];
  if (tensor == NULL || tensor->rank != 2)
    return xci_fail(err, XCODER_FORMAT, "%s: no tensor W_dec of rank 2: [features, width]", file->path);
  file->n_checkpoints = 1, file->n_latents = tensor->shape[0], file->d_model = tensor->shape[1];
  if (xci_coder_sizes(1, file->d_model, file->n_latents, n_values, NULL))
    return xci_fail(err, XCODER_FORMAT, "%s: W_dec: shape [%zu, %zu] is not that of an autoencoder", file->path,
                    file->n_latents, file->d_model);
  return XCODER_OK;
}

static xcoder_status read_setup(const xci_foreign *file, setup *s, xcoder_error *err) {
  const char *path = file->config_path, *normalize, *reshape;
  const bool yes = true, no = false;
  size_t d = file->d_model, n_latents = file->n_latents, d_in, d_sae, none = 0;
  if (!file->has_config)
    return xci_fail(err, XCODER_MISSING, "%s: no cfg.json beside it, which says how the weights are used", file->path);
  xcoder_status status = xci_json_get_text(file->config, path, "architecture", "standard", &s->architecture, err);
  if (!status) status = xci_json_get_text(file->config, path, "normalize_activations", "none", &normalize, err);
  if (!status) status = xci_json_get_text(file->config, path, "reshape_activations", "none", &reshape, err);
  if (!status) status = xci_json_get_bool(file->config, path, "apply_b_dec_to_input", &yes, &s->minus_bias, err);
  if (!status)
    status = xci_json_get_bool(file->config, path, "rescale_acts_by_decoder_norm", &no, &s->ranked_by_norm, err);
  if (!status) status = xci_json_get_size(file->config, path, "k", &none, &s->k, err);
  if (!status) status = xci_json_get_size(file->config, path, "d_in", &d, &d_in, err);
  if (!status) status = xci_json_get_size(file->config, path, "d_sae", &n_latents, &d_sae, err);
  if (status) return status;
  if (d_in != d || d_sae != n_latents)
    return xci_fail(err, XCODER_FORMAT, "%s: d_in %zu and d_sae %zu, but the tensors of %s say %zu and %zu", path, d_in,
                    d_sae, file->path, d, n_latents);
  if (strcmp(s->architecture, "standard") != 0 && strcmp(s->architecture, "jumprelu") != 0 &&
      strcmp(s->architecture, "topk") != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: architecture '%s': only standard, jumprelu and topk are read", path,
                    s->architecture);
  s->scaled = strcmp(normalize, "expected_average_only_in") == 0;
  if (!s->scaled && strcmp(normalize, "none") != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: normalize_activations '%s' depends on each sample: only none and "
                    "expected_average_only_in are read", path, normalize);
  if (strcmp(reshape, "none") != 0)
    return xci_fail(err, XCODER_UNSUPPORTED, "%s: reshape_activations '%s': only the residual stream is read", path,
                    reshape);
  if (strcmp(s->architecture, "topk") == 0 && s->k == 0)
    return xci_fail(err, XCODER_FORMAT, "%s: topk without k", path);
  return XCODER_OK;
}

/* The two matrices have the order of a crosscoder with one checkpoint. */
static xcoder_status read_matrices(const xci_foreign *file, xcoder *coder, xcoder_error *err) {
  static const xci_coder_tensor which[] = {XCI_W_ENC, XCI_W_DEC, XCI_B_ENC, XCI_B_DEC};
  const size_t d = file->d_model, n_latents = file->n_latents;
  const size_t shapes[4][2] = {{d, n_latents}, {n_latents, d}, {n_latents}, {d}};
  xcoder_status status = XCODER_OK;
  for (size_t t = 0; t < 4 && !status; t++) {
    float *values;
    status = xci_foreign_floats(file, xci_coder_tensor_names[which[t]], t < 2 ? 2 : 1, shapes[t], &values, err);
    if (!status) memcpy(coder->weights[which[t]], values, coder->n_values[which[t]] * sizeof *values);
    if (!status) xci_free(values);
  }
  return status;
}

static xcoder_status read_gate(const xci_foreign *file, const setup *s, xcoder *coder, xcoder_error *err) {
  size_t n = file->n_latents;
  float *values = NULL;
  xcoder_status status = XCODER_OK;
  if (strcmp(s->architecture, "jumprelu") == 0) {
    status = xci_foreign_floats(file, "threshold", 1, &n, &values, err);
    if (!status) status = xci_coder_set_activation(coder, XCODER_JUMP_RELU, 0, -1, values, NULL, err);
  } else if (strcmp(s->architecture, "topk") == 0) {
    status = XCI_ALLOC(&values, n, err);
    if (!status) status = xci_coder_scores(coder, values, err);
    for (size_t i = 0; i < n && !status && !s->ranked_by_norm; i++) values[i] = 1;
    if (!status) status = xci_coder_set_activation(coder, XCODER_TOPK, s->k, -1, NULL, values, err);
    if (s->ranked_by_norm)
      xci_foreign_note(file, "features are those of SAELens divided by the norm of their decoder row");
  }
  xci_free(values);
  return status;
}

static xcoder_status create(const xci_foreign *file, const setup *s, xcoder **coder, xcoder_error *err) {
  const json_t *metadata = json_object_get(file->config, "metadata"), *own = json_object_get(metadata, "label");
  const char *label = json_string_value(own), *hook = json_string_value(json_object_get(metadata, "hook_name"));
  const float one = 1;
  if (hook == NULL) hook = json_string_value(json_object_get(file->config, "hook_name"));
  if (!s->scaled && file->options->n_scales > 0)
    return xci_fail(err, XCODER_USAGE, "%s: --scales was given, but it reads activations as they are", file->path);
  return xci_foreign_create(file, label != NULL ? &label : NULL, s->scaled ? NULL : &one, xci_foreign_layer(hook),
                            coder, err);
}

xcoder_status xci_read_saelens(xci_foreign *file, xcoder **coder, xcoder_error *err) {
  static const char *const names[] = {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"};
  setup s = {0};
  xcoder *made = NULL;
  xcoder_status status = find_shape(file, err);
  if (!status) status = read_setup(file, &s, err);
  if (!status)
    status = xci_foreign_check_names(file, names, strcmp(s.architecture, "jumprelu") == 0 ? 5 : 4, err);
  if (!status) status = create(file, &s, &made, err);
  if (!status) status = read_matrices(file, made, err);
  if (!status) status = read_gate(file, &s, made, err);
  if (status) {
    xcoder_free_coder(made);
    return status;
  }
  if (s.minus_bias) {
    xci_foreign_move_bias(made);
    xci_foreign_note(file, "b_dec is no longer subtracted before encoding: it moved into b_enc");
  }
  made->info.folded = file->report->folded = !s.scaled;
  made->info.mask.keep_first = json_is_true(json_object_get(json_object_get(file->config, "metadata"), "keep_first"));
  *coder = made;
  return XCODER_OK;
}

/* ---- Writing ---- */

static xcoder_status write_weights(const xcoder *coder, const float *theta, const char *folder, xcoder_error *err) {
  static const xci_coder_tensor which[] = {XCI_W_ENC, XCI_W_DEC, XCI_B_ENC, XCI_B_DEC};
  const size_t d = coder->info.d_model, n_latents = coder->info.n_latents;
  const size_t shapes[4][2] = {{d, n_latents}, {n_latents, d}, {n_latents}, {d}};
  xci_safetensors_writer *writer = NULL;
  char *path = NULL;
  xcoder_status status = xci_join_path(folder, "sae_weights.safetensors", &path, err);
  if (!status) status = xci_safetensors_create(&writer, err);
  for (size_t t = 0; t < 4 && !status; t++)
    status = xci_safetensors_add(writer, xci_coder_tensor_names[which[t]], XCI_F32, t < 2 ? 2 : 1, shapes[t],
                                 coder->weights[which[t]], err);
  if (!status && theta != NULL)
    status = xci_safetensors_add(writer, "threshold", XCI_F32, 1, &n_latents, theta, err);
  if (!status) status = xci_safetensors_write(writer, path, err);
  xci_safetensors_discard(writer);
  xci_free(path);
  return status;
}

static xcoder_status write_config(const xcoder *coder, const char *architecture, bool by_norm, const char *folder,
                                  xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_text text = {0};
  xci_foreign_json_text(&text, "architecture", architecture);
  xci_foreign_json_number(&text, "d_in", (double)info->d_model);
  xci_foreign_json_number(&text, "d_sae", (double)info->n_latents);
  xci_foreign_json_text(&text, "dtype", "float32");
  xci_foreign_json_text(&text, "device", "cpu");
  xci_text_add(&text, ",\n  \"apply_b_dec_to_input\": false");
  xci_foreign_json_text(&text, "normalize_activations", "none");
  xci_foreign_json_text(&text, "reshape_activations", "none");
  if (info->activation == XCODER_TOPK) {
    xci_foreign_json_number(&text, "k", (double)info->k);
    xci_text_format(&text, ",\n  \"rescale_acts_by_decoder_norm\": %s", by_norm ? "true" : "false");
  }
  xci_text_format(&text, ",\n  \"metadata\": {\n    \"sae_lens_version\": \"6.0.0\",\n    \"hook_name\": "
                  "\"blocks.%ld.hook_resid_pre\",\n    \"folded\": true,\n    \"scale\": ", info->layer + 1);
  xci_text_json_number(&text, (double)info->scales[0]);
  xci_text_format(&text, ",\n    \"keep_first\": %s,\n    \"label\": \"", info->mask.keep_first ? "true" : "false");
  xci_text_json(&text, info->labels[0], strlen(info->labels[0]));
  xci_text_add(&text, "\"\n  }");
  xcoder_status status = xci_foreign_write_json(folder, "cfg.json", &text, err);
  xci_text_clear(&text);
  return status;
}

/* Whether features are ranked by their decoder's norm, or by nothing else than themselves: what the form can say. */
static xcoder_status find_ranking(const xcoder *coder, bool *by_norm, xcoder_error *err) {
  size_t n = coder->info.n_latents, n_ones = 0;
  float *score = NULL;
  xcoder_status status = XCI_ALLOC(&score, n, err);
  if (!status) status = xci_coder_scores(coder, score, err);
  for (size_t i = 0; i < n && !status; i++) n_ones += score[i] == 1;
  *by_norm = n_ones < n;
  xci_free(score);
  return status;
}

xcoder_status xci_write_saelens(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  float *theta = NULL;
  bool by_norm = false;
  if (info->n_checkpoints != 1)
    return xci_fail(err, XCODER_UNSUPPORTED, "saelens: it has no crosscoders; one checkpoint can be written, this has "
                    "%zu (their sum in the encoder cannot be expressed)", info->n_checkpoints);
  xcoder_status status = XCODER_OK;
  if (xci_coder_has_thresholds(coder)) status = xci_foreign_thresholds(coder, &theta, err);
  if (!status && info->activation == XCODER_TOPK) status = find_ranking(coder, &by_norm, err);
  if (!status) status = write_weights(coder, theta, folder, err);
  if (!status)
    status = write_config(coder, theta != NULL ? "jumprelu" : info->activation == XCODER_TOPK ? "topk" : "standard",
                          by_norm, folder, err);
  xci_free(theta);
  return status;
}
