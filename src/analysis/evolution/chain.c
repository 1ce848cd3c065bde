/* SPDX-License-Identifier: Apache-2.0 */
/* The axis of all windows, the links between neighbours, and the trajectories that they make. */
#include "analysis/evolution/chain.h"

#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include "compute/cpu/gemm.h"
#include <math.h>
#include <string.h>

enum { MIX_ROWS = 256 };

/* ---- The axis ---- */

/* Where checkpoint c of side k stands already, chain->n if nowhere. */
static xcoder_status find_place(const xci_chain *chain, size_t k, size_t c, size_t *at, xcoder_error *err) {
  *at = chain->n;
  for (size_t l = 0; l < k; l++)
    for (size_t e = 0; e < chain->side[l].n; e++) {
      if (strcmp(chain->side[l].labels[e], chain->side[k].labels[c]) != 0) continue;
      if (!xci_same_checkpoint(&chain->side[l], e, &chain->side[k], c))
        return xci_fail(err, XCODER_MISMATCH, "chain: '%s' of %s and of %s are different models, expected the same",
                        chain->side[k].labels[c], chain->side[l].name, chain->side[k].name);
      *at = chain->place[l * XCODER_MAX_CHECKPOINTS + e];
    }
  return XCODER_OK;
}

/* By tokens seen where all are known, else in the order in which they are met. */
static void sort_axis(xci_chain *chain) {
  size_t order[XCODER_MAX_CHECKPOINTS], new_place[XCODER_MAX_CHECKPOINTS];
  const char *label[XCODER_MAX_CHECKPOINTS];
  double tokens[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < chain->n; c++) {
    size_t at = c;
    if (!isfinite(chain->tokens[c])) return;
    for (; at > 0 && chain->tokens[order[at - 1]] > chain->tokens[c]; at--) order[at] = order[at - 1];
    order[at] = c;
  }
  for (size_t c = 0; c < chain->n; c++) {
    label[c] = chain->label[order[c]];
    tokens[c] = chain->tokens[order[c]];
    new_place[order[c]] = c;
  }
  memcpy(chain->label, label, chain->n * sizeof *label);
  memcpy(chain->tokens, tokens, chain->n * sizeof *tokens);
  for (size_t k = 0; k < chain->n_sides; k++)
    for (size_t c = 0; c < chain->side[k].n; c++) {
      size_t *place = &chain->place[k * XCODER_MAX_CHECKPOINTS + c];
      *place = new_place[*place];
    }
}

static xcoder_status build_axis(xci_chain *chain, const double *const *tokens, xcoder_error *err) {
  xcoder_status status = XCI_ALLOC(&chain->label, XCODER_MAX_CHECKPOINTS, err);
  if (!status) status = XCI_ALLOC(&chain->tokens, XCODER_MAX_CHECKPOINTS, err);
  if (!status) status = XCI_ALLOC(&chain->place, chain->n_sides * XCODER_MAX_CHECKPOINTS, err);
  for (size_t k = 0; !status && k < chain->n_sides; k++) {
    const xci_side *side = &chain->side[k];
    if (k && xci_shared_labels(side - 1, side) == 0)
      return xci_fail(err, XCODER_USAGE,
                      "chain: %s and %s share no checkpoint, expected windows that overlap, in order", side[-1].name,
                      side->name);
    for (size_t c = 0; !status && c < side->n; c++) {
      size_t at = 0;
      status = find_place(chain, k, c, &at, err);
      if (!status && at == XCODER_MAX_CHECKPOINTS)
        status = xci_fail(err, XCODER_UNSUPPORTED, "chain: more than %d checkpoints", (int)XCODER_MAX_CHECKPOINTS);
      if (status) break;
      chain->place[k * XCODER_MAX_CHECKPOINTS + c] = at;
      if (at < chain->n) continue;
      chain->label[at] = side->labels[c];
      chain->tokens[at] = tokens && tokens[k] ? tokens[k][c] : NAN;
      chain->n++;
    }
  }
  if (!status) sort_axis(chain);
  return status;
}

/* ---- Links ---- */

