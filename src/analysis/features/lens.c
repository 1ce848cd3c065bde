/* SPDX-License-Identifier: Apache-2.0 */
/* What decoders say: norms, shares, cosines between checkpoints and between features, and the logit lens. */
#include "analysis/features/feature_database.h"
#include "analysis/attribution/relative_effect.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

enum { LENS_CHUNK = 16, LANES = 16, TILE = 4 };

/* Norms and cosines of the unfolded decoder; scaling a checkpoint does not turn its directions. */
static void look_at_decoder(const xci_bench *bench, size_t feature, double *norm, double *share, double *cosine) {
  const size_t n = bench->n, d = bench->d_model;
  for (size_t c = 0; c < n; c++) {
    const float *w = xci_bench_decoder(bench, feature, c);
    norm[c] = sqrt(xci_dot(w, w, d)) * (double)bench->unit[c] * (double)bench->scale[c];
  }
  xci_relative(norm, n, share);
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++) {
      const float *v = xci_bench_decoder(bench, feature, a), *w = xci_bench_decoder(bench, feature, b);
      const double length = sqrt(xci_dot(v, v, d) * xci_dot(w, w, d));
      cosine[a * n + b] = a == b ? 1 : length > 0 ? xci_dot(v, w, d) / length : NAN;
    }
}

/* ---- Nearest features: cosine of the unfolded decoders of all checkpoints, one behind the other ---- */

typedef struct nearest {
  uint32_t feature;
  double cosine;
} nearest;

static bool is_nearer(const nearest *a, const nearest *b) {
  return a->cosine != b->cosine ? a->cosine > b->cosine : a->feature < b->feature;
}

static void insert(nearest *list, size_t *n, size_t most, nearest item) {
  if (*n == most && !is_nearer(&item, &list[most - 1])) return;
  size_t at = *n < most ? (*n)++ : most - 1;
  for (; at > 0 && is_nearer(&item, &list[at - 1]); at--) list[at] = list[at - 1];
  list[at] = item;
}

/* Products of TILE rows with one, in float: good to about 1e-6, enough to find candidates; their cosines are computed
 * again in double. Lanes and rows are fixed, so that every machine adds in the same order. */
static void multiply(const float *const row[TILE], const float *with, size_t d, double factor, double out[TILE]) {
  for (size_t r = 0; r < TILE; r++) {
    float lane[LANES] = {0};
    double sum = 0;
    size_t j = 0;
    for (; j + LANES <= d; j += LANES)
      for (size_t l = 0; l < LANES; l++) lane[l] += row[r][j + l] * with[j + l];
    for (; j < d; j++) sum += (double)row[r][j] * (double)with[j];
    for (size_t l = 0; l < LANES; l++) sum += (double)lane[l];
    out[r] += factor * sum;
  }
}

static double exact_cosine(const xci_bench *bench, const double *length, size_t i, size_t j) {
  double sum = 0;
  for (size_t c = 0; c < bench->n; c++) {
    const double factor = (double)bench->unit[c] * (double)bench->scale[c];
    sum += factor * factor * xci_dot(xci_bench_decoder(bench, i, c), xci_bench_decoder(bench, j, c), bench->d_model);
  }
  return sum / (length[i] * length[j]);
}

/* Nearest features of rows first .. first + TILE - 1. */
static void find_nearest(const xci_bench *bench, const double *length, size_t first, xci_database *db) {
  enum { CANDIDATES = 2 * XCI_N_NEAREST };
  nearest found[TILE][CANDIDATES];
  size_t n_found[TILE] = {0}, id[TILE];
  for (size_t r = 0; r < TILE; r++) id[r] = (size_t)db->feature[xci_min_size(first + r, db->size.rows - 1)];
  for (size_t j = 0; j < bench->n_latents; j++) {
    double sum[TILE] = {0};
    if (!(length[j] > 0)) continue;
    for (size_t c = 0; c < bench->n; c++) {
      const double factor = (double)bench->unit[c] * (double)bench->scale[c];
      const float *const row[TILE] = {xci_bench_decoder(bench, id[0], c), xci_bench_decoder(bench, id[1], c),
                                      xci_bench_decoder(bench, id[2], c), xci_bench_decoder(bench, id[3], c)};
      multiply(row, xci_bench_decoder(bench, j, c), bench->d_model, factor * factor, sum);
    }
    for (size_t r = 0; r < TILE; r++)
      if (id[r] != j && length[id[r]] > 0)
        insert(found[r], &n_found[r], CANDIDATES, (nearest){(uint32_t)j, sum[r] / (length[id[r]] * length[j])});
  }
  for (size_t r = 0; r < TILE && first + r < db->size.rows; r++) {
    nearest best[XCI_N_NEAREST];
    size_t n = 0;
    for (size_t k = 0; k < n_found[r]; k++)
      insert(best, &n, XCI_N_NEAREST,
             (nearest){found[r][k].feature, exact_cosine(bench, length, id[r], found[r][k].feature)});
    for (size_t k = 0; k < n; k++) {
      db->nearest[(first + r) * XCI_N_NEAREST + k] = (int32_t)best[k].feature;
      db->nearest_cosine[(first + r) * XCI_N_NEAREST + k] = best[k].cosine;
    }
  }
}

