/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a corpus, all features at once: each feature keeps a histogram, a bounded table of token types and a
 * fixed number of contexts. Features are independent of each other, so threads take them in blocks. */
#include "analysis/features/feature_scan.h"

#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <stdlib.h>
#include <string.h>

enum { STRETCH_ROWS = 4096, BLOCK = 16 };

static void close_row(xci_scan_row *r) {
  xci_types_free(&r->types);
  xci_free(r->slot);
  xci_free(r->token);
  xci_free(r->activation);
  xci_free(r->share);
  xci_free(r->window);
  xci_free(r->origin);
}

static void close_scan(xci_scan *m) {
  for (size_t i = 0; m->rows && i < m->bench->n_latents; i++) close_row(&m->rows[i]);
  xci_free(m->rows);
  xci_free(m->seen);
  xci_free(m->start);
  xci_free(m->events);
  xci_free(m->sequence);
  xci_free(m->by_token);
  xci_free(m->columns);
}

static xcoder_status open_row(const xci_scan *m, bool with_window, xci_scan_row *r, xcoder_error *err) {
  const size_t slots = xci_sizes_slots(&m->size), width = xci_sizes_width(&m->size);
  xcoder_status status = XCI_ALLOC(&r->slot, slots, err);
  if (!status) status = XCI_ALLOC(&r->token, slots * width, err);
  if (!status) status = XCI_ALLOC(&r->activation, slots * width, err);
  if (!status) status = XCI_ALLOC(&r->share, slots * m->size.n, err);
  if (!status && with_window) status = XCI_ALLOC(&r->window, m->size.n_top * m->size.n * width, err);
  if (!status) status = XCI_ALLOC(&r->origin, m->size.n, err);
  return status;
}

/* ---- A stretch, turned from samples to features ---- */

static int compare_tokens(const void *a, const void *b) {
  const uint32_t *p = a, *q = b;
  if (p[1] != q[1]) return p[1] < q[1] ? -1 : 1;
  return p[0] < q[0] ? -1 : p[0] > q[0];
}

static xcoder_status sort_events(xci_scan *m, xcoder_error *err) {
  const xcoder_codes *codes = &m->s.codes;
  const size_t n_latents = m->bench->n_latents, n_samples = m->s.n_unmasked, n = codes->start[n_samples];
  xcoder_status status = xci_grow((void **)&m->events, &m->capacity, n + 1, sizeof *m->events, err);
  if (status) return status;
  memset(m->start, 0, (n_latents + 1) * sizeof *m->start);
  for (size_t j = 0; j < n; j++) m->start[codes->index[j] + 1]++;
  for (size_t i = 0; i < n_latents; i++) m->start[i + 1] += m->start[i];
  for (size_t k = 0; k < n_samples; k++)
    for (size_t j = codes->start[k]; j < codes->start[k + 1]; j++)
      m->events[m->start[codes->index[j]]++] = (xci_scan_event){(uint32_t)k, codes->value[j]};
  for (size_t i = n_latents; i > 0; i--) m->start[i] = m->start[i - 1]; /* filling moved every start to its end */
  m->start[0] = 0;
  for (size_t i = 0; !status && i < n_latents; i++)
    if (m->start[i + 1] > m->start[i] && !m->rows[i].slot) status = open_row(m, m->chosen[i], &m->rows[i], err);
  return status;
}

static xcoder_status sort_samples(xci_scan *m, xcoder_error *err) {
  const size_t n = m->s.n_unmasked;
  uint32_t *pairs = NULL;
  xcoder_status status = xci_grow((void **)&m->sequence, &m->n_sequence, n + 1, sizeof *m->sequence, err);
  if (!status) status = xci_grow((void **)&m->by_token, &m->n_by_token, n + 1, sizeof *m->by_token, err);
  if (!status) status = XCI_ALLOC(&pairs, 2 * n, err);
  if (status) return status;
  for (size_t k = 0, q = 0; k < n; k++) {
    while (m->s.row[k] >= m->s.start[q + 1]) q++;
    m->sequence[k] = (uint32_t)q;
    pairs[2 * k] = (uint32_t)k;
    pairs[2 * k + 1] = m->s.ids[m->s.row[k]];
    if (pairs[2 * k + 1] < m->n_vocab) m->seen[pairs[2 * k + 1]] = 1;
  }
  if (n) qsort(pairs, n, 2 * sizeof *pairs, compare_tokens);
  for (size_t k = 0; k < n; k++) m->by_token[k] = pairs[2 * k];
  xci_free(pairs);
  return XCODER_OK;
}
/* Columns of W_enc that lie side by side are taken together. */
static void gather(const xci_scan *m, size_t first, size_t count, float *columns) {
  const size_t width = m->bench->n * m->bench->d_model, n_latents = m->bench->n_latents;
  for (size_t j = 0; j < width; j++)
    for (size_t k = 0; k < count; k++) columns[k * width + j] = m->bench->w_enc[j * n_latents + first + k];
}

