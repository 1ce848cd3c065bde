/* SPDX-License-Identifier: Apache-2.0 */
/* Saving: a temporary folder with the state, then the manifest, synced, renamed, its parent synced; only then are
 * older checkpoints removed. A cut at any point leaves the previous checkpoint whole. */
#include "crosscoder/checkpoint.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "crosscoder/checkpoint_folder.h"
#include "crosscoder/rescue.h"
#include "crosscoder/window.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *const xci_log_threshold_names[3] = {"log_threshold", XCI_MOMENT1_PREFIX "log_threshold",
                                                XCI_MOMENT2_PREFIX "log_threshold"};

/* ---- Tensors from the device ---- */

typedef struct made_tensor {
  const xci_trainer *trainer;
  xci_coder_tensor tensor;
  xci_coder_slot slot;
} made_tensor;

static xcoder_status make_tensor(void *context, void *values, xcoder_error *err) {
  const made_tensor *made = context;
  const xci_trainer *trainer = made->trainer;
  const float *v = values;
  size_t n_values[XCI_N_TENSORS];
  xcoder_status status = xci_coder_sizes(trainer->info.n_checkpoints, trainer->info.d_model, trainer->info.n_latents,
                                         n_values, err);
  if (!status && trainer->coder == NULL)
    memcpy(values, xci_rescue_tensor(trainer, made->tensor, made->slot), n_values[made->tensor] * sizeof *v);
  else if (!status)
    status = trainer->device->ops->coder_read(trainer->device, trainer->coder, made->tensor, made->slot, values, err);
  for (size_t i = 0; !status && i < n_values[made->tensor]; i++)
    if (!isfinite(v[i]))
      status = xci_fail(err, XCODER_DIVERGED, "training diverged: step %" PRIu64 ": %s: value %zu is not a finite "
                        "number, so nothing was saved (try a lower learning rate)", trainer->step,
                        xci_coder_tensor_names[made->tensor], i);
  return status;
}

static xcoder_status add_tensors(xci_safetensors_writer *writer, const xci_trainer *trainer, xci_coder_slot slot,
                                 const char *prefix, made_tensor made[XCI_N_TENSORS], xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  xcoder_status status = XCODER_OK;
  for (int t = 0; t < XCI_N_TENSORS && !status; t++) {
    size_t shape[3];
    char name[24];
    size_t rank = xci_coder_tensor_shape(info->n_checkpoints, info->d_model, info->n_latents, (xci_coder_tensor)t,
                                         shape);
    snprintf(name, sizeof name, "%s%s", prefix, xci_coder_tensor_names[t]);
    made[t] = (made_tensor){trainer, (xci_coder_tensor)t, slot};
    status = xci_safetensors_add_made(writer, name, XCI_F32, rank, shape, make_tensor, &made[t], err);
  }
  return status;
}

/* Norms by which topk ranks, or thresholds of single features: as loading the decoder would give. */
static xcoder_status make_vector(const xci_trainer *trainer, float **vector, xcoder_error *err) {
  const xcoder_info *info = &trainer->info;
  size_t n_values[XCI_N_TENSORS], row = info->n_checkpoints * info->d_model;
  float *w_dec = NULL;
  xcoder_status status = xci_coder_sizes(info->n_checkpoints, info->d_model, info->n_latents, n_values, err);
  if (!status) status = XCI_ALLOC(&w_dec, n_values[XCI_W_DEC], err);
  if (!status) status = XCI_ALLOC(vector, info->n_latents, err);
  if (!status && info->activation == XCODER_JUMP_RELU) xci_jump_thresholds(trainer, *vector);
  if (!status)
    status = trainer->device->ops->coder_read(trainer->device, trainer->coder, XCI_W_DEC, XCI_VALUE, w_dec, err);
  for (size_t i = 0; i < info->n_latents && !status && info->activation != XCODER_JUMP_RELU; i++) {
    double sum = xci_norm_sum(w_dec + i * row, info->n_checkpoints, info->d_model, NULL);
    if (info->activation == XCODER_TOPK) (*vector)[i] = (float)sum;
    else (*vector)[i] = sum > 0 ? (float)((double)info->threshold / sum) : HUGE_VALF;
  }
  xci_free(w_dec);
  return status;
}

