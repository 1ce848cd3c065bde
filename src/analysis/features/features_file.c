/* SPDX-License-Identifier: Apache-2.0 */
/* features/features.json and features/features.csv, from the database. */
#include "analysis/features/feature_cards.h"
#include "base/memory.h"
#include <math.h>

static void write_token(xci_json_out *out, const char *key, const xci_database *db, int32_t id) {
  size_t n_bytes;
  const char *bytes = xci_database_token(db, id, &n_bytes);
  xci_json_bytes(out, key, bytes, n_bytes);
}

static void write_logits(xci_json_out *out, const char *key, const xci_database *db, const int32_t *token,
                         const float *logit) {
  const size_t k = db->size.n_logits;
  xci_json_line(out);
  xci_json_open(out, key, '[');
  for (size_t c = 0; c < db->size.n; c++) {
    xci_json_open(out, NULL, '[');
    for (size_t j = c * k; j < (c + 1) * k && token[j] >= 0; j++) {
      xci_json_open(out, NULL, '{');
      write_token(out, "token", db, token[j]);
      xci_json_count(out, "id", (uint64_t)token[j]);
      xci_json_float(out, "logit", logit[j]);
      xci_json_close(out, '}');
    }
    xci_json_close(out, ']');
  }
  xci_json_close(out, ']');
}

/* Shares of every token where they were kept, and at the place itself. */
static void write_shares(xci_json_out *out, const xci_database *db, size_t row, size_t slot, size_t first, size_t end) {
  const size_t n = db->size.n, width = xci_sizes_width(&db->size), slots = xci_sizes_slots(&db->size);
  const float *window = db->window && slot < db->size.n_top ? db->window[row] : NULL;
  if (window) {
    xci_json_open(out, "per_checkpoint", '[');
    for (size_t c = 0; c < n; c++) {
      xci_json_open(out, NULL, '[');
      for (size_t k = first; k < end; k++) xci_json_float(out, NULL, window[(slot * n + c) * width + k]);
      xci_json_close(out, ']');
    }
    xci_json_close(out, ']');
  }
  xci_json_open(out, "share", '[');
  for (size_t c = 0; c < n; c++) xci_json_float(out, NULL, db->context_share[(row * slots + slot) * n + c]);
  xci_json_close(out, ']');
}

static void write_context(xci_json_out *out, const xci_database *db, size_t row, size_t slot) {
  const size_t width = xci_sizes_width(&db->size), at = row * xci_sizes_slots(&db->size) + slot;
  const int32_t *token = db->context_tokens + at * width;
  const float *activation = db->context_activation + at * width;
  size_t first = 0, end = width;
  while (first < width && token[first] < 0) first++;
  while (end > first && token[end - 1] < 0) end--;
  xci_json_line(out);
  xci_json_open(out, NULL, '{');
  xci_json_open(out, "tokens", '[');
  for (size_t k = first; k < end; k++) write_token(out, NULL, db, token[k]);
  xci_json_close(out, ']');
  xci_json_open(out, "activation", '[');
  for (size_t k = first; k < end; k++) xci_json_float(out, NULL, activation[k]);
  xci_json_close(out, ']');
  xci_json_count(out, "peak", db->size.before >= first ? db->size.before - first : 0);
  write_shares(out, db, row, slot, first, end);
  xci_json_integer(out, "sequence", db->context_sequence[at]);
  xci_json_integer(out, "position", db->context_position[at]);
  xci_json_close(out, '}');
}

static void write_contexts(xci_json_out *out, const char *key, const xci_database *db, size_t row, size_t first,
                           size_t n) {
  const int64_t *sequence = db->context_sequence + row * xci_sizes_slots(&db->size);
  xci_json_line(out);
  xci_json_open(out, key, '[');
  for (size_t k = first; k < first + n; k++)
    if (sequence[k] >= 0) write_context(out, db, row, k);
  xci_json_close(out, ']');
}

