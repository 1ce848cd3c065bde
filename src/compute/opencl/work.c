/* SPDX-License-Identifier: Apache-2.0 */
/* Work space of the transformer on an OpenCL device, and what is known of the rows at hand. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"
#include "base/size.h"
#include "compute/rotary.h"
#include <math.h>
#include <string.h>

struct xci_cl_transformer {
  cl_mem work[XCI_CL_N_USES];
  size_t bytes[XCI_CL_N_USES];
  /* What XCI_CL_POSITIONS and XCI_CL_TASKS hold: */
  size_t *start, start_capacity, n_sequences;
  size_t longest, n_tasks;
  bool has_rows;
  /* what XCI_CL_ANGLES holds: */
  size_t rotary_width, rotary_positions;
  float rotary_base;
  /* and XCI_CL_SLOPES: */
  float *slopes;
  size_t slopes_capacity, n_slopes;
};

static xcoder_status find_state(xcoder_device *device, struct xci_cl_transformer **state, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  xcoder_status status = XCODER_OK;
  if (cl->transformer == NULL) status = XCI_ALLOC(&cl->transformer, 1, err);
  *state = cl->transformer;
  return status;
}

xcoder_status xci_cl_work(xcoder_device *device, xci_cl_use use, size_t rows, size_t width, cl_mem *out,
                          xcoder_error *err) {
  struct xci_cl_transformer *t;
  size_t count;
  xcoder_status status = find_state(device, &t, err);
  if (status) return status;
  if (!xci_mul_size(rows, width, &count)) count = SIZE_MAX;
  status = xci_cl_reserve(device, &t->work[use], &t->bytes[use], count, sizeof(float), err);
  *out = t->work[use];
  return status;
}

size_t xci_cl_work_bytes(const xcoder_device *device) {
  const struct xci_cl_transformer *t = xci_cl_of(device)->transformer;
  size_t sum = 0;
  for (size_t i = 0; t != NULL && i < XCI_CL_N_USES; i++) sum += t->bytes[i];
  return sum;
}

void xci_cl_transformer_close(xcoder_device *device) {
  struct xci_cl_transformer *t = xci_cl_of(device)->transformer;
  if (t == NULL) return;
  for (size_t i = 0; i < XCI_CL_N_USES; i++) xci_cl_free(device, &t->work[i]);
  xci_free(t->start);
  xci_free(t->slopes);
  xci_free(t);
  xci_cl_of(device)->transformer = NULL;
}

/* ---- Positions and tasks ---- */

static void fill_rows(const xci_rows *rows, uint32_t *position, uint32_t *task) {
  for (size_t s = 0; s < rows->n_sequences; s++) {
    size_t first = rows->start[s], end = rows->start[s + 1];
    for (size_t r = first; r < end; r++) position[r] = (uint32_t)(r - first);
    for (size_t r = first; r < end; r += XCI_CL_QUERIES) {
      *task++ = (uint32_t)r;
      *task++ = (uint32_t)xci_min_size(XCI_CL_QUERIES, end - r);
      *task++ = (uint32_t)first;
      *task++ = (uint32_t)end;
    }
  }
}

static xcoder_status send_rows(xcoder_device *device, struct xci_cl_transformer *t, const xci_rows *rows, size_t n_rows,
                               xcoder_error *err) {
  uint32_t *numbers = NULL;
  cl_mem positions, tasks;
  t->has_rows = false;
  t->longest = t->n_tasks = 0;
  for (size_t s = 0; s < rows->n_sequences; s++) {
    size_t length = rows->start[s + 1] - rows->start[s];
    t->longest = xci_max_size(t->longest, length);
    t->n_tasks += xci_ceil_div(length, XCI_CL_QUERIES);
  }
  xcoder_status status =
    xci_grow((void **)&t->start, &t->start_capacity, rows->n_sequences + 1, sizeof *t->start, err);
  if (!status) status = XCI_ALLOC(&numbers, n_rows + 4 * t->n_tasks, err);
  if (!status) status = xci_cl_work(device, XCI_CL_POSITIONS, n_rows, 1, &positions, err);
  if (!status) status = xci_cl_work(device, XCI_CL_TASKS, t->n_tasks, 4, &tasks, err);
  if (!status) {
    fill_rows(rows, numbers, numbers + n_rows);
    status = xci_cl_write(device, positions, 0, numbers, n_rows * sizeof *numbers, err);
  }
  if (!status) status = xci_cl_write(device, tasks, 0, numbers + n_rows, 4 * t->n_tasks * sizeof *numbers, err);
  xci_free(numbers);
  if (status) return status;
  if (rows->n_sequences > 0) memcpy(t->start, rows->start, (rows->n_sequences + 1) * sizeof *t->start);
  t->n_sequences = rows->n_sequences;
  t->has_rows = true;
  return XCODER_OK;
}

