/* SPDX-License-Identifier: Apache-2.0 */
/* Found against known: how well features, and a probe, tell a label that the text was made with. */
#include "analysis/known/known.h"

#include "analysis/known/probe.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/size.h"
#include "compute/cpu/gemm.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STRETCH_ROWS = 4096, BLOCK = 256 /* features scored at once */ };

typedef struct search {
  const xci_bench *bench;
  const xci_gold *gold;
  xci_known *known;
  uint8_t *chooses;   /* [n] sentence is of the half that chooses */
  uint8_t *shuffled;  /* [XCI_SHUFFLES, n] labels */
  float *x;           /* [n sentences, n checkpoints, d_model] at the position asked about */
  float *rows;        /* [n sentences, d_model] of the checkpoint in hand */
  float *top;         /* [n sentences, n_features] pre-activations of the given features at the checkpoint in hand */
  size_t checkpoint;
} search;

static void search_close(search *s) {
  xci_free(s->chooses);
  xci_free(s->shuffled);
  xci_free(s->x);
  xci_free(s->rows);
  xci_free(s->top);
}

static xcoder_status search_open(search *s, uint64_t seed, xcoder_error *err) {
  const size_t n = s->gold->n;
  size_t n_values = 0;
  if (!xci_mul_size(n, s->bench->n * s->bench->d_model, &n_values))
    return xci_fail(err, XCODER_MEMORY, "%zu labelled sentences are too many", n);
  xcoder_status status = XCI_ALLOC(&s->chooses, n, err);
  if (!status) status = XCI_ALLOC(&s->shuffled, XCI_SHUFFLES * n, err);
  if (!status) status = XCI_ALLOC(&s->x, n_values, err);
  if (!status) status = XCI_ALLOC(&s->rows, n * s->bench->d_model, err);
  if (!status) status = XCI_ALLOC(&s->top, n * s->known->n_features, err);
  if (status) return status;
  for (size_t k = 0; k < n; k++) {
    s->chooses[k] = xci_permute(seed, XCI_STREAM_SPLIT, 0, n, k) < n / 2;
    for (uint64_t shuffle = 0; shuffle < XCI_SHUFFLES; shuffle++)
      s->shuffled[shuffle * n + k] = s->gold->label[xci_permute(seed, XCI_STREAM_SPLIT, 1 + shuffle, n, k)];
  }
  return status;
}

/* The last position of every sentence. */
static xcoder_status read_activations(search *s, xcoder_error *err) {
  const xcoder_monitor *monitor = s->bench->setting->monitor;
  const size_t width = s->bench->n * s->bench->d_model, n = s->gold->n;
  xcoder_status status = XCODER_OK;
  for (size_t first = 0, count; !status && first < n; first += count) {
    xci_stretch stretch;
    count = xci_stretch_fit(s->gold->tokens, first, STRETCH_ROWS);
    xci_advance(monitor, "known", "sentences", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "known");
    status = xci_stretch_open(s->bench, s->gold->tokens, first, count, XCI_HIDDEN, &stretch, err);
    if (status) break;
    for (size_t q = 0; q < count; q++)
      memcpy(s->x + (first + q) * width, stretch.hidden + (stretch.start[q + 1] - 1) * width, width * sizeof *s->x);
    xci_stretch_close(&stretch);
  }
  return status;
}

/* ---- Conditions ---- */

/* 0 everything, 1 held-out nouns, 2 across attractors, 3 attractors of the other number if the file tells; these leave
 * out languages without agreement, where nothing is to be found. Then the parts of every language, part by part. */
typedef enum part { WHOLE, OPPOSED, HELDOUT, HELDOUT_OPPOSED, N_PARTS } part;

static size_t first_language(const xci_gold *gold) { return gold->has_opposed ? 4 : 3; }

