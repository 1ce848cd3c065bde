/* SPDX-License-Identifier: Apache-2.0 */
/* Continuing a run from its newest good checkpoint. */
#include "base/memory.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/checkpoint_folder.h"
#include "formats/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Is it the same run? ---- */

static xcoder_status compare_config(const xci_trainer *trainer, const char *folder, const json_t *manifest,
                                    xcoder_error *err) {
  const json_t *saved = json_object_get(manifest, "config");
  const xci_config *config = &trainer->config;
  for (size_t e = 0; e < config->n_entries; e++) {
    const char *value = json_string_value(json_object_get(saved, config->key[e]));
    if (value == NULL || strcmp(value, config->value[e]) != 0)
      return xci_fail(err, XCODER_STATE, "%s: made with %s = %s, now it is %s: not the same run (start a new one or "
                      "restore the option)", folder, config->key[e], value != NULL ? value : "(nothing)",
                      config->value[e]);
  }
  const char *hash = json_string_value(json_object_get(manifest, "config_hash"));
  if (hash != NULL && strcmp(hash, config->hash) == 0) return XCODER_OK;
  return xci_fail(err, XCODER_STATE, "%s: made by another configuration (hash %s, now %s): models, text or options "
                  "changed", folder, hash != NULL ? hash : "missing", config->hash);
}

static void warn_kernels(const xci_trainer *trainer, const char *folder, const json_t *manifest) {
  const char *kernels = json_string_value(json_object_get(manifest, "kernels"));
  if (kernels != NULL && strcmp(kernels, trainer->device->kernels) != 0)
    xci_train_warn(trainer, "%s: made with kernels '%s', continuing with '%s': the result may differ in its last bits",
                   folder, kernels, trainer->device->kernels);
}

/* ---- Reading ---- */

static xcoder_status read_tensor(xci_trainer *trainer, const xci_safetensors *file, const char *prefix,
                                 xci_coder_tensor which, xci_coder_slot slot, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  size_t n_values[XCI_N_TENSORS], shape[3];
  float *values = NULL;
  char name[24];
  snprintf(name, sizeof name, "%s%s", prefix, xci_coder_tensor_names[which]);
  const xci_tensor *tensor = xci_safetensors_find(file, name);
  size_t rank = xci_coder_tensor_shape(info->n_checkpoints, info->d_model, info->n_latents, which, shape);
  bool same = tensor != NULL && tensor->rank == rank && tensor->dtype == XCI_F32;
  for (size_t r = 0; r < rank && same; r++) same = tensor->shape[r] == shape[r];
  if (!same)
    return xci_fail(err, XCODER_STATE, "%s: %s: missing, or not of this run's shape", xci_safetensors_path(file), name);
  xcoder_status status = xci_coder_sizes(info->n_checkpoints, info->d_model, info->n_latents, n_values, err);
  if (!status) status = XCI_ALLOC(&values, n_values[which], err);
  if (!status) status = xci_tensor_to_f32(tensor, values, err);
  if (!status) status = trainer->device->ops->coder_write(trainer->device, trainer->coder, which, slot, values, err);
  xci_free(values);
  return status;
}

static xcoder_status read_log_thresholds(xci_trainer *trainer, const xci_safetensors *file, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  if (!xci_train_is_jump(&trainer->options)) return XCODER_OK;
  for (int slot = XCI_VALUE; slot <= XCI_MOMENT2 && !status; slot++) {
    const char *name = xci_log_threshold_names[slot];
    const xci_tensor *tensor = xci_safetensors_find(file, name);
    if (tensor == NULL || tensor->rank != 1 || tensor->dtype != XCI_F32 ||
        tensor->n_values != trainer->info.n_latents)
      status = xci_fail(err, XCODER_STATE, "%s: %s: missing, or not of this run's shape", xci_safetensors_path(file),
                        name);
    else
      status = xci_tensor_to_f32(tensor, trainer->log_theta[slot], err);
  }
  return status;
}

/* The average of batchtopk; none before it started. */
static xcoder_status read_threshold(xci_trainer *trainer, const xci_safetensors *file, xcoder_error *err) {
  const char *text = xci_safetensors_metadata(file, "threshold");
  char array[64];
  trainer->info.threshold = -1;
  if (text == NULL) return XCODER_OK;
  snprintf(array, sizeof array, "[%s]", text); /* a bare number is no JSON text */
  json_t *list = json_loads(array, 0, NULL);
  double value = json_number_value(json_array_get(list, 0));
  bool good = json_is_number(json_array_get(list, 0)) && value >= 0 && value < 3e38;
  json_decref(list);
  if (!good)
    return xci_fail(err, XCODER_STATE, "%s: metadata threshold: not a number from 0", xci_safetensors_path(file));
  trainer->info.threshold = (float)value;
  return XCODER_OK;
}

static xcoder_status read_state(xci_trainer *trainer, const char *path, xcoder_error *err) {
  xci_safetensors *file = NULL;
  xcoder_status status = xci_safetensors_open(path, &file, err);
  for (int t = 0; t < XCI_N_TENSORS && !status; t++) {
    xci_coder_tensor which = (xci_coder_tensor)t;
    status = read_tensor(trainer, file, "", which, XCI_VALUE, err);
    if (!status) status = read_tensor(trainer, file, XCI_MOMENT1_PREFIX, which, XCI_MOMENT1, err);
    if (!status) status = read_tensor(trainer, file, XCI_MOMENT2_PREFIX, which, XCI_MOMENT2, err);
  }
  if (!status) {
    const xci_tensor *fired = xci_safetensors_find(file, "last_fired");
    if (fired == NULL || fired->dtype != XCI_I64 || fired->n_values != trainer->info.n_latents)
      status = xci_fail(err, XCODER_STATE, "%s: last_fired: missing, or not of this run's shape", path);
    else
      status = xci_tensor_to_i64(fired, (int64_t *)trainer->last_fired, err);
  }
  if (!status) status = read_threshold(trainer, file, err);
  if (!status) status = read_log_thresholds(trainer, file, err);
  xci_safetensors_close(file);
  return status;
}

