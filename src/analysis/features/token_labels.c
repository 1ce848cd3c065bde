/* SPDX-License-Identifier: Apache-2.0 */
/* AUC of every label by every feature's pre-activation at every checkpoint. */
#include "analysis/features/token_labels.h"

#include "analysis/json_out.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STRETCH_ROWS = 4096, BLOCK = 16, MOST_POSITIONS = 32768, LEAST_SENTENCES = 10 };

/* ---- One AUC ---- */

/* Sums over clusters, each side with its own number of clusters. Clusters ascend with positions. */
static void finish_variance(const double *positive, const double *negative, const int32_t *value, int32_t label,
                            const uint32_t *cluster, size_t n, xci_clustered_auc *result) {
  const double m = (double)result->n_positive, l = (double)result->n_negative;
  double squares[2] = {0}, products = 0, clusters[2] = {0}, all = 0;
  for (size_t k = 0; k < n;) {
    const uint32_t at = cluster[k];
    bool has[2] = {false, false};
    for (; k < n && cluster[k] == at; k++)
      if (value[k] >= 0) has[value[k] == label] = true;
    squares[1] += positive[at] * positive[at];
    squares[0] += negative[at] * negative[at];
    products += positive[at] * negative[at];
    clusters[0] += has[0];
    clusters[1] += has[1];
    all += has[0] || has[1];
  }
  result->n_clusters = (size_t)all;
  result->df = fmax(1, fmin(clusters[0], clusters[1]) - 1);
  if (clusters[0] < 2 || clusters[1] < 2) return;
  const double variance = squares[1] / (m * m) * clusters[1] / (clusters[1] - 1) +
                          squares[0] / (l * l) * clusters[0] / (clusters[0] - 1) + 2 * products / (m * l);
  result->se = sqrt(fmax(0, variance));
}

/* Placements: of a positive the share of negatives below it, of a negative the share of positives above it. Their sums
 * over each cluster, less what is expected, give the variance (Obuchowski 1997). */
void xci_auc_clustered(const float *score, const uint32_t *order, const int32_t *value, int32_t label,
                       const uint32_t *cluster, size_t n, size_t n_clusters, double *work, xci_clustered_auc *result) {
  double *positive = work, *negative = work + n_clusters; /* sums of placements */
  double below_positive = 0, below_negative = 0, sum = 0;
  *result = (xci_clustered_auc){NAN, NAN, NAN, 0, 0, 0};
  memset(work, 0, 2 * n_clusters * sizeof *work);
  for (size_t k = 0; k < n; k++)
    if (value[k] >= 0) *(value[k] == label ? &result->n_positive : &result->n_negative) += 1;
  if (result->n_positive == 0 || result->n_negative == 0) return;
  const double m = (double)result->n_positive, l = (double)result->n_negative;
  /* AUC first: placements are centred by it. */
  for (int pass = 0; pass < 2; pass++) {
    below_positive = below_negative = 0;
    for (size_t k = 0; k < n;) {
      size_t end = k;
      double p = 0, q = 0;
      for (; end < n && score[order[end]] == score[order[k]]; end++)
        if (value[order[end]] >= 0) *(value[order[end]] == label ? &p : &q) += 1;
      for (size_t j = k; pass && j < end; j++) {
        const uint32_t i = order[j];
        if (value[i] < 0) continue;
        if (value[i] == label) positive[cluster[i]] += (below_negative + 0.5 * q) / l - result->auc;
        else negative[cluster[i]] += (m - below_positive - 0.5 * p) / m - result->auc;
      }
      sum += pass ? 0 : p * (below_negative + 0.5 * q);
      below_positive += p;
      below_negative += q;
      k = end;
    }
    if (pass == 0) result->auc = sum / (m * l);
  }
  finish_variance(positive, negative, value, label, cluster, n, result);
}

/* ---- All of them ---- */