/* The parts that the file can tell, in order. */
static size_t list_parts(const xci_gold *gold, part parts[N_PARTS]) {
  size_t n = 0;
  parts[n++] = WHOLE;
  if (gold->has_opposed) parts[n++] = OPPOSED;
  parts[n++] = HELDOUT;
  if (gold->has_opposed) parts[n++] = HELDOUT_OPPOSED;
  return n;
}

static size_t count_conditions(const xci_gold *gold) {
  part parts[N_PARTS];
  return first_language(gold) + gold->n_languages * list_parts(gold, parts);
}

/* Which part of which language a condition behind the pooled ones is. */
static part find_part(const xci_gold *gold, size_t condition, size_t *language) {
  part parts[N_PARTS];
  const size_t at = condition - first_language(gold);
  list_parts(gold, parts);
  *language = at % gold->n_languages;
  return parts[at / gold->n_languages];
}

static bool meets(const xci_gold *gold, size_t condition, size_t k) {
  if (condition >= first_language(gold)) {
    size_t language;
    const part in = find_part(gold, condition, &language);
    return gold->language[k] == language && (gold->opposed[k] || in == WHOLE || in == HELDOUT) &&
           (gold->heldout[k] || in == WHOLE || in == OPPOSED);
  }
  if (!gold->agrees[k]) return false;
  return condition == 0 || (condition == 1 && gold->heldout[k]) || (condition == 2 && gold->across[k]) ||
         (condition == 3 && gold->opposed[k]);
}

/* Whether sentence k helps to choose feature and probe (or else to measure them, if it meets the condition). A language
 * is a question of its own and chooses in itself; for held-out nouns on all its sentences with other nouns, so that
 * every sentence with a held-out noun is left to measure. The pooled conditions ask how far what was chosen on
 * everything carries. */
static bool chooses_for(const search *s, size_t condition, size_t k) {
  const xci_gold *gold = s->gold;
  size_t language;
  if (condition < first_language(gold)) return s->chooses[k] && meets(gold, 0, k);
  const part in = find_part(gold, condition, &language);
  if (in == HELDOUT || in == HELDOUT_OPPOSED) return gold->language[k] == language && !gold->heldout[k];
  return s->chooses[k] && meets(gold, condition, k);
}

static bool measures_for(const search *s, size_t condition, size_t k) {
  size_t language;
  if (!meets(s->gold, condition, k)) return false;
  return !s->chooses[k] ||
         (condition >= first_language(s->gold) && find_part(s->gold, condition, &language) >= HELDOUT);
}

static void name_condition(const xci_gold *gold, size_t condition, char *name, size_t size) {
  static const char *const names[] = {"all", "heldout nouns", "across attractors", "attractors of the other number"};
  static const char *const parts[N_PARTS] = {"", ", attractors of the other number", ", heldout nouns",
                                             ", heldout nouns, attractors of the other number"};
  size_t language;
  if (condition < first_language(gold)) {
    snprintf(name, size, "%s", names[condition]);
    return;
  }
  const part in = find_part(gold, condition, &language);
  snprintf(name, size, "%.24s%s", gold->languages[language], parts[in]);
}

static size_t list_rows(const search *s, size_t condition, bool choosing, size_t *row) {
  size_t n = 0;
  for (size_t k = 0; k < s->gold->n; k++)
    if (choosing ? chooses_for(s, condition, k) : measures_for(s, condition, k)) row[n++] = k;
  return n;
}

/* ---- Single features ---- */

/* Area under the curve on the choosing rows, of one block of features: auc[j] with the true labels, and for the first
 * condition also shuffled[j, XCI_SHUFFLES]. score: [n_rows, BLOCK]. */
