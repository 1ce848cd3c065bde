/* SPDX-License-Identifier: Apache-2.0 */
/* The description of all features of a crosscoder, and cards out of it. */
#include "analysis/features/feature_cards.h"

#include "analysis/features/token_labels.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"

static const xcoder_features_options defaults = {.n_contexts = 12, .context_before = 20, .context_after = 10,
                                                 .n_logits = 10, .n_quantiles = 10, .n_negatives = 4};

static xcoder_status mark(const uint32_t *features, size_t n, size_t n_latents, uint8_t *chosen, xcoder_error *err) {
  for (size_t k = 0; k < n; k++) {
    if (features[k] >= n_latents)
      return xci_fail(err, XCODER_USAGE, "feature %u does not exist, the crosscoder has features 0 to %zu", features[k],
                      n_latents - 1);
    chosen[features[k]] = 1;
  }
  return XCODER_OK;
}

static size_t largest_vocabulary(const xci_bench *bench) {
  size_t n_vocab = 0;
  for (size_t c = 0; c < bench->n; c++)
    n_vocab = xci_max_size(n_vocab, xcoder_model_describe(bench->setting->models[c])->n_vocab);
  return n_vocab;
}

xcoder_status xcoder_describe_features(const xcoder_setting *setting, const xcoder_tokens *corpus,
                                       const uint32_t *features, size_t n_features,
                                       const xcoder_features_options *options, const char *run_directory,
                                       xcoder_error *err) {
  xci_bench bench;
  xci_database db = {0};
  uint8_t *chosen = NULL;
  if (!options) options = &defaults;
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = XCI_ALLOC(&chosen, bench.n_latents, err);
  if (!status) status = mark(features, n_features, bench.n_latents, chosen, err);
  if (!status) status = xci_database_scan(&bench, corpus, options, chosen, &db, err);
  if (!status) status = xci_database_add_prompts(&bench, options->tasks, options->n_tasks, &db, err);
  if (!status) status = xci_database_look(&bench, &db, err);
  if (!status) status = xci_database_add_texts(setting->tokenizer, largest_vocabulary(&bench), &db, err);
  if (!status && options->token_labels)
    status = xci_token_labels_measure(&bench, options->token_labels, &db, run_directory, err);
  if (!status) status = xci_database_write(&db, run_directory, err);
  if (!status) status = xci_cards_write(&db, features, n_features, run_directory, err);
  xci_database_close(&db);
  xci_free(chosen);
  return status;
}

xcoder_status xcoder_feature_card(const char *run_directory, uint32_t feature, char **json, xcoder_error *err) {
  xci_database db = {0};
  xci_json_out out = {0};
  char *path = NULL;
  *json = NULL;
  xcoder_status status = xci_join_path(run_directory, "features/database.safetensors", &path, err);
  if (!status && !xci_exists(path))
    status = xci_fail(err, XCODER_MISSING, "%s: it is not there yet (crosscoder features)", path);
  if (!status) status = xci_database_open(path, &feature, &db, err);
  if (!status) {
    xci_json_open(&out, NULL, '{');
    xci_json_open(&out, "labels", '[');
    for (size_t c = 0; c < db.size.n; c++) xci_json_text(&out, NULL, db.labels[c]);
    xci_json_close(&out, ']');
    xci_card_write(&out, "card", &db, 0);
    xci_json_close(&out, '}');
    status = xci_text_status(&out.text, err);
  }
  if (!status) status = xci_copy_text(out.text.bytes, json, err);
  xci_text_clear(&out.text);
  xci_database_close(&db);
  xci_free(path);
  return status;
}
