/* SPDX-License-Identifier: Apache-2.0 */
/* From the rows of a pass over a corpus to the arrays of the database. */
#include "analysis/features/feature_scan.h"

#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_slots(const void *a, const void *b) {
  const xci_scan_slot *p = a, *q = b;
  if (p->used != q->used) return p->used ? -1 : 1;
  return p->order < q->order ? -1 : p->order > q->order;
}

/* Drawn contexts are shown by falling activation: the k-th of them stands for its quantile. */
static int compare_drawn(const void *a, const void *b) {
  const xci_scan_slot *p = a, *q = b;
  if (p->used != q->used) return p->used ? -1 : 1;
  if (p->value != q->value) return p->value > q->value ? -1 : 1;
  return p->order < q->order ? -1 : p->order > q->order;
}

typedef struct placed { /* a slot and where its arrays are */
  xci_scan_slot slot;
  size_t from;
} placed;

static xcoder_status copy_contexts(const xci_scan *m, const xci_scan_row *r, placed *spare, size_t out_row,
                                   xci_database *db, xcoder_error *err) {
  const xci_sizes *s = &m->size;
  const size_t slots = xci_sizes_slots(s), width = xci_sizes_width(s), half = (s->n_negative + 1) / 2;
  const size_t group[] = {0, s->n_top, s->n_top + s->n_spread, s->n_top + s->n_spread + half, slots};
  const size_t n_window = s->n * width;
  const xcoder_status status = r->window ? XCI_ALLOC(&db->window[out_row], s->n_top * n_window, err) : XCODER_OK;
  if (status) return status;
  for (size_t at = 0; at < slots; at++) spare[at] = (placed){r->slot[at], at};
  for (size_t g = 0; g < 4; g++)
    if (group[g + 1] > group[g])
      qsort(spare + group[g], group[g + 1] - group[g], sizeof *spare, g == 1 ? compare_drawn : compare_slots);
  for (size_t at = 0; at < slots; at++) {
    const size_t to = out_row * slots + at, from = spare[at].from;
    if (!spare[at].slot.used) continue;
    db->context_sequence[to] = (int64_t)spare[at].slot.sequence;
    db->context_position[to] = (int32_t)spare[at].slot.position;
    memcpy(db->context_tokens + to * width, r->token + from * width, width * sizeof *r->token);
    memcpy(db->context_activation + to * width, r->activation + from * width, width * sizeof *r->activation);
    memcpy(db->context_share + to * s->n, r->share + from * s->n, s->n * sizeof *r->share);
    if (r->window && at < s->n_top)
      memcpy(db->window[out_row] + at * n_window, r->window + from * n_window, n_window * sizeof *r->window);
  }
  return XCODER_OK;
}

static xcoder_status copy_row(const xci_scan *m, size_t feature, placed *spare, size_t out, xci_database *db,
                              xcoder_error *err) {
  const xci_scan_row *r = &m->rows[feature];
  const size_t n = m->size.n;
  double total = 0;
  uint32_t top[XCI_N_TOP_TOKENS];
  db->feature[out] = (int32_t)feature;
  db->fired[out] = (int64_t)r->fired;
  db->max[out] = r->max;
  db->mean_active[out] = r->fired ? r->sum / (double)r->fired : NAN;
  db->token_types[out] = (int64_t)r->types.n;
  db->token_types_merged[out] = (int64_t)r->types.merged.n;
  db->histogram_range[out] = r->histogram.range;
  for (size_t b = 0; b < XCI_HISTOGRAM_BINS; b++)
    db->histogram[out * XCI_HISTOGRAM_BINS + b] = (int64_t)r->histogram.count[b];
  for (size_t c = 0; r->origin && c < n; c++) total += r->origin[c];
  for (size_t c = 0; c < n; c++) db->activation_share[out * n + c] = total > 0 ? r->origin[c] / total : NAN;
  const size_t n_top = xci_types_top(&r->types, XCI_N_TOP_TOKENS, top);
  for (size_t k = 0; k < n_top; k++) db->top_tokens[out * XCI_N_TOP_TOKENS + k] = (int32_t)top[k];
  xcoder_status status = xci_types_measure(&r->types, SIZE_MAX, db->n_types, &db->token_entropy[out],
                                           &db->top_token_share[out], err);
  for (size_t c = 0; !status && c < n; c++)
    status = xci_types_measure(&r->types, c, db->n_types, &db->token_entropy_checkpoint[out * n + c],
                               &db->top_token_share_checkpoint[out * n + c], err);
  return status || !r->slot ? status : copy_contexts(m, r, spare, out, db, err);
}

static xcoder_status copy_labels(const xci_bench *bench, xci_database *db, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&db->labels, bench->n, err);
  for (size_t c = 0; !status && c < bench->n; c++) status = xci_copy_text(bench->info->labels[c], &db->labels[c], err);
  return status;
}

/* What a card was asked for gets one even if it never fired. */
static bool is_row(const xci_scan *m, size_t feature) { return m->rows[feature].fired || m->chosen[feature]; }

xcoder_status xci_scan_copy(const xci_scan *m, xci_database *db, xcoder_error *err) {
  const xci_bench *bench = m->bench;
  placed *spare = NULL;
  db->size = m->size;
  db->layer = bench->info->layer;
  db->n_latents = bench->n_latents;
  db->n_tokens = m->n_tokens;
  for (size_t v = 0; v < m->n_vocab; v++) db->n_types += m->seen[v];
  for (size_t i = 0; i < bench->n_latents; i++) db->size.rows += is_row(m, i);
  xcoder_status status = XCI_ALLOC(&spare, xci_sizes_slots(&m->size), err);
  if (!status) status = copy_labels(bench, db, err);
  if (!status) status = xci_database_allocate(db, err);
  if (!status) status = XCI_ALLOC(&db->window, db->size.rows, err);
  for (size_t i = 0, out = 0; !status && i < bench->n_latents; i++)
    if (is_row(m, i)) status = copy_row(m, i, spare, out++, db, err);
  xci_free(spare);
  return status;
}
