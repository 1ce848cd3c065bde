/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a corpus, all features at once: each feature keeps a histogram, a bounded table of token types and a
 * fixed number of contexts. Features are independent of each other, so threads take them in blocks. */
#include "analysis/features/feature_database.h"
#include "analysis/features/feature_types.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STRETCH_ROWS = 4096, BLOCK = 16, PROBES = 4 };

/* A context kept: the strongest have their activation as order, drawn ones a random number. */
typedef struct slot {
  bool used;
  float value;
  uint64_t order, sequence;
  uint32_t position;
} slot;

typedef struct row { /* of a feature that fired */
  uint64_t fired;
  double sum;
  float max;
  xci_histogram histogram;
  xci_types types;
  slot *slot;         /* [slots] strongest, drawn, silent on its own token, silent anywhere */
  int32_t *token;     /* [slots, width] */
  float *activation;  /* [slots, width] */
  float *share;       /* [slots, n] */
  float *window;      /* [n_top, n, width] shares of every token shown; NULL unless a card was asked for */
  double *origin;     /* [n] activation mass by checkpoint */
} row;

typedef struct event { /* a feature fires at a sample of the stretch */
  uint32_t sample;
  float value;
} event;

typedef struct scan {
  const xci_bench *bench;
  const xcoder_tokens *corpus;
  xci_sizes size;
  size_t type_limit;
  row *rows;           /* [n_latents], slot == NULL: did not fire yet */
  const uint8_t *chosen; /* [n_latents] a card was asked for */
  uint8_t *seen;       /* [n_vocab] tokens met */
  size_t n_vocab;
  uint64_t n_tokens, first_sequence;
  /* The stretch in hand. */
  xci_stretch s;
  size_t *start;       /* [n_latents + 1] events of a feature */
  event *events;
  size_t capacity;
  uint32_t *sequence;  /* [samples] of the stretch */
  uint32_t *by_token;  /* [samples] sorted by token, then place */
  size_t n_sequence, n_by_token;
  float *columns;      /* [threads, BLOCK, n * d] of the encoder */
} scan;

static void close_row(row *r) {
  xci_types_free(&r->types);
  xci_free(r->slot);
  xci_free(r->token);
  xci_free(r->activation);
  xci_free(r->share);
  xci_free(r->window);
  xci_free(r->origin);
}

static void close_scan(scan *m) {
  for (size_t i = 0; m->rows && i < m->bench->n_latents; i++) close_row(&m->rows[i]);
  xci_free(m->rows);
  xci_free(m->seen);
  xci_free(m->start);
  xci_free(m->events);
  xci_free(m->sequence);
  xci_free(m->by_token);
  xci_free(m->columns);
}

