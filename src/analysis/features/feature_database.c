/* SPDX-License-Identifier: Apache-2.0 */
/* The arrays of the database of features: one table says what they are called, hold and measure. */
#include "analysis/features/feature_database.h"

#include "analysis/json_out.h"
#include "base/memory.h"
#include "base/size.h"
#include "formats/json.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Dimensions behind the rows. */
typedef enum dimension { END, CHECKPOINTS, BINS, TASKS, LANGUAGES, NEAREST, TOKENS, LOGITS, SLOTS, WIDTH } dimension;

static const struct {
  const char *name;
  size_t offset; /* of the pointer in xci_database */
  xci_dtype dtype;
  dimension dimensions[3];
} arrays[] = {
#define ARRAY(name, dtype, ...) {#name, offsetof(xci_database, name), dtype, {__VA_ARGS__}}
    ARRAY(feature, XCI_I32, END),
    ARRAY(fired, XCI_I64, END),
    ARRAY(max, XCI_F32, END),
    ARRAY(mean_active, XCI_F64, END),
    ARRAY(token_entropy, XCI_F64, END),
    ARRAY(top_token_share, XCI_F64, END),
    ARRAY(token_entropy_checkpoint, XCI_F64, CHECKPOINTS),
    ARRAY(top_token_share_checkpoint, XCI_F64, CHECKPOINTS),
    ARRAY(activation_share, XCI_F64, CHECKPOINTS),
    ARRAY(token_types, XCI_I64, END),
    ARRAY(token_types_merged, XCI_I64, END),
    ARRAY(top_tokens, XCI_I32, TOKENS),
    ARRAY(histogram_range, XCI_F64, END),
    ARRAY(histogram, XCI_I64, BINS),
    ARRAY(density_task, XCI_F64, TASKS),
    ARRAY(density_language, XCI_F64, LANGUAGES),
    ARRAY(decoder_norm, XCI_F64, CHECKPOINTS),
    ARRAY(decoder_share, XCI_F64, CHECKPOINTS),
    ARRAY(decoder_cosine, XCI_F64, CHECKPOINTS, CHECKPOINTS),
    ARRAY(nearest, XCI_I32, NEAREST),
    ARRAY(nearest_cosine, XCI_F64, NEAREST),
    ARRAY(promoted, XCI_I32, CHECKPOINTS, LOGITS),
    ARRAY(suppressed, XCI_I32, CHECKPOINTS, LOGITS),
    ARRAY(promoted_logit, XCI_F32, CHECKPOINTS, LOGITS),
    ARRAY(suppressed_logit, XCI_F32, CHECKPOINTS, LOGITS),
    ARRAY(context_sequence, XCI_I64, SLOTS),
    ARRAY(context_position, XCI_I32, SLOTS),
    ARRAY(context_tokens, XCI_I32, SLOTS, WIDTH),
    ARRAY(context_activation, XCI_F32, SLOTS, WIDTH),
    ARRAY(context_share, XCI_F32, SLOTS, CHECKPOINTS),
    ARRAY(predicted_label, XCI_I32, CHECKPOINTS),
    ARRAY(predicted_auc, XCI_F64, CHECKPOINTS),
    ARRAY(predicted_low, XCI_F64, CHECKPOINTS),
    ARRAY(predicted_high, XCI_F64, CHECKPOINTS),
    ARRAY(predicted_p, XCI_F64, CHECKPOINTS)};

enum { N_ARRAYS = sizeof arrays / sizeof *arrays };

static size_t measure(const xci_sizes *s, dimension d) {
  switch (d) {
    case CHECKPOINTS: return s->n;
    case BINS: return XCI_HISTOGRAM_BINS;
    case TASKS: return s->n_tasks;
    case LANGUAGES: return s->n_languages;
    case NEAREST: return XCI_N_NEAREST;
    case TOKENS: return XCI_N_TOP_TOKENS;
    case LOGITS: return s->n_logits;
    case SLOTS: return xci_sizes_slots(s);
    case WIDTH: return xci_sizes_width(s);
    case END: break;
  }
  return 1;
}

