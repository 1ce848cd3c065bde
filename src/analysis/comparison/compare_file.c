/* SPDX-License-Identifier: Apache-2.0 */
/* compare.json and matches.csv of a pair of sides: recurrence, agreement of RelIE and classes per task. */
#include "analysis/comparison/compare.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The k features of largest |IE| at a checkpoint; top[i] marks live feature i. Returns how many there are. */
static xcoder_status find_top(const xci_side *side, const xci_task_effects *task, size_t checkpoint, size_t k,
                              bool *top, size_t *n_top, xcoder_error *err) {
  double *size = NULL;
  size_t *order = NULL;
  xcoder_status status = XCI_ALLOC(&size, task->n_features, err);
  if (!status) status = XCI_ALLOC(&order, task->n_features, err);
  *n_top = 0;
  for (size_t r = 0; !status && r < task->n_features; r++) {
    const double effect = fabs(task->ie[r * side->n + checkpoint]);
    size[r] = isnan(effect) ? 0 : effect;
  }
  if (!status) status = xci_order_descending(size, task->n_features, order, err);
  if (!status) memset(top, 0, side->n_live * sizeof *top);
  for (size_t r = 0; !status && r < task->n_features && r < k && size[order[r]] > 0; r++) {
    const uint32_t feature = task->feature[order[r]];
    if (feature >= side->n_latents || side->rank_of[feature] == UINT32_MAX) continue;
    top[side->rank_of[feature]] = true;
    ++*n_top;
  }
  xci_free(size);
  xci_free(order);
  return status;
}

/* ---- RelIE and classes of matched features ---- */

typedef struct agreement {
  size_t n;
  double spearman, difference; /* difference: mean |RelIE_a - RelIE_b| */
} agreement;

/* Over recurring features that have RelIE on both sides, at checkpoint c of a and e of b. */
static xcoder_status compare_rel_ie(const xci_matching *m, const xci_task_effects *of_a, const xci_task_effects *of_b,
                                    size_t c, size_t e, agreement *out, xcoder_error *err) {
  double *x = NULL, *y = NULL, sum = 0;
  *out = (agreement){0, NAN, NAN};
  xcoder_status status = XCI_ALLOC(&x, m->a->n_live, err);
  if (!status) status = XCI_ALLOC(&y, m->a->n_live, err);
  for (size_t k = 0; !status && k < m->a->n_live; k++) {
    if (!xci_matching_recurs(m, k)) continue;
    const size_t r = xci_task_row(of_a, m->a->live[k]), s = xci_task_row(of_b, m->b->live[m->partner[k]]);
    if (r == SIZE_MAX || s == SIZE_MAX) continue;
    const double p = of_a->rel_ie[r * m->a->n + c], q = of_b->rel_ie[s * m->b->n + e];
    if (isnan(p) || isnan(q)) continue;
    sum += fabs(p - q);
    x[out->n] = p;
    y[out->n++] = q;
  }
  if (!status && out->n) out->difference = sum / (double)out->n;
  if (!status) status = xci_spearman(x, y, out->n, &out->spearman, err);
  xci_free(x);
  xci_free(y);
  return status;
}

/* Share of the top features of a whose partner recurs among those of b, against the share of b's live features that
 * are top, which is what partners at random would give. */
static xcoder_status write_checkpoint(const xci_matching *m, const xci_task_effects *of_a,
                                      const xci_task_effects *of_b, size_t c, size_t e, size_t top, xci_json_out *json,
                                      xcoder_error *err) {
  bool *top_a = NULL, *top_b = NULL;
  size_t n_a = 0, n_b = 0, n_again = 0, n_recur = 0;
  agreement found = {0};
  double low, high;
  xcoder_status status = XCI_ALLOC(&top_a, m->a->n_live, err);
  if (!status) status = XCI_ALLOC(&top_b, m->b->n_live, err);
  if (!status) status = find_top(m->a, of_a, c, top, top_a, &n_a, err);
  if (!status) status = find_top(m->b, of_b, e, top, top_b, &n_b, err);
  if (!status) status = compare_rel_ie(m, of_a, of_b, c, e, &found, err);
  if (!status) {
    for (size_t k = 0; k < m->a->n_live; k++) {
      if (!top_a[k] || !xci_matching_recurs(m, k)) continue;
      n_recur++;
      n_again += top_b[m->partner[k]];
    }
    xci_wilson(n_again, n_a, &low, &high);
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "label_a", m->a->labels[c]);
    xci_json_text(json, "label_b", m->b->labels[e]);
    xci_json_count(json, "n_top", n_a);
    xci_json_count(json, "n_recurring", n_recur);
    xci_json_count(json, "n_top_again", n_again);
    xci_json_number(json, "share", n_a ? (double)n_again / (double)n_a : NAN);
    xci_json_number(json, "low", low);
    xci_json_number(json, "high", high);
    xci_json_number(json, "share_by_chance", m->b->n_live ? (double)n_b / (double)m->b->n_live : NAN);
    xci_json_count(json, "n_rel_ie", found.n);
    xci_json_number(json, "rel_ie_spearman", found.spearman);
    xci_json_number(json, "rel_ie_difference", found.difference);
    xci_json_close(json, '}');
  }
  xci_free(top_a);
  xci_free(top_b);
  return status;
}

