/* SPDX-License-Identifier: Apache-2.0 */
/* Charts with axes, drawn as SVG. */
#include "report/figure.h"

#include "report/svg.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *xci_checkpoint_color(size_t c, size_t n) {
  /* Okabe and Ito's palette for few, a dark-to-light ramp for many. */
  static const char *const few[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"};
  static const char *const ramp[] = {"#440154", "#482475", "#414487", "#355f8d", "#2a788e", "#21918c",
                                     "#22a884", "#44bf70", "#7ad151", "#bddf26"};
  if (n <= sizeof few / sizeof *few) return few[c % (sizeof few / sizeof *few)];
  return ramp[c * (sizeof ramp / sizeof *ramp - 1) / (n - 1)];
}

void xci_text_short(xci_text *text, double value) {
  if (!isfinite(value)) {
    xci_text_add(text, "–");
    return;
  }
  double size = fabs(value);
  static const struct {
    double unit;
    const char *suffix;
  } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (size < units[i].unit) continue;
    double unit = i == 3 ? 1e3 : units[i].unit;
    xci_text_format(text, "%.3g%s", value / unit, units[i].suffix);
    return;
  }
  if (size != 0 && size < 1e-3)
    xci_text_format(text, "%.2g", value);
  else if (value == floor(value))
    xci_text_format(text, "%.0f", value);
  else
    xci_text_format(text, "%.*f", size >= 100 ? 1 : size >= 1 ? 2 : 3, value);
}

size_t xci_ticks(double low, double high, size_t wanted, double out[12]) {
  if (!(high > low) || wanted == 0) {
    out[0] = low;
    return 1;
  }
  double raw = (high - low) / (double)wanted;
  double power = pow(10.0, floor(log10(raw)));
  double step = raw / power <= 1.0   ? power
                : raw / power <= 2.0 ? 2 * power
                : raw / power <= 5.0 ? 5 * power
                                     : 10 * power;
  size_t n = 0;
  for (double t = ceil(low / step - 1e-9) * step; t <= high + 1e-9 * step && n < 12; t += step)
    out[n++] = fabs(t) < step * 1e-9 ? 0.0 : t;
  return n;
}

/* Ticks are round: "0.5" rather than "0.500". */
static void add_tick_text(xci_text *text, double value) {
  const double size = fabs(value);
  if (size != 0 && (size < 1e-3 || size >= 1e4)) xci_text_short(text, value);
  else xci_text_format(text, "%.4g", value);
}

/* ---- The plotting area ---- */

typedef struct plot {
  double left, top, right, bottom; /* of the area inside the axes */
  double x_low, x_high, y_low, y_high;
  bool log_x;
} plot;

static double map_x(const plot *p, double x) {
  double t = p->log_x ? (log10(x) - log10(p->x_low)) / (log10(p->x_high) - log10(p->x_low))
                      : (x - p->x_low) / (p->x_high - p->x_low);
  return p->left + t * (p->right - p->left);
}

static double map_y(const plot *p, double y) {
  return p->bottom - (y - p->y_low) / (p->y_high - p->y_low) * (p->bottom - p->top);
}

static void widen(double *low, double *high, double value) {
  if (!isfinite(value)) return;
  if (value < *low) *low = value;
  if (value > *high) *high = value;
}

static void find_ranges(const xci_chart *chart, plot *p) {
  p->x_low = p->y_low = INFINITY;
  p->x_high = p->y_high = -INFINITY;
  for (size_t s = 0; s < chart->n_series; s++) {
    const xci_series *series = &chart->series[s];
    for (size_t i = 0; i < series->n; i++) {
      if (!isfinite(series->y[i]) || (chart->log_x && series->x[i] <= 0)) continue;
      widen(&p->x_low, &p->x_high, series->x[i]);
      widen(&p->y_low, &p->y_high, series->y[i]);
      if (series->low) widen(&p->y_low, &p->y_high, series->low[i]);
      if (series->high) widen(&p->y_low, &p->y_high, series->high[i]);
    }
  }
  if (isfinite(chart->reference)) widen(&p->y_low, &p->y_high, chart->reference);
  if (!isfinite(p->y_low)) p->y_low = 0, p->y_high = 1;
  if (!isfinite(p->x_low)) p->x_low = p->log_x ? 1 : 0, p->x_high = p->x_low + 1;
  if (chart->y_zero) widen(&p->y_low, &p->y_high, 0);
  if (chart->y_zero && p->y_high == 0) p->y_high = 1;
  double margin = (p->y_high - p->y_low) * 0.04;
  if (margin == 0) margin = fabs(p->y_high) * 0.1 + 1e-9;
  p->y_low -= chart->y_zero && p->y_low == 0 ? 0 : margin;
  p->y_high += margin;
  if (chart->y_min != 0 || chart->y_max != 0) p->y_low = chart->y_min, p->y_high = chart->y_max;
  if (chart->category_x) {
    p->x_low = INFINITY;
    p->x_high = -INFINITY;
    for (size_t i = 0; i < chart->n_categories; i++) widen(&p->x_low, &p->x_high, chart->category_x[i]);
  } else if (chart->categories) {
    p->x_low = -0.3, p->x_high = (double)chart->n_categories - 0.7;
  }
  if (p->x_high <= p->x_low) p->x_high = p->log_x ? p->x_low * 10 : p->x_low + 1;
}

