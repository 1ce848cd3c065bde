/* SPDX-License-Identifier: Apache-2.0 */
/* chain.csv, chain-links.csv, chain.json. */
#include "analysis/evolution/chain.h"
#include "analysis/evolution/evolve.h"

#include "base/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_SHOWN = 8 };

static const char *const bases[XCI_N_CHAIN_BASES] = {"effect", "normalised effect", "decoder"};
static const char *const prefixes[XCI_N_CHAIN_BASES] = {"", "norm_", "decoder_"};
static const char *const shares[XCI_N_CHAIN_BASES] = {"rel_ie_", "norm_rel_ie_", "rel_dec_"};

static void add_number(xci_text *table, double value) {
  xci_text_add(table, ",");
  if (isfinite(value)) xci_text_number(table, value);
}

static void add_named(xci_text *table, const char *prefix, const char *name) {
  xci_text whole = {0};
  xci_text_format(&whole, "%s%s", prefix, name);
  xci_text_add(table, ",");
  if (whole.bytes) xci_text_csv(table, whole.bytes, whole.n_bytes);
  xci_text_clear(&whole);
}

static size_t feature_at(const xci_chain *chain, size_t t, size_t k) {
  const int64_t rank = chain->rank[t * chain->n_sides + k];
  return rank == XCI_UNMATCHED ? SIZE_MAX : chain->side[k].live[rank];
}

/* First window and number of windows; mean and least similarity of the links, NaN without links. */
static void span(const xci_chain *chain, size_t t, size_t *first, size_t *n, double *mean, double *least) {
  double sum = 0;
  *n = 0;
  *least = INFINITY;
  for (size_t k = 0; k < chain->n_sides; k++) {
    const int64_t rank = chain->rank[t * chain->n_sides + k];
    if (rank == XCI_UNMATCHED) continue;
    if ((*n)++ == 0) *first = k;
    if (k + 1 == chain->n_sides || chain->rank[t * chain->n_sides + k + 1] == XCI_UNMATCHED) continue;
    const double similarity = (double)chain->link[k].similarity[rank];
    sum += similarity;
    *least = fmin(*least, similarity);
  }
  *mean = *n > 1 ? sum / (double)(*n - 1) : NAN;
}

static bool is_whole(const xci_chain *chain, size_t t) {
  for (size_t k = 0; k < chain->n_sides; k++)
    if (chain->rank[t * chain->n_sides + k] == XCI_UNMATCHED) return false;
  return true;
}

/* ---- chain.csv, chain-links.csv ---- */

static void add_life(xci_text *table, const xci_chain *chain, const double *share) {
  const uint32_t present = isnan(share[0]) ? 0 : xci_present(chain->borders, share, chain->n);
  size_t onset = 0;
  while (onset < chain->n && !(present >> onset & 1)) onset++;
  xci_text_format(table, ",%s", isnan(share[0]) ? "" : xci_cycle_names[xci_life_cycle(present, chain->n)]);
  add_named(table, "", onset < chain->n ? chain->label[onset] : "");
  add_number(table, onset < chain->n ? chain->tokens[onset] : NAN);
  add_number(table, onset == chain->n ? NAN : onset == 0 ? 0 : chain->tokens[onset - 1]);
}

static void write_trajectories(const xci_chain *chain, xci_text *table) {
  xci_text_add(table, "trajectory,first_window,windows");
  for (size_t k = 0; k < chain->n_sides; k++) add_named(table, "feature_", chain->side[k].name);
  xci_text_add(table, ",mean_similarity,least_similarity,size");
  for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++)
    xci_text_format(table, ",%scycle,%sonset,%sonset_tokens,%sonset_tokens_low", prefixes[b], prefixes[b], prefixes[b],
                    prefixes[b]);
  for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++)
    for (size_t c = 0; c < chain->n; c++) add_named(table, shares[b], chain->label[c]);
  xci_text_add(table, "\n");
  for (size_t t = 0; t < chain->n_trajectories; t++) {
    size_t first = 0, n;
    double mean, least;
    span(chain, t, &first, &n, &mean, &least);
    xci_text_format(table, "%zu", t);
    add_named(table, "", chain->side[first].name);
    xci_text_format(table, ",%zu", n);
    for (size_t k = 0; k < chain->n_sides; k++)
      if (feature_at(chain, t, k) == SIZE_MAX) xci_text_add(table, ",");
      else xci_text_format(table, ",%zu", feature_at(chain, t, k));
    add_number(table, mean);
    add_number(table, least);
    add_number(table, chain->size[t]);
    for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++) add_life(table, chain, chain->share[b] + t * chain->n);
    for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++)
      for (size_t c = 0; c < chain->n; c++) add_number(table, chain->share[b][t * chain->n + c]);
    xci_text_add(table, "\n");
  }
}

