/* SPDX-License-Identifier: Apache-2.0 */
/* RelIE: shares, classes, evolution in words, bootstrap. */
#include "analysis/attribution/relative_effect.h"

#include "analysis/statistics.h"
#include "base/random.h"
#include <math.h>

static const xci_borders usual = {0.7, 0.3};

bool xci_relative(const double *value, size_t n, double *share) {
  double sum = 0;
  for (size_t c = 0; c < n; c++) sum += fabs(value[c]);
  for (size_t c = 0; c < n; c++) share[c] = sum > 0 ? fabs(value[c]) / sum : NAN;
  return sum > 0;
}

xci_borders xci_borders_complete(xci_borders borders) {
  if (!(borders.specific > 0)) borders.specific = usual.specific;
  if (!(borders.shared > 0)) borders.shared = usual.shared;
  return borders;
}

double xci_sharing_border(xci_borders given, size_t n) {
  const xci_borders borders = xci_borders_complete(given);
  return n <= 3 ? borders.shared : 3 * borders.shared / (double)n;
}

static uint32_t bit(size_t c) { return (uint32_t)1 << c; }

/* Of two the authors look at the second alone. */
static xci_class classify_two(xci_borders borders, const double *share) {
  if (share[1] < borders.shared) return (xci_class){XCI_CLASS_SPECIFIC, bit(0)};
  if (share[1] > borders.specific) return (xci_class){XCI_CLASS_SPECIFIC, bit(1)};
  return (xci_class){XCI_CLASS_SHARED, bit(0) | bit(1)};
}

/* The set above the border, and the largest, which is below only where the border is above 1 / n. For three it is the
 * authors' rule (all, else the first pair in the order AB, AC, BC), because two pairs above 0.3 are all three. */
static xci_class classify_set(uint32_t above) {
  return (xci_class){above & (above - 1) ? XCI_CLASS_SHARED : XCI_CLASS_MOSTLY, above};
}

xci_class xci_classify_by(xci_borders given, const double *share, size_t n) {
  const xci_borders borders = xci_borders_complete(given);
  uint32_t above = 0;
  size_t largest = 0;
  if (n == 1) return (xci_class){XCI_CLASS_SHARED, bit(0)}; /* nothing to compare with */
  if (n == 2 && fabs(borders.specific + borders.shared - 1) < 1e-9) return classify_two(borders, share);
  for (size_t c = 0; c < n; c++) {
    if (share[c] > share[largest]) largest = c;
    if (share[c] >= xci_sharing_border(borders, n)) above |= bit(c);
  }
  if (share[largest] > borders.specific) return (xci_class){XCI_CLASS_SPECIFIC, bit(largest)};
  return classify_set(above | bit(largest));
}

static bool spans(double low, double high, double border) { return low < border && border < high; }

xci_class xci_classify_interval_by(xci_borders given, const double *share, const double *low, const double *high,
                                   size_t n) {
  const xci_borders borders = xci_borders_complete(given);
  const xci_class class = xci_classify_by(borders, share, n);
  bool uncertain = false;
  if (n == 1) return class;
  for (size_t c = 0; c < n; c++) uncertain |= spans(low[c], high[c], borders.specific);
  /* Where one checkpoint holds more than 0.7, what the others share of the rest decides nothing. */
  if (class.kind != XCI_CLASS_SPECIFIC || n == 2)
    for (size_t c = 0; c < n; c++) uncertain |= spans(low[c], high[c], xci_sharing_border(borders, n));
  return uncertain ? (xci_class){XCI_CLASS_UNCERTAIN, 0} : class;
}

xci_class xci_classify(const double *share, size_t n) { return xci_classify_by(usual, share, n); }

xci_class xci_classify_interval(const double *share, const double *low, const double *high, size_t n) {
  return xci_classify_interval_by(usual, share, low, high, n);
}

