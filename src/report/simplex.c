/* SPDX-License-Identifier: Apache-2.0 */
/* Shares of three checkpoints as points in a triangle, and tables of numbers as heat maps. */
#include "report/figure.h"
#include "report/svg.h"

#include <math.h>
#include <stdbool.h>
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

static void draw_corners(const xci_simplex *simplex, xci_borders borders, xci_text *svg) {
  char caption[120];
  snprintf(caption, sizeof caption, "share of |IE| at each checkpoint; dashed: %g (specific) and %g (shared)",
           borders.specific, borders.shared);
  xci_svg_text(svg, LEFT - 8, BOTTOM + 20, "middle", 12, xci_checkpoint_color(0, 3), simplex->corners[0]);
  xci_svg_text(svg, (LEFT + RIGHT) / 2.0, TOP - 12, "middle", 12, xci_checkpoint_color(1, 3), simplex->corners[1]);
  xci_svg_text(svg, RIGHT + 8, BOTTOM + 20, "middle", 12, xci_checkpoint_color(2, 3), simplex->corners[2]);
  xci_svg_text(svg, (LEFT + RIGHT) / 2.0, BOTTOM + 40, "middle", 11, "#555", caption);
}

enum { MOST_NAMES = 12 };

typedef struct box {
  double left, right, y;
} box;

/* A name is written only where it covers none before it: to the right of its point, or to the left at the edge. */
static void draw_name(const char *name, double x, double y, double radius, box *taken, size_t *n_taken, xci_text *svg) {
  size_t letters = 0;
  for (const char *p = name; *p; p++) letters += ((unsigned char)*p & 0xc0) != 0x80;
  const double width = 5.6 * (double)letters;
  const bool fits = x + radius + 2 + width < WIDTH;
  const box own = {fits ? x + radius + 2 : x - radius - 2 - width, fits ? x + radius + 2 + width : x - radius - 2, y};
  for (size_t i = 0; i < *n_taken; i++)
    if (fabs(taken[i].y - y) < 11 && own.left < taken[i].right && own.right > taken[i].left) return;
  xci_svg_text(svg, fits ? own.left : own.right, y + 3, fits ? "start" : "end", 10, "#333", name);
  taken[(*n_taken)++] = own;
}

void xci_simplex_svg(const xci_simplex *simplex, xci_text *svg) {
  const xci_borders borders = xci_borders_complete(simplex->borders);
  box taken[MOST_NAMES];
  size_t n_taken = 0;
  xci_svg_open(svg, WIDTH, HEIGHT, simplex->title);
  xci_svg_text(svg, 16, 18, "start", 13, "#111", simplex->title);
  for (size_t k = 0; k < 3; k++) {
    draw_level(svg, k, borders.shared, "#ccc");
    draw_level(svg, k, borders.specific, "#999");
    draw_level(svg, k, 0, "#333");
  }
  draw_corners(simplex, borders, svg);
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
    if (simplex->names && simplex->names[i] && i < MOST_NAMES)
      draw_name(simplex->names[i], x, y, radius, taken, &n_taken, svg);
  }
  xci_svg_close(svg);
}

static size_t longest_name(const char *const *names, size_t n) {
  size_t longest = 0;
  for (size_t i = 0; i < n; i++) {
    const size_t length = strlen(names[i]);
    if (length > longest) longest = length;
  }
  return longest < 32 ? longest : 32;
}

/* Names of columns stand upright where they fit, else they rise to the right. */
static void draw_column_names(const xci_heat_map *map, double left, double top, double cell, bool rising, size_t every,
                              xci_text *svg) {
  for (size_t j = 0; j < map->n_columns; j += every) {
    const double x = left + cell * ((double)j + 0.5);
    if (rising) xci_text_format(svg, "<g transform=\"translate(%.1f %.1f) rotate(-45)\">", x, top - 6);
    xci_svg_text(svg, rising ? 0 : x, rising ? 0 : top - 6, rising ? "start" : "middle", 10, "#333", map->columns[j]);
    if (rising) xci_text_add(svg, "</g>\n");
  }
}

void xci_heat_map_svg(const xci_heat_map *map, xci_text *svg) {
  /* Many cells are small and bare, and only so many names are written as there is room for. */
  const bool small = map->n_columns > 24 || map->n_rows > 60;
  const double cell = small ? fmax(4, 640 / (double)map->n_columns) : 34, row_height = small ? cell : 26;
  const size_t every = small ? (size_t)ceil(12 / cell) : 1;
  const double letter = 5.7; /* mean width of a letter of 10 or 11 px */
  const size_t longest = longest_name(map->columns, map->n_columns);
  const double left = 16 + letter * (double)longest_name(map->rows, map->n_rows);
  const bool rising = letter * (double)longest > cell;
  const double reach = rising ? 0.71 * letter * (double)longest : 0, top = 44 + reach;
  double width = left + cell * (double)map->n_columns + 12 + reach,
         height = top + row_height * (double)map->n_rows + 12;
  if (width < 20 + 7.2 * (double)strlen(map->title)) width = 20 + 7.2 * (double)strlen(map->title);
  xci_svg_open(svg, width, height, map->title);
  xci_svg_text(svg, 10, 18, "start", 13, "#111", map->title);
  draw_column_names(map, left, top, cell, rising, every, svg);
  for (size_t i = 0; i < map->n_rows; i++) {
    double y = top + row_height * (double)i;
    if (i % every == 0)
      xci_svg_text(svg, left - 6, y + (small ? fmax(row_height, 9) : 17), "end", 11, "#333", map->rows[i]);
    for (size_t j = 0; j < map->n_columns; j++) {
      double value = map->values[i * map->n_columns + j];
      if (!isfinite(value)) continue;
      double t = (value - map->low) / (map->high > map->low ? map->high - map->low : 1);
      t = t < 0 ? 0 : t > 1 ? 1 : t;
      xci_text_format(svg,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#08519c\" "
                      "fill-opacity=\"%.3f\"/>\n",
                      left + cell * (double)j, y, small ? cell : cell - 1, small ? cell : 25, 0.05 + 0.9 * t);
      if (small) continue;
      char label[32];
      snprintf(label, sizeof label, "%.*f", map->decimals, value);
      xci_svg_text(svg, left + cell * ((double)j + 0.5), y + 17, "middle", 10, t > 0.55 ? "#fff" : "#111", label);
    }
  }
  xci_svg_close(svg);
}
