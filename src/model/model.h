/* SPDX-License-Identifier: Apache-2.0 */
/* An open model, as the files of this layer share it. */
#ifndef XCI_MODEL_MODEL_H
#define XCI_MODEL_MODEL_H

#include "model/family.h"
#include "model/weight_files.h"

struct xcoder_model {
  xci_guest guest;          /* first: the device knows the weights by it */
  bool loaded;              /* weights are on the device, and it knows */
  xcoder_device *device;
  xci_config config;
  xcoder_model_info info;
  xci_weight_files files;   /* weights may lie in these maps */
  xci_block *blocks;        /* [n_blocks] */
  float *alibi_slopes;      /* [n_heads] or NULL */
  size_t n_blocks;          /* loaded ones, n_layers or fewer */
  xci_outer outer;
  xci_norm embedding_norm;  /* with weights */
  xci_head head;
  bool has_head;
  xci_weight **weights;     /* all of them, to be freed */
  size_t n_weights;
  /* Work space of runs, grow-only. */
  xci_buffer h, gradient;
  xci_tape *tape;
  size_t tape_rows, tape_blocks;
  size_t *start, *row;      /* of one batch */
  uint32_t *token;
  size_t start_capacity, row_capacity, token_capacity;
  const volatile sig_atomic_t *stop; /* NULL: never stopped */
};

/* load.c. Checks every tensor that the config asks for against the files, allocating nothing. */
xcoder_status xci_model_check(const xci_config *config, const xci_weight_files *files, xcoder_model_info *info,
                              xcoder_error *err);
xcoder_status xci_model_load(xcoder_model *model, long highest_layer, xcoder_error *err);
/* model.c. Loads the weights again where the device was replaced since. */
xcoder_status xci_model_prepare(xcoder_model *model, xcoder_error *err);

#endif