xcoder_status xci_checkpoint_result(xci_trainer *trainer, const char *folder, xcoder_error *err) {
  xci_safetensors_writer *writer = NULL;
  made_tensor made[XCI_N_TENSORS];
  const xcoder_info *info = &trainer->info;
  char *path = NULL;
  float *vector = NULL;
  bool ranked = info->activation == XCODER_TOPK;
  bool threshold = info->threshold >= 0 || info->activation == XCODER_JUMP_RELU;
  xcoder_status status = xci_join_path(folder, "crosscoder.safetensors", &path, err);
  if (!status) status = xci_safetensors_create(&writer, err);
  if (!status) status = add_tensors(writer, trainer, XCI_VALUE, "", made, err);
  if (!status && (ranked || threshold)) status = make_vector(trainer, &vector, err);
  if (!status && (ranked || threshold))
    status = xci_safetensors_add(writer, ranked ? "score" : "threshold", XCI_F32, 1, &info->n_latents, vector, err);
  if (!status) status = xci_safetensors_add_metadata(writer, "format", "crosscoder", err);
  if (!status) status = xci_coder_add_metadata(writer, &trainer->info, err);
  if (!status) status = xci_safetensors_write(writer, path, err);
  xci_safetensors_discard(writer);
  xci_free(vector);
  xci_free(path);
  return status;
}

static xcoder_status add_count(xci_safetensors_writer *writer, const char *key, uint64_t value, xcoder_error *err) {
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, value);
  return xci_safetensors_add_metadata(writer, key, text, err);
}

/* Of jumprelu: the thresholds as they are used, and their logarithms with the moments. */
static xcoder_status add_thresholds(xci_safetensors_writer *writer, const xci_trainer *trainer, float *theta,
                                    xcoder_error *err) {
  const size_t *shape = &trainer->info.n_latents;
  xci_jump_thresholds(trainer, theta);
  for (size_t i = 0; i < *shape; i++)
    if (!isfinite(trainer->log_theta[XCI_VALUE][i]) || isnan(theta[i]))
      return xci_fail(err, XCODER_DIVERGED, "training diverged: step %" PRIu64 ": threshold %zu is not a finite "
                      "number, so nothing was saved (try a lower learning rate)", trainer->step, i);
  xcoder_status status = xci_safetensors_add(writer, "threshold", XCI_F32, 1, shape, theta, err);
  for (int slot = XCI_VALUE; slot <= XCI_MOMENT2 && !status; slot++)
    status = xci_safetensors_add(writer, xci_log_threshold_names[slot], XCI_F32, 1, shape, trainer->log_theta[slot],
                                 err);
  return status;
}

/* Equal states give equal bytes: what differs between equal runs (times) is in the manifest. */
static xcoder_status write_state(const xci_trainer *trainer, const char *path, xcoder_error *err) {
  xci_safetensors_writer *writer = NULL;
  made_tensor values[XCI_N_TENSORS], moment1[XCI_N_TENSORS], moment2[XCI_N_TENSORS];
  xcoder_status status = xci_safetensors_create(&writer, err);
  if (!status) status = add_tensors(writer, trainer, XCI_VALUE, "", values, err);
  if (!status) status = add_tensors(writer, trainer, XCI_MOMENT1, XCI_MOMENT1_PREFIX, moment1, err);
  if (!status) status = add_tensors(writer, trainer, XCI_MOMENT2, XCI_MOMENT2_PREFIX, moment2, err);
  if (!status)
    status = xci_safetensors_add(writer, "last_fired", XCI_I64, 1, &trainer->info.n_latents, trainer->last_fired, err);
  if (!status && xci_train_is_jump(&trainer->options))
    status = add_thresholds(writer, trainer, trainer->theta, err);
  if (!status) status = xci_safetensors_add_metadata(writer, "format", "crosscoder-state", err);
  if (!status) status = xci_coder_add_metadata(writer, &trainer->info, err);
  if (!status) status = add_count(writer, "step", trainer->step, err);
  if (!status) status = add_count(writer, "skipped", trainer->skipped, err);
  if (!status) status = xci_safetensors_write(writer, path, err);
  xci_safetensors_discard(writer);
  return status;
}

/* ---- Manifest ---- */

static void add_member(xci_text *text, const char *key, const char *value) {
  xci_text_format(text, "\"%s\": \"", key);
  xci_text_json(text, value, strlen(value));
  xci_text_add(text, "\"");
}

static void add_file(xci_text *text, const char *name, uint64_t n_bytes, const char *hash) {
  xci_text_format(text, "  \"files\": {\"%s\": {\"bytes\": %" PRIu64 ", \"xxh3_128\": \"%s\"}},\n", name, n_bytes,
                  hash);
}

