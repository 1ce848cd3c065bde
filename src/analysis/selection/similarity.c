/* SPDX-License-Identifier: Apache-2.0 */
/* Similarity of checkpoints: mean cosine and mean Pearson correlation of their activations at the same tokens.
 *
 * Every model runs once; its activations of a sample of tokens are kept as bf16, in memory or in a file without a name.
 * One dot product of two rows gives both measures, since Pearson's correlation is the cosine of the centred rows. */
#include <crosscoder/analysis.h>

#include "analysis/json_out.h"
#include "analysis/workbench.h"
#include "base/half.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "harvest/harvest.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct xcoder_similarity {
  const xcoder_tokens *tokens;
  xcoder_similarity_options options;
  size_t n_checkpoints, n_added, n_rows, d_model, n_chosen;
  size_t *chosen;     /* sequences of the sample */
  uint16_t *rows;     /* [n_checkpoints, n_rows, d_model] */
  size_t n_mapped;    /* bytes, where the rows lie in a file */
  char **labels;
  double *tokens_seen;
};

/* Sums of one pair over some tokens. */
typedef struct pair_sum {
  double cosine, cosine2, pearson, pearson2;
  uint64_t n_cosine, n_pearson;
} pair_sum;

static size_t count_unmasked(const xcoder_similarity *s, size_t sequence) {
  const size_t *start = xcoder_tokens_start(s->tokens) + sequence, n = start[1] - start[0];
  return n && !s->options.mask.keep_first ? n - 1 : n;
}

/* Whole sequences, evenly over the corpus, until there are enough positions. */
static xcoder_status choose_sequences(xcoder_similarity *s, xcoder_error *err) {
  const size_t n = xcoder_tokens_sequences(s->tokens);
  size_t n_all = 0;
  for (size_t i = 0; i < n; i++) n_all += count_unmasked(s, i);
  const size_t wanted = s->options.max_tokens && s->options.max_tokens < n_all ? s->options.max_tokens : n_all;
  xcoder_status status = XCI_ALLOC(&s->chosen, n, err);
  if (status) return status;
  if (wanted == 0) return xci_fail(err, XCODER_MISMATCH, "similarity: there is no token behind the mask");
  const double share = (double)wanted / (double)n_all;
  for (size_t i = 0; i < n && s->n_rows < wanted; i++) {
    if ((size_t)((double)(i + 1) * share) == (size_t)((double)i * share) && i + 1 < n && share < 1) continue;
    s->chosen[s->n_chosen++] = i;
    s->n_rows += count_unmasked(s, i);
  }
  s->n_rows = xci_min_size(s->n_rows, wanted);
  return s->n_rows ? XCODER_OK : xci_fail(err, XCODER_MISMATCH, "similarity: there is no token behind the mask");
}

/* A file in `folder` that has lost its name already: it goes with the process. */
static xcoder_status map_scratch(const char *folder, size_t n_bytes, void **rows, xcoder_error *err) {
  xci_text path = {0};
  xci_text_format(&path, "%s/crosscoder-XXXXXX", folder);
  xcoder_status status = xci_text_status(&path, err);
  const int file = status ? -1 : mkstemp(path.bytes);
  if (!status && file < 0) status = xci_fail(err, XCODER_IO, "%s: %s", folder, strerror(errno));
  if (file >= 0) unlink(path.bytes);
  if (!status && (errno = posix_fallocate(file, 0, (off_t)n_bytes)) != 0)
    status = xci_fail(err, XCODER_MEMORY, "%s: %zu bytes for activations: %s", folder, n_bytes, strerror(errno));
  if (!status) {
    *rows = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (*rows == MAP_FAILED) status = xci_fail(err, XCODER_IO, "%s: %s", folder, strerror(errno));
  }
  if (status) *rows = NULL;
  if (file >= 0) close(file);
  xci_text_clear(&path);
  return status;
}

/* Room for all rows, when the first model tells their width. */
static xcoder_status reserve(xcoder_similarity *s, size_t d_model, xcoder_error *err) {
  size_t n_bytes;
  s->d_model = d_model;
  if (!xci_mul_size(s->n_rows, s->n_checkpoints, &n_bytes) ||
      !xci_mul_size(n_bytes, d_model * sizeof *s->rows, &n_bytes))
    return xci_fail(err, XCODER_MEMORY, "activations of %zu tokens at %zu checkpoints are too many", s->n_rows,
                    s->n_checkpoints);
  if (!s->options.scratch || !s->options.max_memory || n_bytes <= s->options.max_memory)
    return xci_alloc(n_bytes, 1, (void **)&s->rows, err);
  const xcoder_status status = map_scratch(s->options.scratch, n_bytes, (void **)&s->rows, err);
  if (!status) s->n_mapped = n_bytes;
  return status;
}

