/* SPDX-License-Identifier: Apache-2.0 */
/* The tape between the passes of a transformer block on an OpenCL device: one array for each thing that it keeps. */
#include "compute/opencl/transformer.h"

#include "base/memory.h"

enum { N_ARRAYS = 8 };

/* The arrays of a slot and how many values of a row each holds; 0: not kept. */
typedef struct part {
  cl_mem *memory;
  size_t width;
} part;

static void list_parts(const xci_block *b, xci_cl_slot *s, part parts[N_ARRAYS]) {
  const size_t d = b->d_model;
  const part all[N_ARRAYS] = {{&s->input, d},
                              {&s->raw, xci_cl_qkv_width(b)},
                              {&s->context, b->n_heads * b->d_head},
                              {&s->statistic, 2 * b->n_heads},
                              {&s->mid, b->residual == XCI_PARALLEL ? 0 : d},
                              {&s->up, b->d_mlp},
                              {&s->gate, xci_cl_is_gated(b) ? b->d_mlp : 0},
                              {&s->mlp, b->residual == XCI_POST_NORM ? d : 0}};
  for (size_t i = 0; i < N_ARRAYS; i++) parts[i] = all[i];
}

static size_t bytes_of(cl_mem memory) {
  size_t bytes = 0;
  if (memory == NULL) return 0;
  return clGetMemObjectInfo(memory, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS ? bytes : 0;
}

xcoder_status xci_cl_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                 xci_tape **tape, xcoder_error *err) {
  xci_cl_tape *t = NULL;
  part parts[N_ARRAYS];
  *tape = NULL;
  xcoder_status status = XCI_ALLOC(&t, 1, err);
  if (status) return status;
  *t = (xci_cl_tape){.n_blocks = n_blocks, .n_rows = n_rows};
  status = XCI_ALLOC(&t->slots, n_blocks, err);
  for (size_t i = 0; !status && i < n_blocks; i++) {
    list_parts(block, &t->slots[i], parts);
    for (size_t k = 0; !status && k < N_ARRAYS; k++)
      if (parts[k].width > 0)
        status = xci_cl_alloc(device, n_rows, parts[k].width * sizeof(float), parts[k].memory, err);
  }
  if (status) xci_cl_tape_free(device, (xci_tape *)t);
  else *tape = (xci_tape *)t;
  return status;
}

void xci_cl_tape_free(xcoder_device *device, xci_tape *tape) {
  xci_cl_tape *t = (xci_cl_tape *)tape;
  if (t == NULL) return;
  for (size_t i = 0; t->slots != NULL && i < t->n_blocks; i++) {
    xci_cl_slot *s = &t->slots[i];
    cl_mem *all[N_ARRAYS] = {&s->input, &s->raw, &s->context, &s->statistic, &s->mid, &s->up, &s->gate, &s->mlp};
    for (size_t k = 0; k < N_ARRAYS; k++) xci_cl_free(device, all[k]);
  }
  xci_free(t->slots);
  xci_free(t);
}

xcoder_status xci_cl_find_slot(const xci_block *block, xci_tape *tape, size_t index, size_t n_rows, xci_cl_slot *slot,
                               xcoder_error *err) {
  const xci_cl_tape *t = (const xci_cl_tape *)tape;
  part parts[N_ARRAYS];
  bool fits = index < t->n_blocks && n_rows <= t->n_rows;
  if (fits) {
    *slot = t->slots[index];
    list_parts(block, slot, parts);
    for (size_t k = 0; k < N_ARRAYS; k++)
      if (n_rows > 0 && parts[k].width > bytes_of(*parts[k].memory) / sizeof(float) / n_rows) fits = false;
  }
  if (fits) return XCODER_OK;
  return xci_fail(err, XCODER_INTERNAL, "slot %zu of %zu rows does not fit the tape", index, n_rows);
}
