/* SPDX-License-Identifier: Apache-2.0 */
/* The active features of one prompt, token by token, with their effects on an answer. */
#include "analysis/attribution/attribution.h"
#include "analysis/json_out.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A feature of a position, or of the whole prompt. */
typedef struct entry {
  uint32_t feature;
  float value;        /* activation; the largest one for the prompt */
  double strength;    /* order: largest |effect| where there are effects, else the activation */
  double effect[XCODER_MAX_CHECKPOINTS];
} entry;

typedef struct scene {
  const xci_bench *bench;
  const uint32_t *ids;
  size_t n_ids, n_top;
  const xci_stretch *s;
  const xci_node_effects *nodes; /* NULL: no question was asked */
} scene;

static int compare_entries(const void *a, const void *b) {
  const entry *p = a, *q = b;
  if (p->strength != q->strength) return p->strength > q->strength ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

static void set_strength(const scene *in, entry *e) {
  e->strength = in->nodes ? 0 : (double)e->value;
  for (size_t c = 0; in->nodes && c < in->bench->n; c++) e->strength = fmax(e->strength, fabs(e->effect[c]));
}

static void write_entries(xci_json_out *out, const char *key, const scene *in, const entry *all, size_t n) {
  xci_json_open(out, key, '[');
  for (size_t i = 0; i < n && i < in->n_top; i++) {
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "feature", all[i].feature);
    xci_json_float(out, "activation", all[i].value);
    if (in->nodes) xci_json_numbers(out, "effect", all[i].effect, in->bench->n);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

/* The strongest features of sample k. */
static void write_sample(xci_json_out *out, const scene *in, size_t k, entry *work) {
  const xcoder_codes *codes = &in->s->codes;
  size_t n = 0;
  for (size_t j = codes->start[k]; j < codes->start[k + 1]; j++) {
    entry *e = &work[n++];
    *e = (entry){.feature = codes->index[j], .value = codes->value[j]};
    for (size_t c = 0; in->nodes && c < in->bench->n; c++) e->effect[c] = in->nodes->code[j * in->bench->n + c];
    set_strength(in, e);
  }
  if (n) qsort(work, n, sizeof *work, compare_entries);
  xci_json_count(out, "n_active", n);
  write_entries(out, "features", in, work, n);
}

static void write_tokens(xci_json_out *out, const scene *in, entry *work) {
  size_t k = 0;
  xci_json_line(out);
  xci_json_open(out, "tokens", '[');
  for (size_t t = 0; t < in->n_ids; t++) {
    size_t n_bytes;
    const char *bytes = xci_token_text(in->bench->setting->tokenizer, in->ids[t], &n_bytes);
    const bool sampled = k < in->s->n_unmasked && in->s->row[k] == t;
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_bytes(out, "token", bytes, n_bytes);
    xci_json_count(out, "id", in->ids[t]);
    xci_json_flag(out, "masked", !sampled);
    if (sampled) write_sample(out, in, k++, work);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

/* Sums over positions, in the dense rows `sum`. */
static void write_top(xci_json_out *out, const scene *in, entry *sum) {
  const xcoder_codes *codes = &in->s->codes;
  const size_t n_codes = codes->start[in->s->n_unmasked];
  size_t n = 0;
  for (size_t j = 0; j < n_codes; j++) {
    entry *e = &sum[codes->index[j]];
    e->feature = codes->index[j];
    if (codes->value[j] > e->value) e->value = codes->value[j];
    for (size_t c = 0; in->nodes && c < in->bench->n; c++) e->effect[c] += in->nodes->code[j * in->bench->n + c];
  }
  for (size_t i = 0; i < in->bench->n_latents; i++) {
    if (!(sum[i].value > 0)) continue;
    set_strength(in, &sum[i]);
    sum[n++] = sum[i];
  }
  if (n) qsort(sum, n, sizeof *sum, compare_entries);
  xci_json_line(out);
  xci_json_count(out, "n_active", n);
  write_entries(out, "features", in, sum, n);
}

static void write_question(xci_json_out *out, const scene *in, uint32_t right, uint32_t wrong) {
  const xci_node_effects *nodes = in->nodes;
  const uint32_t answer[] = {right, wrong};
  static const char *const keys[] = {"right", "wrong"};
  xci_json_line(out);
  for (size_t k = 0; k < 2; k++) {
    size_t n_bytes;
    const char *bytes = xci_token_text(in->bench->setting->tokenizer, answer[k], &n_bytes);
    xci_json_open(out, keys[k], '{');
    xci_json_bytes(out, "token", bytes, n_bytes);
    xci_json_count(out, "id", answer[k]);
    xci_json_close(out, '}');
  }
  xci_json_numbers(out, "metric_clean", nodes->clean, in->bench->n);
  xci_json_numbers(out, "metric_baseline", nodes->baseline, in->bench->n);
  xci_json_numbers(out, "error_effect", nodes->error, in->bench->n);
}

static xcoder_status write_scene(const scene *in, uint32_t right, uint32_t wrong, char **json, xcoder_error *err) {
  xci_json_out out = {0};
  entry *work = NULL;
  xcoder_status status = XCI_ALLOC(&work, in->bench->n_latents, err);
  if (!status) {
    xci_json_open(&out, NULL, '{');
    xci_json_count(&out, "format", 1);
    xci_json_texts(&out, "labels", in->bench->info->labels, in->bench->n);
    xci_json_integer(&out, "layer", in->bench->info->layer);
    if (in->nodes) write_question(&out, in, right, wrong);
    write_tokens(&out, in, work);
    memset(work, 0, in->bench->n_latents * sizeof *work);
    write_top(&out, in, work);
    xci_json_close(&out, '}');
    xci_text_add(&out.text, "\n");
    status = xci_text_status(&out.text, err);
  }
  if (!status) status = xci_copy_text(out.text.bytes, json, err);
  xci_text_clear(&out.text);
  xci_free(work);
  return status;
}

xcoder_status xcoder_explain(const xcoder_setting *setting, const uint32_t *ids, size_t n_ids, const uint32_t *right,
                             const uint32_t *wrong, size_t n_top, char **json, xcoder_error *err) {
  const size_t start[] = {0, n_ids};
  const bool asked = right && wrong;
  xci_bench bench;
  xci_path path = {0};
  xci_stretch s = {0};
  xci_node_effects nodes = {0};
  xcoder_tokens *tokens = NULL;
  *json = NULL;
  xcoder_status status = xci_bench_open(setting, &bench, err);
  if (!status && n_ids == 0) status = xci_fail(err, XCODER_USAGE, "the text has no tokens");
  if (!status) status = xci_path_open(NULL, &path, err);
  if (!status) status = xcoder_tokens_from_array(ids, start, 1, &tokens, err);
  if (!status) status = xci_stretch_open(&bench, tokens, 0, 1, XCI_DECODED, &s, err);
  if (!status && asked) status = xci_node_effects_open(&bench, &path, &s, NULL, right, wrong, &nodes, err);
  if (!status) {
    const scene in = {&bench, ids, n_ids, n_top, &s, asked ? &nodes : NULL};
    status = write_scene(&in, asked ? *right : 0, asked ? *wrong : 0, json, err);
  }
  xci_node_effects_close(&nodes);
  xci_stretch_close(&s);
  xci_path_close(&path);
  xcoder_tokens_free(tokens);
  return status;
}