static xcoder_status rank_block(const search *s, const size_t *row, size_t n_rows, const float *score, size_t n_block,
                                double *auc, double *shuffled, xcoder_error *err) {
  int failed = 0;
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 4)
  for (size_t j = 0; j < n_block; j++) {
    double *value = NULL;
    uint8_t *label = NULL;
    xcoder_status status = XCI_ALLOC(&value, 2 * n_rows, NULL);
    if (!status) status = XCI_ALLOC(&label, n_rows, NULL);
    for (size_t k = 0; !status && k < n_rows; k++) value[k] = (double)score[k * BLOCK + j];
    if (!status) status = xci_ranks(value, n_rows, value + n_rows, NULL);
    for (size_t v = 0; !status && v < (shuffled ? 1 + XCI_SHUFFLES : 1); v++) {
      const uint8_t *from = v == 0 ? s->gold->label : s->shuffled + (v - 1) * s->gold->n;
      for (size_t k = 0; k < n_rows; k++) label[k] = from[row[k]];
      *(v == 0 ? &auc[j] : &shuffled[j * XCI_SHUFFLES + v - 1]) = xci_auc_of_ranks(value + n_rows, label, n_rows);
    }
    xci_free(value);
    xci_free(label);
    if (status) {
#pragma omp atomic write
      failed = 1;
    }
  }
  return failed ? xci_fail(err, XCODER_MEMORY, "known: out of memory while ranking features") : XCODER_OK;
}

typedef struct choice {
  uint32_t feature;
  double strength; /* |auc - 1/2| */
  bool reversed;   /* a high value means singular */
} choice;

static void improve(choice *best, size_t feature, double auc) {
  if (!(fabs(auc - 0.5) > best->strength)) return; /* NaN never improves; ties keep the lower feature */
  *best = (choice){(uint32_t)feature, fabs(auc - 0.5), auc < 0.5};
}

/* The best feature of a condition, and of each shuffled labelling when `chance` is not NULL. */
static xcoder_status choose_single(const search *s, const size_t *row, size_t n_rows, choice *best, choice *chance,
                                   xcoder_error *err) {
  const xci_bench *bench = s->bench;
  const size_t d = bench->d_model, D = bench->n_latents;
  const float *w = bench->w_enc + s->checkpoint * d * D;
  float *x = NULL, *score = NULL;
  double *auc = NULL, *shuffled = NULL;
  xcoder_status status = XCI_ALLOC(&x, n_rows * d, err);
  if (!status) status = XCI_ALLOC(&score, n_rows * BLOCK, err);
  if (!status) status = XCI_ALLOC(&auc, BLOCK, err);
  if (!status) status = XCI_ALLOC(&shuffled, BLOCK * XCI_SHUFFLES, err);
  for (size_t k = 0; !status && k < n_rows; k++) memcpy(x + k * d, s->rows + row[k] * d, d * sizeof *x);
  for (size_t first = 0; !status && n_rows && first < D; first += BLOCK) {
    const size_t n_block = xci_min_size(BLOCK, D - first);
    xci_gemm(false, false, n_rows, n_block, d, 1, x, d, w + first, D, 0, score, BLOCK);
    status = rank_block(s, row, n_rows, score, n_block, auc, chance ? shuffled : NULL, err);
    for (size_t j = 0; !status && j < n_block; j++) {
      improve(best, first + j, auc[j]);
      for (size_t v = 0; chance && v < XCI_SHUFFLES; v++)
        improve(&chance[v], first + j, shuffled[j * XCI_SHUFFLES + v]);
    }
  }
  xci_free(x);
  xci_free(score);
  xci_free(auc);
  xci_free(shuffled);
  return status;
}

/* x_c W_enc[c, :, feature] on some rows. */
static void score_feature(const search *s, size_t feature, const size_t *row, size_t n_rows, double *score) {
  const size_t d = s->bench->d_model, D = s->bench->n_latents;
  const float *w = s->bench->w_enc + s->checkpoint * d * D + feature;
  for (size_t k = 0; k < n_rows; k++) {
    score[k] = 0;
    for (size_t j = 0; j < d; j++) score[k] += (double)s->rows[row[k] * d + j] * (double)w[j * D];
  }
}

