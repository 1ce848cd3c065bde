/* SPDX-License-Identifier: Apache-2.0 */
/* One crosscoder's codes of a set of documents, with the byte at which each position ends. */
#include "analysis/comparison/compare.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <string.h>

enum { STRETCH_ROWS = 4096 };

void xci_side_close(xci_side *side) {
  for (size_t c = 0; side->labels && c < side->n; c++) xci_free(side->labels[c]);
  for (size_t t = 0; t < side->n_tasks; t++) {
    xci_task_effects *task = &side->task[t];
    xci_free(task->task);
    xci_free(task->feature);
    xci_free(task->ie);
    xci_free(task->rel_ie);
    xci_free(task->low);
    xci_free(task->high);
    xci_free(task->n_active);
    xci_free(task->class);
  }
  xci_free(side->name);
  xci_free(side->labels);
  xci_free(side->fingerprint);
  xci_free(side->w_dec);
  xci_free(side->sequence);
  xci_free(side->end_byte);
  xci_free(side->code);
  xci_free(side->feature);
  xci_free(side->value);
  xci_free(side->live);
  xci_free(side->rank_of);
  xci_free(side->task);
  xci_free(side->token_entropy);
  *side = (xci_side){0};
}

static xcoder_status describe(const xci_bench *bench, const char *name, xci_side *side, xcoder_error *err) {
  size_t n_values;
  side->n = bench->n;
  side->d_model = bench->d_model;
  side->n_latents = bench->n_latents;
  side->layer = bench->info->layer;
  if (!xci_mul_size(side->n_latents * side->n, side->d_model, &n_values))
    return xci_fail(err, XCODER_MEMORY, "compare: the decoder is too large");
  xcoder_status status = xci_copy_text(name, &side->name, err);
  if (!status) status = XCI_ALLOC(&side->labels, side->n, err);
  for (size_t c = 0; !status && c < side->n; c++)
    status = xci_copy_text(bench->info->labels[c], &side->labels[c], err);
  if (!status) status = XCI_ALLOC(&side->w_dec, n_values, err);
  for (size_t i = 0; !status && i < side->n_latents; i++)
    for (size_t c = 0; c < side->n; c++) {
      const float *w = xci_bench_decoder(bench, i, c), scale = bench->unit[c] * bench->scale[c];
      float *out = side->w_dec + (i * side->n + c) * side->d_model;
      for (size_t j = 0; j < side->d_model; j++) out[j] = w[j] * scale;
    }
  return status;
}

static xcoder_status find_fingerprints(const xci_bench *bench, const xcoder_tokens *documents, xci_side *side,
                                       xcoder_error *err) {
  const size_t *start = xcoder_tokens_start(documents);
  const size_t n_rows = xci_min_size(start[1], 64), bounds[] = {0, n_rows};
  float *embedded = NULL;
  xcoder_status status = XCI_ALLOC(&side->fingerprint, side->n, err);
  if (!status) status = XCI_ALLOC(&embedded, n_rows * side->d_model, err);
  for (size_t c = 0; !status && c < side->n; c++) {
    status = xcoder_model_hidden(bench->setting->models[c], xcoder_tokens_ids(documents), bounds, 1, -1, embedded, err);
    if (!status) xci_hash_bytes(embedded, n_rows * side->d_model * sizeof *embedded, side->fingerprint[c]);
  }
  xci_free(embedded);
  return status;
}

typedef struct growth {
  size_t n_codes, feature_capacity, value_capacity;
} growth;

/* Codes of the unmasked positions of a stretch, and where their tokens end. The token that starts every document
 * stands for no text. */