static xcoder_status read_counts(xci_trainer *trainer, const char *folder, const json_t *manifest, xcoder_error *err) {
  size_t step, skipped, metrics_bytes, timing_bytes;
  xcoder_status status = xci_json_get_size(manifest, folder, "step", NULL, &step, err);
  if (!status) status = xci_json_get_size(manifest, folder, "skipped", NULL, &skipped, err);
  if (!status) status = xci_json_get_size(manifest, folder, "metrics_bytes", NULL, &metrics_bytes, err);
  if (!status) status = xci_json_get_size(manifest, folder, "timing_bytes", NULL, &timing_bytes, err);
  if (!status) status = xci_json_get_number(manifest, folder, "seconds", NULL, &trainer->seconds_before, err);
  if (!status && step > trainer->n_steps)
    status = xci_fail(err, XCODER_STATE, "%s: step %zu of a run of %" PRIu64 " steps", folder, step, trainer->n_steps);
  if (status) return status;
  trainer->step = step;
  trainer->skipped = skipped;
  trainer->metrics_bytes = metrics_bytes;
  trainer->timing_bytes = timing_bytes;
  return XCODER_OK;
}

static xcoder_status continue_from(xci_trainer *trainer, const char *folder, const json_t *manifest,
                                   xcoder_error *err) {
  char *state = NULL;
  xcoder_status status = compare_config(trainer, folder, manifest, err);
  if (!status) status = read_counts(trainer, folder, manifest, err);
  if (!status) status = xci_join_path(folder, "state.safetensors", &state, err);
  if (!status) status = read_state(trainer, state, err);
  if (!status) warn_kernels(trainer, folder, manifest);
  xci_free(state);
  if (status && status != XCODER_MEMORY && status != XCODER_DEVICE) {
    status = XCODER_STATE;
    if (err != NULL) err->status = status;
  }
  return status;
}

/* ---- Choosing ---- */

/* Bad checkpoints that are newer than the one in use would be taken for the newest at the next save. */
static xcoder_status remove_newer(const xci_trainer *trainer, const uint64_t *steps, size_t first, size_t n_steps,
                                  xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = first; i < n_steps && !status; i++) {
    char *folder = NULL;
    status = xci_checkpoint_path(trainer->run, steps[i], "", &folder, err);
    if (!status) status = xci_remove_folder(folder, err);
    xci_free(folder);
  }
  return status;
}

/* Tries one checkpoint: *good tells whether the run continues from it. A bad one is warned about. */
static xcoder_status try_checkpoint(xci_trainer *trainer, uint64_t step, bool *good, xcoder_error *err) {
  char *folder = NULL;
  json_t *manifest = NULL;
  xcoder_error why = {0};
  *good = false;
  xcoder_status status = xci_checkpoint_path(trainer->run, step, "", &folder, err);
  if (status) return status;
  status = xci_checkpoint_verify(folder, &manifest, &why);
  if (status == XCODER_STATE) {
    xci_train_warn(trainer, "%s; trying the checkpoint before it", why.message);
    status = XCODER_OK;
  } else if (status) {
    status = xci_fail(err, status == XCODER_UNSUPPORTED ? XCODER_STATE : status, "%s", why.message);
  } else {
    status = continue_from(trainer, folder, manifest, err);
    *good = !status;
  }
  json_decref(manifest);
  xci_free(folder);
  return status;
}

xcoder_status xci_checkpoint_restore(xci_trainer *trainer, bool *found, xcoder_error *err) {
  uint64_t *steps = NULL;
  size_t n_steps = 0, i;
  *found = false;
  xcoder_status status = xci_checkpoint_list(trainer->run, &steps, &n_steps, err);
  for (i = n_steps; i > 0 && !status && !*found; i--) status = try_checkpoint(trainer, steps[i - 1], found, err);
  if (!status && *found) status = remove_newer(trainer, steps, i + 1, n_steps, err);
  if (!status && n_steps > 0 && !*found)
    status = xci_fail(err, XCODER_STATE, "%s/checkpoints: none of the %zu checkpoints is good", trainer->run, n_steps);
  xci_free(steps);
  return status;
}

static bool is_leftover(const char *name) { return strncmp(name, "step-", 5) == 0 && strstr(name, ".tmp-") != NULL; }

xcoder_status xci_checkpoint_clear(const char *run, bool everything, xcoder_error *err) {
  char *folder = NULL, **names = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_join_path(run, "checkpoints", &folder, err);
  if (!status && everything) status = xci_remove_folder(folder, err);
  if (!status && xci_is_folder(folder)) status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; i < n_names && !status; i++) {
    char *path = NULL;
    if (!is_leftover(names[i])) continue;
    status = xci_join_path(folder, names[i], &path, err);
    if (!status) status = xci_remove_folder(path, err);
    xci_free(path);
  }
  xci_free_names(names, n_names);
  xci_free(folder);
  return status;
}