static xcoder_status write_manifest(const xci_trainer *trainer, const char *state, uint64_t metrics_bytes,
                                    uint64_t timing_bytes, const char *path, xcoder_error *err) {
  xci_text text = {0};
  uint64_t n_bytes = 0;
  char hash[33];
  xcoder_status status = xci_hash_file(state, &n_bytes, hash, err);
  if (status) return status;
  xci_text_format(&text, "{\"format\": %d,\n  \"step\": %" PRIu64 ", \"skipped\": %" PRIu64 ", \"seed\": \"%" PRIu64
                  "\",\n", XCI_CHECKPOINT_FORMAT, trainer->step, trainer->skipped, trainer->options.seed);
  add_file(&text, "state.safetensors", n_bytes, hash);
  xci_text_format(&text, "  \"metrics_bytes\": %" PRIu64 ", \"timing_bytes\": %" PRIu64 ", \"seconds\": ",
                  metrics_bytes, timing_bytes);
  xci_text_json_number(&text, xci_log_seconds(trainer));
  xci_text_format(&text, ", \"threads\": %d,\n  ", xci_threads());
  add_member(&text, "kernels", trainer->device->kernels);
  xci_text_add(&text, ",\n  ");
  add_member(&text, "config_hash", trainer->config.hash);
  xci_text_add(&text, ",\n  \"config\": {");
  for (size_t e = 0; e < trainer->config.n_entries; e++) {
    if (e > 0) xci_text_add(&text, ",");
    xci_text_add(&text, "\n    ");
    add_member(&text, trainer->config.key[e], trainer->config.value[e]);
  }
  xci_text_add(&text, "}");
  status = xci_text_status(&text, err);
  if (!status) { /* last: a checksum over all that stands before it */
    xci_hash_bytes(text.bytes, text.n_bytes, hash);
    xci_text_format(&text, XCI_MANIFEST_END, hash);
    status = xci_text_status(&text, err);
  }
  xci_writer *writer = NULL;
  if (!status) status = xci_writer_open(path, &writer, err);
  if (!status) status = xci_writer_write(writer, text.bytes, text.n_bytes, err);
  if (!status) {
    status = xci_writer_commit(writer, err);
    writer = NULL;
  }
  xci_writer_abort(writer);
  xci_text_clear(&text);
  return status;
}

/* ---- Saving ---- */

static xcoder_status write_folder(xci_trainer *trainer, const char *folder, xcoder_error *err) {
  char *state = NULL, *manifest = NULL;
  uint64_t metrics_bytes = 0, timing_bytes = 0;
  xcoder_status status = xci_make_folder(folder, err);
  if (!status) status = xci_join_path(folder, "state.safetensors", &state, err);
  if (!status) status = xci_join_path(folder, "manifest.json", &manifest, err);
  if (!status) status = xci_log_sync(trainer, &metrics_bytes, &timing_bytes, err);
  if (!status) status = xci_window_fetch_fired(trainer, err);
  if (!status) status = write_state(trainer, state, err);
  if (!status) status = write_manifest(trainer, state, metrics_bytes, timing_bytes, manifest, err);
  xci_free(state);
  xci_free(manifest);
  return status;
}

/* Removes all but the newest ones; failing to do so loses nothing, so it is only warned about. */
static void prune(const xci_trainer *trainer) {
  uint64_t *steps = NULL;
  size_t n_steps = 0;
  xcoder_error why = {0};
  xcoder_status status = xci_checkpoint_list(trainer->run, &steps, &n_steps, &why);
  for (size_t i = 0; i + trainer->options.keep_checkpoints < n_steps && !status; i++) {
    char *folder = NULL;
    status = xci_checkpoint_path(trainer->run, steps[i], "", &folder, &why);
    if (!status) status = xci_remove_folder(folder, &why);
    xci_free(folder);
  }
  if (status) xci_train_warn(trainer, "an old checkpoint could not be removed: %s", why.message);
  xci_free(steps);
}

xcoder_status xci_checkpoint_save(xci_trainer *trainer, xcoder_error *err) {
  char *final = NULL, *temporary = NULL, suffix[32];
  snprintf(suffix, sizeof suffix, ".tmp-%ld", (long)getpid());
  xcoder_status status = xci_checkpoint_path(trainer->run, trainer->step, "", &final, err);
  if (!status) status = xci_checkpoint_path(trainer->run, trainer->step, suffix, &temporary, err);
  if (!status) status = xci_remove_folder(temporary, err);
  if (!status) status = write_folder(trainer, temporary, err);
  if (!status) status = xci_remove_folder(final, err); /* there only if this step is saved again */
  if (!status) status = xci_publish_folder(temporary, final, err);
  if (status && temporary != NULL) xci_remove_folder(temporary, NULL);
  if (status == XCODER_MISSING) { /* a folder that vanished is a failure to write, not a missing input */
    status = XCODER_IO;
    if (err != NULL) err->status = status;
  }
  if (!status) prune(trainer);
  xci_free(final);
  xci_free(temporary);
  return status;
}
