/* SPDX-License-Identifier: Apache-2.0 */
/* Encoding: products of blocks of samples with panels of latents, whose positive results are kept at once, so that
 * the matrix of all pre-activations is never stored. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/coder.h"
#include <string.h>

enum {
  BLOCK_ROWS = 1024,  /* samples per product: 256 KiB of results; more would not fit the second-level cache */
  CHUNK_COLUMNS = 512 /* columns per product: 128 KiB of packed weights beside them */
};

size_t xci_coder_block(size_t n_rows) {
  size_t n_blocks = xci_max_size(1, xci_ceil_div(n_rows, BLOCK_ROWS));
  return xci_max_size(1, xci_ceil_div(xci_ceil_div(n_rows, n_blocks), XCI_STRIP)) * XCI_STRIP;
}

size_t xci_coder_panel_scratch(const xci_coder *coder, size_t block) {
  return (block + CHUNK_COLUMNS / coder->width * coder->width) * XCI_PANEL;
}

const float *xci_coder_panel(const xci_coder *coder, const xci_panels *panels, size_t block, size_t panel,
                             float *scratch) {
  size_t width = coder->width, first_row = block * panels->block, first = panel * XCI_PANEL;
  size_t n_rows = xci_min_size(panels->block, coder->n_rows - first_row);
  size_t n_latents = xci_min_size(XCI_PANEL, panels->n_chosen - first), per_chunk = CHUNK_COLUMNS / width;
  float *packed = scratch, *c = scratch + per_chunk * width * XCI_PANEL;
  for (size_t t0 = 0; t0 < coder->n_tiles; t0 += per_chunk) {
    size_t n_tiles = xci_min_size(per_chunk, coder->n_tiles - t0);
    for (size_t t = 0; t < n_tiles; t++)
      coder->kernels->pack(width, panels->weight + (t0 + t) * coder->shape.n_latents * width,
                           panels->chosen ? panels->chosen + first : NULL, first, n_latents,
                           packed + t * width * XCI_PANEL);
    xci_product product = {
      .a = panels->rows + (t0 * coder->n_rows + first_row) * width,
      .a_strip = XCI_STRIP * width, .a_tile = coder->n_rows * width, .a_row = width, .a_step = 1,
      .n_strips = n_rows / XCI_STRIP, .n_tiles = n_tiles, .tile_steps = width,
      .b = packed, .c = c, .accumulate = t0 > 0,
    };
    coder->kernels->product(XCI_PANEL, &product);
  }
  return c;
}

/* Where a task's kept features lie: in the arena of the thread that did it. */
typedef struct place {
  size_t first, count;
  int arena; /* -1: no memory */
} place;


/* Room for `count` more in the arena of this thread, contents kept. */
static bool extend_arena(xci_space *space, size_t used, size_t count) {
  size_t capacity = space->bytes / sizeof(xci_kept);
  xcoder_status status = xci_grow(&space->memory, &capacity, used + count, sizeof(xci_kept), NULL);
  space->bytes = capacity * sizeof(xci_kept);
  return status == XCODER_OK;
}

/* x [n_samples, n_checkpoints, d_model] to tiles, padding 0. */
static xcoder_status load_batch(xci_coder *coder, const float *x, size_t n_samples, xcoder_error *err) {
  size_t width = coder->width, d = coder->shape.d_model, row_values = coder->shape.n_checkpoints * d;
  size_t n_rows = xci_ceil_div(n_samples, XCI_STRIP) * XCI_STRIP, count;
  if (!xci_mul_size(n_rows, coder->n_tiles * width, &count)) count = SIZE_MAX;
  xcoder_status status = xci_reserve(&coder->x, count, sizeof(float), err);
  coder->has_x = coder->has_codes = coder->has_lists = coder->has_gradient = false;
  if (status) return status;
  coder->n_samples = n_samples;
  coder->n_rows = n_rows;
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t t = 0; t < coder->n_tiles; t++) {
    size_t first = t % coder->tiles_per_checkpoint * width, n = xci_min_size(width, d - first);
    const float *from = x + t / coder->tiles_per_checkpoint * d + first;
    float *tile = xci_coder_tile(coder, coder->x.memory, t, n_rows);
    for (size_t b = 0; b < n_samples; b++) {
      memcpy(tile + b * width, from + b * row_values, n * sizeof *tile);
      memset(tile + b * width + n, 0, (width - n) * sizeof *tile);
    }
    memset(tile + n_samples * width, 0, (n_rows - n_samples) * width * sizeof *tile);
  }
  coder->has_x = true;
  return XCODER_OK;
}

