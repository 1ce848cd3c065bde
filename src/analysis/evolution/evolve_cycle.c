/* SPDX-License-Identifier: Apache-2.0 */
/* Life cycles, flows between states, and what they would be if time had no order. */
#include "analysis/evolution/evolve.h"
#include "analysis/attribution/relative_effect.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <string.h>

const char *const xci_cycle_names[XCI_N_CYCLES] = {"none",     "emerging",    "persisting",
                                                   "vanishing", "re-emerging", "transient"};
const char *const xci_state_names[XCI_N_STATES] = {"absent", "present", "dominant"};
const char *const xci_word_names[XCI_N_WORDS] = {"neither",      "emerging",        "vanishing",
                                                 "persisting",   "shared by all",   "shared to the end",
                                                 "shared early", "shared otherwise"};

static double dominant_border(xci_borders borders, size_t n) {
  return n <= 3 ? xci_borders_complete(borders).specific : 0.5;
}

uint32_t xci_present(xci_borders borders, const double *share, size_t n) {
  const double border = xci_sharing_border(borders, n);
  uint32_t present = 0;
  for (size_t c = 0; c < n; c++)
    if (share[c] >= border) present |= (uint32_t)1 << c;
  return present;
}

xci_cycle xci_life_cycle(uint32_t present, size_t n) {
  size_t n_runs = 0; /* of checkpoints at which it is present, side by side */
  for (size_t c = 0; c < n; c++) n_runs += (present >> c & 1) && (c == 0 || !(present >> (c - 1) & 1));
  if (n_runs == 0) return XCI_CYCLE_NONE;
  if (n_runs > 1) return XCI_REEMERGING;
  const bool first = present & 1, last = present >> (n - 1) & 1;
  return first && last ? XCI_PERSISTING : first ? XCI_VANISHING : last ? XCI_EMERGING : XCI_TRANSIENT;
}

static size_t state_of(xci_borders borders, double share, size_t n) {
  return share > dominant_border(borders, n) ? 2 : share >= xci_sharing_border(borders, n) ? 1 : 0;
}

xci_word xci_word_of(xci_borders borders, const double *share, size_t n) {
  const char *word = xci_evolution(xci_classify_by(borders, share, n), n);
  return strcmp(word, "emerging") == 0 ? XCI_WORD_EMERGING : strcmp(word, "vanishing") == 0 ? XCI_WORD_VANISHING
         : strcmp(word, "persisting") == 0 ? XCI_WORD_PERSISTING : XCI_WORD_NEITHER;
}

xci_word xci_sharing_of(xci_borders borders, const double *share, size_t n) {
  const xci_class class = xci_classify_by(borders, share, n);
  const uint32_t first_two = 3, last_two = n >= 2 ? (uint32_t)3 << (n - 2) : 0,
                 all = (uint32_t)(((uint64_t)1 << n) - 1);
  if (class.kind != XCI_CLASS_SHARED) return XCI_WORD_NEITHER;
  return class.members == all ? XCI_SHARED_BY_ALL : (class.members & last_two) == last_two ? XCI_SHARED_TO_THE_END
         : (class.members & first_two) == first_two ? XCI_SHARED_EARLY : XCI_SHARED_OTHERWISE;
}

static void count(xci_borders borders, const double *share, size_t n, uint32_t *cycles, uint32_t *words,
                  uint32_t *flows) {
  const xci_word sharing = xci_sharing_of(borders, share, n);
  cycles[xci_life_cycle(xci_present(borders, share, n), n)]++;
  words[xci_word_of(borders, share, n)]++;
  if (sharing != XCI_WORD_NEITHER) words[sharing]++;
  for (size_t c = 0; c + 1 < n; c++)
    flows[(c * XCI_N_STATES + state_of(borders, share[c], n)) * XCI_N_STATES + state_of(borders, share[c + 1], n)]++;
}

/* Fisher and Yates, one random number a step. */
static void shuffle(double *x, size_t n, uint64_t seed, uint64_t index) {
  for (size_t k = n; k > 1; k--) {
    const size_t j = (size_t)xci_random_below(seed, XCI_STREAM_EVOLUTION, index * XCODER_MAX_CHECKPOINTS + k, k);
    const double kept = x[k - 1];
    x[k - 1] = x[j];
    x[j] = kept;
  }
}

