/* SPDX-License-Identifier: Apache-2.0 */
/* Files of average gradients, found by their content. */
#include "analysis/attribution/gradient_cache.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "formats/safetensors.h"

xcoder_status xci_gradients_name(const xci_gradients *of, const char *folder, char **file, xcoder_error *err) {
  const uint64_t version = 2; /* of these files */
  const uint64_t shape[] = {version, of->n_rows, of->d_model, of->n_sequences, of->n_nodes, (uint64_t)of->layer};
  const size_t n_nodes = of->n_sequences * of->n_nodes, n_values = of->n_rows * of->d_model;
  char hex[33];
  xci_hash *hash;
  xci_text name = {0};
  xcoder_status status = xci_hash_open(&hash, err);
  if (status) return status;
  xci_hash_add(hash, shape, sizeof shape);
  xci_hash_add(hash, of->clean, n_values * sizeof *of->clean);
  xci_hash_add(hash, of->target, n_values * sizeof *of->target);
  for (size_t q = 0; q <= of->n_sequences; q++) {
    const uint64_t start = of->start[q];
    xci_hash_add(hash, &start, sizeof start);
  }
  xci_hash_add(hash, of->alpha, n_nodes * sizeof *of->alpha);
  xci_hash_add(hash, of->weight, n_nodes * sizeof *of->weight);
  xci_hash_add(hash, of->right, of->n_sequences * sizeof *of->right);
  xci_hash_add(hash, of->wrong, of->n_sequences * sizeof *of->wrong);
  xci_hash_add(hash, &of->tolerance, sizeof of->tolerance);
  xci_hash_add(hash, of->metric, 2 * of->n_sequences * sizeof *of->metric);
  xci_hash_close(hash, hex);
  xci_text_format(&name, "%s.safetensors", hex);
  status = xci_text_status(&name, err);
  if (!status) status = xci_join_path(folder, name.bytes, file, err);
  xci_text_clear(&name);
  return status;
}

bool xci_gradients_read(const xci_gradients *of, const char *file, float *gbar) {
  xci_safetensors *in = NULL;
  xcoder_error ignored; /* whatever is wrong with it, it is made again */
  if (!xci_exists(file) || xci_safetensors_open(file, &in, &ignored)) return false;
  const xci_tensor *t = xci_safetensors_find(in, "gradient");
  const bool whole = t && t->dtype == XCI_F32 && t->rank == 2 && t->shape[0] == of->n_rows &&
                     t->shape[1] == of->d_model && !xci_tensor_to_f32(t, gbar, &ignored);
  xci_safetensors_close(in);
  return whole;
}

xcoder_status xci_gradients_write(const xci_gradients *of, const char *file, const float *gbar, xcoder_error *err) {
  const size_t shape[] = {of->n_rows, of->d_model};
  xci_safetensors_writer *writer = NULL;
  xcoder_status status = xci_safetensors_create(&writer, err);
  if (!status) status = xci_safetensors_add(writer, "gradient", XCI_F32, 2, shape, gbar, err);
  if (!status) status = xci_safetensors_write(writer, file, err);
  xci_safetensors_discard(writer);
  return status;
}