static void write_histogram(xci_json_out *out, const xci_database *db, size_t row) {
  const int64_t *count = db->histogram + row * XCI_HISTOGRAM_BINS;
  size_t used = XCI_HISTOGRAM_BINS;
  while (used > 0 && count[used - 1] == 0) used--;
  xci_json_line(out);
  xci_json_open(out, "histogram", '{');
  xci_json_open(out, "edges", '[');
  for (size_t i = 0; used && i <= used; i++)
    xci_json_number(out, NULL, db->histogram_range[row] * (double)i / XCI_HISTOGRAM_BINS);
  xci_json_close(out, ']');
  xci_json_open(out, "counts", '[');
  for (size_t i = 0; i < used; i++) xci_json_integer(out, NULL, count[i]);
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

static void write_decoder(xci_json_out *out, const xci_database *db, size_t row) {
  const size_t n = db->size.n;
  xci_json_line(out);
  xci_json_numbers(out, "decoder_norm", db->decoder_norm + row * n, n);
  xci_json_numbers(out, "rel_dec", db->decoder_share + row * n, n);
  xci_json_open(out, "decoder_cosine", '[');
  for (size_t c = 0; c < n; c++) xci_json_numbers(out, NULL, db->decoder_cosine + (row * n + c) * n, n);
  xci_json_close(out, ']');
  xci_json_open(out, "nearest", '[');
  for (size_t k = row * XCI_N_NEAREST; k < (row + 1) * XCI_N_NEAREST && db->nearest[k] >= 0; k++) {
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "feature", (uint64_t)db->nearest[k]);
    xci_json_number(out, "cosine", db->nearest_cosine[k]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_densities(xci_json_out *out, const char *key, const char *name, char *const *names,
                            const double *density, size_t n) {
  xci_json_line(out);
  xci_json_open(out, key, '[');
  for (size_t k = 0; k < n; k++) {
    xci_json_open(out, NULL, '{');
    xci_json_text(out, name, names[k]);
    xci_json_number(out, "density", density[k]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_predictions(xci_json_out *out, const xci_database *db, size_t row) {
  xci_json_line(out);
  xci_json_open(out, "predicts", '[');
  for (size_t c = 0; c < db->size.n; c++) {
    const size_t at = row * db->size.n + c;
    if (db->predicted_label[at] < 0 || (size_t)db->predicted_label[at] >= db->size.n_token_labels) continue;
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "checkpoint", db->labels[c]);
    xci_json_text(out, "label", db->token_labels[db->predicted_label[at]]);
    xci_json_number(out, "auc", db->predicted_auc[at]);
    xci_json_number(out, "low", db->predicted_low[at]);
    xci_json_number(out, "high", db->predicted_high[at]);
    xci_json_number(out, "p", db->predicted_p[at]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static double density(const xci_database *db, size_t row) {
  return db->n_tokens ? (double)db->fired[row] / (double)db->n_tokens : NAN;
}

void xci_card_write(xci_json_out *out, const char *key, const xci_database *db, size_t row) {
  const xci_sizes *s = &db->size;
  const size_t logits = row * s->n * s->n_logits;
  xci_json_line(out);
  xci_json_open(out, key, '{');
  xci_json_count(out, "feature", (uint64_t)db->feature[row]);
  xci_json_number(out, "density", density(db, row));
  xci_json_float(out, "max", db->max[row]);
  xci_json_number(out, "mean_active", db->mean_active[row]);
  xci_json_number(out, "token_entropy", db->token_entropy[row]);
  xci_json_number(out, "top_token_share", db->top_token_share[row]);
  xci_json_numbers(out, "token_entropy_checkpoint", db->token_entropy_checkpoint + row * s->n, s->n);
  xci_json_numbers(out, "top_token_share_checkpoint", db->top_token_share_checkpoint + row * s->n, s->n);
  xci_json_numbers(out, "activation_share", db->activation_share + row * s->n, s->n);
  write_histogram(out, db, row);
  write_decoder(out, db, row);
  write_densities(out, "tasks", "task", db->tasks, db->density_task + row * s->n_tasks, s->n_tasks);
  write_densities(out, "languages", "language", db->languages, db->density_language + row * s->n_languages,
                  s->n_languages);
  write_predictions(out, db, row);
  write_logits(out, "promoted", db, db->promoted + logits, db->promoted_logit + logits);
  write_logits(out, "suppressed", db, db->suppressed + logits, db->suppressed_logit + logits);
  write_contexts(out, "contexts", db, row, 0, s->n_top);
  write_contexts(out, "quantile_contexts", db, row, s->n_top, s->n_spread);
  write_contexts(out, "negative_contexts", db, row, s->n_top + s->n_spread, s->n_negative);
  xci_json_close(out, '}');
}

static void write_file(xci_json_out *out, const xci_database *db, const uint32_t *features, size_t n, uint8_t *done) {
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_open(out, "labels", '[');
  for (size_t c = 0; c < db->size.n; c++) xci_json_text(out, NULL, db->labels[c]);
  xci_json_close(out, ']');
  xci_json_integer(out, "layer", db->layer);
  xci_json_count(out, "n_tokens", db->n_tokens);
  xci_json_count(out, "n_token_types", db->n_types);
  xci_json_open(out, "features", '[');
  for (size_t k = 0; k < n; k++) {
    const size_t row = xci_database_row(db, features[k]);
    if (row == SIZE_MAX || done[row]) continue;
    xci_card_write(out, NULL, db, row);
    done[row] = 1;
  }
  xci_json_close(out, ']');
  xci_json_close(out, '}');
}

/* ---- features.csv ---- */

static void add_names(xci_text *table, const char *prefix, char *const *names, size_t n) {
  for (size_t k = 0; k < n; k++) {
    xci_text name = {0};
    xci_text_format(&name, "%s%s", prefix, names[k]);
    xci_text_add(table, ",");
    if (name.bytes) xci_text_csv(table, name.bytes, name.n_bytes);
    if (name.failed) table->failed = true;
    xci_text_clear(&name);
  }
}

static void add_numbers(xci_text *table, const double *value, size_t n) {
  for (size_t k = 0; k < n; k++) {
    xci_text_add(table, ",");
    if (isfinite(value[k])) xci_text_number(table, value[k]);
  }
}

/* The tokens with the most activation, as JSON strings so that blanks in them can be told from the separators. */
static void add_top_tokens(xci_text *table, const xci_database *db, size_t row) {
  xci_text text = {0};
  for (size_t k = row * XCI_N_TOP_TOKENS; k < (row + 1) * XCI_N_TOP_TOKENS && db->top_tokens[k] >= 0; k++) {
    size_t n_bytes;
    const char *bytes = xci_database_token(db, db->top_tokens[k], &n_bytes);
    xci_text_add(&text, k > row * XCI_N_TOP_TOKENS ? " \"" : "\"");
    xci_text_json(&text, bytes, n_bytes);
    xci_text_add(&text, "\"");
  }
  xci_text_add(table, ",");
  if (text.bytes) xci_text_csv(table, text.bytes, text.n_bytes);
  if (text.failed) table->failed = true;
  xci_text_clear(&text);
}

static void write_table(xci_text *table, const xci_database *db) {
  const xci_sizes *s = &db->size;
  const size_t n = s->n;
  xci_text_add(table, "feature,density,max,mean_active,token_entropy,top_token_share,top_tokens");
  add_names(table, "token_entropy_", db->labels, n);
  add_names(table, "top_token_share_", db->labels, n);
  add_names(table, "activation_share_", db->labels, n);
  add_names(table, "decoder_norm_", db->labels, n);
  add_names(table, "rel_dec_", db->labels, n);
  add_names(table, "density_task_", db->tasks, s->n_tasks);
  add_names(table, "density_language_", db->languages, s->n_languages);
  xci_text_add(table, "\n");
  for (size_t i = 0; i < s->rows; i++) {
    if (db->fired[i] == 0) continue;
    const double first = density(db, i);
    const double rest[] = {db->mean_active[i], db->token_entropy[i], db->top_token_share[i]};
    xci_text_format(table, "%ld", (long)db->feature[i]);
    add_numbers(table, &first, 1);
    xci_text_add(table, ",");
    xci_text_float(table, db->max[i]);
    add_numbers(table, rest, 3);
    add_top_tokens(table, db, i);
    add_numbers(table, db->token_entropy_checkpoint + i * n, n);
    add_numbers(table, db->top_token_share_checkpoint + i * n, n);
    add_numbers(table, db->activation_share + i * n, n);
    add_numbers(table, db->decoder_norm + i * n, n);
    add_numbers(table, db->decoder_share + i * n, n);
    add_numbers(table, db->density_task + i * s->n_tasks, s->n_tasks);
    add_numbers(table, db->density_language + i * s->n_languages, s->n_languages);
    xci_text_add(table, "\n");
  }
}

xcoder_status xci_cards_write(const xci_database *db, const uint32_t *features, size_t n_features,
                              const char *run_directory, xcoder_error *err) {
  xci_json_out out = {0};
  xci_text table = {0};
  char *json_path = NULL, *csv_path = NULL;
  uint8_t *done = NULL;
  xcoder_status status = xci_run_path(run_directory, "features", "features", ".json", &json_path, err);
  if (!status) status = xci_run_path(run_directory, "features", "features", ".csv", &csv_path, err);
  if (!status) status = XCI_ALLOC(&done, db->size.rows, err);
  if (!status) {
    write_table(&table, db);
    write_file(&out, db, features, n_features, done);
    status = xci_write_text(csv_path, &table, err);
  }
  if (!status) status = xci_write_text(json_path, &out.text, err);
  xci_text_clear(&out.text);
  xci_text_clear(&table);
  xci_free(done);
  xci_free(json_path);
  xci_free(csv_path);
  return status;
}