xcoder_status xci_mix_decoder(const xci_side *side, uint64_t seed, xci_side *out, xcoder_error *err) {
  const size_t width = side->n * side->d_model, n = side->n_live;
  float *rows = NULL, *weight = NULL, *mixed = NULL;
  *out = *side;
  out->w_dec = NULL;
  xcoder_status status = XCI_ALLOC(&rows, n * width, err);
  if (!status) status = XCI_ALLOC(&weight, MIX_ROWS * n, err);
  if (!status) status = XCI_ALLOC(&mixed, MIX_ROWS * width, err);
  if (!status) status = XCI_ALLOC(&out->w_dec, side->n_latents * width, err);
  for (size_t k = 0; !status && k < n; k++)
    memcpy(rows + k * width, side->w_dec + side->live[k] * width, width * sizeof *rows);
  for (size_t first = 0; !status && first < n; first += MIX_ROWS) {
    const size_t count = xci_min_size(MIX_ROWS, n - first);
    for (size_t j = 0; j < count * n; j++)
      weight[j] = (float)xci_random_normal(seed, XCI_STREAM_NULL, first * n + j);
    xci_gemm(false, false, count, width, n, 1, weight, n, rows, width, 0, mixed, width);
    for (size_t k = 0; k < count; k++)
      memcpy(out->w_dec + side->live[first + k] * width, mixed + k * width, width * sizeof *mixed);
  }
  xci_free(rows);
  xci_free(weight);
  xci_free(mixed);
  return status;
}

/* Similarities of the partners that an assignment finds; NaN without one. */
static void take_similarities(const float *similarity, const int64_t *partner, size_t n, size_t n_columns, float *out) {
  for (size_t i = 0; i < n; i++)
    out[i] = partner[i] == XCI_UNMATCHED ? NAN : similarity[i * n_columns + (size_t)partner[i]];
}

static xcoder_status find_null(const xci_side *a, const xci_side *b, uint64_t seed, float *similarity,
                               xci_chain_link *link, xcoder_error *err) {
  xci_side mixed;
  double *found = NULL, sd;
  size_t n_found = 0;
  xcoder_status status = xci_mix_decoder(b, seed, &mixed, err);
  if (!status) status = XCI_ALLOC(&found, a->n_live, err);
  if (!status) status = xci_cosines(a, &mixed, NULL, similarity, err);
  if (!status) status = xci_assign(similarity, a->n_live, b->n_live, link->partner, err);
  if (!status) {
    take_similarities(similarity, link->partner, a->n_live, b->n_live, link->similarity);
    for (size_t i = 0; i < a->n_live; i++)
      if (!isnan(link->similarity[i])) found[n_found++] = (double)link->similarity[i];
    xci_mean_sd(found, n_found, &link->null_mean, &sd);
    xci_sort_f64(found, n_found);
    link->null_high = xci_quantile(found, n_found, 0.99);
  }
  xci_free(mixed.w_dec);
  xci_free(found);
  return status;
}

static void count_pairs(const int64_t *best_column, const int64_t *best_row, size_t n, xci_chain_link *link) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) {
    if (link->partner[i] == XCI_UNMATCHED) continue;
    link->n_pairs++;
    link->mutual[i] = best_column[i] == link->partner[i] && best_row[link->partner[i]] == (int64_t)i;
    link->above[i] = (double)link->similarity[i] > link->null_high;
    link->n_mutual += link->mutual[i];
    link->n_above += link->above[i];
    if (link->above[i]) sum += (double)link->similarity[i];
  }
  link->mean_above = link->n_above ? sum / (double)link->n_above : NAN;
}

