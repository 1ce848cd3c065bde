/* SPDX-License-Identifier: Apache-2.0 */
/* The database of features: one row for every feature that fired, in arrays; features/database.safetensors holds the
 * same arrays under the names of the members. Filled in feature_scan.c and lens.c. */
#ifndef XCI_ANALYSIS_FEATURE_DATABASE_H
#define XCI_ANALYSIS_FEATURE_DATABASE_H

#include "analysis/features/histogram.h"
#include "analysis/workbench.h"
#include "formats/safetensors.h"

enum { XCI_N_NEAREST = 5, XCI_N_TOP_TOKENS = 5 };

/* Sizes of the arrays. */
typedef struct xci_sizes {
  size_t rows, n;            /* features that fired, checkpoints */
  size_t n_logits;
  size_t n_top, n_spread, n_negative; /* contexts: strongest, drawn from all, where the feature is silent */
  size_t before, after;      /* tokens of a context around its position */
  size_t n_tasks, n_languages, n_token_labels;
} xci_sizes;

typedef struct xci_database {
  xci_sizes size;
  long layer;
  size_t n_latents;
  uint64_t n_tokens, n_types;          /* unmasked positions, different tokens there */
  char **labels, **tasks, **languages; /* owned */
  int32_t *feature;            /* [rows], ascending */
  int64_t *fired;              /* [rows] positions */
  float *max;                  /* [rows] */
  double *mean_active;         /* [rows] */
  double *token_entropy, *top_token_share;                       /* [rows] */
  double *token_entropy_checkpoint, *top_token_share_checkpoint; /* [rows, n] by checkpoint of origin */
  double *activation_share;    /* [rows, n] of the activation mass that comes from the checkpoint */
  int64_t *token_types, *token_types_merged; /* [rows] kept, given up for want of room */
  int32_t *top_tokens;         /* [rows, XCI_N_TOP_TOKENS], -1: none */
  double *histogram_range;     /* [rows] */
  int64_t *histogram;          /* [rows, XCI_HISTOGRAM_BINS] */
  double *density_task, *density_language; /* [rows, n_tasks], [rows, n_languages]: share of positions of prompts */
  double *decoder_norm, *decoder_share;    /* [rows, n] */
  double *decoder_cosine;      /* [rows, n, n] */
  int32_t *nearest;            /* [rows, XCI_N_NEAREST], -1: none */
  double *nearest_cosine;
  int32_t *promoted, *suppressed; /* [rows, n, n_logits], -1: none */
  float *promoted_logit, *suppressed_logit;
  int64_t *context_sequence;   /* [rows, slots], -1: none; slots = n_top + n_spread + n_negative */
  int32_t *context_position;   /* [rows, slots] */
  int32_t *context_tokens;     /* [rows, slots, width], -1: outside; width = before + 1 + after */
  float *context_activation;   /* [rows, slots, width] */
  float *context_share;        /* [rows, slots, n] x_c W_enc[c] at the position */
  int32_t *predicted_label;    /* [rows, n] of token_labels, -1: none */
  double *predicted_auc, *predicted_low, *predicted_high, *predicted_p; /* [rows, n], p corrected; NaN: none */
  char **token_labels;         /* [size.n_token_labels], owned */
  int64_t *token_start;        /* [n_vocab + 1] bytes of token texts */
  uint8_t *token_bytes;
  size_t n_vocab;              /* 0 without a tokenizer */
  float **window;              /* [rows] after a scan: shares [n_top, n, width] of the chosen, NULL of the others */
} xci_database;

static inline size_t xci_sizes_slots(const xci_sizes *s) { return s->n_top + s->n_spread + s->n_negative; }
static inline size_t xci_sizes_width(const xci_sizes *s) { return s->before + 1 + s->after; }

/* Arrays of `database->size`, zeroed (ids -1). */
xcoder_status xci_database_allocate(xci_database *database, xcoder_error *err);
void xci_database_close(xci_database *database);
/* The row of a feature, or SIZE_MAX. */
size_t xci_database_row(const xci_database *database, uint32_t feature);
/* Text of a token, "" where it has none. */
const char *xci_database_token(const xci_database *database, int32_t token, size_t *n_bytes);

/* Everything that one pass over the corpus tells; `chosen` [n_latents] marks features whose strongest contexts get the
 * shares of every token (`window`). Memory, beside a stretch of 4096 positions: for every feature that fired its
 * contexts (26 of 31 tokens: 8 kB) and its table of token types (at most 512 MiB for all features together). */
xcoder_status xci_database_scan(const xci_bench *bench, const xcoder_tokens *corpus,
                                const xcoder_features_options *options, const uint8_t *chosen, xci_database *database,
                                xcoder_error *err);
/* How often features fire on the prompts of tasks, by task and by language (feature_prompts.c). */
xcoder_status xci_database_add_prompts(const xci_bench *bench, const xcoder_pairs *const *tasks, size_t n_tasks,
                                       xci_database *database, xcoder_error *err);
/* Copies the texts of tokens. */
xcoder_status xci_database_add_texts(const xcoder_tokenizer *tokenizer, size_t n_vocab, xci_database *database,
                                     xcoder_error *err);
/* What decoders tell, of all rows: norms, cosines, nearest features, logit lens (lens.c). */
xcoder_status xci_database_look(const xci_bench *bench, xci_database *database, xcoder_error *err);

xcoder_status xci_database_write(const xci_database *database, const char *run_directory, xcoder_error *err);
/* Reads the file `path`: all rows, or with `feature` != NULL the row of this one (XCODER_MISSING if it has none). */
xcoder_status xci_database_open(const char *path, const uint32_t *feature, xci_database *database, xcoder_error *err);

#endif
