/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of the features of two sides: shares, agreement of matched ones, specificity of their tokens, onsets. */
#include "analysis/comparison/compare.h"
#include "analysis/evolution/evolve.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/size.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Classes by name, of both sides, and how often matched features have the same one. */
enum { MAX_CLASSES = 64 };

typedef struct class_table {
  size_t n;
  const char *name[MAX_CLASSES];
  size_t count_a[MAX_CLASSES], count_b[MAX_CLASSES]; /* of all features with effects */
  double *entropy;  /* room for the token entropies of one class */
} class_table;

static size_t find_class(class_table *table, const char *name) {
  for (size_t k = 0; k < table->n; k++)
    if (strcmp(table->name[k], name) == 0) return k;
  if (table->n == MAX_CLASSES) return MAX_CLASSES - 1;
  table->name[table->n] = name;
  return table->n++;
}

static void count_classes(const xci_task_effects *task, class_table *table, bool of_b) {
  for (size_t r = 0; r < task->n_features; r++)
    ++(of_b ? table->count_b : table->count_a)[find_class(table, task->class[r])];
}

/* KEY_SIDE, low and high of it. */
static void write_interval(xci_json_out *json, const char *key, const char *low_key, const char *high_key,
                           const char *side, double value, double low, double high) {
  const char *const keys[] = {key, low_key, high_key};
  const double values[] = {value, low, high};
  for (size_t i = 0; i < 3; i++) {
    char name[48];
    snprintf(name, sizeof name, "%s_%s", keys[i], side);
    xci_json_number(json, name, values[i]);
  }
}

static void write_share(xci_json_out *json, const char *side, size_t count, size_t n) {
  double low, high;
  xci_wilson(count, n, &low, &high);
  write_interval(json, "share", "low", "high", side, n ? (double)count / (double)n : NAN, low, high);
}

/* Mean token entropy of the features of a class with Student's interval. */
static void write_entropy(xci_json_out *json, class_table *table, const char *class, const xci_side *side,
                          const xci_task_effects *task, const char *name) {
  size_t n = 0;
  double mean, low, high;
  for (size_t r = 0; r < task->n_features; r++) {
    const uint32_t feature = task->feature[r];
    if (strcmp(task->class[r], class) != 0 || feature >= side->n_latents || isnan(side->token_entropy[feature]))
      continue;
    table->entropy[n++] = side->token_entropy[feature];
  }
  xci_mean_interval(table->entropy, n, &mean, &low, &high);
  write_interval(json, "token_entropy", "token_entropy_low", "token_entropy_high", name, mean, low, high);
}

/* At how many features effects begin at each checkpoint: the first at which they are present (evolve.h). */
static void count_onsets(const xci_side *side, const xci_task_effects *task, size_t onset[XCODER_MAX_CHECKPOINTS],
                         size_t *n) {
  *n = 0;
  for (size_t r = 0; r < task->n_features; r++) {
    const double *share = task->rel_ie + r * side->n;
    bool defined = true;
    for (size_t c = 0; c < side->n; c++) defined = defined && !isnan(share[c]);
    const uint32_t present = defined ? xci_present(side->borders, share, side->n) : 0;
    if (!present) continue;
    size_t c = 0;
    while (!(present >> c & 1)) c++;
    onset[c]++;
    ++*n;
  }
}

static void write_onsets(const xci_matching *m, const xci_task_effects *of_a, const xci_task_effects *of_b,
                         xci_json_out *json) {
  size_t a[XCODER_MAX_CHECKPOINTS] = {0}, b[XCODER_MAX_CHECKPOINTS] = {0}, n_a, n_b;
  if (m->a->n != m->b->n) return; /* places would not stand for each other */
  count_onsets(m->a, of_a, a, &n_a);
  count_onsets(m->b, of_b, b, &n_b);
  xci_json_open(json, "onsets", '[');
  for (size_t c = 0; c < m->a->n; c++) {
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "label_a", m->a->labels[c]);
    xci_json_text(json, "label_b", m->b->labels[c]);
    write_share(json, "a", a[c], n_a);
    write_share(json, "b", b[c], n_b);
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
}

xcoder_status xci_compare_write_classes(const xci_matching *m, const xci_task_effects *of_a,
                                        const xci_task_effects *of_b, xci_json_out *json, xcoder_error *err) {
  class_table table = {0};
  size_t n_both = 0, n_same = 0, both_a[MAX_CLASSES] = {0}, both_b[MAX_CLASSES] = {0};
  const xcoder_status status = XCI_ALLOC(&table.entropy, xci_max_size(of_a->n_features, of_b->n_features), err);
  if (status) return status;
  count_classes(of_a, &table, false);
  count_classes(of_b, &table, true);
  for (size_t k = 0; k < m->a->n_live; k++) {
    if (!xci_matching_recurs(m, k)) continue;
    const size_t r = xci_task_row(of_a, m->a->live[k]), s = xci_task_row(of_b, m->b->live[m->partner[k]]);
    if (r == SIZE_MAX || s == SIZE_MAX) continue;
    n_both++;
    n_same += strcmp(of_a->class[r], of_b->class[s]) == 0;
    both_a[find_class(&table, of_a->class[r])]++;
    both_b[find_class(&table, of_b->class[s])]++;
  }
  double chance = 0;
  for (size_t k = 0; k < table.n && n_both; k++)
    chance += (double)both_a[k] * (double)both_b[k] / ((double)n_both * (double)n_both);
  const double same = n_both ? (double)n_same / (double)n_both : NAN;
  xci_json_count(json, "n_classes_compared", n_both);
  xci_json_number(json, "class_agreement", same);
  xci_json_number(json, "class_kappa", n_both && chance < 1 ? (same - chance) / (1 - chance) : NAN);
  xci_json_open(json, "classes", '[');
  for (size_t k = 0; k < table.n; k++) {
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "class", table.name[k]);
    write_share(json, "a", table.count_a[k], of_a->n_features);
    write_entropy(json, &table, table.name[k], m->a, of_a, "a");
    write_share(json, "b", table.count_b[k], of_b->n_features);
    write_entropy(json, &table, table.name[k], m->b, of_b, "b");
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
  write_onsets(m, of_a, of_b, json);
  xci_free(table.entropy);
  return XCODER_OK;
}