static xcoder_status open_row(const scan *m, bool with_window, row *r, xcoder_error *err) {
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

static xcoder_status sort_events(scan *m, xcoder_error *err) {
  const xcoder_codes *codes = &m->s.codes;
  const size_t n_latents = m->bench->n_latents, n_samples = m->s.n_unmasked, n = codes->start[n_samples];
  xcoder_status status = xci_grow((void **)&m->events, &m->capacity, n + 1, sizeof *m->events, err);
  if (status) return status;
  memset(m->start, 0, (n_latents + 1) * sizeof *m->start);
  for (size_t j = 0; j < n; j++) m->start[codes->index[j] + 1]++;
  for (size_t i = 0; i < n_latents; i++) m->start[i + 1] += m->start[i];
  for (size_t k = 0; k < n_samples; k++)
    for (size_t j = codes->start[k]; j < codes->start[k + 1]; j++)
      m->events[m->start[codes->index[j]]++] = (event){(uint32_t)k, codes->value[j]};
  for (size_t i = n_latents; i > 0; i--) m->start[i] = m->start[i - 1]; /* filling moved every start to its end */
  m->start[0] = 0;
  for (size_t i = 0; !status && i < n_latents; i++)
    if (m->start[i + 1] > m->start[i] && !m->rows[i].slot) status = open_row(m, m->chosen[i], &m->rows[i], err);
  return status;
}

static xcoder_status sort_samples(scan *m, xcoder_error *err) {
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

/* ---- One feature ---- */

typedef struct work {
  scan *m;
  uint32_t feature;
  row *r;
  const event *events;
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
  const scan *m = w->m;
  const size_t width = xci_sizes_width(&m->size), q = m->sequence[sample], row_at = m->s.row[sample];
  const size_t first = m->s.start[q], end = m->s.start[q + 1];
  int32_t *token = w->r->token + at * width;
  float *activation = w->r->activation + at * width;
  double z[XCODER_MAX_CHECKPOINTS];
  w->r->slot[at] = (slot){true, value_at(w, sample), order, m->first_sequence + q, (uint32_t)(row_at - first)};
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
static size_t find_slot(const row *r, size_t first, size_t n, uint64_t order) {
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
  const scan *m = w->m;
  const uint64_t sequence = m->first_sequence + m->sequence[sample];
  return xci_random_u64(w->feature, XCI_STREAM_CONTEXTS,
                        sequence << 21 ^ (m->s.row[sample] - m->s.start[m->sequence[sample]]));
}

static void offer(const work *w, size_t first, size_t n, size_t sample, uint64_t order) {
  const size_t at = n ? find_slot(w->r, first, n, order) : SIZE_MAX;
  if (at != SIZE_MAX) keep(w, at, sample, order);
}

static xcoder_status count_events(work *w, xcoder_error *err) {
  const scan *m = w->m;
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
  const scan *m = w->m;
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
  const scan *m = w->m;
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

/* Columns of W_enc that lie side by side are taken together. */
static void gather(const scan *m, size_t first, size_t count, float *columns) {
  const size_t width = m->bench->n * m->bench->d_model, n_latents = m->bench->n_latents;
  for (size_t j = 0; j < width; j++)
    for (size_t k = 0; k < count; k++) columns[k * width + j] = m->bench->w_enc[j * n_latents + first + k];
}

static xcoder_status read_block(scan *m, size_t block, float *columns) {
  const size_t width = m->bench->n * m->bench->d_model, first = block * BLOCK;
  const size_t count = xci_min_size(BLOCK, m->bench->n_latents - first);
  xcoder_status status = XCODER_OK;
  bool gathered = false;
  for (size_t k = 0; !status && k < count; k++) {
    const size_t i = first + k;
    if (!m->rows[i].slot) continue;
    if (!gathered) gather(m, first, count, columns);
    gathered = true;
    work w = {m, (uint32_t)i, &m->rows[i], m->events + m->start[i], m->start[i + 1] - m->start[i], columns + k * width};
    status = count_events(&w, NULL);
    if (status) break;
    offer_peaks(&w);
    offer_silence(&w);
  }
  return status;
}

static xcoder_status read_stretch(scan *m, xcoder_error *err) {
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

static xcoder_status read_corpus(scan *m, xcoder_error *err) {
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

/* ---- From rows to arrays ---- */

static int compare_slots(const void *a, const void *b) {
  const slot *p = a, *q = b;
  if (p->used != q->used) return p->used ? -1 : 1;
  return p->order < q->order ? -1 : p->order > q->order;
}

/* Drawn contexts are shown by falling activation: the k-th of them stands for its quantile. */
static int compare_drawn(const void *a, const void *b) {
  const slot *p = a, *q = b;
  if (p->used != q->used) return p->used ? -1 : 1;
  if (p->value != q->value) return p->value > q->value ? -1 : 1;
  return p->order < q->order ? -1 : p->order > q->order;
}

typedef struct placed { /* a slot and where its arrays are */
  slot slot;
  size_t from;
} placed;

static xcoder_status copy_contexts(const scan *m, const row *r, placed *spare, size_t out_row, xci_database *db,
                                   xcoder_error *err) {
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

static xcoder_status copy_row(const scan *m, size_t feature, placed *spare, size_t out, xci_database *db,
                              xcoder_error *err) {
  const row *r = &m->rows[feature];
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
static bool is_row(const scan *m, size_t feature) { return m->rows[feature].fired || m->chosen[feature]; }

static xcoder_status copy_rows(const scan *m, xci_database *db, xcoder_error *err) {
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

static xcoder_status open_scan(scan *m, xcoder_error *err) {
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
  scan m = {.bench = bench, .corpus = corpus, .chosen = chosen};
  m.size = (xci_sizes){.n = bench->n, .n_logits = options->n_logits, .n_top = options->n_contexts,
                       .n_spread = options->n_quantiles, .n_negative = options->n_negatives,
                       .before = options->context_before, .after = options->context_after};
  *database = (xci_database){0};
  xcoder_status status = open_scan(&m, err);
  if (!status) status = read_corpus(&m, err);
  if (!status) status = copy_rows(&m, database, err);
  close_scan(&m);
  if (status) xci_database_close(database);
  return status;
}
