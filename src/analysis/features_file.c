/* SPDX-License-Identifier: Apache-2.0 */
/* features/features.json and features/features.csv. */
#include "analysis/feature_cards.h"
#include "analysis/json_out.h"
#include "base/memory.h"
#include <math.h>

enum { N_TOP_TOKENS = 5 };

static void write_token(xci_json_out *out, const char *key, const xci_cards *cards, uint32_t id) {
  size_t n_bytes;
  const char *bytes = xci_token_text(cards->bench->setting->tokenizer, id, &n_bytes);
  xci_json_bytes(out, key, bytes, n_bytes);
}

static void write_logits(xci_json_out *out, const char *key, const xci_cards *cards, const xci_card *card,
                         const xci_logit *logits) {
  xci_json_line(out);
  xci_json_open(out, key, '[');
  for (size_t c = 0; c < cards->bench->n; c++) {
    xci_json_open(out, NULL, '[');
    for (size_t k = 0; k < card->n_logits; k++) {
      const xci_logit *logit = &logits[c * cards->options.n_logits + k];
      xci_json_open(out, NULL, '{');
      write_token(out, "token", cards, logit->token);
      xci_json_count(out, "id", logit->token);
      xci_json_float(out, "logit", logit->value);
      xci_json_close(out, '}');
    }
    xci_json_close(out, ']');
  }
  xci_json_close(out, ']');
}

static void write_context(xci_json_out *out, const xci_cards *cards, const xci_context *context) {
  const uint32_t *ids = xcoder_tokens_ids(cards->corpus) + xcoder_tokens_start(cards->corpus)[context->sequence];
  xci_json_line(out);
  xci_json_open(out, NULL, '{');
  xci_json_open(out, "tokens", '[');
  for (size_t t = 0; t < context->n; t++) write_token(out, NULL, cards, ids[context->first + t]);
  xci_json_close(out, ']');
  xci_json_open(out, "activation", '[');
  for (size_t t = 0; t < context->n; t++) xci_json_float(out, NULL, context->activation[t]);
  xci_json_close(out, ']');
  xci_json_count(out, "peak", context->position - context->first);
  xci_json_open(out, "per_checkpoint", '[');
  for (size_t c = 0; c < cards->bench->n; c++) {
    xci_json_open(out, NULL, '[');
    for (size_t t = 0; t < context->n; t++) xci_json_float(out, NULL, context->share[c * context->n + t]);
    xci_json_close(out, ']');
  }
  xci_json_close(out, ']');
  xci_json_count(out, "sequence", context->sequence);
  xci_json_count(out, "position", context->position);
  xci_json_close(out, '}');
}

