/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of the crosscoder on the processor: making them, and their way between file order and tiles. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <crosscoder/coder.h>
#include <math.h>
#include <string.h>

xcoder_status xci_reserve(xci_space *space, size_t count, size_t bytes, xcoder_error *err) {
  size_t wanted;
  if (!xci_mul_size(count, bytes, &wanted)) wanted = SIZE_MAX;
  if (space->memory && wanted <= space->bytes) return XCODER_OK;
  if (space->bytes && wanted < SIZE_MAX / 2) wanted += wanted / 8; /* it has grown before and may again */
  xci_free(space->memory); /* the contents are of no use, so both need not exist at once */
  *space = (xci_space){0};
  void *memory = NULL;
  xcoder_status status = xci_alloc(wanted, 1, &memory, err);
  if (!status) *space = (xci_space){memory, wanted};
  return status;
}

xcoder_status xci_reserve_threads(xci_space **spaces, size_t *n_spaces, size_t count, size_t bytes,
                                  xcoder_error *err) {
  size_t n_threads = (size_t)xci_threads();
  xcoder_status status = XCODER_OK;
  if (*n_spaces < n_threads) status = xci_grow((void **)spaces, n_spaces, n_threads, sizeof **spaces, err);
  for (size_t i = 0; i < n_threads && !status; i++) status = xci_reserve(*spaces + i, count, bytes, err);
  return status;
}

static void free_threads(xci_space *spaces, size_t n) {
  for (size_t i = 0; i < n; i++) xci_free(spaces[i].memory);
  xci_free(spaces);
}

/* The width that wastes least: as many tiles as 64 columns need, each as narrow as 16 columns allow. */
static void choose_tiles(xci_coder *coder) {
  size_t d = coder->shape.d_model;
  coder->tiles_per_checkpoint = xci_ceil_div(d, 64);
  coder->width = xci_ceil_div(xci_ceil_div(d, coder->tiles_per_checkpoint), 16) * 16;
  coder->n_tiles = coder->tiles_per_checkpoint * coder->shape.n_checkpoints;
}

static size_t tensor_rows(const xci_coder *coder, xci_coder_tensor tensor) {
  return tensor == XCI_B_DEC ? 1 : coder->shape.n_latents;
}

/* Values of a tensor as stored; false on overflow. */
static bool tensor_values(const xci_coder *coder, xci_coder_tensor tensor, size_t *n_values) {
  if (tensor == XCI_B_ENC) {
    *n_values = coder->shape.n_latents;
    return true;
  }
  size_t columns;
  return xci_mul_size(coder->n_tiles, coder->width, &columns) &&
         xci_mul_size(columns, tensor_rows(coder, tensor), n_values);
}

static xcoder_status check_shape(const xci_coder_shape *shape, xcoder_error *err) {
  size_t values, bytes;
  if (shape->n_checkpoints < 1 || shape->n_checkpoints > XCODER_MAX_CHECKPOINTS)
    return xci_fail(err, XCODER_USAGE, "crosscoder: %zu checkpoints, expected 1 to %d", shape->n_checkpoints,
                    XCODER_MAX_CHECKPOINTS);
  if (shape->d_model < 1 || shape->n_latents < 1 || shape->max_batch < 1)
    return xci_fail(err, XCODER_USAGE, "crosscoder: width %zu, %zu latents, batch %zu: none may be 0", shape->d_model,
                    shape->n_latents, shape->max_batch);
  if (shape->n_latents > UINT32_MAX - XCI_PANEL || shape->max_batch > UINT32_MAX - XCI_STRIP ||
      shape->d_model > SIZE_MAX / 64 || !xci_mul_size(shape->n_checkpoints * (shape->d_model + 64), 64, &values) ||
      !xci_mul_size(shape->n_checkpoints * (shape->d_model + 64), shape->n_latents, &values) ||
      !xci_mul_size(values, sizeof(double), &bytes))
    return xci_fail(err, XCODER_MEMORY, "crosscoder: %zu checkpoints of width %zu with %zu latents exceed the address "
                    "space", shape->n_checkpoints, shape->d_model, shape->n_latents);
  return XCODER_OK;
}