/* shape[3], its rank, and the values in a row; false on overflow. */
static bool shape_of(const xci_sizes *s, size_t a, size_t shape[3], size_t *rank, size_t *per_row) {
  shape[0] = s->rows;
  *rank = 1;
  *per_row = 1;
  for (size_t k = 0; k < 2 && arrays[a].dimensions[k] != END; k++) {
    shape[*rank] = measure(s, arrays[a].dimensions[k]);
    if (!xci_mul_size(*per_row, shape[*rank], per_row)) return false;
    ++*rank;
  }
  return true;
}

static void **place(const xci_database *database, size_t a) {
  return (void **)((char *)(uintptr_t)database + arrays[a].offset);
}

xcoder_status xci_database_allocate(xci_database *database, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t a = 0; !status && a < N_ARRAYS; a++) {
    size_t shape[3], rank, per_row, count;
    if (!shape_of(&database->size, a, shape, &rank, &per_row) || !xci_mul_size(per_row, shape[0], &count))
      return xci_fail(err, XCODER_MEMORY, "features: array '%s' is too large", arrays[a].name);
    void *values = NULL;
    status = xci_alloc(count, xci_dtype_bytes(arrays[a].dtype), &values, err);
    *place(database, a) = values;
  }
  const size_t rows = database->size.rows, slots = xci_sizes_slots(&database->size);
  const size_t n_logits = database->size.n * database->size.n_logits;
  for (size_t i = 0; !status && i < rows * slots; i++) database->context_sequence[i] = -1;
  for (size_t i = 0; !status && i < rows * slots * xci_sizes_width(&database->size); i++)
    database->context_tokens[i] = -1;
  for (size_t i = 0; !status && i < rows * XCI_N_NEAREST; i++) database->nearest[i] = -1;
  for (size_t i = 0; !status && i < rows * XCI_N_TOP_TOKENS; i++) database->top_tokens[i] = -1;
  for (size_t i = 0; !status && i < rows * n_logits; i++) database->promoted[i] = database->suppressed[i] = -1;
  for (size_t i = 0; !status && i < rows * database->size.n; i++) {
    database->predicted_label[i] = -1;
    database->predicted_auc[i] = database->predicted_low[i] = database->predicted_high[i] = NAN;
    database->predicted_p[i] = NAN;
  }
  return status;
}

static void free_names(char **names, size_t n) {
  for (size_t i = 0; names && i < n; i++) xci_free(names[i]);
  xci_free(names);
}

void xci_database_close(xci_database *database) {
  for (size_t i = 0; database->window && i < database->size.rows; i++) xci_free(database->window[i]);
  xci_free(database->window);
  for (size_t a = 0; a < N_ARRAYS; a++) xci_free(*place(database, a));
  free_names(database->labels, database->size.n);
  free_names(database->tasks, database->size.n_tasks);
  free_names(database->languages, database->size.n_languages);
  free_names(database->token_labels, database->size.n_token_labels);
  xci_free(database->token_start);
  xci_free(database->token_bytes);
  *database = (xci_database){0};
}

size_t xci_database_row(const xci_database *database, uint32_t feature) {
  size_t low = 0, high = database->size.rows;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if ((uint32_t)database->feature[middle] < feature) low = middle + 1;
    else high = middle;
  }
  return low < database->size.rows && (uint32_t)database->feature[low] == feature ? low : SIZE_MAX;
}

const char *xci_database_token(const xci_database *database, int32_t token, size_t *n_bytes) {
  *n_bytes = 0;
  if (token < 0 || (size_t)token >= database->n_vocab) return "";
  const int64_t first = database->token_start[token];
  *n_bytes = (size_t)(database->token_start[token + 1] - first);
  return (const char *)database->token_bytes + first;
}

