/* SPDX-License-Identifier: Apache-2.0 */
/* What the features of a trajectory hold of each checkpoint of the axis. */
#include "analysis/evolution/chain.h"

#include "analysis/attribution/relative_effect.h"
#include "base/memory.h"
#include "base/parallel.h"
#include <math.h>
#include <string.h>

static const xci_task_effects *find_task(const xci_side *side, const char *name) {
  for (size_t t = 0; t < side->n_tasks; t++)
    if (strcmp(side->task[t].task, name) == 0) return &side->task[t];
  return NULL;
}

static bool all_have(const xci_chain *chain, const char *name) {
  for (size_t k = 0; k < chain->n_sides; k++)
    if (!find_task(&chain->side[k], name)) return false;
  return true;
}

/* Mean over the tasks in common of |IE|, [n_live, n], and its sums over features. */
static void add_effects(const xci_chain *chain, size_t k, double *strength, double *total) {
  const xci_side *side = &chain->side[k];
  const size_t n = side->n;
  for (size_t t = 0; t < side->n_tasks; t++) {
    const xci_task_effects *task = &side->task[t];
    if (!all_have(chain, task->task)) continue;
    for (size_t r = 0; r < task->n_features; r++) {
      const size_t i = task->feature[r];
      for (size_t c = 0; c < n; c++) {
        const double effect = fabs(task->ie[r * n + c]) / (double)chain->n_tasks;
        if (!isfinite(effect)) continue;
        total[c] += effect; /* also of features that the text of the comparison does not wake */
        if (i < side->n_latents && side->rank_of[i] != UINT32_MAX) strength[side->rank_of[i] * n + c] += effect;
      }
    }
  }
}

/* Adds window k to sum and count [n_trajectories, axis]: a checkpoint of two windows takes their mean. */
static void place_side(const xci_chain *chain, size_t k, const double *strength, double *sum, double *count) {
  const xci_side *side = &chain->side[k];
  for (size_t t = 0; t < chain->n_trajectories; t++) {
    const int64_t rank = chain->rank[t * chain->n_sides + k];
    if (rank == XCI_UNMATCHED) continue;
    for (size_t c = 0; c < side->n; c++) {
      const size_t at = t * chain->n + chain->place[k * XCODER_MAX_CHECKPOINTS + c];
      sum[at] += strength[(size_t)rank * side->n + c];
      count[at]++;
    }
  }
}

static xcoder_status measure(const xci_chain *chain, size_t k, int basis, double **out, xcoder_error *err) {
  const xci_side *side = &chain->side[k];
  const size_t n = side->n, d = side->d_model;
  double total[XCODER_MAX_CHECKPOINTS] = {0};
  const xcoder_status status = XCI_ALLOC(out, side->n_live * n, err);
  if (status) return status;
  if (basis != XCI_CHAIN_DECODER) add_effects(chain, k, *out, total);
  for (size_t i = 0; i < side->n_live * n; i++) {
    const float *row = side->w_dec + (side->live[i / n] * n + i % n) * d;
    if (basis == XCI_CHAIN_DECODER) (*out)[i] = sqrt(xci_dot(row, row, d));
    if (basis == XCI_CHAIN_NORM && total[i % n] > 0) (*out)[i] /= total[i % n];
  }
  return XCODER_OK;
}

xcoder_status xci_chain_shares(xci_chain *chain, xcoder_error *err) {
  const size_t n_values = chain->n_trajectories * chain->n;
  double *sum = NULL, *count = NULL;
  xcoder_status status = XCI_ALLOC(&sum, n_values, err);
  if (!status) status = XCI_ALLOC(&count, n_values, err);
  if (!status) status = XCI_ALLOC(&chain->size, chain->n_trajectories, err);
  for (size_t t = 0; t < chain->side[0].n_tasks; t++) chain->n_tasks += all_have(chain, chain->side[0].task[t].task);
  for (int basis = 0; !status && basis < XCI_N_CHAIN_BASES; basis++) {
    memset(sum, 0, n_values * sizeof *sum);
    memset(count, 0, n_values * sizeof *count);
    status = XCI_ALLOC(&chain->share[basis], n_values, err);
    for (size_t k = 0; !status && k < chain->n_sides; k++) {
      double *strength = NULL;
      status = measure(chain, k, basis, &strength, err);
      if (!status) place_side(chain, k, strength, sum, count);
      xci_free(strength);
    }
    for (size_t i = 0; !status && i < n_values; i++)
      if (count[i] > 0) sum[i] /= count[i];
    for (size_t i = 0; !status && basis == (chain->n_tasks ? XCI_CHAIN_EFFECT : XCI_CHAIN_DECODER) && i < n_values; i++)
      chain->size[i / chain->n] += sum[i];
    for (size_t t = 0; !status && t < chain->n_trajectories; t++)
      xci_relative(sum + t * chain->n, chain->n, chain->share[basis] + t * chain->n);
  }
  xci_free(sum);
  xci_free(count);
  return status;
}
