/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cpu backend share: the device's state and its work space. */
#ifndef XCI_COMPUTE_CPU_CPU_H
#define XCI_COMPUTE_CPU_CPU_H

#include "compute/compute.h"

/* Work space of the transformer, one array per use, so that a phase never overwrites what another one still reads. */
typedef enum xci_work {
  XCI_WORK_NORMED, XCI_WORK_QKV, XCI_WORK_Q, XCI_WORK_K, XCI_WORK_V, XCI_WORK_CONTEXT, XCI_WORK_ATTENTION, XCI_WORK_UP,
  XCI_WORK_GATE, XCI_WORK_MLP, XCI_WORK_SCORES, XCI_WORK_MID, XCI_WORK_DQ, XCI_WORK_DK, XCI_WORK_DV, XCI_WORK_DOUT,
  XCI_WORK_ROTARY, XCI_WORK_LOGITS, XCI_WORK_ROWS, XCI_WORK_PANEL, XCI_WORK_HALF, XCI_N_WORK
} xci_work;

typedef struct xci_cpu {
  float *work[XCI_N_WORK]; /* grow-only */
  size_t capacity[XCI_N_WORK];
  size_t *tasks;           /* (sequence, first row) of every block of queries */
  size_t tasks_capacity;
  size_t rotary_width, rotary_positions; /* what work[XCI_WORK_ROTARY] holds */
  float rotary_base;
} xci_cpu;

/* At least `count` floats for `use`; the contents are undefined. */
xcoder_status xci_cpu_work(xcoder_device *device, xci_work use, size_t count, float **out, xcoder_error *err);

xcoder_status xci_cpu_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                    size_t columns, xci_weight **weight, xcoder_error *err);
xcoder_status xci_cpu_embed(xcoder_device *device, const xci_embedding *embedding, const uint32_t *ids,
                            const xci_rows *rows, xci_buffer *h, xcoder_error *err);
xcoder_status xci_cpu_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                  xci_tape **tape, xcoder_error *err);
void xci_cpu_tape_free(xcoder_device *device, xci_tape *tape);
xcoder_status xci_cpu_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_buffer *h,
                                    xci_tape *tape, size_t slot, xcoder_error *err);
xcoder_status xci_cpu_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                     xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_cpu_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                  size_t n_rows, const uint32_t *token, size_t n_tokens, float *out,
                                  float *log_normalizer, xcoder_error *err);
xcoder_status xci_cpu_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                    size_t total_rows, const size_t *row, size_t n_rows, const uint32_t *token,
                                    size_t n_tokens, const float *weight, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_cpu_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                     const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                     xcoder_error *err);
xcoder_status xci_cpu_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                   size_t n_rows, bool apply_norm, float *out, xcoder_error *err);

#endif