/* A feature is kept when it is not <= its floor. Bias and floor are padded to whole panels. */
static xcoder_status fill_floor(xci_coder *coder, const xci_gate *gate, xcoder_error *err) {
  size_t n = coder->shape.n_latents, padded = xci_ceil_div(n, XCI_PANEL) * XCI_PANEL;
  bool has_threshold = gate->kind == XCI_GATE_THRESHOLD || gate->kind == XCI_GATE_JUMP;
  xcoder_status status = xci_reserve(&coder->floor, 2 * padded, sizeof(float), err);
  if (status) return status;
  float *bias = coder->floor.memory, *floor = bias + padded;
  const float *jump = coder->jump.memory; /* thresholds, then margins */
  for (size_t i = 0; i < padded; i++) {
    bias[i] = i < n ? coder->tensor[XCI_B_ENC][XCI_VALUE][i] : 0;
    float least = i < n && has_threshold ? gate->threshold[i] : 0;
    if (i < n && gate->kind == XCI_GATE_JUMP) least -= jump[n + i];
    floor[i] = least > 0 ? least : 0;
  }
  return XCODER_OK;
}

/* Runs all products; places[block * n_panels + panel] says where the results are. */
static bool run_products(xci_coder *coder, const xci_panels *panels, size_t n_blocks, size_t n_panels,
                         place *places) {
  const float *bias = coder->floor.memory, *floor = bias + n_panels * XCI_PANEL;
  uint8_t *counts = coder->kept_counts.memory;
  bool ok = true;
#pragma omp parallel num_threads(xci_threads())
  {
    int thread = xci_thread_index();
    xci_space *space = &coder->arenas[thread];
    size_t used = 0;
#pragma omp for schedule(dynamic, 1)
    for (size_t task = 0; task < n_blocks * n_panels; task++) {
      size_t block = task / n_panels, panel = task % n_panels, first_row = block * panels->block;
      size_t n_rows = xci_min_size(panels->block, coder->n_samples - first_row);
      size_t n_latents = xci_min_size(XCI_PANEL, panels->n_chosen - panel * XCI_PANEL);
      places[task] = (place){used, 0, thread};
      if (!extend_arena(space, used, n_rows * XCI_PANEL + 1)) {
        places[task].arena = -1;
        memset(counts + task * panels->block, 0, panels->block);
        continue;
      }
      const float *c = xci_coder_panel(coder, panels, block, panel, coder->scratch[thread].memory);
      places[task].count = coder->kernels->keep(c, n_rows, n_latents, bias + panel * XCI_PANEL,
                                                floor + panel * XCI_PANEL, (xci_kept *)space->memory + used,
                                                counts + task * panels->block, 1);
      used += places[task].count;
    }
  }
  for (size_t task = 0; task < n_blocks * n_panels; task++) ok = ok && places[task].arena >= 0;
  return ok;
}