typedef struct best { /* of a feature at a checkpoint */
  int32_t label;
  xci_clustered_auc auc;
  double p; /* against 0.5, times the number of labels */
} best;

typedef struct work {
  const xci_bench *bench;
  xci_token_labels labels;
  size_t n;              /* positions used */
  uint16_t *hidden;      /* [n, checkpoints, d] as bf16, which activations are rounded to */
  int32_t *value;        /* [layers, n] */
  uint32_t *cluster;     /* [n] sentences */
  size_t n_clusters;
} work;

/* Every unmasked position, or every k-th of too many. */
static xcoder_status read_positions(work *w, xcoder_error *err) {
  const xci_bench *bench = w->bench;
  const xcoder_tokens *tokens = w->labels.tokens;
  const size_t *start = xcoder_tokens_start(tokens), width = bench->n * bench->d_model;
  const size_t n_sequences = xcoder_tokens_sequences(tokens);
  const size_t every = xci_ceil_div(w->labels.n_positions, MOST_POSITIONS);
  const size_t most = xci_ceil_div(w->labels.n_positions, every);
  xcoder_status status = XCI_ALLOC(&w->hidden, most * width, err);
  if (!status) status = XCI_ALLOC(&w->value, w->labels.n_layers * most, err);
  if (!status) status = XCI_ALLOC(&w->cluster, most, err);
  w->n_clusters = n_sequences;
  for (size_t first = 0, count; !status && first < n_sequences; first += count) {
    xci_stretch s;
    count = xci_stretch_fit(tokens, first, STRETCH_ROWS);
    xci_advance(bench->setting->monitor, "token labels", "sequences", first, n_sequences);
    if (xci_stopped(bench->setting->monitor)) return xci_interrupted(err, "features");
    status = xci_stretch_open(bench, tokens, first, count, XCI_HIDDEN, &s, err);
    if (status) break;
    for (size_t r = 0, q = 0; r < s.n_rows; r++) {
      while (r >= s.start[q + 1]) q++;
      const size_t position = start[first] + r;
      if (position % every || xci_bench_masked(bench, r - s.start[q])) continue;
      for (size_t j = 0; j < width; j++) {
        uint32_t bits;
        memcpy(&bits, &s.hidden[r * width + j], sizeof bits);
        w->hidden[w->n * width + j] = (uint16_t)(bits >> 16);
      }
      for (size_t l = 0; l < w->labels.n_layers; l++)
        w->value[l * most + w->n] = w->labels.value[l * w->labels.n_positions + position];
      w->cluster[w->n++] = (uint32_t)(first + q);
    }
    xci_stretch_close(&s);
  }
  for (size_t l = 1; !status && l < w->labels.n_layers; l++)
    memmove(w->value + l * w->n, w->value + l * most, w->n * sizeof *w->value);
  return status;
}

typedef struct keyed {
  float score;
  uint32_t index;
} keyed;

static int compare_keyed(const void *a, const void *b) {
  const keyed *p = a, *q = b;
  if (p->score != q->score) return p->score < q->score ? -1 : 1;
  return p->index < q->index ? -1 : p->index > q->index;
}

/* Two-sided, of AUC = 0.5 against more or less; without spread the spread of as many single sentences is taken. */
static double p_value(const xci_clustered_auc *a) {
  double se = a->se;
  if (!(se > 0)) se = sqrt(1 / (3 * (double)xci_max_size(a->n_clusters, 1)));
  return xci_student_p((a->auc - 0.5) / se, a->df);
}

typedef struct thread_room {
  keyed *keyed;
  uint32_t *order;
  double *sums;
  float *score;
} thread_room;

