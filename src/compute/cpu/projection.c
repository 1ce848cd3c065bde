/* SPDX-License-Identifier: Apache-2.0 */
/* From raw query, key and value products to heads side by side (bias, norm, clip, rotary), and back. */
#include "compute/cpu/transformer.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "compute/cpu/vector_math.h"
#include <string.h>

size_t xci_qkv_width(const xci_block *block) { return (block->n_heads + 2 * block->n_kv_heads) * block->d_head; }

xcoder_status xci_cpu_plan(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_plan *plan,
                           xcoder_error *err) {
  xci_cpu *cpu = device->state;
  *plan = (xci_plan){.rows = rows, .n_rows = rows->n_sequences > 0 ? rows->start[rows->n_sequences] : 0};
  for (size_t s = 0; s < rows->n_sequences; s++) {
    size_t length = rows->start[s + 1] - rows->start[s];
    plan->longest = xci_max_size(plan->longest, length);
    plan->n_tasks += xci_ceil_div(length, XCI_QUERY_BLOCK);
  }
  xcoder_status status =
    xci_grow((void **)&cpu->tasks, &cpu->tasks_capacity, 2 * plan->n_tasks, sizeof *cpu->tasks, err);
  if (status) return status;
  size_t *task = cpu->tasks;
  for (size_t s = 0; s < rows->n_sequences; s++)
    for (size_t row = rows->start[s]; row < rows->start[s + 1]; row += XCI_QUERY_BLOCK) {
      *task++ = s;
      *task++ = row;
    }
  plan->task = cpu->tasks;
  if (block->rotary_width > 0)
    status = xci_cpu_rotary_table(device, block, plan->longest, &plan->angles, err);
  return status;
}

/* The three parts of a row of raw products. Interleaved rows are [head][q,k,v][d_head]. */
typedef struct part {
  size_t first, stride, n_heads; /* of the raw row: offset of head 0, distance of heads */
  const float *bias;             /* laid out as the raw part, or NULL */
  const xci_norm *norm;
  bool rotates;
} part;

static void describe_parts(const xci_block *block, part parts[3]) {
  size_t hd = block->d_head, n_q = block->n_heads, n_kv = block->n_kv_heads;
  const xci_linear *linear[3] = {&block->query, &block->key, &block->value};
  size_t n_heads[3] = {n_q, n_kv, n_kv}, first[3] = {0, n_q * hd, (n_q + n_kv) * hd};
  for (size_t c = 0; c < 3; c++) {
    bool interleaved = block->qkv_fused && block->qkv_interleaved;
    const xci_weight *bias = block->qkv_fused ? block->query.bias : linear[c]->bias;
    parts[c] = (part){.first = interleaved ? c * hd : first[c], .stride = interleaved ? 3 * hd : hd,
                      .n_heads = n_heads[c], .rotates = c < 2 && block->rotary_width > 0};
    if (bias != NULL) parts[c].bias = bias->host + (block->qkv_fused ? parts[c].first : 0);
    if (block->has_qk_norm && c < 2) parts[c].norm = c == 0 ? &block->norm_q : &block->norm_k;
  }
}

/* Raw values plus bias, heads side by side. */
static void gather(const xci_block *block, const part *p, const float *raw, float *out) {
  for (size_t head = 0; head < p->n_heads; head++) {
    const float *in = raw + p->first + head * p->stride, *bias = p->bias != NULL ? p->bias + head * p->stride : NULL;
    float *to = out + head * block->d_head;
    memcpy(to, in, block->d_head * sizeof *to);
    if (bias != NULL) xci_add_to(to, bias, block->d_head);
  }
}

static void clip_row(float c, float *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] = x[i] < -c ? -c : x[i] > c ? c : x[i];
}

static void split_part(const xci_block *block, const xci_plan *plan, const part *p, const float *raw, size_t first_row,
                       size_t n_rows, size_t position, float *out) {
  size_t width = p->n_heads * block->d_head, raw_width = xci_qkv_width(block);
  for (size_t r = 0; r < n_rows; r++) {
    float *to = out + (first_row + r) * width;
    gather(block, p, raw + (first_row + r) * raw_width, to);
    if (p->norm != NULL) xci_cpu_norm_row(p->norm, to, width, to);
    if (block->clip_qkv > 0) clip_row(block->clip_qkv, to, width);
    if (p->rotates) xci_cpu_rotate(block, plan->angles + (position + r) * block->rotary_width, p->n_heads, 1, to);
  }
}

/* Rows of task t: from its first row to the end of its sequence or block. */
static size_t task_rows(const xci_plan *plan, size_t t) {
  size_t end = plan->rows->start[plan->task[2 * t] + 1];
  return xci_min_size(XCI_QUERY_BLOCK, end - plan->task[2 * t + 1]);
}

void xci_cpu_split_qkv(const xci_block *block, const xci_plan *plan, const float *raw, float *q, float *k, float *v) {
  part parts[3];
  describe_parts(block, parts);
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t t = 0; t < plan->n_tasks; t++) {
    size_t first = plan->task[2 * t + 1], position = first - plan->rows->start[plan->task[2 * t]];
    split_part(block, plan, &parts[0], raw, first, task_rows(plan, t), position, q);
    split_part(block, plan, &parts[1], raw, first, task_rows(plan, t), position, k);
    split_part(block, plan, &parts[2], raw, first, task_rows(plan, t), position, v);
  }
}

/* `work` holds two rows of the part. The gradient of a clipped value is 0 outside [-c, c], bounds included. */
static void split_part_backward(const xci_block *block, const xci_plan *plan, const part *p, const float *raw,
                                size_t row, size_t position, float *gradient, float *work, float *d_raw) {
  size_t width = p->n_heads * block->d_head;
  float *before = work, *normed = work + width, c = block->clip_qkv;
  if (p->rotates) xci_cpu_rotate(block, plan->angles + position * block->rotary_width, p->n_heads, -1, gradient);
  if (c > 0 || p->norm != NULL) {
    gather(block, p, raw + row * xci_qkv_width(block), before);
    const float *clipped = before;
    if (p->norm != NULL) {
      xci_cpu_norm_row(p->norm, before, width, normed);
      clipped = normed;
    }
    if (c > 0) for (size_t i = 0; i < width; i++) if (!(clipped[i] >= -c && clipped[i] <= c)) gradient[i] = 0;
    if (p->norm != NULL) xci_cpu_norm_row_backward(p->norm, before, gradient, width, gradient);
  }
  float *out = d_raw + row * xci_qkv_width(block) + p->first;
  for (size_t head = 0; head < p->n_heads; head++)
    memcpy(out + head * p->stride, gradient + head * block->d_head, block->d_head * sizeof *out);
}

void xci_cpu_split_qkv_backward(const xci_block *block, const xci_plan *plan, const float *raw, float *dq, float *dk,
                                float *dv, float *work, float *d_raw) {
  part parts[3];
  describe_parts(block, parts);
  float *gradients[3] = {dq, dk, dv};
  size_t work_width = 2 * block->n_heads * block->d_head;
#pragma omp parallel for num_threads(xci_threads()) schedule(static)
  for (size_t t = 0; t < plan->n_tasks; t++) {
    size_t first = plan->task[2 * t + 1], position = first - plan->rows->start[plan->task[2 * t]];
    for (size_t r = 0; r < task_rows(plan, t); r++)
      for (size_t c = 0; c < 3; c++)
        split_part_backward(block, plan, &parts[c], raw, first + r, position + r,
                            gradients[c] + (first + r) * parts[c].n_heads * block->d_head,
                            work + (size_t)xci_thread_index() * work_width, d_raw);
  }
}
