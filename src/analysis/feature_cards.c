/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a corpus: where and on what features fire (METHOD section 9). */
#include "analysis/feature_cards.h"

#include "base/memory.h"
#include "base/size.h"
#include <stdlib.h>

enum { STRETCH_ROWS = 4096 };

static void close_cards(xci_cards *cards) {
  for (size_t k = 0; cards->card && k < cards->n; k++) {
    xci_card *card = &cards->card[k];
    xci_contexts_free(&card->contexts);
    xci_free(card->promoted);
    xci_free(card->suppressed);
    xci_free(card->norm);
    xci_free(card->share);
    xci_free(card->cosine);
  }
  xci_free(cards->card);
  xci_free(cards->activity);
  xci_free(cards->slot);
  xci_token_profile_free(&cards->profile);
}

static xcoder_status open_card(const xci_cards *cards, xci_card *card, xcoder_error *err) {
  const size_t n = cards->bench->n;
  xcoder_status status = xci_contexts_create(&card->contexts, cards->options.n_contexts, err);
  if (!status) status = XCI_ALLOC(&card->promoted, n * cards->options.n_logits, err);
  if (!status) status = XCI_ALLOC(&card->suppressed, n * cards->options.n_logits, err);
  if (!status) status = XCI_ALLOC(&card->norm, n, err);
  if (!status) status = XCI_ALLOC(&card->share, n, err);
  if (!status) status = XCI_ALLOC(&card->cosine, n * n, err);
  return status;
}

static xcoder_status open_cards(xci_cards *cards, const uint32_t *features, size_t n, xcoder_error *err) {
  const size_t n_latents = cards->bench->n_latents;
  xcoder_status status = XCI_ALLOC(&cards->activity, n_latents, err);
  if (!status) status = XCI_ALLOC(&cards->slot, n_latents, err);
  if (!status) status = XCI_ALLOC(&cards->card, n, err);
  for (size_t i = 0; !status && i < n_latents; i++) cards->slot[i] = UINT32_MAX;
  for (size_t k = 0; !status && k < n; k++) {
    if (features[k] >= n_latents)
      return xci_fail(err, XCODER_USAGE, "feature %u does not exist, the crosscoder has features 0 to %zu", features[k],
                      n_latents - 1);
    if (cards->slot[features[k]] != UINT32_MAX) continue; /* named twice */
    cards->slot[features[k]] = (uint32_t)cards->n;
    cards->card[cards->n].feature = features[k];
    status = open_card(cards, &cards->card[cards->n++], err);
  }
  return status;
}

/* ---- One pass ---- */

/* Peaks of the chosen features in the sequence in hand. */
typedef struct peaks {
  float *value;     /* [n cards], 0: none */
  size_t *position;
  uint32_t *active; /* cards with a peak, in the order met */
  size_t n_active;
} peaks;

/* The tokens around a peak: their activation and each checkpoint's share of the pre-activation. */
static xcoder_status keep_context(xci_cards *cards, const xci_stretch *s, size_t q, uint64_t sequence, xci_card *card,
                                  float value, size_t position, xcoder_error *err) {
  const size_t length = s->start[q + 1] - s->start[q], n = cards->bench->n, width = n * cards->bench->d_model;
  const size_t first = position - xci_min_size(position, cards->options.context_before);
  const size_t end = xci_min_size(length, position + cards->options.context_after + 1);
  xci_context context = {value, sequence, position, first, end - first, NULL, NULL};
  float *shares = NULL;
  xcoder_status status = XCI_ALLOC(&context.activation, context.n, err);
  if (!status) status = XCI_ALLOC(&context.share, n * context.n, err);
  if (!status) status = XCI_ALLOC(&shares, n * context.n, err);
  if (!status)
    status = xcoder_project(cards->bench->setting->coder, s->hidden + (s->start[q] + first) * width, context.n,
                            &card->feature, 1, shares, err);
  if (status) {
    xci_free(context.activation);
    xci_free(context.share);
  } else {
    for (size_t t = 0; t < context.n; t++)
      for (size_t c = 0; c < n; c++) context.share[c * context.n + t] = shares[t * n + c];
    xci_contexts_push(&card->contexts, context);
  }
  xci_free(shares);
  return status;
}

/* After a push the new context is filled with the feature's activations of its sequence. */
static void fill_context(const xci_stretch *s, size_t q, size_t first_sample, size_t end_sample, uint64_t sequence,
                         xci_card *card) {
  xci_context *context = NULL;
  for (size_t i = 0; i < card->contexts.n; i++)
    if (card->contexts.item[i].sequence == sequence) context = &card->contexts.item[i];
  if (!context) return;
  for (size_t k = first_sample; k < end_sample; k++) {
    const size_t position = s->row[k] - s->start[q];
    if (position < context->first || position >= context->first + context->n) continue;
    for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++)
      if (s->codes.index[j] == card->feature) context->activation[position - context->first] = s->codes.value[j];
  }
}

