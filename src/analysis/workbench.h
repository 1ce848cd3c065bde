/* SPDX-License-Identifier: Apache-2.0 */
/* What every analysis starts from: a checked setting, folded weights, prompts as sequences, activations and codes of
 * a run of sequences, progress, and files of the run directory. */
#ifndef XCI_ANALYSIS_WORKBENCH_H
#define XCI_ANALYSIS_WORKBENCH_H

#include <crosscoder/analysis.h>

/* Rows (token positions) of one model call. */
enum { XCI_ROWS_PER_CALL = 4096 };

/* ---- The setting ---- */

typedef struct xci_bench {
  const xcoder_setting *setting;
  const xcoder_info *info;
  size_t n, d_model, n_latents; /* of info */
  const float *w_dec, *b_dec, *w_enc; /* as stored */
  float unit[XCODER_MAX_CHECKPOINTS];   /* stored decoder times unit[c] = decoder of raw activations: 1 or 1 / s_c */
  float scale[XCODER_MAX_CHECKPOINTS];  /* s_c: decoder of raw activations times s_c = the unfolded decoder */
} xci_bench;

/* Checks that models and crosscoder fit each other (XCODER_MISMATCH, XCODER_USAGE naming what does not). */
xcoder_status xci_bench_open(const xcoder_setting *setting, xci_bench *bench, xcoder_error *err);
/* The same without models, for what the crosscoder alone tells. */
xcoder_status xci_bench_open_coder(const xcoder_setting *setting, xci_bench *bench, xcoder_error *err);
/* W_dec[i,c] as stored, [d_model]. */
const float *xci_bench_decoder(const xci_bench *bench, size_t feature, size_t checkpoint);
/* Norms of the unfolded decoder, [n_latents, n]. Freed by the caller. */
xcoder_status xci_bench_norms(const xci_bench *bench, double **norms, xcoder_error *err);
/* True for a position that the mask leaves clean. */
bool xci_bench_masked(const xci_bench *bench, size_t position);

/* ---- A run of sequences ---- */

/* Sequences first .. first+count-1 of some tokens: activations of all checkpoints at all positions, and codes of the
 * unmasked ones. */
typedef struct xci_stretch {
  size_t n_sequences, n_rows;
  size_t *start;      /* [n_sequences + 1], relative to the stretch */
  const uint32_t *ids;
  float *hidden;      /* [n_rows, n, d_model], bf16-rounded */
  size_t n_unmasked;
  size_t *row;        /* [n_unmasked], rows that the codes belong to, ascending */
  xcoder_codes codes; /* n_unmasked samples */
  float *decoded;     /* [n_unmasked, n, d_model], only if asked for */
} xci_stretch;

typedef enum xci_stretch_parts { XCI_HIDDEN, XCI_CODES, XCI_DECODED } xci_stretch_parts; /* each with those before */
xcoder_status xci_stretch_open(const xci_bench *bench, const xcoder_tokens *tokens, size_t first, size_t count,
                               xci_stretch_parts parts, xci_stretch *stretch, xcoder_error *err);
/* The same from activations that are there already (copied). */
xcoder_status xci_stretch_from(const xci_bench *bench, const size_t *start, size_t n_sequences, const float *hidden,
                               xci_stretch_parts parts, xci_stretch *stretch, xcoder_error *err);
void xci_stretch_close(xci_stretch *stretch);
/* Activations of one checkpoint, [n_rows, d_model]. */
void xci_stretch_take(const xci_bench *bench, const xci_stretch *stretch, size_t checkpoint, float *hidden);
/* How many sequences from `first` on make a stretch of at most `max_rows` rows (at least one). */
size_t xci_stretch_fit(const xcoder_tokens *tokens, size_t first, size_t max_rows);

/* ---- Prompts ---- */

/* The prefixes of a task, or its counterfactuals, as sequences; chosen[n] gives the pairs (NULL: all). */
xcoder_status xci_prompts(const xcoder_pairs *pairs, const size_t *chosen, size_t n, bool counterfactual,
                          xcoder_tokens **tokens, xcoder_error *err);

/* ---- Progress, warnings, files ---- */

bool xci_stopped(const xcoder_monitor *monitor);
xcoder_status xci_interrupted(xcoder_error *err, const char *stage);
void xci_advance(const xcoder_monitor *monitor, const char *stage, const char *unit, uint64_t done, uint64_t total);
void xci_warn(const xcoder_monitor *monitor, const char *format, ...) XCODER_PRINTF(2, 3);

/* RUN/NAME or RUN/FOLDER/NAME.SUFFIX, folders made. Freed with xci_free(). */
xcoder_status xci_run_path(const char *run_directory, const char *folder, const char *name, const char *suffix,
                           char **path, xcoder_error *err);

/* A token as text for files; its bytes may be no valid UTF-8 (escapers handle that). Never NULL. */
const char *xci_token_text(const xcoder_tokenizer *tokenizer, uint32_t id, size_t *n_bytes);

/* Sum of x[i] * y[i] in double precision. */
double xci_dot(const float *x, const float *y, size_t n);

#endif
