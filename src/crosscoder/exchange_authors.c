/* SPDX-License-Identifier: Apache-2.0 */
/* The form of the paper's code and of the replication that it grew from: the tensors of this project under the same
 * names, in the zip file of torch.save, with a cfg.json. Weights are as trained; the factors of the activations are in
 * the cfg, if anywhere. */
#include "base/memory.h"
#include "crosscoder/foreign.h"
#include "formats/json.h"
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Reading ---- */

static xcoder_status find_shape(xci_foreign *file, xcoder_error *err) {
  const xci_tensor *tensor = xci_foreign_find(file, "W_dec");
  size_t n_values[XCI_N_TENSORS];
  if (tensor == NULL || tensor->rank != 3)
    return xci_fail(err, XCODER_FORMAT, "%s: no tensor W_dec of rank 3: [features, checkpoints, width]", file->path);
  file->n_latents = tensor->shape[0], file->n_checkpoints = tensor->shape[1], file->d_model = tensor->shape[2];
  if (xci_coder_sizes(file->n_checkpoints, file->d_model, file->n_latents, n_values, NULL))
    return xci_fail(err, XCODER_FORMAT, "%s: W_dec: shape [%zu, %zu, %zu] is not that of a crosscoder", file->path,
                    file->n_latents, file->n_checkpoints, file->d_model);
  return XCODER_OK;
}

/* Sizes in the cfg must be those of the tensors. */
static xcoder_status check_sizes(const xci_foreign *file, xcoder_error *err) {
  const struct { const char *key; size_t value; } sizes[] = {
    {"d_in", file->d_model}, {"dict_size", file->n_latents}, {"n_models", file->n_checkpoints}};
  for (size_t i = 0; i < 3; i++) {
    size_t value, absent = sizes[i].value;
    xcoder_status status = xci_json_get_size(file->config, file->config_path, sizes[i].key, &absent, &value, err);
    if (status) return status;
    if (value != sizes[i].value)
      return xci_fail(err, XCODER_FORMAT, "%s: %s is %zu, but the tensors of %s say %zu", file->config_path,
                      sizes[i].key, value, file->path, sizes[i].value);
  }
  return XCODER_OK;
}

static xcoder_status read_scales(const xci_foreign *file, float *scales, bool *found, xcoder_error *err) {
  const json_t *list = json_object_get(file->config, "estimated_act_norm_list");
  *found = list != NULL && !json_is_null(list);
  if (!*found || file->options->n_scales > 0) return XCODER_OK;
  if (!json_is_array(list) || json_array_size(list) != file->n_checkpoints)
    return xci_fail(err, XCODER_FORMAT, "%s: estimated_act_norm_list: expected an array of %zu numbers",
                    file->config_path, file->n_checkpoints);
  for (size_t c = 0; c < file->n_checkpoints; c++) {
    const json_t *item = json_array_get(list, c);
    scales[c] = json_is_number(item) ? (float)json_number_value(item) : 0;
    if (!isfinite(scales[c]) || scales[c] <= 0)
      return xci_fail(err, XCODER_FORMAT, "%s: estimated_act_norm_list: item %zu is not a positive number",
                      file->config_path, c);
  }
  return XCODER_OK;
}

/* The parts of `text` between separators, if there are as many as checkpoints; they are cut in place. */
static bool split_labels(char *text, char separator, const char **labels, size_t n) {
  size_t n_parts = 1;
  for (const char *p = text; *p; p++) n_parts += *p == separator;
  if (n_parts != n) return false;
  for (size_t c = 0; c < n; c++) {
    labels[c] = text;
    text += strcspn(text, (char[]){separator, '\0'});
    if (*text) *text++ = '\0';
  }
  return true;
}

