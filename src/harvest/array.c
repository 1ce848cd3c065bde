/* SPDX-License-Identifier: Apache-2.0 */
/* A source over an array in memory: every sample is a sequence of its own, and nothing is masked. */
#include "harvest/source.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/size.h"
#include <string.h>

typedef struct array_context {
  size_t width;
  size_t *start;
  uint16_t *samples;
} array_context;

static void close_array(void *context) {
  array_context *array = context;
  xci_free(array->start);
  xci_free(array->samples);
  xci_free(array);
}

static xcoder_status fill_array(void *context, const xci_blocks *blocks, const size_t *chosen, size_t n_chosen,
                                uint16_t *window, const xcoder_monitor *monitor, xcoder_error *err) {
  const array_context *array = context;
  (void)blocks;
  (void)monitor;
  (void)err;
  for (size_t i = 0; i < n_chosen; i++)
    memcpy(window + i * array->width, array->samples + chosen[i] * array->width, array->width * sizeof *window);
  return XCODER_OK;
}

static const xci_source_ops array_ops = {fill_array, close_array};

static xcoder_status copy_array(const float *activations, size_t n_samples, array_context *array, xcoder_error *err) {
  size_t n_values;
  if (!xci_mul_size(n_samples, array->width, &n_values))
    return xci_fail(err, XCODER_MEMORY, "%zu samples of %zu values exceed the address space", n_samples, array->width);
  xcoder_status status = XCI_ALLOC(&array->samples, n_values, err);
  if (!status) status = XCI_ALLOC(&array->start, n_samples + 1, err);
  if (status) return status;
  xci_f32_to_bf16_array(activations, array->samples, n_values);
  for (size_t i = 0; i <= n_samples; i++) array->start[i] = i;
  return XCODER_OK;
}

xcoder_status xcoder_source_array(const float *activations, size_t n_samples, size_t n_checkpoints, size_t d_model,
                                  const xcoder_source_options *options, xcoder_source **source, xcoder_error *err) {
  array_context *array = NULL;
  xci_blocks blocks = {0};
  size_t width;
  *source = NULL;
  if (!n_samples || !n_checkpoints || n_checkpoints > XCODER_MAX_CHECKPOINTS || !d_model ||
      n_samples > SIZE_MAX - 1 || !xci_mul_size(n_checkpoints, d_model, &width))
    return xci_fail(err, XCODER_USAGE, "an array of %zu samples of %zu checkpoints of width %zu cannot be a source",
                    n_samples, n_checkpoints, d_model);
  xcoder_status status = XCI_ALLOC(&array, 1, err);
  if (status) return status;
  array->width = width;
  status = copy_array(activations, n_samples, array, err);
  if (!status) status = xci_blocks_make(array->start, n_samples, 1, true, &blocks, err);
  if (status) {
    close_array(array);
    return status;
  }
  return xci_source_make(&array_ops, array, &blocks, n_checkpoints, d_model, options, 0, "array", source, err);
}
