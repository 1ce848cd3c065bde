/* SPDX-License-Identifier: Apache-2.0 */
/* A comparison: sides are added one after the other, then every pair is matched and written. */
#include "analysis/evolution/chain.h"
#include "analysis/comparison/compare.h"

#include "base/memory.h"
#include <math.h>
#include <string.h>

struct xcoder_comparison {
  size_t n_sides, capacity;
  xci_side *side;
};

void xcoder_compare_defaults(xcoder_compare_options *options) {
  *options = (xcoder_compare_options){.match = XCODER_MATCH_AUTO, .threshold = 0.7, .n_top = 10};
}

xcoder_status xcoder_comparison_open(xcoder_comparison **comparison, xcoder_error *err) {
  return XCI_ALLOC(comparison, 1, err);
}

void xcoder_comparison_close(xcoder_comparison *comparison) {
  if (!comparison) return;
  for (size_t k = 0; k < comparison->n_sides; k++) xci_side_close(&comparison->side[k]);
  xci_free(comparison->side);
  xci_free(comparison);
}

xcoder_status xcoder_comparison_add(xcoder_comparison *comparison, const char *name, const xcoder_setting *setting,
                                    const xcoder_tokens *documents, const char *run_directory, xcoder_error *err) {
  for (size_t k = 0; k < comparison->n_sides; k++)
    if (strcmp(comparison->side[k].name, name) == 0)
      return xci_fail(err, XCODER_USAGE, "compare: two runs are named %s", name);
  xcoder_status status = xci_grow((void **)&comparison->side, &comparison->capacity, comparison->n_sides + 1,
                                  sizeof *comparison->side, err);
  if (!status)
    status = xci_side_open(name, setting, documents, run_directory, &comparison->side[comparison->n_sides], err);
  if (!status) comparison->n_sides++;
  return status;
}

static void write_sides(const xcoder_comparison *comparison, xci_json_out *json) {
  xci_json_open(json, "runs", '[');
  for (size_t k = 0; k < comparison->n_sides; k++) {
    const xci_side *side = &comparison->side[k];
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "name", side->name);
    xci_json_integer(json, "layer", side->layer);
    xci_json_texts(json, "labels", (const char *const *)side->labels, side->n);
    xci_json_count(json, "n_latents", side->n_latents);
    xci_json_count(json, "n_live", side->n_live);
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
}

/* How often the features of a side recur in the others. */
typedef struct stability {
  size_t *n_compared, *n_recurring; /* [n_live] of the side */
  double *sum;
} stability;

static void stability_close(stability *s, size_t n_sides) {
  for (size_t k = 0; s && k < n_sides; k++) {
    xci_free(s[k].n_compared);
    xci_free(s[k].n_recurring);
    xci_free(s[k].sum);
  }
  xci_free(s);
}

static xcoder_status stability_open(const xcoder_comparison *comparison, stability **out, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(out, comparison->n_sides, err);
  for (size_t k = 0; !status && k < comparison->n_sides; k++) {
    const size_t n = comparison->side[k].n_live;
    status = XCI_ALLOC(&(*out)[k].n_compared, n, err);
    if (!status) status = XCI_ALLOC(&(*out)[k].n_recurring, n, err);
    if (!status) status = XCI_ALLOC(&(*out)[k].sum, n, err);
  }
  return status;
}

static void stability_add(const xci_matching *m, stability *of_a, stability *of_b) {
  for (size_t k = 0; k < m->a->n_live; k++) {
    of_a->n_compared[k]++;
    if (m->partner[k] == XCI_UNMATCHED) continue;
    const size_t j = (size_t)m->partner[k];
    const double similarity = xci_matching_similarity(m, k);
    of_a->sum[k] += similarity;
    of_b->sum[j] += similarity;
    of_a->n_recurring[k] += xci_matching_recurs(m, k);
    of_b->n_recurring[j] += xci_matching_recurs(m, k);
  }
  for (size_t j = 0; j < m->b->n_live; j++) of_b->n_compared[j]++;
}

