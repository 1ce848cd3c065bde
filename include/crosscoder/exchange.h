/* SPDX-License-Identifier: Apache-2.0 */
/* Crosscoders of other programs, read and written. What each form holds and how it is converted: doc/exchange.md. */
#ifndef CROSSCODER_EXCHANGE_H
#define CROSSCODER_EXCHANGE_H

#include <crosscoder/coder.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum xcoder_form {
  XCODER_FORM_AUTHORS,             /* NAME.pt with NAME_cfg.json, or cc_weights.pt with cfg.json */
  XCODER_FORM_DICTIONARY_LEARNING, /* model_final.pt or model.safetensors with config.json */
  XCODER_FORM_SAELENS,             /* sae_weights.safetensors with cfg.json; one checkpoint */
  XCODER_FORM_DICTIONARY_LEARNING_SAE /* ae.pt with config.json: its autoencoders; one checkpoint */
} xcoder_form;

/* "authors", "dictionary-learning", "saelens", "dictionary-learning-sae". */
XCODER_API const char *xcoder_form_name(xcoder_form form);

/* What files may leave open. */
typedef struct xcoder_import_options {
  size_t n_scales;      /* 0: those of the file; it is an error when there are none */
  const float *scales;  /* s_c; all 1 where the activations are given already scaled */
  size_t n_labels;      /* 0: those of the file, or A, B, ... */
  const char *const *labels;
  bool has_layer;       /* false: that of the file; it is an error when there is none */
  long layer;
} xcoder_import_options;

typedef struct xcoder_exchange_report {
  xcoder_form form;
  bool folded;              /* of the weights in the file that was read or written */
  size_t n_values;          /* compared between what was converted and what a second reading gives */
  size_t n_different;       /* of these, not equal bit for bit */
  double largest_difference; /* relative to the largest value of its tensor */
  char notes[512];          /* what was converted, for people; ends without a line feed */
} xcoder_exchange_report;

/* Reads a file of weights, or a folder with one such file, in any of the forms; which one is told by its tensors. The
 * file beside it (NAME_cfg.json, cfg.json, cc_cfg.json, config.json) gives what tensors do not. Nothing in the files
 * is executed. The result has the scales beside weights as trained (info.folded false) wherever the form allows it.
 * Errors: XCODER_MISSING, XCODER_FORMAT, XCODER_UNSUPPORTED (another architecture, by its name), XCODER_USAGE (scales
 * or layer are in no file and not in the options). `report` may be NULL. */
XCODER_API xcoder_status xcoder_import(const char *path, const xcoder_import_options *options, xcoder **coder,
                                       xcoder_exchange_report *report, xcoder_error *err);

/* Writes the crosscoder into the new folder `folder`, which appears whole or not at all, reads it back and compares;
 * `fold`: with the scales inside the weights. Autoencoders (SAELens, DICTIONARY_LEARNING_SAE)
 * have one checkpoint and no scales, so their forms are always folded.
 * Errors: XCODER_UNSUPPORTED when the form cannot hold the crosscoder (the message says why), XCODER_IO. */
XCODER_API xcoder_status xcoder_export(const xcoder *coder, xcoder_form form, bool fold, const char *folder,
                                       xcoder_exchange_report *report, xcoder_error *err);

/* Compares all parameters, thresholds and scales of two crosscoders of equal shape; differences as in the report. */
XCODER_API xcoder_status xcoder_difference(const xcoder *a, const xcoder *b, size_t *n_values, size_t *n_different,
                                           double *largest, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
