/* SPDX-License-Identifier: Apache-2.0 */
/* Attention: on tensor cores where they are and the trial at opening has passed, else by float32's own kernels. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include <math.h>

/* Channels of a group's result: as in cl/attention.cl and cl/tensor_attention.cl. */
enum { SLAB = 128, TENSOR_SLAB = 256 };

xcoder_status xci_cl_attend(xcoder_device *device, const xci_block *b, const xci_cl_plan *plan, cl_mem q, cl_mem k,
                            cl_mem v, cl_mem context, cl_mem statistic, xcoder_error *err) {
  const bool tensor = xci_cl_of(device)->tensor_attention;
  const char *kernel = b->d_head <= 64 ? "attend_64" : "attend_128";
  if (tensor)
    kernel = b->d_head <= 64 ? "attend_tensor_64" : b->d_head <= 128 ? "attend_tensor_128" : "attend_tensor_256";
  size_t n_slabs = xci_ceil_div(b->d_head, tensor ? TENSOR_SLAB : SLAB);
  return xci_cl_run(device, kernel, plan->n_tasks * n_slabs, b->n_heads, err, "muuuufmmmmmm", plan->tasks,
                    (unsigned)plan->n_tasks, (unsigned)b->n_heads, (unsigned)b->n_kv_heads, (unsigned)b->d_head,
                    (double)b->attention_scale, plan->slopes, q, k, v, context, statistic);
}

/* ---- The trial ---- */

/* Two sequences, one of two tiles; two heads on one of keys; slopes. */
enum { ROWS = 75, FIRST = 70, HEADS = 2, TASKS = 3, WIDEST = 140 };
enum { Q, K, V, CONTEXT, STATISTIC, ROW_TASKS, SLOPES, N_ARRAYS };

static const size_t width_of[N_ARRAYS] = {HEADS * WIDEST, WIDEST, WIDEST, HEADS * WIDEST, HEADS * 2, 4, HEADS};

static xcoder_status start_trial(xcoder_device *device, float *values, cl_mem memory[N_ARRAYS]) {
  static const uint32_t tasks[4 * TASKS] = {0,     64,           0,     FIRST, 64, FIRST - 64, 0, FIRST,
                                            FIRST, ROWS - FIRST, FIRST, ROWS};
  static const float slopes[HEADS] = {0.5f, 0.0625f};
  xcoder_status status = XCODER_OK;
  for (uint64_t i = 0; i < N_ARRAYS && !status; i++) {
    size_t n = ROWS * width_of[i];
    for (size_t l = 0; l < n; l++) values[l] = (float)xci_random_normal(18, XCI_STREAM_TEST + i, l);
    status = xci_cl_alloc(device, n, sizeof *values, &memory[i], NULL);
    if (!status) status = xci_cl_write(device, memory[i], 0, values, n * sizeof *values, NULL);
  }
  if (!status) status = xci_cl_write(device, memory[ROW_TASKS], 0, tasks, sizeof tasks, NULL);
  return status ? status : xci_cl_write(device, memory[SLOPES], 0, slopes, sizeof slopes, NULL);
}

static xcoder_status attend(xcoder_device *device, cl_mem memory[N_ARRAYS], size_t d_head, bool tensor, float *out) {
  const xci_block block = {.n_heads = HEADS, .n_kv_heads = 1, .d_head = d_head,
                           .attention_scale = 1 / sqrtf((float)d_head)};
  const xci_cl_plan plan = {.n_tasks = TASKS, .tasks = memory[ROW_TASKS], .slopes = memory[SLOPES]};
  xci_cl_of(device)->tensor_attention = tensor;
  xcoder_status status = xci_cl_attend(device, &block, &plan, memory[Q], memory[K], memory[V], memory[CONTEXT],
                                       memory[STATISTIC], NULL);
  size_t n = ROWS * HEADS * d_head;
  if (!status) status = xci_cl_read(device, memory[CONTEXT], 0, out, n * sizeof *out, NULL);
  return status ? status : xci_cl_read(device, memory[STATISTIC], 0, out + n, 2 * ROWS * HEADS * sizeof *out, NULL);
}

/* Both kernels sum the same products. The magnitudes in a score add up to about 0.64 * 140 / sqrt(140) = 7.5, so 140
 * additions err by at most 140 * 7.5 * 2^-23 = 1.3e-4, a probability by that twice (its own exponential and their sum);
 * four times that where tensor cores truncate, as in the trial of products: 1e-3. A fragment in the wrong place shows
 * as 1. */
bool xci_cl_try_attention(xcoder_device *device) {
  static const size_t widths[] = {30, 100, WIDEST}; /* one for each kernel; of the first, rows are not aligned */
  enum { MOST = ROWS * HEADS * (WIDEST + 2) };
  cl_mem memory[N_ARRAYS] = {NULL};
  float *values = NULL;
  bool right = true;
  xcoder_status status = XCI_ALLOC(&values, 2 * MOST, NULL);
  if (!status) status = start_trial(device, values, memory);
  for (size_t w = 0; w < sizeof widths / sizeof *widths && !status && right; w++) {
    status = attend(device, memory, widths[w], false, values);
    if (!status) status = attend(device, memory, widths[w], true, values + MOST);
    for (size_t i = 0; !status && i < ROWS * HEADS * (widths[w] + 2) && right; i++)
      right = fabsf(values[i] - values[MOST + i]) <= 1e-3f * fmaxf(1, fabsf(values[i]));
  }
  for (size_t i = 0; i < N_ARRAYS; i++) xci_cl_free(device, &memory[i]);
  xci_free(values);
  xci_cl_of(device)->tensor_attention = !status && right;
  return !status;
}