static xcoder_status open_link(const xci_side *a, const xci_side *b, uint64_t seed, xci_chain_link *link,
                               xcoder_error *err) {
  float *similarity = NULL;
  int64_t *best_column = NULL, *best_row = NULL;
  size_t n_values = 0;
  if (!xci_mul_size(a->n_live, b->n_live, &n_values)) return xci_fail(err, XCODER_MEMORY, "chain: too many features");
  xcoder_status status = XCI_ALLOC(&similarity, n_values, err);
  if (!status) status = XCI_ALLOC(&best_column, a->n_live, err);
  if (!status) status = XCI_ALLOC(&best_row, b->n_live, err);
  if (!status) status = XCI_ALLOC(&link->partner, a->n_live, err);
  if (!status) status = XCI_ALLOC(&link->similarity, a->n_live, err);
  if (!status) status = XCI_ALLOC(&link->mutual, a->n_live, err);
  if (!status) status = XCI_ALLOC(&link->above, a->n_live, err);
  if (!status) status = find_null(a, b, seed, similarity, link, err);
  if (!status) status = xci_cosines(a, b, NULL, similarity, err);
  if (!status) status = xci_assign(similarity, a->n_live, b->n_live, link->partner, err);
  if (!status) {
    take_similarities(similarity, link->partner, a->n_live, b->n_live, link->similarity);
    xci_nearest(similarity, a->n_live, b->n_live, best_column, best_row);
    count_pairs(best_column, best_row, a->n_live, link);
  }
  xci_free(similarity);
  xci_free(best_column);
  xci_free(best_row);
  return status;
}

/* ---- Trajectories ---- */

/* Every feature is in one: that of the feature before it, or one that it begins. */
static xcoder_status follow(xci_chain *chain, xcoder_error *err) {
  size_t n_most = 0, *own = NULL, *next = NULL, widest = 0;
  for (size_t k = 0; k < chain->n_sides; k++) {
    n_most += chain->side[k].n_live;
    widest = xci_max_size(widest, chain->side[k].n_live);
  }
  xcoder_status status = XCI_ALLOC(&chain->rank, n_most * chain->n_sides, err);
  if (!status) status = XCI_ALLOC(&own, widest, err);
  if (!status) status = XCI_ALLOC(&next, widest, err);
  for (size_t i = 0; !status && i < n_most * chain->n_sides; i++) chain->rank[i] = XCI_UNMATCHED;
  for (size_t i = 0; !status && i < widest; i++) own[i] = SIZE_MAX;
  for (size_t k = 0; !status && k < chain->n_sides; k++) {
    for (size_t i = 0; i < widest; i++) next[i] = SIZE_MAX;
    for (size_t i = 0; i < chain->side[k].n_live; i++) {
      const size_t t = own[i] == SIZE_MAX ? chain->n_trajectories++ : own[i];
      chain->rank[t * chain->n_sides + k] = (int64_t)i;
      if (k + 1 < chain->n_sides && chain->link[k].above[i]) next[chain->link[k].partner[i]] = t;
    }
    memcpy(own, next, widest * sizeof *own);
  }
  xci_free(own);
  xci_free(next);
  return status;
}

xcoder_status xci_chain_open(const xci_side *side, size_t n_sides, const double *const *tokens, uint64_t seed,
                             xci_chain *chain, xcoder_error *err) {
  *chain = (xci_chain){.side = side, .n_sides = n_sides};
  if (n_sides < 2) return xci_fail(err, XCODER_USAGE, "chain: two runs at least are needed");
  xcoder_status status = build_axis(chain, tokens, err);
  if (!status) status = XCI_ALLOC(&chain->link, n_sides - 1, err);
  for (size_t k = 0; !status && k + 1 < n_sides; k++) {
    if (side[k].n_live == 0 || side[k + 1].n_live == 0)
      status = xci_fail(err, XCODER_MISMATCH, "chain: no feature of %s is active on the text",
                        side[k].n_live ? side[k + 1].name : side[k].name);
    if (!status) status = open_link(&side[k], &side[k + 1], seed + k, &chain->link[k], err);
  }
  if (!status) status = follow(chain, err);
  if (!status) status = xci_chain_shares(chain, err);
  if (status) xci_chain_close(chain);
  return status;
}

void xci_chain_close(xci_chain *chain) {
  for (size_t k = 0; chain->link && k + 1 < chain->n_sides; k++) {
    xci_free(chain->link[k].partner);
    xci_free(chain->link[k].similarity);
    xci_free(chain->link[k].mutual);
    xci_free(chain->link[k].above);
  }
  for (size_t b = 0; b < XCI_N_CHAIN_BASES; b++) xci_free(chain->share[b]);
  xci_free(chain->label);
  xci_free(chain->tokens);
  xci_free(chain->place);
  xci_free(chain->link);
  xci_free(chain->rank);
  xci_free(chain->size);
  *chain = (xci_chain){0};
}