/* Area under the curve of a chosen feature on the measuring rows. */
static xcoder_status measure_feature(const search *s, const choice *chosen, const uint8_t *label, const size_t *row,
                                     size_t n_rows, double *auc, xcoder_error *err) {
  double *score = NULL;
  uint8_t *truth = NULL;
  xcoder_status status = XCI_ALLOC(&score, n_rows, err);
  if (!status) status = XCI_ALLOC(&truth, n_rows, err);
  if (!status) {
    score_feature(s, chosen->feature, row, n_rows, score);
    for (size_t k = 0; k < n_rows; k++) {
      truth[k] = label[row[k]];
      if (chosen->reversed) score[k] = -score[k];
    }
    status = xci_auc(score, truth, n_rows, auc, err);
  }
  xci_free(score);
  xci_free(truth);
  return status;
}

/* ---- One condition ---- */

static xcoder_status measure_top(const search *s, const size_t *choosing, size_t n_choosing, const size_t *row,
                                 size_t n_rows, xci_known_cell *cell, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t f = 0; !status && f < s->known->n_features; f++) {
    choice chosen = {s->known->features[f], 0, false};
    double auc = NAN;
    status = measure_feature(s, &chosen, s->gold->label, choosing, n_choosing, &auc, err);
    chosen.reversed = auc < 0.5;
    if (!status) status = measure_feature(s, &chosen, s->gold->label, row, n_rows, &cell->top[f], err);
  }
  return status;
}

/* A probe on x [n sentences, width]. */
static xcoder_status measure_probe(const search *s, const float *x, size_t width, const size_t *choosing,
                                   size_t n_choosing, const size_t *row, size_t n_rows, double *auc,
                                   xcoder_error *err) {
  double *score = NULL, *kept = NULL;
  uint8_t *truth = NULL;
  *auc = NAN;
  if (n_choosing == 0 || width == 0) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&score, s->gold->n, err);
  if (!status) status = XCI_ALLOC(&kept, n_rows, err);
  if (!status) status = XCI_ALLOC(&truth, n_rows, err);
  if (!status)
    status = xci_probe(x, s->gold->n, width, s->gold->label, choosing, n_choosing, score, err);
  for (size_t k = 0; !status && k < n_rows; k++) {
    kept[k] = score[row[k]];
    truth[k] = s->gold->label[row[k]];
  }
  if (!status) status = xci_auc(kept, truth, n_rows, auc, err);
  xci_free(score);
  xci_free(kept);
  xci_free(truth);
  return status;
}

static xcoder_status measure_floor(const search *s, const choice *chance, const size_t *row, size_t n_rows,
                                   xcoder_error *err) {
  double sum = 0;
  for (size_t v = 0; v < XCI_SHUFFLES; v++) {
    double auc = NAN;
    const xcoder_status status =
        measure_feature(s, &chance[v], s->shuffled + v * s->gold->n, row, n_rows, &auc, err);
    if (status) return status;
    sum += auc;
  }
  s->known->floor[s->checkpoint] = sum / XCI_SHUFFLES;
  return XCODER_OK;
}

static xcoder_status measure_condition(const search *s, size_t condition, xci_known_cell *cell, xcoder_error *err) {
  choice best = {0, -1, false}, chance[XCI_SHUFFLES];
  size_t *choosing = NULL, *row = NULL, n_positive = 0;
  for (size_t v = 0; v < XCI_SHUFFLES; v++) chance[v] = best;
  xcoder_status status = XCI_ALLOC(&choosing, s->gold->n, err);
  if (!status) status = XCI_ALLOC(&row, s->gold->n, err);
  if (!status) status = XCI_ALLOC(&cell->top, s->known->n_features, err);
  if (status) goto done;
  const size_t n_choosing = list_rows(s, condition, true, choosing);
  name_condition(s->gold, condition, cell->name, sizeof cell->name);
  cell->n = list_rows(s, condition, false, row);
  status = choose_single(s, choosing, n_choosing, &best, condition == 0 ? chance : NULL, err);
  cell->feature = best.feature;
  if (!status) status = measure_feature(s, &best, s->gold->label, row, cell->n, &cell->single, err);
  for (size_t k = 0; k < cell->n; k++) n_positive += s->gold->label[row[k]];
  xci_auc_interval(cell->single, n_positive, cell->n - n_positive, &cell->low, &cell->high);
  if (!status) status = measure_top(s, choosing, n_choosing, row, cell->n, cell, err);
  if (!status)
    status = measure_probe(s, s->rows, s->bench->d_model, choosing, n_choosing, row, cell->n, &cell->probe, err);
  if (!status)
    status = measure_probe(s, s->top, s->known->n_features, choosing, n_choosing, row, cell->n, &cell->top_joint, err);
  if (!status && condition == 0) status = measure_floor(s, chance, row, cell->n, err);
done:
  xci_free(choosing);
  xci_free(row);
  return status;
}

