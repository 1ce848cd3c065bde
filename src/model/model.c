/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, inspecting and closing a model. */
#include "model/model.h"

#include "base/file.h"
#include "base/memory.h"

xcoder_status xcoder_model_inspect(const char *path, xcoder_model_info *info, xcoder_error *err) {
  xci_config config;
  xci_weight_files files = {0};
  xcoder_status status = xci_config_read(path, &config, err);
  if (!status) status = xci_weight_files_open(path, &files, err);
  if (!status) status = xci_model_check(&config, &files, info, err);
  xci_weight_files_close(&files);
  return status;
}

static void free_work(xcoder_model *model) {
  const xci_backend *ops = model->device->ops;
  ops->tape_free(model->device, model->tape);
  model->tape = NULL;
  model->tape_rows = model->tape_blocks = 0;
  ops->buffer_free(model->device, &model->h);
  ops->buffer_free(model->device, &model->gradient);
}

/* Everything that lies on the device, and the blocks, which point to it. */
static void unload(xcoder_model *model) {
  free_work(model);
  for (size_t i = 0; i < model->n_weights; i++) model->device->ops->weight_free(model->device, model->weights[i]);
  xci_free(model->weights);
  xci_free(model->blocks);
  xci_free(model->alibi_slopes);
  model->weights = NULL;
  model->n_weights = 0;
  model->blocks = NULL;
  model->alibi_slopes = NULL;
  model->loaded = false;
}

static void leave_device(xci_guest *guest) { unload((xcoder_model *)guest); }

/* The device may be replaced on the way, when it has no room. */
static xcoder_status load(xcoder_model *model, long highest_layer, xcoder_error *err) {
  xcoder_status status;
  do {
    status = xci_model_load(model, highest_layer, err);
    if (status) unload(model);
  } while (xci_device_replace(model->device, status, err));
  if (status) return status;
  model->loaded = true;
  model->guest.leave = leave_device;
  xci_device_enter(model->device, &model->guest);
  xci_weight_files_idle(&model->files); /* the check of all values has touched every page */
  return XCODER_OK;
}

xcoder_status xci_model_prepare(xcoder_model *model, xcoder_error *err) {
  return model->loaded ? XCODER_OK : load(model, model->has_head ? -1 : (long)model->n_blocks - 1, err);
}

xcoder_status xcoder_model_open(const char *path, xcoder_device *device, long highest_layer, xcoder_model **model,
                                xcoder_error *err) {
  xcoder_model *m = NULL;
  *model = NULL;
  xcoder_status status = XCI_ALLOC(&m, 1, err);
  if (status) return status;
  m->device = device;
  status = xci_config_read(path, &m->config, err);
  if (!status && (highest_layer < -1 || (highest_layer >= 0 && (size_t)highest_layer >= m->config.n_layers)))
    status = xci_fail(err, XCODER_USAGE, "%s: there is no layer %ld (0 to %zu)", path, highest_layer,
                      m->config.n_layers - 1);
  if (!status) status = xci_weight_files_open(path, &m->files, err);
  if (!status) status = xci_model_check(&m->config, &m->files, &m->info, err);
  if (!status) status = load(m, highest_layer, err);
  if (status) xcoder_model_close(m);
  else *model = m;
  return status;
}

void xcoder_model_idle(xcoder_model *model) {
  if (model->loaded) free_work(model);
  xci_weight_files_idle(&model->files);
}

void xcoder_model_close(xcoder_model *model) {
  if (model == NULL) return;
  if (model->loaded) {
    xci_device_leave(model->device, &model->guest);
    unload(model);
  }
  xci_free(model->start);
  xci_free(model->row);
  xci_free(model->token);
  xci_weight_files_close(&model->files);
  xci_free(model);
}

void xcoder_model_set_stop(xcoder_model *model, const volatile sig_atomic_t *stop) { model->stop = stop; }

const xcoder_model_info *xcoder_model_describe(const xcoder_model *model) { return &model->info; }