xcoder_status xci_database_add_texts(const xcoder_tokenizer *tokenizer, size_t n_vocab, xci_database *database,
                                     xcoder_error *err) {
  size_t total = 0, n_bytes;
  if (!tokenizer) return XCODER_OK;
  for (size_t v = 0; v < n_vocab; v++) {
    xci_token_text(tokenizer, (uint32_t)v, &n_bytes);
    total += n_bytes;
  }
  xcoder_status status = XCI_ALLOC(&database->token_start, n_vocab + 1, err);
  if (!status) status = XCI_ALLOC(&database->token_bytes, total, err);
  if (status) return status;
  total = 0;
  for (size_t v = 0; v < n_vocab; v++) {
    const char *bytes = xci_token_text(tokenizer, (uint32_t)v, &n_bytes);
    memcpy(database->token_bytes + total, bytes, n_bytes);
    total += n_bytes;
    database->token_start[v + 1] = (int64_t)total;
  }
  database->n_vocab = n_vocab;
  return XCODER_OK;
}

/* ---- Writing ---- */

static xcoder_status add_names(xci_safetensors_writer *writer, const char *key, char *const *names, size_t n,
                               xcoder_error *err) {
  xci_json_out out = {0};
  xci_json_open(&out, NULL, '[');
  for (size_t i = 0; i < n; i++) xci_json_text(&out, NULL, names[i]);
  xci_json_close(&out, ']');
  xcoder_status status = xci_text_status(&out.text, err);
  if (!status) status = xci_safetensors_add_metadata(writer, key, out.text.bytes, err);
  xci_text_clear(&out.text);
  return status;
}

static xcoder_status add_facts(xci_safetensors_writer *writer, const xci_database *database, xcoder_error *err) {
  const xci_sizes *s = &database->size;
  char text[640];
  snprintf(text, sizeof text,
           "{\"format\": 1, \"layer\": %ld, \"n_latents\": %zu, \"n_tokens\": %llu, \"n_token_types\": %llu, "
           "\"contexts_top\": %zu, \"contexts_quantile\": %zu, \"contexts_negative\": %zu, \"context_before\": %zu, "
           "\"context_after\": %zu, \"n_logits\": %zu}",
           database->layer, database->n_latents, (unsigned long long)database->n_tokens,
           (unsigned long long)database->n_types, s->n_top, s->n_spread, s->n_negative, s->before, s->after,
           s->n_logits);
  xcoder_status status = xci_safetensors_add_metadata(writer, "features", text, err);
  if (!status) status = add_names(writer, "labels", database->labels, s->n, err);
  if (!status) status = add_names(writer, "tasks", database->tasks, s->n_tasks, err);
  if (!status) status = add_names(writer, "languages", database->languages, s->n_languages, err);
  if (!status) status = add_names(writer, "token_labels", database->token_labels, s->n_token_labels, err);
  return status;
}

xcoder_status xci_database_write(const xci_database *database, const char *run_directory, xcoder_error *err) {
  xci_safetensors_writer *writer = NULL;
  char *path = NULL;
  xcoder_status status = xci_run_path(run_directory, "features", "database", ".safetensors", &path, err);
  if (!status) status = xci_safetensors_create(&writer, err);
  if (!status) status = add_facts(writer, database, err);
  for (size_t a = 0; !status && a < N_ARRAYS; a++) {
    size_t shape[3], rank, per_row;
    shape_of(&database->size, a, shape, &rank, &per_row);
    status = xci_safetensors_add(writer, arrays[a].name, arrays[a].dtype, rank, shape, *place(database, a), err);
  }
  if (!status && database->n_vocab) {
    const size_t n_start = database->n_vocab + 1, n_bytes = (size_t)database->token_start[database->n_vocab];
    status = xci_safetensors_add(writer, "token_start", XCI_I64, 1, &n_start, database->token_start, err);
    if (!status) status = xci_safetensors_add(writer, "token_bytes", XCI_U8, 1, &n_bytes, database->token_bytes, err);
  }
  if (!status) status = xci_safetensors_write(writer, path, err);
  xci_safetensors_discard(writer);
  xci_free(path);
  return status;
}

/* ---- Reading ---- */

