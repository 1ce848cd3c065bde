/* SPDX-License-Identifier: Apache-2.0 */
/* Labelled sentences and what can be read off them: read in gold.c, measured in known.c, written in known_file.c. */
#ifndef XCI_ANALYSIS_KNOWN_H
#define XCI_ANALYSIS_KNOWN_H

#include "analysis/workbench.h"

enum { XCI_SHUFFLES = 20 }; /* shuffled labellings behind the floor */

typedef struct xci_gold {
  size_t n;
  xcoder_tokens *tokens;   /* each sentence up to the position that is asked about, which is its last */
  uint8_t *label;          /* 1: plural */
  uint8_t *heldout, *across, *opposed; /* noun held out; pp or rc between; attractor of the other number */
  uint8_t *agrees;         /* the language shows the label at all; others count in their own condition alone */
  bool has_opposed;        /* the file tells the attractor's number */
  uint32_t *language;
  char **languages;
  size_t n_languages, language_capacity;
} xci_gold;

/* Errors: XCODER_FORMAT with path and line; XCODER_MISMATCH when the labels do not fit the tokenizer. */
xcoder_status xci_gold_open(const char *path, const xcoder_tokenizer *tokenizer, xci_gold *gold, xcoder_error *err);
void xci_gold_close(xci_gold *gold);

/* One condition at one checkpoint: chosen on one half of the sentences, measured on those of the other half that meet
 * the condition; held-out nouns of a language: chosen on its other nouns, measured on all held-out ones. low, high: the
 * 95 % interval of `single`. */
typedef struct xci_known_cell {
  char name[96];
  size_t n;             /* sentences measured */
  uint32_t feature;     /* the best single one */
  double single, low, high, probe;
  double *top;          /* [n_features] */
  double top_joint;     /* a linear probe on the pre-activations of these features together */
} xci_known_cell;

typedef struct xci_known {
  const xci_bench *bench;
  const uint32_t *features;
  size_t n_features, n_sentences, n_conditions;
  xci_known_cell *cell; /* [n, n_conditions]; condition 0 is all sentences of languages that agree */
  double floor[XCODER_MAX_CHECKPOINTS];
} xci_known;

xcoder_status xci_known_write(const xci_known *known, const char *run_directory, xcoder_error *err);

#endif
