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
  if (!status) status = xci_model_load(m, highest_layer, err);
  if (!status) xci_weight_files_idle(&m->files); /* the check of all values has touched every page */
  if (status) xcoder_model_close(m);
  else *model = m;
  return status;
}

void xcoder_model_idle(xcoder_model *model) {
  const xci_backend *ops = model->device->ops;
  ops->tape_free(model->device, model->tape);
  model->tape = NULL;
  model->tape_rows = model->tape_blocks = 0;
  ops->buffer_free(model->device, &model->h);
  ops->buffer_free(model->device, &model->gradient);
  xci_weight_files_idle(&model->files);
}

void xcoder_model_close(xcoder_model *model) {
  if (model == NULL) return;
  const xci_backend *ops = model->device->ops;
  ops->tape_free(model->device, model->tape);
  ops->buffer_free(model->device, &model->h);
  ops->buffer_free(model->device, &model->gradient);
  for (size_t i = 0; i < model->n_weights; i++) ops->weight_free(model->device, model->weights[i]);
  xci_free(model->weights);
  xci_free(model->blocks);
  xci_free(model->alibi_slopes);
  xci_free(model->start);
  xci_free(model->row);
  xci_free(model->token);
  xci_weight_files_close(&model->files);
  xci_free(model);
}

void xcoder_model_set_stop(xcoder_model *model, const volatile sig_atomic_t *stop) { model->stop = stop; }

const xcoder_model_info *xcoder_model_describe(const xcoder_model *model) { return &model->info; }
