/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of other programs share: a file of tensors with the JSON beside it, and one reader and one writer for
 * each form. */
#ifndef XCI_CROSSCODER_FOREIGN_H
#define XCI_CROSSCODER_FOREIGN_H

#include "base/text.h"
#include "crosscoder/object.h"
#include "formats/torch_file.h"
#include "formats/torch_writer.h"
#include <crosscoder/exchange.h>
#include <jansson.h>

/* Weights and what stands beside them. */
typedef struct xci_foreign {
  const xcoder_import_options *options;
  char *path, *config_path;   /* without a file beside it: the path itself, an empty config */
  xci_torch *torch;           /* one of the two */
  xci_safetensors *safetensors;
  const char *prefix;         /* of every tensor's name: "" or "_orig_mod." */
  json_t *config;             /* an object */
  bool has_config;
  size_t n_checkpoints, d_model, n_latents;
  xcoder_exchange_report *report;
} xci_foreign;

/* `name` without the prefix; NULL if absent. */
const xci_tensor *xci_foreign_find(const xci_foreign *file, const char *name);
/* Whether all tensors are among the `n` names; the first that is not is refused. */
xcoder_status xci_foreign_check_names(const xci_foreign *file, const char *const *names, size_t n, xcoder_error *err);
/* Values of a float tensor of this shape, in fresh memory; NaN and infinities are refused. */
xcoder_status xci_foreign_floats(const xci_foreign *file, const char *name, size_t rank, const size_t *shape,
                                 float **values, xcoder_error *err);
/* The same, NaN allowed: *all_nan tells whether every value is. */
xcoder_status xci_foreign_buffer(const xci_foreign *file, const char *name, size_t rank, const size_t *shape,
                                 float **values, bool *all_nan, xcoder_error *err);
/* A tensor of one value, float or integer; *found is false (and *value as before) if it is absent. */
xcoder_status xci_foreign_scalar(const xci_foreign *file, const char *name, bool *found, double *value,
                                 xcoder_error *err);
/* Adds to the notes of the report. */
void xci_foreign_note(const xci_foreign *file, const char *format, ...) XCODER_PRINTF(2, 3);

/* A crosscoder of the file's shape with the options' labels, scales and layer, or those given (NULL, LONG_MIN: the file
 * says nothing). */
xcoder_status xci_foreign_create(const xci_foreign *file, const char *const *labels, const float *scales, long layer,
                                 xcoder **coder, xcoder_error *err);
/* The block behind which "blocks.N.hook_resid_pre" or "..._post" stands, LONG_MIN if `hook` is no such name. */
long xci_foreign_layer(const char *hook);
/* Copies a tensor of the file into one of the crosscoder, values in the same order. */
xcoder_status xci_foreign_copy(const xci_foreign *file, const char *name, xci_coder_tensor tensor, xcoder *coder,
                               xcoder_error *err);
/* W_dec of the crosscoder from [n, D, d]. */
xcoder_status xci_foreign_decoder(const xci_foreign *file, const char *name, xcoder *coder, xcoder_error *err);

/* Those that encode x - b_dec: b_enc' = b_enc - b_dec W_enc. One checkpoint. */
void xci_foreign_move_bias(xcoder *coder);
/* Thresholds as a vector; their files have no infinities: a feature that never fires gets the largest number. */
xcoder_status xci_foreign_thresholds(const xcoder *coder, float **theta, xcoder_error *err);

/* The forms. Readers find sizes and all values; writers put files into `folder`, which is there. */
xcoder_status xci_read_authors(xci_foreign *file, xcoder **coder, xcoder_error *err);
xcoder_status xci_read_learning(xci_foreign *file, xcoder **coder, xcoder_error *err);
xcoder_status xci_read_saelens(xci_foreign *file, xcoder **coder, xcoder_error *err);
bool xci_is_autoencoder(const xci_foreign *file);
xcoder_status xci_read_autoencoder(xci_foreign *file, xcoder **coder, xcoder_error *err);
xcoder_status xci_write_authors(const xcoder *coder, const char *folder, xcoder_error *err);
xcoder_status xci_write_learning(const xcoder *coder, const char *folder, xcoder_error *err);
xcoder_status xci_write_saelens(const xcoder *coder, const char *folder, xcoder_error *err);
xcoder_status xci_write_autoencoder(const xcoder *coder, const char *folder, xcoder_error *err);

/* What the fields of a writer's JSON have in common. */
void xci_foreign_json_text(xci_text *text, const char *key, const char *value);
void xci_foreign_json_number(xci_text *text, const char *key, double value);
xcoder_status xci_foreign_write_json(const char *folder, const char *name, const xci_text *text, xcoder_error *err);

#endif
