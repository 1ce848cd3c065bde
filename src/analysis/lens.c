/* SPDX-License-Identifier: Apache-2.0 */
/* What decoders say: norms, shares, cosines between checkpoints and between features, and the logit lens. */
#include "analysis/feature_cards.h"
#include "analysis/relative_effect.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENS_CHUNK = 16 };

/* Norms and cosines of the unfolded decoder; scaling a checkpoint does not turn its directions. */
static void look_at_decoder(const xci_bench *bench, xci_card *card) {
  const size_t n = bench->n, d = bench->d_model;
  for (size_t c = 0; c < n; c++) {
    const float *w = xci_bench_decoder(bench, card->feature, c);
    card->norm[c] = sqrt(xci_dot(w, w, d)) * (double)bench->unit[c] * (double)bench->scale[c];
  }
  xci_relative(card->norm, n, card->share);
  for (size_t a = 0; a < n; a++)
    for (size_t b = 0; b < n; b++) {
      const float *v = xci_bench_decoder(bench, card->feature, a), *w = xci_bench_decoder(bench, card->feature, b);
      const double length = sqrt(xci_dot(v, v, d) * xci_dot(w, w, d));
      card->cosine[a * n + b] = a == b ? 1 : length > 0 ? xci_dot(v, w, d) / length : NAN;
    }
}

/* ---- Nearest features ---- */

static int compare_nearest(const void *a, const void *b) {
  const xci_nearest *p = a, *q = b;
  if (p->cosine != q->cosine) return p->cosine > q->cosine ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

/* Cosine of the unfolded decoders of all checkpoints, one behind the other. */
static void find_nearest(const xci_bench *bench, const double *length, xci_card *card, xci_nearest *all) {
  const size_t n = bench->n, d = bench->d_model, i = card->feature;
#pragma omp parallel for num_threads(xci_threads()) schedule(static, 64)
  for (size_t j = 0; j < bench->n_latents; j++) {
    double sum = 0;
    for (size_t c = 0; c < n; c++) {
      const double factor = (double)bench->unit[c] * (double)bench->scale[c];
      sum += factor * factor * xci_dot(xci_bench_decoder(bench, i, c), xci_bench_decoder(bench, j, c), d);
    }
    const bool usable = j != i && length[i] > 0 && length[j] > 0;
    all[j] = (xci_nearest){(uint32_t)j, usable ? sum / (length[i] * length[j]) : -2};
  }
  qsort(all, bench->n_latents, sizeof *all, compare_nearest);
  card->n_nearest = 0;
  while (card->n_nearest < xci_min_size(XCI_N_NEAREST, bench->n_latents) && all[card->n_nearest].cosine >= -1.5) {
    card->nearest[card->n_nearest] = all[card->n_nearest];
    card->n_nearest++;
  }
}

static xcoder_status look_for_nearest(xci_cards *cards, xcoder_error *err) {
  const xci_bench *bench = cards->bench;
  double *norms = NULL, *length = NULL;
  xci_nearest *all = NULL;
  xcoder_status status = xci_bench_norms(bench, &norms, err);
  if (!status) status = XCI_ALLOC(&length, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&all, bench->n_latents, err);
  for (size_t j = 0; !status && j < bench->n_latents; j++) {
    double squares = 0;
    for (size_t c = 0; c < bench->n; c++) squares += norms[j * bench->n + c] * norms[j * bench->n + c];
    length[j] = sqrt(squares);
  }
  for (size_t k = 0; !status && k < cards->n; k++) find_nearest(bench, length, &cards->card[k], all);
  xci_free(norms);
  xci_free(length);
  xci_free(all);
  return status;
}

/* ---- Logit lens ---- */

static int compare_logits(const void *a, const void *b) {
  const xci_logit *p = a, *q = b;
  if (p->value != q->value) return p->value > q->value ? -1 : 1;
  return p->token < q->token ? -1 : p->token > q->token;
}

/* The strongest and the weakest tokens; rows of the unembedding that no token has (padding) are left out. */
static void pick_tokens(const xci_cards *cards, const float *logits, size_t n_vocab, xci_logit *work, size_t c,
                        xci_card *card) {
  const size_t wanted = cards->options.n_logits;
  size_t n_tokens = 0, n_bytes;
  for (size_t v = 0; v < n_vocab; v++)
    if (xcoder_token_bytes(cards->bench->setting->tokenizer, (uint32_t)v, &n_bytes))
      work[n_tokens++] = (xci_logit){(uint32_t)v, logits[v]};
  if (n_tokens) qsort(work, n_tokens, sizeof *work, compare_logits);
  card->n_logits = xci_min_size(wanted, n_tokens);
  for (size_t k = 0; k < card->n_logits; k++) {
    card->promoted[c * wanted + k] = work[k];
    card->suppressed[c * wanted + k] = work[n_tokens - 1 - k];
  }
}

static xcoder_status look_through(xci_cards *cards, size_t c, xcoder_error *err) {
  const xci_bench *bench = cards->bench;
  xcoder_model *model = bench->setting->models[c];
  const size_t d = bench->d_model, n_vocab = xcoder_model_describe(model)->n_vocab;
  float *direction = NULL, *logits = NULL;
  xci_logit *work = NULL;
  xcoder_status status = XCI_ALLOC(&direction, LENS_CHUNK * d, err);
  if (!status) status = XCI_ALLOC(&logits, LENS_CHUNK * n_vocab, err);
  if (!status) status = XCI_ALLOC(&work, n_vocab, err);
  for (size_t first = 0; !status && first < cards->n; first += LENS_CHUNK) {
    const size_t count = xci_min_size(LENS_CHUNK, cards->n - first);
    for (size_t k = 0; k < count; k++) {
      const float *w = xci_bench_decoder(bench, cards->card[first + k].feature, c);
      for (size_t j = 0; j < d; j++) direction[k * d + j] = w[j] * bench->unit[c];
    }
    status = xcoder_model_unembed(model, direction, count, logits, err);
    for (size_t k = 0; !status && k < count; k++)
      pick_tokens(cards, logits + k * n_vocab, n_vocab, work, c, &cards->card[first + k]);
  }
  xci_free(direction);
  xci_free(logits);
  xci_free(work);
  return status;
}

xcoder_status xci_cards_look(xci_cards *cards, xcoder_error *err) {
  xcoder_status status = cards->n ? look_for_nearest(cards, err) : XCODER_OK;
  for (size_t k = 0; !status && k < cards->n; k++) look_at_decoder(cards->bench, &cards->card[k]);
  if (!cards->bench->setting->tokenizer) return status;
  for (size_t c = 0; !status && c < cards->bench->n; c++) status = look_through(cards, c, err);
  return status;
}