static void write_links_table(const xci_chain *chain, xci_text *table) {
  xci_text_add(table, "a,b,feature_a,feature_b,similarity,mutual,above_null\n");
  for (size_t k = 0; k + 1 < chain->n_sides; k++) {
    const xci_chain_link *link = &chain->link[k];
    for (size_t i = 0; i < chain->side[k].n_live; i++) {
      if (link->partner[i] == XCI_UNMATCHED) continue;
      xci_text_csv(table, chain->side[k].name, strlen(chain->side[k].name));
      add_named(table, "", chain->side[k + 1].name);
      xci_text_format(table, ",%lu,%lu", (unsigned long)chain->side[k].live[i],
                      (unsigned long)chain->side[k + 1].live[link->partner[i]]);
      add_number(table, (double)link->similarity[i]);
      xci_text_format(table, ",%s,%s\n", link->mutual[i] ? "yes" : "no", link->above[i] ? "yes" : "no");
    }
  }
}

/* ---- chain.json ---- */

static void write_links(const xci_chain *chain, xci_json_out *out) {
  xci_json_open(out, "links", '[');
  for (size_t k = 0; k + 1 < chain->n_sides; k++) {
    const xci_chain_link *link = &chain->link[k];
    const xci_side *a = &chain->side[k], *b = &chain->side[k + 1];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "a", a->name);
    xci_json_text(out, "b", b->name);
    xci_json_open(out, "shared", '[');
    for (size_t c = 0; c < a->n; c++)
      for (size_t e = 0; e < b->n; e++)
        if (xci_same_checkpoint(a, c, b, e)) xci_json_text(out, NULL, a->labels[c]);
    xci_json_close(out, ']');
    xci_json_count(out, "n_live_a", a->n_live);
    xci_json_count(out, "n_live_b", b->n_live);
    xci_json_count(out, "n_pairs", link->n_pairs);
    xci_json_count(out, "n_above", link->n_above);
    xci_json_number(out, "above_by_chance", 0.01 * (double)link->n_pairs); /* null_high is the 99 % quantile */
    xci_json_count(out, "n_mutual", link->n_mutual);
    xci_json_number(out, "mean_similarity", link->mean_above);
    xci_json_number(out, "null_mean", link->null_mean);
    xci_json_number(out, "null_high", link->null_high);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_lengths(const xci_chain *chain, xci_json_out *out) {
  xci_json_open(out, "lengths", '[');
  for (size_t wanted = 1; wanted <= chain->n_sides; wanted++) {
    uint64_t n_found = 0;
    for (size_t t = 0; t < chain->n_trajectories; t++) {
      size_t first, n;
      double mean, least;
      span(chain, t, &first, &n, &mean, &least);
      n_found += n == wanted;
    }
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "windows", wanted);
    xci_json_count(out, "n", n_found);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

/* Counts of lives by one basis: of all trajectories, and of those that run through all windows. */
static xcoder_status write_cycles(const xci_chain *chain, size_t basis, bool whole, uint64_t permutations,
                                  uint64_t seed, xci_json_out *out, xcoder_error *err) {
  const size_t n = chain->n, n_values = chain->n_trajectories * n;
  xci_flow cycles[XCI_N_CYCLES], words[XCI_N_WORDS], *flows = NULL;
  double *share = NULL;
  xcoder_status status = XCI_ALLOC(&share, n_values, err);
  if (!status) status = XCI_ALLOC(&flows, n * XCI_N_STATES * XCI_N_STATES, err);
  for (size_t i = 0; !status && i < n_values; i++)
    share[i] = !whole || is_whole(chain, i / n) ? chain->share[basis][i] : NAN;
  if (!status)
    status = xci_flows(chain->borders, share, chain->n_trajectories, n, permutations, seed, cycles, words, flows, err);
  for (size_t k = 1; !status && k < XCI_N_CYCLES; k++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "by", bases[basis]);
    xci_json_text(out, "windows", whole ? "all" : "any");
    xci_json_text(out, "cycle", xci_cycle_names[k]);
    xci_json_number(out, "observed", cycles[k].observed);
    xci_json_number(out, "expected", cycles[k].expected);
    xci_json_number(out, "low", cycles[k].low);
    xci_json_number(out, "high", cycles[k].high);
    xci_json_number(out, "p", cycles[k].p);
    xci_json_close(out, '}');
  }
  xci_free(share);
  xci_free(flows);
  return status;
}

/* The trajectories through all windows with the largest effects, for figures. */
static void write_strongest(const xci_chain *chain, xci_json_out *out) {
  size_t best[MOST_SHOWN], n_best = 0;
  const size_t basis = chain->n_tasks ? XCI_CHAIN_NORM : XCI_CHAIN_DECODER;
  for (size_t t = 0; t < chain->n_trajectories; t++) {
    if (!is_whole(chain, t) || isnan(chain->share[basis][t * chain->n])) continue;
    size_t at = n_best;
    if (n_best == MOST_SHOWN && !(chain->size[t] > chain->size[best[n_best - 1]])) continue;
    at = n_best < MOST_SHOWN ? n_best++ : MOST_SHOWN - 1;
    for (; at > 0 && chain->size[best[at - 1]] < chain->size[t]; at--) best[at] = best[at - 1];
    best[at] = t;
  }
  xci_json_text(out, "strongest_by", bases[basis]);
  xci_json_open(out, "strongest", '[');
  for (size_t k = 0; k < n_best; k++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "trajectory", best[k]);
    xci_json_open(out, "features", '[');
    for (size_t s = 0; s < chain->n_sides; s++) xci_json_count(out, NULL, feature_at(chain, best[k], s));
    xci_json_close(out, ']');
    xci_json_numbers(out, "share", chain->share[basis] + best[k] * chain->n, chain->n);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static xcoder_status write_all(const xci_chain *chain, uint64_t permutations, uint64_t seed, xci_json_out *out,
                               xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_texts(out, "labels", chain->label, chain->n);
  xci_json_numbers(out, "tokens_seen", chain->tokens, chain->n);
  xci_json_open(out, "runs", '[');
  for (size_t k = 0; k < chain->n_sides; k++) xci_json_text(out, NULL, chain->side[k].name);
  xci_json_close(out, ']');
  xci_json_count(out, "n_tasks", chain->n_tasks);
  xci_json_count(out, "n_trajectories", chain->n_trajectories);
  xci_json_count(out, "permutations", permutations);
  xci_json_number(out, "shared_border", xci_borders_complete(chain->borders).shared);
  write_links(chain, out);
  write_lengths(chain, out);
  xci_json_open(out, "cycles", '[');
  for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++)
    for (int whole = 1; !status && whole >= 0 && (chain->n_tasks || b == XCI_CHAIN_DECODER); whole--)
      status = write_cycles(chain, b, whole, permutations, seed, out, err);
  xci_json_close(out, ']');
  write_strongest(chain, out);
  xci_json_close(out, '}');
  return status;
}

xcoder_status xci_chain_write(const xci_chain *chain, uint64_t permutations, uint64_t seed, const char *folder,
                              xcoder_error *err) {
  xci_text table = {0}, links = {0};
  xci_json_out out = {0};
  char *path[3] = {NULL, NULL, NULL};
  xcoder_status status = xci_run_path(folder, NULL, "chain", ".csv", &path[0], err);
  if (!status) status = xci_run_path(folder, NULL, "chain-links", ".csv", &path[1], err);
  if (!status) status = xci_run_path(folder, NULL, "chain", ".json", &path[2], err);
  if (!status) status = write_all(chain, permutations, seed, &out, err);
  if (!status) {
    write_trajectories(chain, &table);
    write_links_table(chain, &links);
    status = xci_write_text(path[0], &table, err);
  }
  if (!status) status = xci_write_text(path[1], &links, err);
  if (!status) status = xci_write_text(path[2], &out.text, err);
  xci_text_clear(&table);
  xci_text_clear(&links);
  xci_text_clear(&out.text);
  for (size_t k = 0; k < 3; k++) xci_free(path[k]);
  return status;
}
