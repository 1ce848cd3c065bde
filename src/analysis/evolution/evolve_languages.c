/* SPDX-License-Identifier: Apache-2.0 */
/* Which features languages share: overlaps of their strongest features, languages of a feature, entropy of its
 * effect. */
#include "analysis/evolution/evolve.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked {
  uint32_t feature;
  double strength;
} ranked;

static int compare_ranked(const void *a, const void *b) {
  const ranked *p = a, *q = b;
  if (p->strength != q->strength) return p->strength > q->strength ? -1 : 1;
  return p->feature < q->feature ? -1 : p->feature > q->feature;
}

typedef struct languages {
  const xci_run_effects *all;
  size_t n, g, d, k;      /* checkpoints, languages, features, size of a set */
  double *mean;           /* [g, d, n] |mean effect| over the examples of a language */
  uint8_t *in_set;        /* [g, n, d] */
  size_t *set_size;       /* [g, n] */
} languages;

static void add_means(languages *l) {
  for (size_t g = 0; g < l->g; g++) {
    size_t n_examples = 0;
    double *mean = l->mean + g * l->d * l->n;
    for (size_t t = 0; t < l->all->n_tasks; t++) {
      const xci_example_effects *task = &l->all->task[t];
      for (size_t e = 0; e < task->n_examples; e++) {
        if (task->language[e] != (int)g) continue;
        n_examples++;
        for (int64_t j = task->start[e]; j < task->start[e + 1]; j++)
          for (size_t c = 0; c < l->n; c++)
            mean[(size_t)task->feature[j] * l->n + c] += (double)task->effect[(size_t)j * l->n + c];
      }
    }
    for (size_t i = 0; i < l->d * l->n; i++) mean[i] = n_examples ? fabs(mean[i]) / (double)n_examples : 0;
  }
}

static xcoder_status choose_sets(languages *l, xcoder_error *err) {
  ranked *list = NULL;
  const xcoder_status status = XCI_ALLOC(&list, l->d, err);
  if (status) return status;
  for (size_t g = 0; g < l->g; g++)
    for (size_t c = 0; c < l->n; c++) {
      size_t n = 0;
      for (size_t i = 0; i < l->d; i++) {
        const double strength = l->mean[(g * l->d + i) * l->n + c];
        if (strength > 0) list[n++] = (ranked){(uint32_t)i, strength};
      }
      if (n) qsort(list, n, sizeof *list, compare_ranked);
      l->set_size[g * l->n + c] = xci_min_size(l->k, n);
      for (size_t r = 0; r < l->set_size[g * l->n + c]; r++) l->in_set[(g * l->n + c) * l->d + list[r].feature] = 1;
    }
  xci_free(list);
  return XCODER_OK;
}

double xci_overlap_p(size_t n, size_t k_a, size_t k_b, size_t count, uint64_t permutations, uint64_t seed,
                     uint64_t stream_index, double *expected) {
  uint64_t n_as_many = 0;
  *expected = n ? (double)k_a * (double)k_b / (double)n : 0;
  for (uint64_t p = 0; p < permutations; p++) {
    size_t common = 0; /* the first set is 0 .. k_a - 1, the second k_b places of a permutation */
    const uint64_t key = stream_index * permutations + p;
    for (size_t r = 0; r < k_b; r++) common += xci_permute(seed, XCI_STREAM_EVOLUTION, key, n, r) < k_a;
    n_as_many += common >= count;
  }
  return (double)(n_as_many + 1) / (double)(permutations + 1);
}

/* Candidates are the features with an effect in either language: what is strong nowhere cannot be shared by chance. */
static void compare_sets(const languages *l, size_t a, size_t b, size_t c, uint64_t permutations, uint64_t seed,
                         xci_overlap *out) {
  const uint8_t *first = l->in_set + (a * l->n + c) * l->d, *second = l->in_set + (b * l->n + c) * l->d;
  *out = (xci_overlap){.a = a, .b = b, .checkpoint = c};
  for (size_t i = 0; i < l->d; i++) {
    out->count += first[i] && second[i];
    out->n_candidates += l->mean[(a * l->d + i) * l->n + c] > 0 || l->mean[(b * l->d + i) * l->n + c] > 0;
  }
  const size_t k_a = l->set_size[a * l->n + c], k_b = l->set_size[b * l->n + c], both = k_a + k_b - out->count;
  out->jaccard = both ? (double)out->count / (double)both : NAN;
  out->p = xci_overlap_p(out->n_candidates, k_a, k_b, out->count, permutations, seed, (c * l->g + a) * l->g + b,
                         &out->expected);
}