/* The label that scores highest among those with enough sentences. */
static void choose(const work *w, const thread_room *room, best *out) {
  const xci_token_labels *labels = &w->labels;
  size_t n_tried = 0;
  *out = (best){.label = -1, .auc = {NAN, NAN, NAN, 0, 0, 0}, .p = NAN};
  for (size_t k = 0; k < w->n; k++) room->keyed[k] = (keyed){room->score[k], (uint32_t)k};
  qsort(room->keyed, w->n, sizeof *room->keyed, compare_keyed);
  for (size_t k = 0; k < w->n; k++) room->order[k] = room->keyed[k].index;
  for (size_t l = 0; l < labels->n_labels; l++) {
    xci_clustered_auc auc;
    xci_auc_clustered(room->score, room->order, w->value + labels->layer_of[l] * w->n, (int32_t)l, w->cluster, w->n,
                      w->n_clusters, room->sums, &auc);
    if (!(auc.auc >= 0) || auc.n_clusters < LEAST_SENTENCES || auc.n_positive < LEAST_SENTENCES ||
        auc.n_negative < LEAST_SENTENCES)
      continue;
    n_tried++;
    if (out->label >= 0 && auc.auc <= out->auc.auc) continue;
    out->label = (int32_t)l;
    out->auc = auc;
  }
  if (out->label >= 0) out->p = fmin(1, p_value(&out->auc) * (double)n_tried);
}

static void score(const work *w, const float *column, size_t checkpoint, float *out) {
  const size_t d = w->bench->d_model, n = w->bench->n;
  for (size_t k = 0; k < w->n; k++) {
    const uint16_t *x = w->hidden + (k * n + checkpoint) * d;
    double sum = 0;
    for (size_t j = 0; j < d; j++) {
      const uint32_t bits = (uint32_t)x[j] << 16;
      float value;
      memcpy(&value, &bits, sizeof value);
      sum += (double)value * (double)column[j];
    }
    out[k] = (float)sum;
  }
}

static xcoder_status open_room(const work *w, thread_room *room, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&room->keyed, w->n, err);
  if (!status) status = XCI_ALLOC(&room->order, w->n, err);
  if (!status) status = XCI_ALLOC(&room->sums, 2 * w->n_clusters, err);
  if (!status) status = XCI_ALLOC(&room->score, w->n, err);
  return status;
}

static void close_room(thread_room *room) {
  xci_free(room->keyed);
  xci_free(room->order);
  xci_free(room->sums);
  xci_free(room->score);
}

/* Scaling x_c does not change ranks, so that folded and unfolded encoders give the same. */
static xcoder_status measure_all(const work *w, const xci_database *db, best *out, xcoder_error *err) {
  const xci_bench *bench = w->bench;
  const size_t n = bench->n, d = bench->d_model, n_threads = (size_t)xci_threads();
  thread_room *rooms = NULL;
  float *columns = NULL;
  xcoder_status status = XCI_ALLOC(&rooms, n_threads, err);
  if (!status) status = XCI_ALLOC(&columns, n_threads * d, err);
  for (size_t t = 0; !status && t < n_threads; t++) status = open_room(w, &rooms[t], err);
  if (!status) {
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 1)
    for (size_t i = 0; i < db->size.rows; i++) {
      const size_t thread = (size_t)xci_thread_index();
      float *column = columns + thread * d;
      for (size_t c = 0; c < n && db->fired[i]; c++) {
        for (size_t j = 0; j < d; j++)
          column[j] = bench->w_enc[(c * d + j) * bench->n_latents + (size_t)db->feature[i]];
        score(w, column, c, rooms[thread].score);
        choose(w, &rooms[thread], &out[i * n + c]);
      }
    }
  }
  for (size_t t = 0; rooms && t < n_threads; t++) close_room(&rooms[t]);
  xci_free(rooms);
  xci_free(columns);
  return status;
}