/* Our own list, or the authors' revisions joined by "-", for OLMo by "_". */
static bool find_labels(const xci_foreign *file, char *revisions, const char **labels) {
  const json_t *own = json_object_get(file->config, "labels");
  size_t n = file->n_checkpoints;
  if (json_is_array(own) && json_array_size(own) == n) {
    for (size_t c = 0; c < n; c++)
      if ((labels[c] = json_string_value(json_array_get(own, c))) == NULL) return false;
    return true;
  }
  return revisions != NULL && (split_labels(revisions, '-', labels, n) || split_labels(revisions, '_', labels, n));
}

static xcoder_status create(const xci_foreign *file, xcoder **coder, xcoder_error *err) {
  const char *labels[XCODER_MAX_CHECKPOINTS], *revision_list, *hook;
  float scales[XCODER_MAX_CHECKPOINTS];
  char *revisions = NULL;
  bool has_scales, remove_bos, yes = true;
  xcoder_status status = xci_json_get_text(file->config, file->config_path, "revision_list", "", &revision_list, err);
  if (!status) status = xci_json_get_text(file->config, file->config_path, "hook_point", "", &hook, err);
  if (!status) status = xci_json_get_bool(file->config, file->config_path, "remove_bos", &yes, &remove_bos, err);
  if (!status) status = read_scales(file, scales, &has_scales, err);
  if (!status) status = xci_copy_text(revision_list, &revisions, err);
  if (!status) {
    bool labelled = find_labels(file, revisions, labels);
    status = xci_foreign_create(file, labelled ? labels : NULL, has_scales ? scales : NULL, xci_foreign_layer(hook),
                                coder, err);
  }
  if (!status) (*coder)->info.mask.keep_first = !remove_bos;
  xci_free(revisions);
  return status;
}

static xcoder_status read_gate(const xci_foreign *file, xcoder *coder, xcoder_error *err) {
  double k = 0, threshold = -1;
  bool has_k, has_threshold;
  xcoder_status status = xci_foreign_scalar(file, "k", &has_k, &k, err);
  if (!status) status = xci_foreign_scalar(file, "threshold", &has_threshold, &threshold, err);
  if (status || (!has_k && !has_threshold)) return status;
  if (k < 0 || k > 4294967295.0 || k != floor(k))
    return xci_fail(err, XCODER_FORMAT, "%s: k is %g, expected a whole number", file->path, k);
  if (threshold < 0) xci_foreign_note(file, "batchtopk without a threshold yet: every positive feature is kept");
  return xci_coder_set_activation(coder, XCODER_BATCH_TOPK, (size_t)k, threshold < 0 ? -1 : (float)threshold, NULL,
                                  NULL, err);
}

xcoder_status xci_read_authors(xci_foreign *file, xcoder **coder, xcoder_error *err) {
  static const char *const names[] = {"W_enc", "b_enc", "W_dec", "b_dec", "k", "threshold"};
  xcoder *made = NULL;
  bool folded = false, no = false;
  xcoder_status status = find_shape(file, err);
  if (!status) status = xci_foreign_check_names(file, names, sizeof names / sizeof *names, err);
  if (!status) status = check_sizes(file, err);
  if (!status)
    status = xci_json_get_bool(file->config, file->config_path, "folded", &no, &folded, err);
  if (!status) status = create(file, &made, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++)
    status = xci_foreign_copy(file, xci_coder_tensor_names[t], (xci_coder_tensor)t, made, err);
  if (!status) status = read_gate(file, made, err);
  if (status) {
    xcoder_free_coder(made);
    return status;
  }
  file->report->folded = folded;
  made->info.folded = folded;
  *coder = made;
  return XCODER_OK;
}

/* ---- Writing ---- */