static xcoder_status read_names(const xci_safetensors *file, const char *key, char ***names, size_t *n,
                                xcoder_error *err) {
  const char *path = xci_safetensors_path(file), *text = xci_safetensors_metadata(file, key);
  json_t *list = NULL;
  if (!text) return xci_fail(err, XCODER_FORMAT, "%s: metadata: no '%s'", path, key);
  xcoder_status status = xci_json_parse(text, strlen(text), path, 0, &list, err);
  if (!status && !json_is_array(list)) status = xci_fail(err, XCODER_FORMAT, "%s: '%s' is no list", path, key);
  if (!status) status = XCI_ALLOC(names, json_array_size(list), err);
  for (size_t i = 0; !status && i < json_array_size(list); i++) {
    const char *name = json_string_value(json_array_get(list, i));
    if (!name) status = xci_fail(err, XCODER_FORMAT, "%s: '%s': entry %zu is no text", path, key, i);
    else status = xci_copy_text(name, &(*names)[i], err);
    if (!status) *n = i + 1;
  }
  json_decref(list);
  return status;
}

static xcoder_status read_facts(const xci_safetensors *file, xci_database *database, xcoder_error *err) {
  const char *path = xci_safetensors_path(file), *text = xci_safetensors_metadata(file, "features");
  xci_sizes *s = &database->size;
  json_t *facts = NULL;
  size_t n_tokens = 0, n_types = 0;
  if (!text) return xci_fail(err, XCODER_FORMAT, "%s: expected a database of features", path);
  xcoder_status status = xci_json_parse(text, strlen(text), path, 0, &facts, err);
  const struct {
    const char *key;
    size_t *value;
  } sizes[] = {{"n_latents", &database->n_latents}, {"n_tokens", &n_tokens}, {"n_token_types", &n_types},
               {"contexts_top", &s->n_top}, {"contexts_quantile", &s->n_spread},
               {"contexts_negative", &s->n_negative}, {"context_before", &s->before}, {"context_after", &s->after},
               {"n_logits", &s->n_logits}};
  for (size_t k = 0; !status && k < sizeof sizes / sizeof *sizes; k++)
    status = xci_json_get_size(facts, path, sizes[k].key, NULL, sizes[k].value, err);
  for (size_t k = 3; !status && k < sizeof sizes / sizeof *sizes; k++) /* sums of them must not overflow */
    if (*sizes[k].value > 1 << 20) status = xci_fail(err, XCODER_FORMAT, "%s: '%s' is too large", path, sizes[k].key);
  database->n_tokens = n_tokens;
  database->n_types = n_types;
  database->layer = (long)json_integer_value(json_object_get(facts, "layer"));
  json_decref(facts);
  if (!status) status = read_names(file, "labels", &database->labels, &s->n, err);
  if (!status) status = read_names(file, "tasks", &database->tasks, &s->n_tasks, err);
  if (!status) status = read_names(file, "languages", &database->languages, &s->n_languages, err);
  if (!status) status = read_names(file, "token_labels", &database->token_labels, &s->n_token_labels, err);
  return status;
}

static xcoder_status check_array(const xci_safetensors *file, size_t a, size_t rows, const xci_database *database,
                                 xcoder_error *err) {
  const xci_tensor *tensor = xci_safetensors_find(file, arrays[a].name);
  size_t shape[3], rank, per_row;
  bool fits = shape_of(&database->size, a, shape, &rank, &per_row) && tensor && tensor->dtype == arrays[a].dtype &&
              tensor->rank == rank && tensor->shape[0] == rows;
  for (size_t k = 1; fits && k < rank; k++) fits = tensor->shape[k] == shape[k];
  return fits ? XCODER_OK
              : xci_fail(err, XCODER_FORMAT, "%s: array '%s' is missing or of another shape",
                         xci_safetensors_path(file), arrays[a].name);
}