static void draw_y_axis(const xci_chart *chart, const plot *p, xci_text *svg) {
  double ticks[12];
  size_t n = xci_ticks(p->y_low, p->y_high, 5, ticks);
  for (size_t i = 0; i < n; i++) {
    double y = map_y(p, ticks[i]);
    xci_svg_line(svg, p->left, y, p->right, y, "#e4e4e4", 1, false);
    xci_text label = {0};
    add_tick_text(&label, ticks[i]);
    xci_svg_text(svg, p->left - 6, y + 4, "end", 11, "#333", label.bytes ? label.bytes : "");
    xci_text_clear(&label);
  }
  xci_svg_rotated(svg, 14, (p->top + p->bottom) / 2, chart->y_title);
}

/* Names of checkpoints at their places with the tokens below; where they would cover each other, a tick alone. The last
 * is always named. */
static void draw_places(const xci_chart *chart, const plot *p, xci_text *svg) {
  const size_t n = chart->n_categories;
  double free_from = -INFINITY, last = map_x(p, chart->category_x[n - 1]);
  const double last_width = 6.4 * (double)strlen(chart->categories[n - 1]) + 14;
  for (size_t i = 0; i < n; i++) {
    const double x = map_x(p, chart->category_x[i]), width = 6.4 * (double)strlen(chart->categories[i]) + 14;
    xci_svg_line(svg, x, p->bottom, x, p->bottom + 4, "#333", 1, false);
    if (i + 1 < n && (x - width / 2 < free_from || x + width / 2 > last - last_width / 2)) continue;
    free_from = x + width / 2;
    xci_text label = {0};
    xci_text_short(&label, chart->category_tokens[i]);
    xci_svg_text(svg, x, p->bottom + 16, "middle", 11, "#333", chart->categories[i]);
    xci_svg_text(svg, x, p->bottom + 28, "middle", 9, "#666", label.bytes ? label.bytes : "");
    xci_text_clear(&label);
  }
}

static void draw_marks(const xci_chart *chart, const plot *p, xci_text *svg) {
  for (size_t i = 0; i < chart->n_marks; i++) {
    const double x = map_x(p, chart->marks[i]);
    xci_svg_line(svg, x, p->top, x, p->bottom, "#000", 1.2, true);
    if (chart->mark_names) xci_svg_text(svg, x + 3, p->top + 10, "start", 10, "#000", chart->mark_names[i]);
  }
}

static void draw_x_axis(const xci_chart *chart, const plot *p, xci_text *svg) {
  xci_svg_line(svg, p->left, p->bottom, p->right, p->bottom, "#333", 1, false);
  double ticks[12];
  size_t n = 0;
  if (chart->category_x) {
    draw_places(chart, p, svg);
  } else if (chart->categories) {
    for (size_t i = 0; i < chart->n_categories; i++)
      xci_svg_text(svg, map_x(p, (double)i), p->bottom + 16, "middle", 11, "#333", chart->categories[i]);
  } else if (p->log_x) {
    for (double t = pow(10, ceil(log10(p->x_low) - 1e-9)); t <= p->x_high * 1.0001 && n < 12; t *= 10) ticks[n++] = t;
  } else {
    n = xci_ticks(p->x_low, p->x_high, 5, ticks);
  }
  for (size_t i = 0; i < n; i++) {
    double x = map_x(p, ticks[i]);
    xci_svg_line(svg, x, p->bottom, x, p->bottom + 4, "#333", 1, false);
    xci_text label = {0};
    add_tick_text(&label, ticks[i]);
    xci_svg_text(svg, x, p->bottom + 16, "middle", 11, "#333", label.bytes ? label.bytes : "");
    xci_text_clear(&label);
  }
  xci_svg_text(svg, (p->left + p->right) / 2, p->bottom + (chart->category_x ? 42 : 34), "middle", 12, "#111",
               chart->x_title);
}

static bool is_drawable(const plot *p, const xci_series *series, size_t i) {
  return isfinite(series->x[i]) && isfinite(series->y[i]) && (!p->log_x || series->x[i] > 0);
}