static xcoder_status add_stretch(const xci_bench *bench, const xci_stretch *s, size_t first, growth *grown,
                                 xci_side *side, xcoder_error *err) {
  const xcoder_tokenizer *tokenizer = bench->setting->tokenizer;
  const size_t n_codes = s->codes.start[s->n_unmasked];
  uint32_t start_token = 0;
  const bool has_start = xcoder_tokenizer_end_of_text(tokenizer, &start_token);
  xcoder_status status = xci_grow((void **)&side->feature, &grown->feature_capacity, grown->n_codes + n_codes,
                                  sizeof *side->feature, err);
  if (!status)
    status = xci_grow((void **)&side->value, &grown->value_capacity, grown->n_codes + n_codes, sizeof *side->value,
                      err);
  if (status) return status;
  size_t k = 0;
  for (size_t q = 0; q < s->n_sequences; q++) {
    size_t byte = 0;
    for (size_t r = s->start[q]; r < s->start[q + 1]; r++) {
      size_t n_bytes = 0;
      const char *text = xcoder_token_bytes(tokenizer, s->ids[r], &n_bytes);
      if (text && !(r == s->start[q] && has_start && s->ids[r] == start_token)) byte += n_bytes;
      if (k >= s->n_unmasked || s->row[k] != r) continue;
      side->end_byte[side->n_positions] = (uint32_t)xci_min_size(byte, UINT32_MAX);
      for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++) {
        side->feature[grown->n_codes] = s->codes.index[j];
        side->value[grown->n_codes++] = s->codes.value[j];
      }
      side->code[++side->n_positions] = grown->n_codes;
      k++;
    }
    side->sequence[first + q + 1] = side->n_positions;
  }
  return XCODER_OK;
}

static xcoder_status encode_all(const xci_bench *bench, const xcoder_tokens *documents, xci_side *side,
                                xcoder_error *err) {
  const size_t n = xcoder_tokens_sequences(documents), n_rows = xcoder_tokens_start(documents)[n];
  const xcoder_monitor *monitor = bench->setting->monitor;
  growth grown = {0};
  side->n_sequences = n;
  xcoder_status status = XCI_ALLOC(&side->sequence, n + 1, err);
  if (!status) status = XCI_ALLOC(&side->end_byte, n_rows, err);
  if (!status) status = XCI_ALLOC(&side->code, n_rows + 1, err);
  for (size_t first = 0, count; !status && first < n; first += count) {
    xci_stretch s;
    count = xci_stretch_fit(documents, first, STRETCH_ROWS);
    xci_advance(monitor, "compare", "tokens", xcoder_tokens_start(documents)[first], n_rows);
    if (xci_stopped(monitor)) return xci_interrupted(err, "compare");
    status = xci_stretch_open(bench, documents, first, count, XCI_CODES, &s, err);
    if (status) break;
    status = add_stretch(bench, &s, first, &grown, side, err);
    xci_stretch_close(&s);
  }
  if (!status) xci_advance(monitor, "compare", "tokens", n_rows, n_rows);
  return status;
}

static xcoder_status find_live(xci_side *side, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&side->rank_of, side->n_latents, err);
  if (!status) status = XCI_ALLOC(&side->live, side->n_latents, err);
  if (status) return status;
  for (size_t j = 0; j < side->code[side->n_positions]; j++) side->rank_of[side->feature[j]] = 1;
  for (size_t i = 0; i < side->n_latents; i++) {
    const bool live = side->rank_of[i] != 0;
    side->rank_of[i] = live ? (uint32_t)side->n_live : UINT32_MAX;
    if (live) side->live[side->n_live++] = (uint32_t)i;
  }
  return XCODER_OK;
}

xcoder_status xci_side_open(const char *name, const xcoder_setting *setting, const xcoder_tokens *documents,
                            const char *run_directory, xci_side *side, xcoder_error *err) {
  xci_bench bench;
  *side = (xci_side){0};
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status) status = describe(&bench, name, side, err);
  if (!status) status = find_fingerprints(&bench, documents, side, err);
  if (!status) status = encode_all(&bench, documents, side, err);
  if (!status) status = find_live(side, err);
  if (!status) status = xci_side_read_tables(run_directory, side, err);
  if (status) xci_side_close(side);
  return status;
}