static bool same_rows(const struct xci_cl_transformer *t, const xci_rows *rows) {
  if (!t->has_rows || t->n_sequences != rows->n_sequences) return false;
  return rows->n_sequences == 0 || memcmp(t->start, rows->start, (rows->n_sequences + 1) * sizeof *t->start) == 0;
}

/* ---- Tables of a block ---- */

/* The angles of `longest` positions, or half as many again as before so that a batch a little longer than the last does
 * not compute everything again. The numbers are those of the processor's table. */
static xcoder_status send_angles(xcoder_device *device, struct xci_cl_transformer *t, const xci_block *b,
                                 xcoder_error *err) {
  bool same = t->rotary_width == b->rotary_width && t->rotary_base == b->rotary_base;
  if (same && t->longest <= t->rotary_positions) return XCODER_OK;
  size_t width = b->rotary_width, half = width / 2;
  size_t n = same ? xci_max_size(t->longest, t->rotary_positions + t->rotary_positions / 2) : t->longest;
  float *table = NULL;
  cl_mem angles;
  t->rotary_positions = 0;
  xcoder_status status = xci_alloc(n, width * sizeof *table, (void **)&table, err);
  if (!status) status = xci_cl_work(device, XCI_CL_ANGLES, n, width, &angles, err);
  for (size_t position = 0; !status && position < n; position++)
    for (size_t j = 0; j < half; j++) {
      double angle = (double)xci_rotary_angle(b->rotary_base, width, j, position);
      table[position * width + j] = (float)cos(angle);
      table[position * width + half + j] = (float)sin(angle);
    }
  if (!status) status = xci_cl_write(device, angles, 0, table, n * width * sizeof *table, err);
  xci_free(table);
  if (status) return status;
  t->rotary_width = width;
  t->rotary_base = b->rotary_base;
  t->rotary_positions = n;
  return XCODER_OK;
}

static xcoder_status send_slopes(xcoder_device *device, struct xci_cl_transformer *t, const xci_block *b,
                                 xcoder_error *err) {
  const size_t bytes = b->n_heads * sizeof *t->slopes;
  cl_mem slopes;
  if (t->n_slopes == b->n_heads && memcmp(t->slopes, b->alibi_slopes, bytes) == 0) return XCODER_OK;
  t->n_slopes = 0;
  xcoder_status status = xci_grow((void **)&t->slopes, &t->slopes_capacity, b->n_heads, sizeof *t->slopes, err);
  if (!status) status = xci_cl_work(device, XCI_CL_SLOPES, b->n_heads, 1, &slopes, err);
  if (!status) status = xci_cl_write(device, slopes, 0, b->alibi_slopes, bytes, err);
  if (status) return status;
  memcpy(t->slopes, b->alibi_slopes, bytes);
  t->n_slopes = b->n_heads;
  return XCODER_OK;
}

xcoder_status xci_cl_plan_rows(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_cl_plan *plan,
                               xcoder_error *err) {
  struct xci_cl_transformer *t;
  *plan = (xci_cl_plan){.n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0};
  if (plan->n_rows >= UINT32_MAX - XCI_CL_QUERIES)
    return xci_fail(err, XCODER_MEMORY, "device %s: %zu rows in one batch", device->name, plan->n_rows);
  xcoder_status status = find_state(device, &t, err);
  if (!status) status = xci_cl_usable(device, err);
  if (!status && !same_rows(t, rows)) status = send_rows(device, t, rows, plan->n_rows, err);
  if (!status && block != NULL && block->rotary_width > 0 && t->longest > 0)
    status = send_angles(device, t, block, err);
  if (!status && block != NULL && block->alibi_slopes != NULL) status = send_slopes(device, t, block, err);
  if (status) return status;
  plan->longest = t->longest;
  plan->n_tasks = t->n_tasks;
  plan->positions = t->work[XCI_CL_POSITIONS];
  plan->tasks = t->work[XCI_CL_TASKS];
  if (block != NULL && block->rotary_width > 0) plan->angles = t->work[XCI_CL_ANGLES];
  if (block != NULL && block->alibi_slopes != NULL) plan->slopes = t->work[XCI_CL_SLOPES];
  return XCODER_OK;
}