static void draw_series(const plot *p, const xci_series *series, xci_text *svg) {
  bool open = false;
  for (size_t i = 0; series->line && i < series->n; i++) {
    if (!is_drawable(p, series, i)) {
      if (open) xci_text_add(svg, "\"/>\n");
      open = false;
      continue;
    }
    if (!open)
      xci_text_format(svg, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.8\"%s points=\"", series->color,
                      series->dashed ? " stroke-dasharray=\"5 4\"" : "");
    xci_text_format(svg, "%.1f,%.1f ", map_x(p, series->x[i]), map_y(p, series->y[i]));
    open = true;
  }
  if (open) xci_text_add(svg, "\"/>\n");
  for (size_t i = 0; i < series->n; i++) {
    if (!is_drawable(p, series, i)) continue;
    double x = map_x(p, series->x[i]);
    if (series->low && series->high && isfinite(series->low[i]) && isfinite(series->high[i]))
      xci_svg_line(svg, x, map_y(p, series->low[i]), x, map_y(p, series->high[i]), series->color, 1.2, false);
    if (series->points)
      xci_text_format(svg, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x, map_y(p, series->y[i]),
                      series->color);
  }
}

/* Names at the right end of the lines, pushed apart so that none covers another. */
static void draw_names(const xci_chart *chart, const plot *p, xci_text *svg) {
  enum { MOST = 40 };
  struct {
    double y;
    size_t series;
  } name[MOST];
  size_t n = 0;
  for (size_t s = 0; s < chart->n_series && n < MOST; s++) {
    const xci_series *series = &chart->series[s];
    size_t last = series->n;
    while (last > 0 && !is_drawable(p, series, last - 1)) last--;
    if (last == 0 || !series->name || !*series->name) continue;
    double y = map_y(p, series->y[last - 1]);
    size_t at = n++;
    for (; at > 0 && name[at - 1].y > y; at--) name[at] = name[at - 1];
    name[at].y = y;
    name[at].series = s;
  }
  for (size_t i = 1; i < n; i++)
    if (name[i].y < name[i - 1].y + 13) name[i].y = name[i - 1].y + 13;
  double overflow = n ? name[n - 1].y - (p->bottom + 4) : 0;
  for (size_t i = n; overflow > 0 && i-- > 0;) {
    double limit = i + 1 < n ? name[i + 1].y - 13 : p->bottom + 4;
    if (name[i].y > limit) name[i].y = limit;
  }
  for (size_t i = 0; i < n; i++) {
    const xci_series *series = &chart->series[name[i].series];
    xci_svg_text(svg, p->right + 8, name[i].y + 4, "start", 11, series->color, series->name);
  }
}

static size_t longest_name(const xci_chart *chart) {
  size_t longest = 0;
  for (size_t s = 0; s < chart->n_series; s++) {
    size_t n = chart->series[s].name ? strlen(chart->series[s].name) : 0;
    if (n > longest) longest = n;
  }
  return longest < 28 ? longest : 28;
}

void xci_chart_svg(const xci_chart *chart, xci_text *svg) {
  double width = chart->width > 0 ? chart->width : 520, height = chart->height > 0 ? chart->height : 320;
  plot p = {.left = 66, .top = 34, .bottom = height - 46, .log_x = chart->log_x};
  p.right = width - 18 - 6.6 * (double)longest_name(chart);
  find_ranges(chart, &p);
  xci_svg_open(svg, width, height, chart->title);
  xci_svg_text(svg, p.left, 18, "start", 13, "#111", chart->title);
  draw_y_axis(chart, &p, svg);
  draw_x_axis(chart, &p, svg);
  if (isfinite(chart->reference)) {
    double y = map_y(&p, chart->reference);
    xci_svg_line(svg, p.left, y, p.right, y, "#777", 1, true);
    if (chart->reference_name) xci_svg_text(svg, p.left + 4, y - 4, "start", 10, "#555", chart->reference_name);
  }
  draw_marks(chart, &p, svg);
  for (size_t s = 0; s < chart->n_series; s++) draw_series(&p, &chart->series[s], svg);
  draw_names(chart, &p, svg);
  xci_svg_close(svg);
}

void xci_histogram_svg(const xci_histogram *histogram, xci_text *svg) {
  const double width = 520, height = 280;
  plot p = {.left = 66, .top = 34, .right = width - 18, .bottom = height - 46};
  p.x_low = histogram->edges[0];
  p.x_high = histogram->edges[histogram->n];
  if (p.x_high <= p.x_low) p.x_high = p.x_low + 1;
  p.y_high = 1;
  for (size_t i = 0; i < histogram->n; i++) widen(&p.y_low, &p.y_high, histogram->counts[i] * 1.05);
  p.y_low = 0;
  xci_chart axes = {.x_title = histogram->x_title, .y_title = histogram->y_title};
  xci_svg_open(svg, width, height, histogram->title);
  xci_svg_text(svg, p.left, 18, "start", 13, "#111", histogram->title);
  draw_y_axis(&axes, &p, svg);
  draw_x_axis(&axes, &p, svg);
  for (size_t i = 0; i < histogram->n; i++) {
    double x = map_x(&p, histogram->edges[i]), next = map_x(&p, histogram->edges[i + 1]);
    double y = map_y(&p, histogram->counts[i]);
    xci_text_format(svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x + 0.5, y,
                    next - x > 1 ? next - x - 1 : next - x, p.bottom - y,
                    histogram->colors ? histogram->colors[i] : "#0072b2");
  }
  xci_svg_close(svg);
}
