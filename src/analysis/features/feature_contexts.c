/* SPDX-License-Identifier: Apache-2.0 */
/* One feature in a stretch: what it counts and which contexts it keeps. */
#include "analysis/features/feature_scan.h"

#include "base/random.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 4 };

typedef struct work {
  xci_scan *m;
  uint32_t feature;
  xci_scan_row *r;
  const xci_scan_event *events;
  size_t n;
  const float *encoder; /* [n, d] of this feature, in terms of raw activations */
} work;

/* z_c = x_c . W_enc[c,:,i] at a row, and the share of each checkpoint in what is positive of it. */
static void project(const work *w, size_t at_row, double *z, double *share) {
  const xci_bench *bench = w->m->bench;
  const size_t n = bench->n, d = bench->d_model;
  const float *x = w->m->s.hidden + at_row * n * d;
  double sum = 0;
  for (size_t c = 0; c < n; c++) {
    z[c] = xci_dot(x + c * d, w->encoder + c * d, d) * (bench->info->folded ? 1 : (double)bench->scale[c]);
    sum += fmax(0, z[c]);
  }
  for (size_t c = 0; share && c < n; c++) share[c] = sum > 0 ? fmax(0, z[c]) / sum : 0;
}

/* The first event at or behind a sample. */
static size_t find_event(const work *w, size_t sample) {
  size_t low = 0, high = w->n;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (w->events[middle].sample < sample) low = middle + 1;
    else high = middle;
  }
  return low;
}

static float value_at(const work *w, size_t sample) {
  const size_t k = find_event(w, sample);
  return k < w->n && w->events[k].sample == sample ? w->events[k].value : 0;
}

/* Fills a slot with the tokens around a sample, their activations, and the checkpoints' shares at its place. */
static void keep(const work *w, size_t at, size_t sample, uint64_t order) {
  const xci_scan *m = w->m;
  const size_t width = xci_sizes_width(&m->size), q = m->sequence[sample], row_at = m->s.row[sample];
  const size_t first = m->s.start[q], end = m->s.start[q + 1];
  int32_t *token = w->r->token + at * width;
  float *activation = w->r->activation + at * width;
  double z[XCODER_MAX_CHECKPOINTS];
  w->r->slot[at] = (xci_scan_slot){true, value_at(w, sample), order, m->first_sequence + q, (uint32_t)(row_at - first)};
  for (size_t k = 0; k < width; k++) {
    const bool inside = row_at + k >= first + m->size.before && row_at + k - m->size.before < end;
    token[k] = inside ? (int32_t)m->s.ids[row_at + k - m->size.before] : -1;
    activation[k] = 0;
  }
  const size_t from = row_at - xci_min_size(m->size.before, row_at - first); /* first row shown */
  size_t near = sample; /* unmasked rows ascend: walk back to the first one shown */
  while (near > 0 && m->s.row[near - 1] >= from) near--;
  for (size_t k = find_event(w, near); k < w->n; k++) {
    const size_t r = m->s.row[w->events[k].sample];
    if (r >= end || r > row_at + m->size.after) break;
    activation[r + m->size.before - row_at] = w->events[k].value;
  }
  project(w, row_at, z, NULL);
  for (size_t c = 0; c < m->size.n; c++) w->r->share[at * m->size.n + c] = (float)z[c];
  for (size_t k = 0; w->r->window && at < m->size.n_top && k < width; k++) {
    if (token[k] >= 0) project(w, row_at + k - m->size.before, z, NULL);
    for (size_t c = 0; c < m->size.n; c++)
      w->r->window[(at * m->size.n + c) * width + k] = token[k] >= 0 ? (float)z[c] : 0;
  }
}

/* The slot of a group that a new context may take: an empty one, or that of the largest order when `order` is smaller.
 * SIZE_MAX: none. */
static size_t find_slot(const xci_scan_row *r, size_t first, size_t n, uint64_t order) {
  size_t last = SIZE_MAX;
  for (size_t at = first; at < first + n; at++) {
    if (!r->slot[at].used) return at;
    if (last == SIZE_MAX || r->slot[at].order > r->slot[last].order) last = at;
  }
  return last != SIZE_MAX && order < r->slot[last].order ? last : SIZE_MAX;
}