static xcoder_status compare_all(const languages *l, uint64_t permutations, uint64_t seed, xci_language_life *life,
                                 xcoder_error *err) {
  const xcoder_status status = XCI_ALLOC(&life->overlap, l->n * l->g * (l->g - 1) / 2, err);
  for (size_t c = 0; !status && c < l->n; c++)
    for (size_t a = 0; a < l->g; a++)
      for (size_t b = a + 1; b < l->g; b++)
        compare_sets(l, a, b, c, permutations, seed, &life->overlap[life->n_overlaps++]);
  return status;
}

/* Each language's effects count relative to their sum at the checkpoint, so that one with larger logits does not
 * win. */
static double entropy_at(const languages *l, const double *total, size_t feature, size_t c) {
  double weight[64], sum = 0;
  size_t n = 0;
  for (size_t g = 0; g < l->g && n < 64; g++) {
    const double all = total[g * l->n + c];
    weight[n] = all > 0 ? l->mean[(g * l->d + feature) * l->n + c] / all : 0;
    sum += weight[n++];
  }
  return sum > 0 ? xci_entropy(weight, n, l->g) : NAN;
}

static xcoder_status describe_features(const languages *l, xci_language_life *life, xcoder_error *err) {
  double *total = NULL;
  xcoder_status status = XCI_ALLOC(&total, l->g * l->n, err);
  if (!status) status = XCI_ALLOC(&life->feature, l->d, err);
  for (size_t i = 0; !status && i < l->d; i++) {
    bool chosen = false;
    for (size_t s = 0; s < l->g * l->n; s++) {
      chosen |= l->in_set[s * l->d + i] != 0;
      total[s] += l->mean[(s / l->n * l->d + i) * l->n + s % l->n];
    }
    if (chosen) life->feature[life->n_chosen++] = (uint32_t)i;
  }
  if (!status) status = XCI_ALLOC(&life->n_languages, life->n_chosen * l->n, err);
  if (!status) status = XCI_ALLOC(&life->entropy, life->n_chosen * l->n, err);
  for (size_t k = 0; !status && k < life->n_chosen; k++)
    for (size_t c = 0; c < l->n; c++) {
      for (size_t g = 0; g < l->g; g++)
        life->n_languages[k * l->n + c] += l->in_set[(g * l->n + c) * l->d + life->feature[k]];
      life->entropy[k * l->n + c] = entropy_at(l, total, life->feature[k], c);
    }
  xci_free(total);
  return status;
}

/* Mean over the features in a set at the checkpoint, with a bootstrap over features. */
static xcoder_status average(const double *value, size_t n, uint64_t resamples, uint64_t seed, uint64_t stream_index,
                             double *mean, double *low, double *high, xcoder_error *err) {
  double *means = NULL, sum = 0;
  *mean = *low = *high = NAN;
  if (n == 0) return XCODER_OK;
  const xcoder_status status = XCI_ALLOC(&means, resamples, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) sum += value[i];
  *mean = sum / (double)n;
  for (uint64_t r = 0; r < resamples; r++) {
    sum = 0;
    for (size_t i = 0; i < n; i++)
      sum += value[xci_random_below(seed, XCI_STREAM_BOOTSTRAP, (stream_index * resamples + r) * n + i, n)];
    means[r] = sum / (double)n;
  }
  xci_sort_f64(means, resamples);
  *low = xci_quantile(means, resamples, 0.025);
  *high = xci_quantile(means, resamples, 0.975);
  xci_free(means);
  return XCODER_OK;
}