xcoder_status xcoder_similarity_create(const xcoder_tokens *tokens, size_t n_checkpoints,
                                       const xcoder_similarity_options *options, xcoder_similarity **out,
                                       xcoder_error *err) {
  xcoder_similarity *s = NULL;
  *out = NULL;
  if (n_checkpoints < 2)
    return xci_fail(err, XCODER_USAGE, "similarity: %zu checkpoints, expected at least 2", n_checkpoints);
  xcoder_status status = XCI_ALLOC(&s, 1, err);
  if (status) return status;
  s->tokens = tokens;
  s->options = *options;
  s->n_checkpoints = n_checkpoints;
  status = XCI_ALLOC(&s->labels, n_checkpoints, err);
  if (!status) status = XCI_ALLOC(&s->tokens_seen, n_checkpoints, err);
  if (!status) status = choose_sequences(s, err);
  if (status) xcoder_similarity_free(s);
  else *out = s;
  return status;
}

/* Rows of one sequence behind row `at`; returns the row behind them. */
static xcoder_status take_sequence(xcoder_similarity *s, xcoder_model *model, size_t sequence, size_t *at,
                                   xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(s->tokens) + sequence, n = start[1] - start[0], d = s->d_model;
  const size_t first = n - count_unmasked(s, sequence), begin[2] = {0, n};
  float *hidden = NULL;
  xcoder_status status = XCI_ALLOC(&hidden, n * d, err);
  if (!status)
    status = xcoder_model_hidden(model, xcoder_tokens_ids(s->tokens) + start[0], begin, 1, s->options.layer, hidden,
                                 err);
  uint16_t *rows = s->rows + s->n_added * s->n_rows * d;
  for (size_t r = first; !status && r < n && *at < s->n_rows; r++, ++*at)
    xci_f32_to_bf16_array(hidden + r * d, rows + *at * d, d);
  xci_free(hidden);
  return status;
}

xcoder_status xcoder_similarity_add(xcoder_similarity *s, xcoder_model *model, const char *label, double tokens_seen,
                                    const xcoder_monitor *monitor, xcoder_error *err) {
  const size_t d_model = xcoder_model_describe(model)->d_model;
  size_t at = 0;
  if (s->n_added == s->n_checkpoints)
    return xci_fail(err, XCODER_USAGE, "similarity: more than the %zu checkpoints announced", s->n_checkpoints);
  xcoder_status status = s->rows ? XCODER_OK : reserve(s, d_model, err);
  if (!status && d_model != s->d_model)
    status = xci_fail(err, XCODER_MISMATCH, "checkpoint %s: width %zu, the first has %zu", label, d_model, s->d_model);
  for (size_t i = 0; !status && i < s->n_chosen; i++) {
    if (xci_stopped(monitor)) status = xci_interrupted(err, "similarity");
    else status = take_sequence(s, model, s->chosen[i], &at, err);
  }
  if (!status) status = xci_copy_text(label, &s->labels[s->n_added], err);
  if (status) return status;
  s->tokens_seen[s->n_added++] = tokens_seen;
  xci_advance(monitor, "similarity", "checkpoints", s->n_added, s->n_checkpoints);
  return XCODER_OK;
}

void xcoder_similarity_free(xcoder_similarity *s) {
  if (!s) return;
  if (s->n_mapped) munmap(s->rows, s->n_mapped);
  else xci_free(s->rows);
  for (size_t c = 0; s->labels && c < s->n_checkpoints; c++) xci_free(s->labels[c]);
  xci_free(s->labels);
  xci_free(s->tokens_seen);
  xci_free(s->chosen);
  xci_free(s);
}

/* ---- All pairs ---- */

/* Rows of all checkpoints at one token, with mean, norm and norm of the centred row. */
typedef struct token_rows {
  float *values;          /* [n, d] */
  double *mean, *norm, *spread; /* [n] */
} token_rows;

static void load_token(const xcoder_similarity *s, size_t row, token_rows *t) {
  const size_t d = s->d_model;
  for (size_t c = 0; c < s->n_added; c++) {
    float *x = t->values + c * d;
    double sum = 0;
    xci_bf16_to_f32_array(s->rows + (c * s->n_rows + row) * d, x, d);
    for (size_t i = 0; i < d; i++) sum += (double)x[i];
    const double squares = xci_dot(x, x, d);
    t->mean[c] = sum / (double)d;
    t->norm[c] = sqrt(squares);
    t->spread[c] = sqrt(fmax(0, squares - sum * t->mean[c]));
  }
}

static void add_token(const xcoder_similarity *s, const token_rows *t, pair_sum *sums) {
  const size_t d = s->d_model;
  size_t k = 0;
  for (size_t a = 0; a < s->n_added; a++)
    for (size_t b = a + 1; b < s->n_added; b++, k++) {
      const double dot = xci_dot(t->values + a * d, t->values + b * d, d);
      const double cosine = dot / (t->norm[a] * t->norm[b]);
      const double pearson = (dot - (double)d * t->mean[a] * t->mean[b]) / (t->spread[a] * t->spread[b]);
      if (isfinite(cosine)) {
        sums[k].cosine += cosine;
        sums[k].cosine2 += cosine * cosine;
        sums[k].n_cosine++;
      }
      if (isfinite(pearson)) {
        sums[k].pearson += pearson;
        sums[k].pearson2 += pearson * pearson;
        sums[k].n_pearson++;
      }
    }
}