static xcoder_status write_weights(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_torch_output tensors[XCI_N_TENSORS + 2] = {{0}};
  const int32_t k = (int32_t)info->k;
  size_t n = XCI_N_TENSORS;
  char *path = NULL;
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    xci_torch_output *out = &tensors[t];
    out->name = xci_coder_tensor_names[t];
    out->values = coder->weights[t];
    out->rank = xci_coder_tensor_shape(info->n_checkpoints, info->d_model, info->n_latents, (xci_coder_tensor)t,
                                       out->shape);
  }
  if (info->activation == XCODER_BATCH_TOPK) {
    tensors[n++] = (xci_torch_output){.name = "k", .dtype = XCI_I32, .values = &k};
    tensors[n++] = (xci_torch_output){.name = "threshold", .values = &info->threshold};
  }
  xcoder_status status = xci_join_path(folder, "cc_weights.pt", &path, err);
  if (!status) status = xci_torch_write(path, tensors, n, err);
  xci_free(path);
  return status;
}

static void add_lists(xci_text *text, const xcoder_info *info) {
  char separator = '-';
  xci_text_add(text, ",\n  \"labels\": [");
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(text, c > 0 ? ", \"" : "\"");
    xci_text_json(text, info->labels[c], strlen(info->labels[c]));
    xci_text_add(text, "\"");
    if (strchr(info->labels[c], '-') != NULL) separator = '_';
  }
  xci_text_add(text, "],\n  \"revision_list\": \"");
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    if (c > 0) xci_text_append(text, &separator, 1);
    xci_text_json(text, info->labels[c], strlen(info->labels[c]));
  }
  xci_text_add(text, "\",\n  \"estimated_act_norm_list\": [");
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    xci_text_add(text, c > 0 ? ", " : "");
    xci_text_json_number(text, info->folded ? 1 : (double)info->scales[c]);
  }
  xci_text_add(text, "]");
}

static xcoder_status write_config(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xci_text text = {0};
  char hook[64];
  bool batch_topk = info->activation == XCODER_BATCH_TOPK;
  snprintf(hook, sizeof hook, "blocks.%ld.hook_resid_pre", info->layer + 1);
  xci_foreign_json_number(&text, "d_in", (double)info->d_model);
  xci_foreign_json_number(&text, "dict_size", (double)info->n_latents);
  xci_foreign_json_number(&text, "n_models", (double)info->n_checkpoints);
  xci_foreign_json_text(&text, "enc_dtype", "fp32");
  xci_foreign_json_text(&text, "hook_point", hook);
  xci_foreign_json_text(&text, "site", "resid_pre");
  xci_foreign_json_text(&text, "device", "cpu");
  xci_foreign_json_number(&text, "seed", 0);
  xci_foreign_json_number(&text, "dec_init_norm", batch_topk ? 1 : 0.08);
  xci_text_format(&text, ",\n  \"remove_bos\": %s", info->mask.keep_first ? "false" : "true");
  xci_text_format(&text, ",\n  \"folded\": %s", info->folded ? "true" : "false");
  if (batch_topk) { /* their constructor wants both */
    xci_foreign_json_number(&text, "batch_topk_init", (double)info->k);
    xci_foreign_json_number(&text, "batch_topk_final", (double)info->k);
  } else {
    xci_text_add(&text, ",\n  \"batch_topk_final\": null");
  }
  add_lists(&text, info);
  xcoder_status status = xci_foreign_write_json(folder, "cfg.json", &text, err);
  xci_text_clear(&text);
  return status;
}

xcoder_status xci_write_authors(const xcoder *coder, const char *folder, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  if (info->activation == XCODER_TOPK || info->activation == XCODER_JUMP_RELU)
    return xci_fail(err, XCODER_UNSUPPORTED, "authors: their code has no %s crosscoder",
                    xci_activation_names[info->activation]);
  if (info->folded && xci_coder_has_thresholds(coder))
    return xci_fail(err, XCODER_UNSUPPORTED, "authors: their code compares the threshold with the norms of the decoder "
                    "in the file, so folded weights would fire elsewhere (write them unfolded)");
  xcoder_status status = write_weights(coder, folder, err);
  return status ? status : write_config(coder, folder, err);
}