static void judge(const uint32_t *null, size_t stride, uint64_t permutations, double *sorted, xci_flow *flow) {
  double sum = 0;
  uint64_t n_as_far = 0;
  for (uint64_t p = 0; p < permutations; p++) {
    sorted[p] = (double)null[p * stride];
    sum += sorted[p];
  }
  flow->expected = permutations ? sum / (double)permutations : NAN;
  const double far = fabs(flow->observed - flow->expected) - 1e-9; /* equal counts are as far */
  for (uint64_t p = 0; p < permutations; p++) n_as_far += fabs(sorted[p] - flow->expected) >= far;
  xci_sort_f64(sorted, permutations);
  flow->low = xci_quantile(sorted, permutations, 0.025);
  flow->high = xci_quantile(sorted, permutations, 0.975);
  flow->p = permutations ? (double)(n_as_far + 1) / (double)(permutations + 1) : NAN;
}

xcoder_status xci_flows(xci_borders borders, const double *share, size_t n_features, size_t n, uint64_t permutations,
                        uint64_t seed, xci_flow *cycles, xci_flow *words, xci_flow *flows, xcoder_error *err) {
  const size_t n_flows = (n - 1) * XCI_N_STATES * XCI_N_STATES, n_lives = XCI_N_CYCLES + XCI_N_WORDS;
  const size_t n_counts = n_lives + n_flows;
  uint32_t *observed = NULL, *null = NULL;
  double *sorted = NULL;
  xcoder_status status = XCI_ALLOC(&observed, n_counts, err);
  if (!status) status = XCI_ALLOC(&null, n_counts * permutations, err);
  if (!status) status = XCI_ALLOC(&sorted, permutations, err);
  for (size_t i = 0; !status && i < n_features; i++) {
    double order[XCODER_MAX_CHECKPOINTS];
    if (isnan(share[i * n])) continue;
    count(borders, share + i * n, n, observed, observed + XCI_N_CYCLES, observed + n_lives);
    memcpy(order, share + i * n, n * sizeof *order);
    for (uint64_t p = 0; p < permutations; p++) {
      uint32_t *at = null + p * n_counts;
      shuffle(order, n, seed, p * n_features + i);
      count(borders, order, n, at, at + XCI_N_CYCLES, at + n_lives);
    }
  }
  for (size_t k = 0; !status && k < n_counts; k++) {
    xci_flow *flow = k < XCI_N_CYCLES ? &cycles[k] : k < n_lives ? &words[k - XCI_N_CYCLES] : &flows[k - n_lives];
    flow->observed = observed[k];
    judge(null + k, n_counts, permutations, sorted, flow);
  }
  xci_free(observed);
  xci_free(null);
  xci_free(sorted);
  return status;
}

static size_t onset_of(uint32_t present, size_t n) {
  size_t c = 0;
  while (c < n && !(present >> c & 1)) c++;
  return c;
}

void xci_life_of(xci_borders borders, const double *strength, const double *resampled, size_t n_resamples, size_t n,
                 double *share, xci_life *life) {
  size_t first[XCODER_MAX_CHECKPOINTS + 1] = {0}, n_same = 0, n_drawn = 0;
  *life = (xci_life){XCI_CYCLE_NONE, NAN, n, n, n};
  if (!xci_relative(strength, n, share)) return;
  const uint32_t present = xci_present(borders, share, n);
  life->cycle = xci_life_cycle(present, n);
  life->onset = life->onset_low = life->onset_high = onset_of(present, n);
  for (size_t r = 0; r < n_resamples; r++) {
    double drawn[XCODER_MAX_CHECKPOINTS];
    if (!xci_relative(resampled + r * n, n, drawn)) continue;
    const uint32_t there = xci_present(borders, drawn, n);
    n_same += xci_life_cycle(there, n) == life->cycle;
    first[onset_of(there, n)]++;
    n_drawn++;
  }
  if (n_drawn == 0) return;
  life->support = (double)n_same / (double)n_drawn;
  const double drawn = (double)n_drawn;
  size_t below = 0; /* the smallest onset with 2.5 %, and with 97.5 %, of the resamples at or below it */
  life->onset_low = life->onset_high = n + 1;
  for (size_t c = 0; c <= n; c++) {
    below += first[c];
    if (life->onset_low > n && (double)below > 0.025 * drawn) life->onset_low = c;
    if (life->onset_high > n && (double)below >= 0.975 * drawn) life->onset_high = c;
  }
}