/* Sums over tokens first .. last-1. */
static xcoder_status sum_chunk(const xcoder_similarity *s, size_t first, size_t last, pair_sum *sums,
                               xcoder_error *err) {
  token_rows t = {0};
  xcoder_status status = XCI_ALLOC(&t.values, s->n_added * s->d_model, err);
  if (!status) status = XCI_ALLOC(&t.mean, 3 * s->n_added, err);
  if (!status) {
    t.norm = t.mean + s->n_added;
    t.spread = t.norm + s->n_added;
  }
  for (size_t row = first; !status && row < last; row++) {
    load_token(s, row, &t);
    add_token(s, &t, sums);
  }
  xci_free(t.values);
  xci_free(t.mean);
  return status;
}

static void add_sums(pair_sum *to, const pair_sum *from, size_t n) {
  for (size_t k = 0; k < n; k++) {
    to[k].cosine += from[k].cosine;
    to[k].cosine2 += from[k].cosine2;
    to[k].pearson += from[k].pearson;
    to[k].pearson2 += from[k].pearson2;
    to[k].n_cosine += from[k].n_cosine;
    to[k].n_pearson += from[k].n_pearson;
  }
}

/* Fixed chunks of tokens, combined in order, so that threads do not change the sums. */
static xcoder_status sum_pairs(const xcoder_similarity *s, pair_sum *total, size_t n_pairs,
                               const xcoder_monitor *monitor, xcoder_error *err) {
  enum { MOST_CHUNKS = 64, LEAST = 16 };
  const size_t size = xci_max_size(LEAST, xci_ceil_div(s->n_rows, MOST_CHUNKS)),
               n_chunks = xci_ceil_div(s->n_rows, size);
  pair_sum *partial = NULL;
  xcoder_status status = XCI_ALLOC(&partial, n_chunks * n_pairs, err), worst = XCODER_OK;
  if (status) return status;
  xci_advance(monitor, "similarity", "pairs", 0, n_pairs);
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic)
  for (size_t chunk = 0; chunk < n_chunks; chunk++) {
    xcoder_error own;
    const size_t first = chunk * size;
    const xcoder_status mine =
        sum_chunk(s, first, xci_min_size(first + size, s->n_rows), partial + chunk * n_pairs, &own);
    if (mine) {
#pragma omp critical(xci_similarity_failed)
      {
        worst = mine;
        if (err) *err = own;
      }
    }
  }
  for (size_t chunk = 0; !worst && chunk < n_chunks; chunk++) add_sums(total, partial + chunk * n_pairs, n_pairs);
  xci_free(partial);
  xci_advance(monitor, "similarity", "pairs", n_pairs, n_pairs);
  return worst;
}

static void write_measure(xci_text *text, double sum, double squares, uint64_t n) {
  const double count = (double)n, mean = n ? sum / count : NAN;
  const double variance = n > 1 ? fmax(0, (squares - sum * mean) / (count - 1)) : NAN;
  xci_text_add(text, ",");
  if (isfinite(mean)) xci_text_number(text, mean);
  xci_text_add(text, ",");
  if (isfinite(variance)) xci_text_number(text, sqrt(variance));
}

static void write_label(xci_text *text, const char *label) {
  xci_text_csv(text, label, strlen(label));
  xci_text_add(text, ",");
}

xcoder_status xcoder_similarity_write(const xcoder_similarity *s, const char *csv_path, const xcoder_monitor *monitor,
                                      xcoder_error *err) {
  const size_t n_pairs = s->n_added * (s->n_added - 1) / 2;
  pair_sum *total = NULL;
  xci_text text = {0};
  if (s->n_added < 2) return xci_fail(err, XCODER_USAGE, "similarity: fewer than 2 checkpoints were added");
  xcoder_status status = XCI_ALLOC(&total, n_pairs, err);
  if (!status) status = sum_pairs(s, total, n_pairs, monitor, err);
  xci_text_add(&text, "a,b,tokens_seen_a,tokens_seen_b,layer,n,cosine,cosine_sd,pearson,pearson_sd\n");
  size_t k = 0;
  for (size_t a = 0; !status && a < s->n_added; a++)
    for (size_t b = a + 1; b < s->n_added; b++, k++) {
      write_label(&text, s->labels[a]);
      write_label(&text, s->labels[b]);
      if (isfinite(s->tokens_seen[a])) xci_text_number(&text, s->tokens_seen[a]);
      xci_text_add(&text, ",");
      if (isfinite(s->tokens_seen[b])) xci_text_number(&text, s->tokens_seen[b]);
      xci_text_format(&text, ",%ld,%llu", s->options.layer, (unsigned long long)total[k].n_cosine);
      write_measure(&text, total[k].cosine, total[k].cosine2, total[k].n_cosine);
      write_measure(&text, total[k].pearson, total[k].pearson2, total[k].n_pearson);
      xci_text_add(&text, "\n");
    }
  if (!status) status = xci_write_text(csv_path, &text, err);
  xci_text_clear(&text);
  xci_free(total);
  return status;
}