/* Strong activations come first; of equal ones the earlier sequence: bits of a positive float ascend with its value. */
static uint64_t order_of(float value, uint64_t sequence) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return (uint64_t)(UINT32_MAX - bits) << 32 | (sequence & UINT32_MAX);
}

/* A number of its own for every place of the corpus and feature, so that what is drawn depends on nothing else. */
static uint64_t draw(const work *w, size_t sample) {
  const xci_scan *m = w->m;
  const uint64_t sequence = m->first_sequence + m->sequence[sample];
  return xci_random_u64(w->feature, XCI_STREAM_CONTEXTS,
                        sequence << 21 ^ (m->s.row[sample] - m->s.start[m->sequence[sample]]));
}

static void offer(const work *w, size_t first, size_t n, size_t sample, uint64_t order) {
  const size_t at = n ? find_slot(w->r, first, n, order) : SIZE_MAX;
  if (at != SIZE_MAX) keep(w, at, sample, order);
}

static xcoder_status count_events(const work *w, xcoder_error *err) {
  const xci_scan *m = w->m;
  const size_t n = m->size.n;
  double z[XCODER_MAX_CHECKPOINTS], share[XCODER_MAX_CHECKPOINTS];
  xcoder_status status = XCODER_OK;
  for (size_t k = 0; !status && k < w->n; k++) {
    const size_t sample = w->events[k].sample;
    const float value = w->events[k].value;
    w->r->fired++;
    w->r->sum += (double)value;
    if (value > w->r->max) w->r->max = value;
    xci_histogram_add(&w->r->histogram, (double)value);
    project(w, m->s.row[sample], z, share);
    for (size_t c = 0; c < n; c++) w->r->origin[c] += share[c] * (double)value;
    status = xci_types_add(&w->r->types, n, m->type_limit, m->s.ids[m->s.row[sample]], value, share, err);
    if (!status) offer(w, m->size.n_top, m->size.n_spread, sample, draw(w, sample));
  }
  return status;
}

/* The strongest place of every sequence. */
static void offer_peaks(const work *w) {
  const xci_scan *m = w->m;
  for (size_t k = 0; k < w->n;) {
    const uint32_t q = m->sequence[w->events[k].sample];
    size_t peak = k;
    for (; k < w->n && m->sequence[w->events[k].sample] == q; k++)
      if (w->events[k].value > w->events[peak].value) peak = k;
    offer(w, 0, m->size.n_top, w->events[peak].sample, order_of(w->events[peak].value, m->first_sequence + q));
  }
}

/* Places where the feature is silent: on the token it likes best, and anywhere. A few places are tried in each stretch,
 * so that what is kept is spread over the corpus. */
static void offer_silence(const work *w) {
  const xci_scan *m = w->m;
  const size_t n = m->s.n_unmasked, first = m->size.n_top + m->size.n_spread, half = (m->size.n_negative + 1) / 2;
  size_t low = 0, high = n;
  while (low < high) { /* the first sample with its token */
    const size_t middle = low + (high - low) / 2;
    if (m->s.ids[m->s.row[m->by_token[middle]]] < w->r->types.top) low = middle + 1;
    else high = middle;
  }
  size_t same = low;
  while (same < n && m->s.ids[m->s.row[m->by_token[same]]] == w->r->types.top) same++;
  for (uint64_t k = 0; k < PROBES && n; k++) {
    const uint64_t index = m->first_sequence << 8 | k << 1;
    if (same > low) {
      const size_t at = m->by_token[low + xci_random_below(w->feature, XCI_STREAM_SILENCE, index, same - low)];
      if (value_at(w, at) == 0) offer(w, first, half, at, draw(w, at));
    }
    const size_t any = (size_t)xci_random_below(w->feature, XCI_STREAM_SILENCE, index | 1, n);
    if (value_at(w, any) == 0) offer(w, first + half, m->size.n_negative - half, any, draw(w, any));
  }
}

xcoder_status xci_scan_read_feature(xci_scan *m, uint32_t feature, const float *encoder) {
  const size_t first = m->start[feature];
  const work w = {m, feature, &m->rows[feature], m->events + first, m->start[feature + 1] - first, encoder};
  const xcoder_status status = count_events(&w, NULL);
  if (status) return status;
  offer_peaks(&w);
  offer_silence(&w);
  return XCODER_OK;
}
