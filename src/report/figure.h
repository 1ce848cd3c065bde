/* SPDX-License-Identifier: Apache-2.0 */
/* Figures as SVG text: complete without scripts, fonts or style sheets of others, legible in print. */
#ifndef XCI_REPORT_FIGURE_H
#define XCI_REPORT_FIGURE_H

#include "analysis/attribution/relative_effect.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_series {
  const char *name;          /* written at the end of the line, or in the legend of points */
  const char *color;         /* "#0072b2" */
  size_t n;
  const double *x, *y;       /* NaN: a gap */
  const double *low, *high;  /* interval at every point, or NULL */
  bool line, points, dashed;
} xci_series;

typedef struct xci_chart {
  const char *title, *x_title, *y_title;
  double width, height;              /* pixels; 0: 520 x 320 */
  bool log_x;
  double y_min, y_max;               /* both 0: from the data; y_zero makes the axis start at 0 */
  bool y_zero;
  const char *const *categories;     /* names of x = 0, 1, ...; NULL: a number axis */
  size_t n_categories;
  const double *category_x,
      *category_tokens;              /* their places on a logarithmic axis, and what is written there; or NULL */
  const double *marks;               /* vertical lines, e.g. at chosen checkpoints */
  const char *const *mark_names;
  size_t n_marks;
  double reference;                  /* a dashed horizontal line, e.g. chance; NaN: none */
  const char *reference_name;
  const xci_series *series;
  size_t n_series;
} xci_chart;

void xci_chart_svg(const xci_chart *chart, xci_text *svg);

/* Bars over edges[0..n], counts[0..n-1]. */
typedef struct xci_histogram {
  const char *title, *x_title, *y_title;
  const double *edges, *counts;
  size_t n;
  const char *const *colors; /* one per bar, or NULL */
} xci_histogram;
void xci_histogram_svg(const xci_histogram *histogram, xci_text *svg);

/* Points of the 2-simplex: shares[3 i .. 3 i + 2] sum to 1; corners are named. The lines of the classes are
 * drawn. */
typedef struct xci_simplex {
  const char *title;
  const char *corners[3];
  const double *shares;
  const double *weight;        /* area of each point, 0..1, or NULL */
  const char *const *names;    /* label of each point or NULL */
  const char *const *colors;   /* of each point or NULL */
  size_t n;
  xci_borders borders;
} xci_simplex;
void xci_simplex_svg(const xci_simplex *simplex, xci_text *svg);

/* Values in cells, light to dark; NaN stays white. */
typedef struct xci_heat_map {
  const char *title;
  const char *const *rows, *const *columns;
  size_t n_rows, n_columns;
  const double *values; /* row-major */
  double low, high;
  int decimals;
} xci_heat_map;
void xci_heat_map_svg(const xci_heat_map *map, xci_text *svg);

/* Colour of checkpoint c of n: distinguishable with impaired colour vision and in grey. */
const char *xci_checkpoint_color(size_t c, size_t n);

/* A number for people: about 4 significant digits, k/M/G for large counts. */
void xci_text_short(xci_text *text, double value);

/* Round tick positions between low and high; returns how many were written (at most 12). */
size_t xci_ticks(double low, double high, size_t wanted, double out[12]);

#endif