xci_class xci_classify_authors(xci_borders borders, const double *effect, size_t n) {
  double share[XCODER_MAX_CHECKPOINTS];
  if (!xci_relative(effect, n, share))
    for (size_t c = 0; c < n; c++) share[c] = 0.5;
  const xci_class class = xci_classify_by(borders, share, n);
  return n == 3 && class.kind == XCI_CLASS_MOSTLY ? (xci_class){XCI_CLASS_OTHER, 0} : class;
}

static bool has_members(xci_class class) {
  return class.kind == XCI_CLASS_SPECIFIC || class.kind == XCI_CLASS_SHARED || class.kind == XCI_CLASS_MOSTLY;
}

void xci_class_text(xci_class class, const char *const *labels, size_t n, xci_text *text) {
  static const char *const words[] = {"none", "specific:", "shared:", "mostly:", "other", "uncertain"};
  const char *separator = "";
  xci_text_add(text, words[class.kind]);
  if (!has_members(class)) return;
  for (size_t c = 0; c < n; c++) {
    if (!(class.members >> c & 1)) continue;
    xci_text_add(text, separator);
    xci_text_add(text, labels[c]);
    separator = "+";
  }
}

const char *xci_evolution(xci_class class, size_t n) {
  bool early = false, late = false, middle = false;
  if (n < 2 || !has_members(class)) return "";
  for (size_t c = 0; c < n; c++) {
    if (!(class.members >> c & 1)) continue;
    if (2 * c + 1 < n) early = true;
    else if (2 * c + 1 > n) late = true;
    else middle = true;
  }
  if (late && !early && !middle) return "emerging";
  if (early && !late && !middle) return "vanishing";
  return class.kind == XCI_CLASS_SHARED ? "persisting" : "";
}

void xci_bootstrap_draw(uint64_t seed, size_t n_examples, size_t n_resamples, uint16_t *weight) {
  for (size_t i = 0; i < n_examples * n_resamples; i++) weight[i] = 0;
  for (size_t r = 0; r < n_resamples; r++)
    for (size_t k = 0; k < n_examples; k++) {
      const uint64_t drawn = xci_random_below(seed, XCI_STREAM_BOOTSTRAP, (uint64_t)r * n_examples + k, n_examples);
      uint16_t *count = &weight[(size_t)drawn * n_resamples + r];
      if (*count < UINT16_MAX) ++*count;
    }
}

void xci_bootstrap_interval(const uint16_t *weight, size_t n_resamples, const uint32_t *example, const float *effect,
                            size_t n_active, size_t n, const double *unit, double *low, double *high, double *work) {
  double *sum = work, *kept = work + n * n_resamples;
  size_t n_kept = 0;
  for (size_t i = 0; i < n * n_resamples; i++) sum[i] = 0;
  for (size_t a = 0; a < n_active; a++) {
    const uint16_t *row = weight + (size_t)example[a] * n_resamples;
    for (size_t c = 0; c < n; c++) {
      const double value = (double)effect[a * n + c];
      double *total = sum + c * n_resamples;
      for (size_t r = 0; r < n_resamples; r++) total[r] += (double)row[r] * value;
    }
  }
  for (size_t r = 0; r < n_resamples; r++) {
    double value[XCODER_MAX_CHECKPOINTS] = {0}, share[XCODER_MAX_CHECKPOINTS];
    for (size_t c = 0; c < n; c++) value[c] = sum[c * n_resamples + r] / (unit ? unit[c] : 1);
    if (!xci_relative(value, n, share)) continue;
    for (size_t c = 0; c < n; c++) kept[c * n_resamples + n_kept] = share[c];
    n_kept++;
  }
  for (size_t c = 0; c < n; c++) {
    xci_sort_f64(kept + c * n_resamples, n_kept);
    low[c] = xci_quantile(kept + c * n_resamples, n_kept, 0.025);
    high[c] = xci_quantile(kept + c * n_resamples, n_kept, 0.975);
  }
}