static void write_histogram(xci_json_out *out, const xci_histogram *histogram) {
  const size_t used = xci_histogram_used(histogram);
  xci_json_line(out);
  xci_json_open(out, "histogram", '{');
  xci_json_open(out, "edges", '[');
  for (size_t i = 0; used && i <= used; i++)
    xci_json_number(out, NULL, histogram->range * (double)i / XCI_HISTOGRAM_BINS);
  xci_json_close(out, ']');
  xci_json_open(out, "counts", '[');
  for (size_t i = 0; i < used; i++) xci_json_count(out, NULL, histogram->count[i]);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

static void write_decoder(xci_json_out *out, const xci_card *card, size_t n) {
  xci_json_line(out);
  xci_json_numbers(out, "decoder_norm", card->norm, n);
  xci_json_numbers(out, "rel_dec", card->share, n);
  xci_json_open(out, "decoder_cosine", '[');
  for (size_t c = 0; c < n; c++) xci_json_numbers(out, NULL, card->cosine + c * n, n);
  xci_json_close(out, ']');
  xci_json_open(out, "nearest", '[');
  for (size_t k = 0; k < card->n_nearest; k++) {
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "feature", card->nearest[k].feature);
    xci_json_number(out, "cosine", card->nearest[k].cosine);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static xcoder_status write_card(xci_json_out *out, const xci_cards *cards, const xci_card *card, xcoder_error *err) {
  const xci_activity *activity = &cards->activity[card->feature];
  double entropy, top_share;
  size_t n_entries;
  const xci_token_entry *entry = xci_token_profile_find(&cards->profile, card->feature, &n_entries);
  const xcoder_status status =
      xci_token_profile_measure(entry, n_entries, cards->n_types, &entropy, &top_share, err);
  if (status) return status;
  xci_json_line(out);
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "feature", card->feature);
  xci_json_number(out, "density", cards->n_tokens ? (double)activity->fired / (double)cards->n_tokens : NAN);
  xci_json_float(out, "max", activity->max);
  xci_json_number(out, "mean_active", activity->fired ? activity->sum / (double)activity->fired : NAN);
  xci_json_number(out, "token_entropy", activity->fired ? entropy : NAN);
  xci_json_number(out, "top_token_share", activity->fired ? top_share : NAN);
  write_histogram(out, &card->histogram);
  write_decoder(out, card, cards->bench->n);
  write_logits(out, "promoted", cards, card, card->promoted);
  write_logits(out, "suppressed", cards, card, card->suppressed);
  xci_json_line(out);
  xci_json_open(out, "contexts", '[');
  for (size_t k = 0; k < card->contexts.n; k++) write_context(out, cards, &card->contexts.item[k]);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
  return XCODER_OK;
}

static xcoder_status write_cards(xci_json_out *out, const xci_cards *cards, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_texts(out, "labels", cards->bench->info->labels, cards->bench->n);
  xci_json_integer(out, "layer", cards->bench->info->layer);
  xci_json_count(out, "n_tokens", cards->n_tokens);
  xci_json_count(out, "n_token_types", cards->n_types);
  xci_json_open(out, "features", '[');
  for (size_t k = 0; !status && k < cards->n; k++) status = write_card(out, cards, &cards->card[k], err);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
  return status;
}

/* The tokens with the most activation, as JSON strings so that blanks in them can be told from the separators. */
static void add_top_tokens(xci_text *table, const xci_cards *cards, const xci_token_entry *entry, size_t n) {
  xci_text text = {0};
  for (size_t k = 0; k < n && k < N_TOP_TOKENS; k++) {
    size_t n_bytes;
    const char *bytes = xci_token_text(cards->bench->setting->tokenizer, entry[k].token, &n_bytes);
    xci_text_add(&text, k ? " \"" : "\"");
    xci_text_json(&text, bytes, n_bytes);
    xci_text_add(&text, "\"");
  }
  if (text.bytes) xci_text_csv(table, text.bytes, text.n_bytes);
  if (text.failed) table->failed = true;
  xci_text_clear(&text);
}

static xcoder_status write_table(xci_text *table, const xci_cards *cards, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_text_add(table, "feature,density,max,mean_active,token_entropy,top_token_share,top_tokens\n");
  for (size_t i = 0; !status && i < cards->bench->n_latents; i++) {
    const xci_activity *activity = &cards->activity[i];
    double entropy, top_share;
    size_t n_entries;
    if (activity->fired == 0) continue;
    const xci_token_entry *entry = xci_token_profile_find(&cards->profile, (uint32_t)i, &n_entries);
    status = xci_token_profile_measure(entry, n_entries, cards->n_types, &entropy, &top_share, err);
    const double value[] = {(double)activity->fired / (double)cards->n_tokens, (double)activity->max,
                            activity->sum / (double)activity->fired, entropy, top_share};
    xci_text_format(table, "%zu,", i);
    for (size_t k = 0; k < sizeof value / sizeof *value; k++) {
      if (k == 1) xci_text_float(table, activity->max);
      else xci_text_number(table, value[k]);
      xci_text_add(table, ",");
    }
    add_top_tokens(table, cards, entry, n_entries);
    xci_text_add(table, "\n");
  }
  return status;
}

xcoder_status xci_cards_write(const xci_cards *cards, const char *run_directory, xcoder_error *err) {
  xci_json_out out = {0};
  xci_text table = {0};
  char *json_path = NULL, *csv_path = NULL;
  xcoder_status status = xci_run_path(run_directory, "features", "features", ".json", &json_path, err);
  if (!status) status = xci_run_path(run_directory, "features", "features", ".csv", &csv_path, err);
  if (!status) status = write_table(&table, cards, err);
  if (!status) status = write_cards(&out, cards, err);
  if (!status) status = xci_write_text(csv_path, &table, err);
  if (!status) status = xci_write_text(json_path, &out.text, err);
  xci_text_clear(&out.text);
  xci_text_clear(&table);
  xci_free(json_path);
  xci_free(csv_path);
  return status;
}
