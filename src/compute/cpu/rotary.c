/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary position embedding of the first channels of each head, half-split pairing. */
#include "compute/cpu/transformer.h"

#include "base/parallel.h"
#include "base/size.h"
#include "compute/rotary.h"

/* Grown by half so that a batch a little longer than the last one does not compute everything again. */
static size_t table_length(size_t n_positions, size_t old) { return xci_max_size(n_positions, old + old / 2); }

xcoder_status xci_cpu_rotary_table(xcoder_device *device, const xci_block *block, size_t n_positions, float **table,
                                   xcoder_error *err) {
  xci_cpu *cpu = device->state;
  size_t width = block->rotary_width, half = width / 2, count;
  bool same = cpu->rotary_width == width && cpu->rotary_base == block->rotary_base;
  *table = cpu->work[XCI_WORK_ROTARY];
  if (same && n_positions <= cpu->rotary_positions) return XCODER_OK;
  size_t length = same ? table_length(n_positions, cpu->rotary_positions) : n_positions;
  cpu->rotary_positions = 0;
  if (!xci_mul_size(length, width, &count))
    return xci_fail(err, XCODER_MEMORY, "rotary table of %zu positions", length);
  xcoder_status status = xci_cpu_work(device, XCI_WORK_ROTARY, count, table, err);
  if (status) return status;
  float *out = *table;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t position = 0; position < length; position++)
    for (size_t j = 0; j < half; j++) {
      double angle = (double)xci_rotary_angle(block->rotary_base, width, j, position);
      out[position * width + j] = (float)cos(angle);
      out[position * width + half + j] = (float)sin(angle);
    }
  cpu->rotary_width = width;
  cpu->rotary_base = block->rotary_base;
  cpu->rotary_positions = length;
  return XCODER_OK;
}

/* One row of heads; direction -1 undoes the rotation, which is also its transpose. */
void xci_cpu_rotate(const xci_block *block, const float *angles, size_t n_heads, float direction, float *x) {
  size_t half = block->rotary_width / 2;
  const float *cosine = angles, *sine = angles + half;
  for (size_t head = 0; head < n_heads; head++) {
    float *u = x + head * block->d_head, *w = u + half;
    for (size_t j = 0; j < half; j++) {
      float a = u[j], b = w[j], s = direction * sine[j];
      u[j] = a * cosine[j] - b * s;
      w[j] = b * cosine[j] + a * s;
    }
  }
}