static xcoder_status look_for_nearest(const xci_bench *bench, xci_database *db, xcoder_error *err) {
  double *norms = NULL, *length = NULL;
  xcoder_status status = xci_bench_norms(bench, &norms, err);
  if (!status) status = XCI_ALLOC(&length, bench->n_latents, err);
  for (size_t j = 0; !status && j < bench->n_latents; j++) {
    double squares = 0;
    for (size_t c = 0; c < bench->n; c++) squares += norms[j * bench->n + c] * norms[j * bench->n + c];
    length[j] = sqrt(squares);
  }
  if (!status) {
#pragma omp parallel for num_threads(xci_threads()) schedule(dynamic, 4)
    for (size_t first = 0; first < db->size.rows; first += TILE) find_nearest(bench, length, first, db);
  }
  xci_free(norms);
  xci_free(length);
  return status;
}

/* ---- Logit lens ---- */

/* The k strongest tokens for `sign` 1, the k weakest for -1; rows of the unembedding that no token has are left out. */
static void pick_tokens(const uint8_t *is_token, const float *logits, size_t n_vocab, float sign, size_t k,
                        int32_t *token, float *value) {
  size_t n = 0;
  for (size_t v = 0; v < n_vocab; v++) {
    if (!is_token[v] || isnan(logits[v]) || (n == k && sign * logits[v] <= sign * value[k - 1])) continue;
    size_t at = n < k ? n++ : k - 1;
    for (; at > 0 && sign * logits[v] > sign * value[at - 1]; at--) {
      token[at] = token[at - 1];
      value[at] = value[at - 1];
    }
    token[at] = (int32_t)v;
    value[at] = logits[v];
  }
}

static xcoder_status look_through(const xci_bench *bench, size_t c, xci_database *db, xcoder_error *err) {
  xcoder_model *model = bench->setting->models[c];
  const size_t d = bench->d_model, n_vocab = xcoder_model_describe(model)->n_vocab, k = db->size.n_logits;
  float *direction = NULL, *logits = NULL;
  uint8_t *is_token = NULL;
  xcoder_status status = XCI_ALLOC(&direction, LENS_CHUNK * d, err);
  if (!status) status = XCI_ALLOC(&logits, LENS_CHUNK * n_vocab, err);
  if (!status) status = XCI_ALLOC(&is_token, n_vocab, err);
  for (size_t v = 0, n_bytes; !status && v < n_vocab; v++)
    is_token[v] = xcoder_token_bytes(bench->setting->tokenizer, (uint32_t)v, &n_bytes) != NULL;
  for (size_t first = 0; !status && first < db->size.rows; first += LENS_CHUNK) {
    const size_t count = xci_min_size(LENS_CHUNK, db->size.rows - first);
    if (xci_stopped(bench->setting->monitor)) status = xci_interrupted(err, "features");
    for (size_t r = 0; r < count; r++) {
      const float *w = xci_bench_decoder(bench, (size_t)db->feature[first + r], c);
      for (size_t j = 0; j < d; j++) direction[r * d + j] = w[j] * bench->unit[c];
    }
    if (!status) status = xcoder_model_unembed(model, direction, count, logits, err);
    for (size_t r = 0; !status && r < count; r++) {
      const size_t to = ((first + r) * db->size.n + c) * k;
      pick_tokens(is_token, logits + r * n_vocab, n_vocab, 1, k, db->promoted + to, db->promoted_logit + to);
      pick_tokens(is_token, logits + r * n_vocab, n_vocab, -1, k, db->suppressed + to, db->suppressed_logit + to);
    }
  }
  xci_free(direction);
  xci_free(logits);
  xci_free(is_token);
  return status;
}

xcoder_status xci_database_look(const xci_bench *bench, xci_database *db, xcoder_error *err) {
  const size_t n = bench->n;
  xcoder_status status = look_for_nearest(bench, db, err);
  for (size_t i = 0; !status && i < db->size.rows; i++)
    look_at_decoder(bench, (size_t)db->feature[i], db->decoder_norm + i * n, db->decoder_share + i * n,
                    db->decoder_cosine + i * n * n);
  if (!bench->setting->tokenizer || db->size.n_logits == 0) return status;
  for (size_t c = 0; !status && c < n; c++) status = look_through(bench, c, db, err);
  return status;
}