/* Benjamini-Hochberg over features and checkpoints. */
static xcoder_status correct(const best *all, size_t n, double *q, xcoder_error *err) {
  keyed *order = NULL;
  size_t n_tests = 0;
  double least = 1;
  const xcoder_status status = XCI_ALLOC(&order, n, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) {
    q[i] = NAN;
    if (all[i].label >= 0) order[n_tests++] = (keyed){(float)all[i].p, (uint32_t)i};
  }
  if (n_tests) qsort(order, n_tests, sizeof *order, compare_keyed);
  for (size_t k = n_tests; k-- > 0;) {
    least = fmin(least, all[order[k].index].p * (double)n_tests / (double)(k + 1));
    q[order[k].index] = least;
  }
  xci_free(order);
  return XCODER_OK;
}

static void fill(const best *all, const double *q, const xci_database *db) {
  for (size_t i = 0; i < db->size.rows * db->size.n; i++) {
    if (db->fired[i / db->size.n] == 0 || all[i].label < 0) continue;
    db->predicted_label[i] = all[i].label;
    db->predicted_auc[i] = all[i].auc.auc;
    const double half = xci_student_975(all[i].auc.df) * all[i].auc.se;
    db->predicted_low[i] = fmax(0, all[i].auc.auc - half);
    db->predicted_high[i] = fmin(1, all[i].auc.auc + half);
    db->predicted_p[i] = q[i];
  }
}

static xcoder_status write_table(const best *all, const double *q, const xci_database *db, const char *run_directory,
                                 xcoder_error *err) {
  xci_text table = {0};
  char *path = NULL;
  xci_text_add(&table, "feature,checkpoint,label,auc,low,high,p,p_corrected,n_positive,n_negative,n_sentences\n");
  for (size_t i = 0; i < db->size.rows * db->size.n; i++) {
    if (db->predicted_label[i] < 0) continue;
    const char *texts[] = {db->labels[i % db->size.n], db->token_labels[db->predicted_label[i]]};
    const double value[] = {db->predicted_auc[i], db->predicted_low[i], db->predicted_high[i], all[i].p, q[i]};
    xci_text_format(&table, "%ld", (long)db->feature[i / db->size.n]);
    for (size_t k = 0; k < 2; k++) {
      xci_text_add(&table, ",");
      xci_text_csv(&table, texts[k], strlen(texts[k]));
    }
    for (size_t k = 0; k < 5; k++) {
      xci_text_add(&table, ",");
      if (isfinite(value[k])) xci_text_number(&table, value[k]);
    }
    xci_text_format(&table, ",%zu,%zu,%zu\n", all[i].auc.n_positive, all[i].auc.n_negative, all[i].auc.n_clusters);
  }
  xcoder_status status = xci_run_path(run_directory, "features", "token-labels", ".csv", &path, err);
  if (!status) status = xci_write_text(path, &table, err);
  xci_text_clear(&table);
  xci_free(path);
  return status;
}

xcoder_status xci_token_labels_measure(const xci_bench *bench, const char *path, xci_database *db,
                                       const char *run_directory, xcoder_error *err) {
  work w = {.bench = bench};
  best *all = NULL;
  double *q = NULL;
  const size_t n = db->size.rows * db->size.n;
  xcoder_status status = xci_token_labels_open(path, bench->setting->tokenizer, &w.labels, err);
  if (!status) status = read_positions(&w, err);
  if (!status) status = XCI_ALLOC(&all, n, err);
  if (!status) status = XCI_ALLOC(&q, n, err);
  for (size_t i = 0; !status && i < n; i++) all[i].label = -1;
  if (!status) status = measure_all(&w, db, all, err);
  if (!status) status = correct(all, n, q, err);
  if (!status) {
    db->token_labels = w.labels.label; /* they live on in the database */
    db->size.n_token_labels = w.labels.n_labels;
    w.labels.label = NULL;
    w.labels.n_labels = 0;
    fill(all, q, db);
    status = write_table(all, q, db, run_directory, err);
  }
  xci_token_labels_close(&w.labels);
  xci_free(w.hidden);
  xci_free(w.value);
  xci_free(w.cluster);
  xci_free(all);
  xci_free(q);
  return status;
}