static xcoder_status count_sample(xci_cards *cards, const xci_stretch *s, size_t k, size_t position, peaks *top,
                                  xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t j = s->codes.start[k]; !status && j < s->codes.start[k + 1]; j++) {
    const uint32_t feature = s->codes.index[j], slot = cards->slot[feature];
    const float value = s->codes.value[j];
    xci_activity *activity = &cards->activity[feature];
    activity->fired++;
    activity->sum += (double)value;
    if (value > activity->max) activity->max = value;
    status = xci_token_profile_add(&cards->profile, feature, s->ids[s->row[k]], value, err);
    if (slot == UINT32_MAX) continue;
    xci_histogram_add(&cards->card[slot].histogram, (double)value);
    if (top->value[slot] == 0) top->active[top->n_active++] = slot;
    if (value <= top->value[slot]) continue;
    top->value[slot] = value;
    top->position[slot] = position;
  }
  return status;
}

static xcoder_status read_sequence(xci_cards *cards, const xci_stretch *s, size_t q, uint64_t sequence, size_t *sample,
                                   peaks *top, xcoder_error *err) {
  const size_t first = *sample;
  xcoder_status status = XCODER_OK;
  top->n_active = 0;
  for (; !status && *sample < s->n_unmasked && s->row[*sample] < s->start[q + 1]; ++*sample)
    status = count_sample(cards, s, *sample, s->row[*sample] - s->start[q], top, err);
  for (size_t a = 0; a < top->n_active; a++) {
    const uint32_t slot = top->active[a];
    const float value = top->value[slot];
    xci_card *card = &cards->card[slot];
    top->value[slot] = 0;
    if (status || !xci_contexts_accepts(&card->contexts, value, sequence)) continue;
    status = keep_context(cards, s, q, sequence, card, value, top->position[slot], err);
    if (!status) fill_context(s, q, first, *sample, sequence, card);
  }
  cards->n_tokens += *sample - first;
  return status;
}

static xcoder_status read_corpus(xci_cards *cards, peaks *top, xcoder_error *err) {
  const xcoder_monitor *monitor = cards->bench->setting->monitor;
  const size_t n = xcoder_tokens_sequences(cards->corpus);
  xcoder_status status = XCODER_OK;
  for (size_t first = 0, count; !status && first < n; first += count) {
    xci_stretch s;
    size_t sample = 0;
    count = xci_stretch_fit(cards->corpus, first, STRETCH_ROWS);
    xci_advance(monitor, "features", "sequences", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "features");
    status = xci_stretch_open(cards->bench, cards->corpus, first, count, XCI_CODES, &s, err);
    if (status) break;
    for (size_t q = 0; !status && q < count; q++) status = read_sequence(cards, &s, q, first + q, &sample, top, err);
    xci_stretch_close(&s);
  }
  if (!status) xci_advance(monitor, "features", "sequences", n, n);
  return status;
}

static int compare_ids(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static xcoder_status count_types(xci_cards *cards, xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(cards->corpus), n = xcoder_tokens_sequences(cards->corpus);
  uint32_t *ids = NULL;
  size_t n_ids = 0;
  const xcoder_status status = XCI_ALLOC(&ids, start[n], err);
  if (status) return status;
  for (size_t q = 0; q < n; q++)
    for (size_t r = start[q]; r < start[q + 1]; r++)
      if (!xci_bench_masked(cards->bench, r - start[q])) ids[n_ids++] = xcoder_tokens_ids(cards->corpus)[r];
  if (n_ids) qsort(ids, n_ids, sizeof *ids, compare_ids);
  for (size_t i = 0; i < n_ids; i++) cards->n_types += i == 0 || ids[i] != ids[i - 1];
  xci_free(ids);
  return XCODER_OK;
}

xcoder_status xcoder_describe_features(const xcoder_setting *setting, const xcoder_tokens *corpus,
                                       const uint32_t *features, size_t n_features,
                                       const xcoder_features_options *options, const char *run_directory,
                                       xcoder_error *err) {
  xci_bench bench;
  xci_cards cards = {.bench = &bench, .corpus = corpus, .options = {12, 20, 10, 10}};
  peaks top = {0};
  if (options) cards.options = *options;
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = open_cards(&cards, features, n_features, err);
  if (!status) status = XCI_ALLOC(&top.value, cards.n, err);
  if (!status) status = XCI_ALLOC(&top.position, cards.n, err);
  if (!status) status = XCI_ALLOC(&top.active, cards.n, err);
  if (!status) status = read_corpus(&cards, &top, err);
  if (!status) status = count_types(&cards, err);
  if (!status) status = xci_cards_look(&cards, err);
  if (!status) {
    xci_token_profile_finish(&cards.profile);
    for (size_t k = 0; k < cards.n; k++) xci_contexts_sort(&cards.card[k].contexts);
    status = xci_cards_write(&cards, run_directory, err);
  }
  close_cards(&cards);
  xci_free(top.value);
  xci_free(top.position);
  xci_free(top.active);
  return status;
}
