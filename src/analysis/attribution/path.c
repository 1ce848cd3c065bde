/* SPDX-License-Identifier: Apache-2.0 */
/* The path of an attribution: its nodes and the means that one of the baselines needs. */
#include "analysis/attribution/attribution.h"
#include "analysis/attribution/quadrature.h"
#include "base/memory.h"

enum { STRETCH_ROWS = 1024 };

xcoder_status xci_path_open(const xcoder_attribute_options *options, xci_path *path, xcoder_error *err) {
  *path = (xci_path){.rule = XCODER_GAUSS, .baseline = XCODER_ZERO, .n_steps = 10};
  if (options) {
    path->rule = options->quadrature;
    path->baseline = options->baseline;
    /* Where the path ends at what the crosscoder makes, another one has no use for its gradients. */
    if (path->baseline == XCODER_ORIGIN || xci_path_has_counter(path->baseline)) path->gradients = options->gradients;
    if (options->n_steps) path->n_steps = options->n_steps;
    if (path->rule != XCODER_GRADIENT) path->tolerance = options->tolerance;
  }
  if (path->n_steps > XCI_MAX_STEPS)
    return xci_fail(err, XCODER_USAGE, "quadrature: %zu steps, at most %d are supported", path->n_steps, XCI_MAX_STEPS);
  path->n_nodes = xci_quadrature_count(path->rule, path->n_steps);
  xcoder_status status = XCI_ALLOC(&path->alpha, path->n_nodes, err);
  if (!status) status = XCI_ALLOC(&path->weight, path->n_nodes, err);
  if (!status) xci_quadrature_nodes(path->rule, path->n_steps, path->alpha, path->weight);
  else xci_path_close(path);
  return status;
}

bool xci_path_has_counter(xcoder_baseline baseline) {
  return baseline == XCODER_COUNTERFACTUAL || baseline == XCODER_RESAMPLED;
}

void xci_path_close(xci_path *path) {
  xci_free(path->alpha);
  xci_free(path->weight);
  xci_free(path->mean_code);
  xci_free(path->mean_hidden);
  xci_free(path->mean_error);
  *path = (xci_path){0};
}

static void add_means(const xci_bench *bench, const xci_stretch *s, xci_path *path) {
  const size_t width = bench->n * bench->d_model;
  for (size_t k = 0; k < s->n_unmasked; k++) {
    const float *x = s->hidden + s->row[k] * width, *xhat = s->decoded + k * width;
    for (size_t j = 0; j < width; j++) {
      path->mean_hidden[j] += (double)x[j];
      path->mean_error[j] += (double)x[j] - (double)xhat[j];
    }
    for (size_t j = s->codes.start[k]; j < s->codes.start[k + 1]; j++)
      path->mean_code[s->codes.index[j]] += (double)s->codes.value[j];
  }
}

xcoder_status xci_path_means(const xci_bench *bench, const xcoder_tokens *prompts, xci_path *path, xcoder_error *err) {
  const size_t n = xcoder_tokens_sequences(prompts), width = bench->n * bench->d_model;
  const xcoder_monitor *monitor = bench->setting->monitor;
  size_t n_positions = 0;
  xcoder_status status = XCI_ALLOC(&path->mean_code, bench->n_latents, err);
  if (!status) status = XCI_ALLOC(&path->mean_hidden, width, err);
  if (!status) status = XCI_ALLOC(&path->mean_error, width, err);
  for (size_t first = 0, count; !status && first < n; first += count) {
    xci_stretch s;
    count = xci_stretch_fit(prompts, first, STRETCH_ROWS);
    xci_advance(monitor, "mean baseline", "examples", first, n);
    if (xci_stopped(monitor)) return xci_interrupted(err, "attribute");
    status = xci_stretch_open(bench, prompts, first, count, XCI_DECODED, &s, err);
    if (status) break;
    add_means(bench, &s, path);
    n_positions += s.n_unmasked;
    xci_stretch_close(&s);
  }
  if (status || n_positions == 0) return status;
  for (size_t j = 0; j < width; j++) {
    path->mean_hidden[j] /= (double)n_positions;
    path->mean_error[j] /= (double)n_positions;
  }
  for (size_t i = 0; i < bench->n_latents; i++) path->mean_code[i] /= (double)n_positions;
  return XCODER_OK;
}
