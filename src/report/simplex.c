/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of three checkpoints as points in a triangle, and tables of numbers as heat maps. */
#include "report/figure.h"
#include "report/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 520, HEIGHT = 440, LEFT = 70, RIGHT = 450, TOP = 60, BOTTOM = 389 };

static void place(const double share[3], double *x, double *y) {
  *x = LEFT * share[0] + (LEFT + RIGHT) / 2.0 * share[1] + RIGHT * share[2];
  *y = BOTTOM * (share[0] + share[2]) + TOP * share[1];
}

/* The line on which share `k` equals `value`. */
static void draw_level(xci_text *svg, size_t k, double value, const char *color) {
  double a[3], b[3], x1, y1, x2, y2;
  a[k] = b[k] = value;
  a[(k + 1) % 3] = b[(k + 2) % 3] = 1 - value;
  a[(k + 2) % 3] = b[(k + 1) % 3] = 0;
  place(a, &x1, &y1);
  place(b, &x2, &y2);
  xci_svg_line(svg, x1, y1, x2, y2, color, 1, value != 0);
}

static void draw_corners(const xci_simplex *simplex, xci_text *svg) {
  xci_svg_text(svg, LEFT - 8, BOTTOM + 20, "middle", 12, xci_checkpoint_color(0, 3), simplex->corners[0]);
  xci_svg_text(svg, (LEFT + RIGHT) / 2.0, TOP - 12, "middle", 12, xci_checkpoint_color(1, 3), simplex->corners[1]);
  xci_svg_text(svg, RIGHT + 8, BOTTOM + 20, "middle", 12, xci_checkpoint_color(2, 3), simplex->corners[2]);
  xci_svg_text(svg, (LEFT + RIGHT) / 2.0, BOTTOM + 40, "middle", 11, "#555",
               "share of |IE| at each checkpoint; dashed: 0.7 (specific) and 0.3 (shared)");
}

enum { MOST_NAMES = 12 };

/* A name is written only where it covers none before it. */
static bool is_free(const double (*taken)[2], size_t n, double x, double y) {
  for (size_t i = 0; i < n; i++)
    if (fabs(taken[i][0] - x) < 26 && fabs(taken[i][1] - y) < 11) return false;
  return true;
}

void xci_simplex_svg(const xci_simplex *simplex, xci_text *svg) {
  double taken[MOST_NAMES][2];
  size_t n_taken = 0;
  xci_svg_open(svg, WIDTH, HEIGHT, simplex->title);
  xci_svg_text(svg, 16, 18, "start", 13, "#111", simplex->title);
  for (size_t k = 0; k < 3; k++) {
    draw_level(svg, k, 0.3, "#ccc");
    draw_level(svg, k, 0.7, "#999");
    draw_level(svg, k, 0, "#333");
  }
  draw_corners(simplex, svg);
  for (size_t i = 0; i < simplex->n; i++) {
    const double *share = simplex->shares + 3 * i;
    if (!isfinite(share[0] + share[1] + share[2])) continue;
    double x, y;
    place(share, &x, &y);
    double radius = simplex->weight ? 2 + 6 * sqrt(simplex->weight[i] < 0 ? 0 : simplex->weight[i]) : 3.5;
    xci_text_format(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\" fill-opacity=\"0.65\"><title>", x, y,
                    radius, simplex->colors ? simplex->colors[i] : "#444");
    if (simplex->names && simplex->names[i]) xci_text_xml(svg, simplex->names[i], strlen(simplex->names[i]));
    xci_text_add(svg, "</title></circle>\n");
    if (simplex->names && simplex->names[i] && i < MOST_NAMES && is_free((const double(*)[2])taken, n_taken, x, y)) {
      xci_svg_text(svg, x + radius + 2, y + 3, "start", 10, "#333", simplex->names[i]);
      taken[n_taken][0] = x;
      taken[n_taken++][1] = y;
    }
  }
  xci_svg_close(svg);
}

void xci_heat_map_svg(const xci_heat_map *map, xci_text *svg) {
  const double cell = 46, left = 110, top = 60;
  double width = left + cell * (double)map->n_columns + 20, height = top + 26 * (double)map->n_rows + 20;
  if (width < 360) width = 360;
  xci_svg_open(svg, width, height, map->title);
  xci_svg_text(svg, 10, 18, "start", 13, "#111", map->title);
  for (size_t j = 0; j < map->n_columns; j++)
    xci_svg_text(svg, left + cell * ((double)j + 0.5), top - 6, "middle", 10, "#333", map->columns[j]);
  for (size_t i = 0; i < map->n_rows; i++) {
    double y = top + 26 * (double)i;
    xci_svg_text(svg, left - 6, y + 17, "end", 11, "#333", map->rows[i]);
    for (size_t j = 0; j < map->n_columns; j++) {
      double value = map->values[i * map->n_columns + j];
      if (!isfinite(value)) continue;
      double t = (value - map->low) / (map->high > map->low ? map->high - map->low : 1);
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      xci_text_format(svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"25\" fill=\"#08519c\" fill-opacity=\"%.3f\"/>\n",
                      left + cell * (double)j, y, cell - 1, 0.05 + 0.9 * t);
      char label[32];
      snprintf(label, sizeof label, "%.*f", map->decimals, value);
      xci_svg_text(svg, left + cell * ((double)j + 0.5), y + 17, "middle", 10, t > 0.55 ? "#fff" : "#111", label);
    }
  }
  xci_svg_close(svg);
}