/* Activations and pre-activations of checkpoint c. */
static void set_checkpoint(search *s, size_t c) {
  const size_t d = s->bench->d_model, D = s->bench->n_latents, n_features = s->known->n_features;
  s->checkpoint = c;
  for (size_t k = 0; k < s->gold->n; k++) {
    memcpy(s->rows + k * d, s->x + (k * s->bench->n + c) * d, d * sizeof *s->rows);
    for (size_t f = 0; f < n_features; f++) {
      const float *w = s->bench->w_enc + c * d * D + s->known->features[f];
      double sum = 0;
      for (size_t j = 0; j < d; j++) sum += (double)s->rows[k * d + j] * (double)w[j * D];
      s->top[k * n_features + f] = (float)sum;
    }
  }
}

static xcoder_status measure_checkpoint(search *s, size_t c, xcoder_error *err) {
  const xcoder_monitor *monitor = s->bench->setting->monitor;
  const size_t n_conditions = s->known->n_conditions;
  xcoder_status status = XCODER_OK;
  set_checkpoint(s, c);
  for (size_t condition = 0; !status && condition < n_conditions; condition++) {
    xci_advance(monitor, "known", "conditions", c * n_conditions + condition, s->bench->n * n_conditions);
    if (xci_stopped(monitor)) return xci_interrupted(err, "known");
    status = measure_condition(s, condition, &s->known->cell[c * n_conditions + condition], err);
  }
  return status;
}

static xcoder_status check_features(const xci_bench *bench, const uint32_t *features, size_t n, xcoder_error *err) {
  for (size_t f = 0; f < n; f++)
    if (features[f] >= bench->n_latents)
      return xci_fail(err, XCODER_USAGE, "feature %u does not exist, the crosscoder has features 0 to %zu", features[f],
                      bench->n_latents - 1);
  return XCODER_OK;
}

xcoder_status xcoder_compare_known(const xcoder_setting *setting, const char *gold_path, const uint32_t *features,
                                   size_t n_features, uint64_t seed, const char *run_directory, xcoder_error *err) {
  xci_bench bench;
  xci_gold gold = {0};
  xci_known known = {.bench = &bench, .features = features, .n_features = n_features};
  search s = {.bench = &bench, .gold = &gold, .known = &known};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status && !setting->tokenizer) status = xci_fail(err, XCODER_USAGE, "%s: a tokenizer is needed", gold_path);
  if (!status) status = check_features(&bench, features, n_features, err);
  if (!status) status = xci_gold_open(gold_path, setting->tokenizer, &gold, err);
  if (!status) {
    known.n_sentences = gold.n;
    known.n_conditions = count_conditions(&gold);
    status = XCI_ALLOC(&known.cell, bench.n * known.n_conditions, err);
  }
  if (!status) status = search_open(&s, seed, err);
  if (!status) status = read_activations(&s, err);
  for (size_t c = 0; !status && c < bench.n; c++) status = measure_checkpoint(&s, c, err);
  if (!status) status = xci_known_write(&known, run_directory, err);
  for (size_t k = 0; known.cell && k < bench.n * known.n_conditions; k++) xci_free(known.cell[k].top);
  xci_free(known.cell);
  search_close(&s);
  xci_gold_close(&gold);
  return status;
}