/* Bytes of the file are little-endian; so is every machine that this is built for. */
static void read_array(const xci_safetensors *file, size_t a, size_t first, xci_database *database) {
  size_t shape[3], rank, per_row;
  shape_of(&database->size, a, shape, &rank, &per_row);
  const size_t bytes = xci_dtype_bytes(arrays[a].dtype) * per_row;
  if (bytes && database->size.rows)
    memcpy(*place(database, a), xci_safetensors_find(file, arrays[a].name)->bytes + first * bytes,
           bytes * database->size.rows);
}

static xcoder_status read_token_texts(const xci_safetensors *file, xci_database *database, xcoder_error *err) {
  const xci_tensor *start = xci_safetensors_find(file, "token_start");
  const xci_tensor *bytes = xci_safetensors_find(file, "token_bytes");
  if (!start || !bytes) return XCODER_OK;
  if (start->dtype != XCI_I64 || bytes->dtype != XCI_U8 || start->n_values < 2)
    return xci_fail(err, XCODER_FORMAT, "%s: texts of tokens are damaged", xci_safetensors_path(file));
  xcoder_status status = XCI_ALLOC(&database->token_start, start->n_values, err);
  if (!status) status = XCI_ALLOC(&database->token_bytes, bytes->n_values + 1, err);
  if (!status) status = xci_tensor_to_i64(start, database->token_start, err);
  if (status) return status;
  memcpy(database->token_bytes, bytes->bytes, bytes->n_values);
  int64_t last = 0;
  for (size_t v = 0; v < start->n_values; v++) {
    if (database->token_start[v] < last || (uint64_t)database->token_start[v] > bytes->n_values)
      return xci_fail(err, XCODER_FORMAT, "%s: texts of tokens are damaged", xci_safetensors_path(file));
    last = database->token_start[v];
  }
  database->n_vocab = start->n_values - 1;
  return XCODER_OK;
}

/* Rows must ascend and stay within the crosscoder, since they are looked up and used as places. */
static xcoder_status check_features(const xci_tensor *tensor, const char *path, size_t n_latents,
                                    const uint32_t *wanted, size_t *first, xcoder_error *err) {
  bool found = false;
  int64_t before = -1;
  for (size_t i = 0; i < tensor->shape[0]; i++) {
    int32_t id;
    memcpy(&id, tensor->bytes + i * sizeof id, sizeof id);
    if (id <= before || (uint64_t)id >= n_latents)
      return xci_fail(err, XCODER_FORMAT, "%s: array 'feature': entry %zu is %ld, expected ascending numbers below %zu",
                      path, i, (long)id, n_latents);
    if (wanted && (uint32_t)id == *wanted) {
      *first = i;
      found = true;
    }
    before = id;
  }
  if (wanted && !found)
    return xci_fail(err, XCODER_MISSING, "%s: feature %u is not described, since it did not fire in the corpus", path,
                    *wanted);
  return XCODER_OK;
}

xcoder_status xci_database_open(const char *path, const uint32_t *feature, xci_database *database, xcoder_error *err) {
  xci_safetensors *file = NULL;
  size_t first = 0;
  *database = (xci_database){0};
  xcoder_status status = xci_safetensors_open(path, &file, err);
  if (!status) status = read_facts(file, database, err);
  const xci_tensor *ids = status ? NULL : xci_safetensors_find(file, "feature");
  if (!status && (!ids || ids->dtype != XCI_I32 || ids->rank != 1))
    status = xci_fail(err, XCODER_FORMAT, "%s: array 'feature' is missing", path);
  if (!status) status = check_features(ids, path, database->n_latents, feature, &first, err);
  for (size_t a = 0; !status && a < N_ARRAYS; a++) status = check_array(file, a, ids->shape[0], database, err);
  if (!status) {
    database->size.rows = feature ? 1 : ids->shape[0];
    status = xci_database_allocate(database, err);
  }
  for (size_t a = 0; !status && a < N_ARRAYS; a++) read_array(file, a, first, database);
  if (!status) status = read_token_texts(file, database, err);
  xci_safetensors_close(file);
  if (status) xci_database_close(database);
  return status;
}