static xcoder_status allocate_tensors(xci_coder *coder, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  int n_slots = coder->shape.training ? 4 : 1;
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++) {
    size_t n_values;
    if (!tensor_values(coder, tensor, &n_values)) n_values = SIZE_MAX;
    for (int slot = 0; slot < n_slots && !status; slot++)
      status = XCI_ALLOC(&coder->tensor[tensor][slot], n_values, err);
  }
  return status;
}

xcoder_status xci_cpu_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **out,
                                   xcoder_error *err) {
  xci_coder *coder = NULL;
  *out = NULL;
  xcoder_status status = check_shape(shape, err);
  if (!status) status = XCI_ALLOC(&coder, 1, err);
  if (status) return status;
  size_t n_latents = shape->n_latents;
  coder->shape = *shape;
  coder->kernels = xci_coder_kernels_select();
  choose_tiles(coder);
  status = allocate_tensors(coder, err);
  if (!status) status = xci_alloc(n_latents * shape->n_checkpoints, sizeof *coder->norm, (void **)&coder->norm, err);
  if (!status && shape->training) status = XCI_ALLOC(&coder->active, n_latents, err);
  if (!status && shape->training) status = XCI_ALLOC(&coder->decay, n_latents * shape->n_checkpoints, err);
  if (!status && shape->training) status = XCI_ALLOC(&coder->push, n_latents, err);
  if (status) {
    xci_cpu_coder_free(device, coder);
    return status;
  }
  *out = coder;
  return XCODER_OK;
}

void xci_cpu_coder_free(xcoder_device *device, xci_coder *coder) {
  (void)device;
  if (coder == NULL) return;
  for (int tensor = 0; tensor < XCI_N_TENSORS; tensor++)
    for (int slot = 0; slot < 4; slot++) xci_free(coder->tensor[tensor][slot]);
  xci_host_samples_free(&coder->samples);
  void *arrays[] = {coder->norm, coder->active, coder->decay, coder->push};
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) xci_free(arrays[i]);
  xci_space spaces[] = {
    coder->x, coder->codes.start, coder->codes.index, coder->codes.value, coder->latent_start, coder->latent_sample,
    coder->latent_value, coder->latent_df, coder->floor, coder->kept_counts, coder->task_place, coder->df_parts,
    coder->jump, coder->results, coder->fill_counts, coder->dense_latent, coder->dense_place, coder->dense_f,
    coder->dense_df, coder->residual, coder->rest_start, coder->rest_index, coder->rest_value,
  };
  for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) xci_free(spaces[i].memory);
  for (size_t i = 0; i < sizeof coder->auxiliary / sizeof *coder->auxiliary; i++) xci_free(coder->auxiliary[i].memory);
  free_threads(coder->arenas, coder->n_arenas);
  free_threads(coder->scratch, coder->n_scratch);
  xci_free(coder);
}

/* ---- File order ---- */

/* First column within the checkpoint, and number of columns, of tile t. */
static size_t tile_columns(const xci_coder *coder, size_t t, size_t *first) {
  *first = t % coder->tiles_per_checkpoint * coder->width;
  return xci_min_size(coder->width, coder->shape.d_model - xci_min_size(coder->shape.d_model, *first));
}

/* W_dec[i, c, first + k]: rows of a tile are pieces of rows of the file. */
static void copy_rows(const xci_coder *coder, size_t t, float *tile, float *file, size_t n_rows, bool to_file) {
  size_t first, n = tile_columns(coder, t, &first), d = coder->shape.d_model;
  size_t row_values = coder->shape.n_checkpoints * d;
  file += t / coder->tiles_per_checkpoint * d + first;
  for (size_t i = 0; i < n_rows; i++)
    if (to_file) memcpy(file + i * row_values, tile + i * coder->width, n * sizeof *file);
    else memcpy(tile + i * coder->width, file + i * row_values, n * sizeof *file);
}

/* W_enc[c, first + k, i]: a tile is transposed, 16 latents at a time. */
static void copy_columns(const xci_coder *coder, size_t t, float *tile, float *file, bool to_file) {
  size_t first, n = tile_columns(coder, t, &first), n_latents = coder->shape.n_latents, width = coder->width;
  file += (t / coder->tiles_per_checkpoint * coder->shape.d_model + first) * n_latents;
  for (size_t i0 = 0; i0 < n_latents; i0 += 16) {
    size_t end = xci_min_size(i0 + 16, n_latents);
    for (size_t k = 0; k < n; k++)
      for (size_t i = i0; i < end; i++)
        if (to_file) file[k * n_latents + i] = tile[i * width + k];
        else tile[i * width + k] = file[k * n_latents + i];
  }
}