/* Codes by sample, latents ascending: panels of a block in order, each already sorted by (sample, latent). */
static xcoder_status gather_codes(xci_coder *coder, const xci_panels *panels, size_t n_blocks, size_t n_panels,
                                  const place *places, xci_code_lists *to, xcoder_error *err) {
  const uint8_t *counts = coder->kept_counts.memory;
  xcoder_status status = xci_reserve(&to->start, coder->n_samples + 1, sizeof(size_t), err);
  if (status) return status;
  size_t *start = to->start.memory, total = 0;
#pragma omp parallel for schedule(static) num_threads(xci_threads())
  for (size_t b = 0; b < coder->n_samples; b++) {
    size_t n = 0, block = b / panels->block, row = b % panels->block;
    for (size_t panel = 0; panel < n_panels; panel++) n += counts[(block * n_panels + panel) * panels->block + row];
    start[b + 1] = n;
  }
  start[0] = 0;
  for (size_t b = 0; b < coder->n_samples; b++) start[b + 1] = total += start[b + 1];
  status = xci_reserve(&to->index, total, sizeof(uint32_t), err);
  if (!status) status = xci_reserve(&to->value, total, sizeof(float), err);
  if (status) return status;
  uint32_t *index = to->index.memory;
  float *value = to->value.memory;
#pragma omp parallel for schedule(dynamic, 1) num_threads(xci_threads())
  for (size_t block = 0; block < n_blocks; block++) {
    size_t next[BLOCK_ROWS + XCI_STRIP], first_row = block * panels->block;
    size_t n_rows = xci_min_size(panels->block, coder->n_samples - first_row);
    memcpy(next, start + first_row, n_rows * sizeof *next);
    for (size_t panel = 0; panel < n_panels; panel++) {
      const place *at = &places[block * n_panels + panel];
      const xci_kept *kept = (const xci_kept *)coder->arenas[at->arena].memory + at->first;
      for (size_t k = 0; k < at->count; k++) {
        size_t p = next[kept[k].row]++;
        index[p] = (uint32_t)(panel * XCI_PANEL + kept[k].latent);
        value[p] = kept[k].value;
      }
    }
  }
  return XCODER_OK;
}

xcoder_status xci_coder_encode_panels(xci_coder *coder, const xci_panels *panels, xci_code_lists *to,
                                      xcoder_error *err) {
  size_t n_blocks = xci_ceil_div(coder->n_rows, panels->block), n_panels = xci_ceil_div(panels->n_chosen, XCI_PANEL);
  xcoder_status status = xci_reserve(&coder->kept_counts, n_blocks * panels->block * n_panels, 1, err);
  if (!status) status = xci_reserve(&coder->task_place, n_blocks * n_panels, sizeof(place), err);
  if (!status) status = xci_reserve_threads(&coder->scratch, &coder->n_scratch,
                                            xci_coder_panel_scratch(coder, panels->block), sizeof(float), err);
  if (!status) status = xci_reserve_threads(&coder->arenas, &coder->n_arenas, panels->block * XCI_PANEL,
                                            sizeof(xci_kept), err);
  if (status) return status;
  if (!run_products(coder, panels, n_blocks, n_panels, coder->task_place.memory))
    return xci_fail(err, XCODER_MEMORY, "memory: the features of %zu samples do not fit", coder->n_samples);
  return gather_codes(coder, panels, n_blocks, n_panels, coder->task_place.memory, to, err);
}

static xcoder_status encode(xci_coder *coder, const xci_gate *gate, xcoder_error *err) {
  const xci_panels panels = {coder->x.memory, coder->tensor[XCI_W_ENC][XCI_VALUE], NULL, coder->shape.n_latents,
                             xci_coder_block(coder->n_rows)};
  xcoder_status status = fill_floor(coder, gate, err);
  return status ? status : xci_coder_encode_panels(coder, &panels, &coder->codes, err);
}

xcoder_status xci_cpu_coder_encode(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                   const xci_gate *gate, xcoder_error *err) {
  (void)device;
  if (n_samples > coder->shape.max_batch)
    return xci_fail(err, XCODER_USAGE, "crosscoder: a batch of %zu samples, opened for at most %zu", n_samples,
                    coder->shape.max_batch);
  xcoder_status status = load_batch(coder, x, n_samples, err);
  if (!status && gate->kind == XCI_GATE_JUMP) status = xci_coder_take_thresholds(coder, gate, err);
  if (!status) status = encode(coder, gate, err);
  coder->is_ranked = gate->kind == XCI_GATE_TOPK || gate->kind == XCI_GATE_BATCH_TOPK;
  if (!status && coder->is_ranked) status = xci_coder_select(coder, gate, err);
  coder->has_near = gate->kind == XCI_GATE_JUMP;
  if (!status && coder->has_near) xci_coder_shut(coder);
  coder->has_codes = !status;
  return status;
}