static void write_stability(const xcoder_comparison *comparison, const stability *s, xci_text *text) {
  xci_text_add(text, "run,feature,n_compared,n_recurring,mean_similarity\n");
  for (size_t k = 0; k < comparison->n_sides; k++) {
    const xci_side *side = &comparison->side[k];
    for (size_t i = 0; i < side->n_live; i++) {
      xci_text_csv(text, side->name, strlen(side->name));
      xci_text_format(text, ",%u,%zu,%zu,", side->live[i], s[k].n_compared[i], s[k].n_recurring[i]);
      xci_text_number(text, s[k].sum[i] / (double)s[k].n_compared[i]);
      xci_text_add(text, "\n");
    }
  }
}

static xcoder_status write_text(const char *folder, const char *name, const char *suffix, xci_text *text,
                                xcoder_error *err) {
  char *path = NULL;
  xcoder_status status = xci_run_path(folder, NULL, name, suffix, &path, err);
  if (!status) status = xci_write_text(path, text, err);
  xci_free(path);
  return status;
}

xcoder_status xcoder_comparison_write(const xcoder_comparison *comparison, const xcoder_compare_options *options,
                                      const char *folder, xcoder_error *err) {
  xcoder_compare_options chosen;
  xci_json_out json = {0};
  xci_text matches = {0}, stable = {0}, seeds = {0};
  xci_over_runs over = {0};
  stability *counts = NULL;
  xcoder_compare_defaults(&chosen);
  if (options) chosen = *options;
  if (comparison->n_sides < 2) return xci_fail(err, XCODER_USAGE, "compare: two runs at least are needed");
  if (comparison->n_sides > XCI_MOST_SIDES)
    return xci_fail(err, XCODER_USAGE, "compare: %zu runs, at most %d are supported", comparison->n_sides,
                    XCI_MOST_SIDES);
  xcoder_status status = stability_open(comparison, &counts, err);
  if (!status) status = xci_over_runs_open(comparison->side, comparison->n_sides, &over, err);
  xci_json_open(&json, NULL, '{');
  xci_json_count(&json, "format", 1);
  xci_json_count(&json, "n_top", chosen.n_top);
  write_sides(comparison, &json);
  xci_json_open(&json, "pairs", '[');
  xci_text_add(&matches, "a,b,feature_a,feature_b,cosine,correlation,mutual,recurs\n");
  for (size_t k = 0; !status && k < comparison->n_sides; k++)
    for (size_t l = k + 1; !status && l < comparison->n_sides; l++) {
      xci_matching m;
      status = xci_matching_open(&comparison->side[k], &comparison->side[l], &chosen, &m, err);
      if (status) break;
      status = xci_compare_write_pair(&m, &chosen, &json, &matches, err);
      stability_add(&m, &counts[k], &counts[l]);
      xci_over_runs_add(&m, l, &over);
      xci_matching_close(&m);
    }
  xci_json_close(&json, ']');
  if (!status) xci_over_runs_write(&over, &json, &seeds);
  xci_json_close(&json, '}');
  if (!status) write_stability(comparison, counts, &stable);
  if (!status) status = write_text(folder, "matches", ".csv", &matches, err);
  if (!status) status = write_text(folder, "stability", ".csv", &stable, err);
  if (!status) status = write_text(folder, "seeds", ".csv", &seeds, err);
  if (!status) status = write_text(folder, "compare", ".json", &json.text, err);
  stability_close(counts, comparison->n_sides);
  xci_text_clear(&matches);
  xci_text_clear(&stable);
  xci_text_clear(&seeds);
  xci_over_runs_close(&over);
  xci_text_clear(&json.text);
  return status;
}

xcoder_status xcoder_comparison_chain(const xcoder_comparison *comparison, const xcoder_chain_options *options,
                                      const char *folder, xcoder_error *err) {
  const xcoder_chain_options chosen = options ? *options : (xcoder_chain_options){.permutations = 1000};
  xci_chain chain;
  xcoder_status status = xci_chain_open(comparison->side, comparison->n_sides, chosen.tokens_seen, chosen.seed, &chain,
                                        err);
  chain.borders = (xci_borders){0, chosen.shared_border};
  if (!status) status = xci_chain_write(&chain, chosen.permutations, chosen.seed, folder, err);
  xci_chain_close(&chain);
  return status;
}