static void copy_tensor(const xci_coder *coder, xci_coder_tensor tensor, float *stored, float *file, bool to_file) {
  if (tensor == XCI_B_ENC) {
    if (to_file) memcpy(file, stored, coder->shape.n_latents * sizeof *file);
    else memcpy(stored, file, coder->shape.n_latents * sizeof *file);
    return;
  }
  size_t n_rows = tensor_rows(coder, tensor);
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    float *tile = xci_coder_tile(coder, stored, t, n_rows);
    if (tensor == XCI_W_ENC) copy_columns(coder, t, tile, file, to_file);
    else copy_rows(coder, t, tile, file, n_rows, to_file);
  }
}

static xcoder_status check_slot(const xci_coder *coder, xci_coder_slot slot, xcoder_error *err) {
  if (slot == XCI_VALUE || coder->shape.training) return XCODER_OK;
  return xci_fail(err, XCODER_USAGE, "crosscoder: it was not opened for training and has no moments or gradients");
}

xcoder_status xci_cpu_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                  xci_coder_slot slot, const float *values, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_slot(coder, slot, err);
  if (!status && slot == XCI_GRADIENT) status = xci_fail(err, XCODER_USAGE, "crosscoder: gradients are read only");
  if (status) return status;
  copy_tensor(coder, tensor, coder->tensor[tensor][slot], (float *)values, false);
  if (tensor == XCI_W_DEC && slot == XCI_VALUE) coder->norm_valid = false;
  return XCODER_OK;
}

/* Rows of latents without entries were never written by the backward pass. */
static void clear_inactive(const xci_coder *coder, float *gradient) {
  size_t width = coder->width;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    float *tile = xci_coder_tile(coder, gradient, t, coder->shape.n_latents);
    for (size_t i = 0; i < coder->shape.n_latents; i++)
      if (!coder->active[i]) memset(tile + i * width, 0, width * sizeof *tile);
  }
}

xcoder_status xci_cpu_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                 xci_coder_slot slot, float *values, xcoder_error *err) {
  (void)device;
  xcoder_status status = check_slot(coder, slot, err);
  if (status) return status;
  float *stored = coder->tensor[tensor][slot];
  if (slot == XCI_GRADIENT && (tensor == XCI_W_ENC || tensor == XCI_W_DEC)) clear_inactive(coder, stored);
  copy_tensor(coder, tensor, stored, values, true);
  return XCODER_OK;
}

/* ---- Norms ---- */

enum { NORM_CHUNK = 256 };

void xci_coder_fill_norms(xci_coder *coder) {
  if (coder->norm_valid) return;
  size_t n_latents = coder->shape.n_latents, n_checkpoints = coder->shape.n_checkpoints;
  size_t n_chunks = xci_ceil_div(n_latents, NORM_CHUNK);
#pragma omp parallel for collapse(2) schedule(static) num_threads(xci_threads())
  for (size_t c = 0; c < n_checkpoints; c++)
    for (size_t chunk = 0; chunk < n_chunks; chunk++) {
      double squares[NORM_CHUNK] = {0};
      size_t first = chunk * NORM_CHUNK, n = xci_min_size(NORM_CHUNK, n_latents - first);
      for (size_t t = 0; t < coder->tiles_per_checkpoint; t++)
        coder->kernels->row_squares(coder->width, xci_coder_tile(coder, coder->tensor[XCI_W_DEC][XCI_VALUE],
                                    c * coder->tiles_per_checkpoint + t, n_latents), first, n, squares);
      for (size_t i = 0; i < n; i++) coder->norm[(first + i) * n_checkpoints + c] = sqrt(squares[i]);
    }
  coder->norm_valid = true;
}

xcoder_status xci_cpu_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err) {
  (void)device, (void)err;
  xci_coder_fill_norms(coder);
  for (size_t i = 0; i < coder->shape.n_latents * coder->shape.n_checkpoints; i++) norms[i] = (float)coder->norm[i];
  return XCODER_OK;
}