static xcoder_status read_block(xci_scan *m, size_t block, float *columns) {
  const size_t width = m->bench->n * m->bench->d_model, first = block * BLOCK;
  const size_t count = xci_min_size(BLOCK, m->bench->n_latents - first);
  xcoder_status status = XCODER_OK;
  bool gathered = false;
  for (size_t k = 0; !status && k < count; k++) {
    const size_t i = first + k;
    if (!m->rows[i].slot) continue;
    if (!gathered) gather(m, first, count, columns);
    gathered = true;
    status = xci_scan_read_feature(m, (uint32_t)i, columns + k * width);
  }
  return status;
}

static xcoder_status read_stretch(xci_scan *m, xcoder_error *err) {
  const size_t n_blocks = xci_ceil_div(m->bench->n_latents, BLOCK), width = m->bench->n * m->bench->d_model;
  xcoder_status *failed = NULL;
  xcoder_status status = sort_events(m, err);
  if (!status) status = sort_samples(m, err);
  if (!status) status = XCI_ALLOC(&failed, n_blocks, err);
  if (status) return status;
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 1)
  for (size_t b = 0; b < n_blocks; b++)
    failed[b] = read_block(m, b, m->columns + (size_t)xci_thread_index() * BLOCK * width);
  for (size_t b = 0; !status && b < n_blocks; b++)
    if (failed[b]) status = xci_fail(err, failed[b], "features: no memory for a table of token types");
  m->n_tokens += m->s.n_unmasked;
  xci_free(failed);
  return status;
}

static xcoder_status read_corpus(xci_scan *m, xcoder_error *err) {
  const xcoder_monitor *monitor = m->bench->setting->monitor;
  const size_t n = xcoder_tokens_sequences(m->corpus);
  xcoder_status status = XCODER_OK;
  for (size_t first = 0, count; !status && first < n; first += count) {
    count = xci_stretch_fit(m->corpus, first, STRETCH_ROWS);
    xci_advance(monitor, "features", "sequences", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "features");
    status = xci_stretch_open(m->bench, m->corpus, first, count, XCI_CODES, &m->s, err);
    if (status) break;
    m->first_sequence = first;
    status = read_stretch(m, err);
    xci_stretch_close(&m->s);
  }
  if (!status) xci_advance(monitor, "features", "sequences", n, n);
  return status;
}

static xcoder_status open_scan(xci_scan *m, xcoder_error *err) {
  const xci_bench *bench = m->bench;
  for (size_t c = 0; c < bench->n; c++)
    m->n_vocab = xci_max_size(m->n_vocab, xcoder_model_describe(bench->setting->models[c])->n_vocab);
  m->type_limit = xci_types_limit(bench->n_latents, bench->n);
  xcoder_status status = XCI_ALLOC(&m->rows, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&m->seen, m->n_vocab, err);
  if (!status) status = XCI_ALLOC(&m->start, bench->n_latents + 1, err);
  if (!status) status = XCI_ALLOC(&m->columns, (size_t)xci_threads() * BLOCK * bench->n * bench->d_model, err);
  return status;
}

xcoder_status xci_database_scan(const xci_bench *bench, const xcoder_tokens *corpus,
                                const xcoder_features_options *options, const uint8_t *chosen, xci_database *database,
                                xcoder_error *err) {
  xci_scan m = {.bench = bench, .corpus = corpus, .chosen = chosen};
  m.size = (xci_sizes){.n = bench->n, .n_logits = options->n_logits, .n_top = options->n_contexts,
                       .n_spread = options->n_quantiles, .n_negative = options->n_negatives,
                       .before = options->context_before, .after = options->context_after};
  *database = (xci_database){0};
  xcoder_status status = open_scan(&m, err);
  if (!status) status = read_corpus(&m, err);
  if (!status) status = xci_scan_copy(&m, database, err);
  close_scan(&m);
  if (status) xci_database_close(database);
  return status;
}