static xcoder_status over_time(const languages *l, uint64_t resamples, uint64_t seed, xci_language_life *life,
                               xcoder_error *err) {
  double *value = NULL;
  xcoder_status status = XCI_ALLOC(&value, life->n_chosen, err);
  for (size_t c = 0; !status && c < l->n; c++)
    for (size_t what = 0; !status && what < 2; what++) {
      size_t n = 0;
      for (size_t k = 0; k < life->n_chosen; k++) {
        const double x = what ? life->entropy[k * l->n + c] : (double)life->n_languages[k * l->n + c];
        if (life->n_languages[k * l->n + c] && !isnan(x)) value[n++] = x;
      }
      status = what ? average(value, n, resamples, seed, 2 * c + 1, &life->mean_entropy[c], &life->mean_entropy_low[c],
                              &life->mean_entropy_high[c], err)
                    : average(value, n, resamples, seed, 2 * c, &life->mean_languages[c],
                              &life->mean_languages_low[c], &life->mean_languages_high[c], err);
    }
  xci_free(value);
  return status;
}

/* Rank correlation of the features' language entropy with their RelIE at the last checkpoint. */
static xcoder_status correlate(const languages *l, const double *share, uint64_t permutations, uint64_t seed,
                               xci_language_life *life, xcoder_error *err) {
  double *x = NULL, *y = NULL, *drawn = NULL, rho;
  size_t n = 0;
  uint64_t n_as_far = 0;
  xcoder_status status = XCI_ALLOC(&x, life->n_chosen, err);
  if (!status) status = XCI_ALLOC(&y, life->n_chosen, err);
  if (!status) status = XCI_ALLOC(&drawn, life->n_chosen, err);
  for (size_t k = 0; !status && k < life->n_chosen; k++) {
    double sum = 0, count = 0;
    for (size_t c = 0; c < l->n; c++)
      if (!isnan(life->entropy[k * l->n + c])) {
        sum += life->entropy[k * l->n + c];
        count++;
      }
    const double last = share[(size_t)life->feature[k] * l->n + l->n - 1];
    if (count == 0 || isnan(last)) continue;
    x[n] = sum / count;
    y[n++] = last;
  }
  life->rho = life->rho_p = NAN;
  if (!status) status = xci_spearman(x, y, n, &life->rho, err);
  for (uint64_t p = 0; !status && p < permutations && !isnan(life->rho); p++) {
    for (size_t i = 0; i < n; i++) drawn[i] = y[xci_permute(seed, XCI_STREAM_EVOLUTION, UINT64_C(1) << 40 | p, n, i)];
    status = xci_spearman(x, drawn, n, &rho, err);
    n_as_far += fabs(rho) >= fabs(life->rho) - 1e-12;
  }
  if (!status && !isnan(life->rho)) life->rho_p = (double)(n_as_far + 1) / (double)(permutations + 1);
  xci_free(x);
  xci_free(y);
  xci_free(drawn);
  return status;
}

void xci_languages_close(xci_language_life *life) {
  xci_free(life->overlap);
  xci_free(life->feature);
  xci_free(life->n_languages);
  xci_free(life->entropy);
  *life = (xci_language_life){0};
}

xcoder_status xci_languages(const xci_run_effects *effects, const double *share, size_t k, uint64_t permutations,
                            uint64_t seed, xci_language_life *life, xcoder_error *err) {
  languages l = {effects, effects->n, effects->n_languages, effects->n_features, k, NULL, NULL, NULL};
  *life = (xci_language_life){0};
  if (l.g < 2) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&l.mean, l.g * l.d * l.n, err);
  if (!status) status = XCI_ALLOC(&l.in_set, l.g * l.n * l.d, err);
  if (!status) status = XCI_ALLOC(&l.set_size, l.g * l.n, err);
  if (!status) add_means(&l);
  if (!status) status = choose_sets(&l, err);
  if (!status) status = compare_all(&l, permutations, seed, life, err);
  if (!status) status = describe_features(&l, life, err);
  if (!status) status = over_time(&l, permutations, seed, life, err);
  if (!status) status = correlate(&l, share, permutations, seed, life, err);
  xci_free(l.mean);
  xci_free(l.in_set);
  xci_free(l.set_size);
  if (status) xci_languages_close(life);
  return status;
}