static xcoder_status write_task(const xci_matching *m, const xci_task_effects *of_a, const xci_task_effects *of_b,
                                size_t top, xci_json_out *json, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "task", of_a->task);
  xci_json_open(json, "checkpoints", '[');
  for (size_t c = 0; !status && c < m->a->n; c++) { /* by label, else by place in the same number of checkpoints */
    size_t e = 0;
    while (e < m->b->n && strcmp(m->a->labels[c], m->b->labels[e]) != 0) e++;
    if (e == m->b->n && m->a->n == m->b->n && xci_shared_labels(m->a, m->b) == 0) e = c;
    if (e < m->b->n) status = write_checkpoint(m, of_a, of_b, c, e, top, json, err);
  }
  xci_json_close(json, ']');
  status = status ? status : xci_compare_write_classes(m, of_a, of_b, json, err);
  xci_json_close(json, '}');
  return status;
}

/* ---- The pair ---- */

static void add_value(xci_text *text, double value) {
  xci_text_add(text, ",");
  if (!isnan(value)) xci_text_number(text, value);
}

static void write_rows(const xci_matching *m, xci_text *matches) {
  for (size_t k = 0; k < m->a->n_live; k++) {
    xci_text_csv(matches, m->a->name, strlen(m->a->name));
    xci_text_add(matches, ",");
    xci_text_csv(matches, m->b->name, strlen(m->b->name));
    xci_text_format(matches, ",%u,", m->a->live[k]);
    if (m->partner[k] == XCI_UNMATCHED) {
      xci_text_add(matches, ",,,no,no\n");
      continue;
    }
    const size_t at = k * m->b->n_live + (size_t)m->partner[k];
    xci_text_format(matches, "%u", m->b->live[m->partner[k]]);
    add_value(matches, m->cosine ? (double)m->cosine[at] : NAN);
    add_value(matches, (double)m->correlation[at]);
    xci_text_format(matches, ",%s,%s\n", m->mutual[k] ? "yes" : "no", xci_matching_recurs(m, k) ? "yes" : "no");
  }
}

xcoder_status xci_compare_write_pair(const xci_matching *m, const xcoder_compare_options *options, xci_json_out *json,
                                     xci_text *matches, xcoder_error *err) {
  size_t n_recur = 0, n_mutual = 0, n_partners = 0;
  double sum = 0, low, high;
  xcoder_status status = XCODER_OK;
  for (size_t k = 0; k < m->a->n_live; k++) {
    const double similarity = xci_matching_similarity(m, k);
    if (isnan(similarity)) continue;
    n_partners++;
    sum += similarity;
    n_recur += xci_matching_recurs(m, k);
    n_mutual += m->mutual[k] && xci_matching_recurs(m, k);
  }
  xci_wilson(n_recur, m->a->n_live, &low, &high);
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "a", m->a->name);
  xci_json_text(json, "b", m->b->name);
  xci_json_text(json, "match", m->by_cosine ? "cosine" : "correlation");
  xci_json_number(json, "threshold", m->threshold);
  xci_json_count(json, "n_shared_checkpoints", xci_shared_labels(m->a, m->b));
  xci_json_count(json, "n_positions", m->pairing.n);
  xci_json_count(json, "n_live_a", m->a->n_live);
  xci_json_count(json, "n_live_b", m->b->n_live);
  xci_json_number(json, "mean_similarity", n_partners ? sum / (double)n_partners : NAN);
  xci_json_count(json, "n_recurring", n_recur);
  xci_json_number(json, "share_recurring", m->a->n_live ? (double)n_recur / (double)m->a->n_live : NAN);
  xci_json_number(json, "low", low);
  xci_json_number(json, "high", high);
  xci_json_number(json, "share_mutual", m->a->n_live ? (double)n_mutual / (double)m->a->n_live : NAN);
  xci_json_number(json, "null_mean_similarity", m->null.mean);
  xci_json_number(json, "null_high_similarity", m->null.high);
  xci_json_number(json, "null_share_recurring", m->null.share);
  xci_json_open(json, "tasks", '[');
  for (size_t t = 0; !status && t < m->a->n_tasks; t++)
    for (size_t u = 0; !status && u < m->b->n_tasks; u++)
      if (strcmp(m->a->task[t].task, m->b->task[u].task) == 0)
        status = write_task(m, &m->a->task[t], &m->b->task[u], options->n_top, json, err);
  xci_json_close(json, ']');
  xci_json_close(json, '}');
  write_rows(m, matches);
  return status;
}
