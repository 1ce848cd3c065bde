/* SPDX-License-Identifier: Apache-2.0 */
/* Optimal assignment and nearest neighbours. */
#include "analysis/comparison/match.h"

#include "base/memory.h"
#include <math.h>

/* Costs are minus the similarities. Rows are at most as many as columns; a column that no row has keeps price 0, which
 * is what makes the result optimal also when columns are left over. */
typedef struct problem {
  const float *similarity;
  size_t n_rows, n_columns;
  double *price;       /* [n_columns] */
  int64_t *row_of;     /* [n_columns] */
  int64_t *column_of;  /* [n_rows] */
  double *distance;    /* [n_columns] of the shortest path under way */
  int64_t *before;     /* [n_columns], the row before the column on that path */
  size_t *order;       /* [n_columns]: columns that are done, at the frontier, and beyond */
} problem;

static double cost(const problem *p, size_t row, size_t column) {
  return -(double)p->similarity[row * p->n_columns + column] - p->price[column];
}

/* The two cheapest columns of a row. */
static void cheapest(const problem *p, size_t row, size_t *first, size_t *second, double *least, double *next) {
  *least = *next = INFINITY;
  *first = *second = 0;
  for (size_t j = 0; j < p->n_columns; j++) {
    const double value = cost(p, row, j);
    if (value < *least) {
      *next = *least;
      *second = *first;
      *least = value;
      *first = j;
    } else if (value < *next) {
      *next = value;
      *second = j;
    }
  }
}

/* Gives each free row its cheapest column at a price that keeps others content; a displaced row is served next. Rows
 * that meet a tie are left to the paths. `free_rows` is rewritten; returns how many stay free. The number of steps
 * is bounded, since rounding could otherwise pass a column back and forth. */
static size_t reduce_rows(problem *p, size_t *free_rows, size_t n_free) {
  size_t n_left = 0, n_steps = 0;
  for (size_t k = 0; k < n_free;) {
    size_t first, second;
    double least, next;
    const size_t row = free_rows[k];
    cheapest(p, row, &first, &second, &least, &next);
    const bool strict = least < next && isfinite(next);
    if (strict) p->price[first] -= next - least;
    else if (p->row_of[first] != XCI_UNMATCHED && p->n_columns > 1 && isfinite(next)) first = second;
    const int64_t displaced = p->row_of[first];
    if (displaced != XCI_UNMATCHED && !strict) { /* a tie with both taken */
      free_rows[n_left++] = row;
      k++;
      continue;
    }
    p->row_of[first] = (int64_t)row;
    p->column_of[row] = (int64_t)first;
    if (displaced == XCI_UNMATCHED) {
      k++;
      continue;
    }
    p->column_of[displaced] = XCI_UNMATCHED;
    if (++n_steps < 4 * p->n_rows) free_rows[k] = (size_t)displaced;
    else {
      free_rows[n_left++] = (size_t)displaced;
      k++;
    }
  }
  return n_left;
}

static void swap(size_t *a, size_t *b) {
  const size_t kept = *a;
  *a = *b;
  *b = kept;
}

/* Moves the columns beyond `end` that are nearest to the front of the beyond part; returns the new end. */
static size_t find_frontier(problem *p, size_t end) {
  double least = INFINITY;
  size_t high = end;
  for (size_t k = end; k < p->n_columns; k++) {
    const double distance = p->distance[p->order[k]];
    if (distance > least) continue;
    if (distance < least) {
      least = distance;
      high = end;
    }
    swap(&p->order[k], &p->order[high++]);
  }
  return high;
}

/* The nearest column without a row, by Dijkstra from a free row; prices of the columns passed are settled. */
static size_t find_path(problem *p, size_t row) {
  size_t low = 0, high = 0, n_done = 0;
  double least = 0;
  for (size_t j = 0; j < p->n_columns; j++) {
    p->order[j] = j;
    p->distance[j] = cost(p, row, j);
    p->before[j] = (int64_t)row;
  }
  for (size_t end = SIZE_MAX; end == SIZE_MAX;) {
    if (low == high) {
      n_done = low;
      high = find_frontier(p, low);
      least = p->distance[p->order[low]];
      for (size_t k = low; k < high && end == SIZE_MAX; k++)
        if (p->row_of[p->order[k]] == XCI_UNMATCHED) end = p->order[k];
    }
    while (end == SIZE_MAX && low != high) {
      const size_t column = p->order[low++], through = (size_t)p->row_of[column];
      const double base = cost(p, through, column) - least;
      for (size_t k = high; k < p->n_columns && end == SIZE_MAX; k++) {
        const size_t j = p->order[k];
        const double distance = cost(p, through, j) - base;
        if (!(distance < p->distance[j])) continue;
        p->before[j] = (int64_t)through;
        p->distance[j] = distance;
        if (distance > least) continue;
        if (p->row_of[j] == XCI_UNMATCHED) end = j;
        else swap(&p->order[k], &p->order[high++]);
      }
    }
    if (end != SIZE_MAX) {
      for (size_t k = 0; k < n_done; k++) p->price[p->order[k]] += p->distance[p->order[k]] - least;
      return end;
    }
  }
  return 0;
}

static void augment(problem *p, size_t row) {
  size_t column = find_path(p, row);
  for (size_t i = SIZE_MAX; i != row;) {
    i = (size_t)p->before[column];
    const int64_t next = p->column_of[i];
    p->row_of[column] = (int64_t)i;
    p->column_of[i] = (int64_t)column;
    column = (size_t)next;
  }
}

static xcoder_status solve(problem *p, xcoder_error *err) {
  size_t *free_rows = NULL, n_free = p->n_rows;
  xcoder_status status = XCI_ALLOC(&free_rows, p->n_rows, err);
  if (!status) status = XCI_ALLOC(&p->price, p->n_columns, err);
  if (!status) status = XCI_ALLOC(&p->row_of, p->n_columns, err);
  if (!status) status = XCI_ALLOC(&p->distance, p->n_columns, err);
  if (!status) status = XCI_ALLOC(&p->before, p->n_columns, err);
  if (!status) status = XCI_ALLOC(&p->order, p->n_columns, err);
  if (!status) {
    for (size_t j = 0; j < p->n_columns; j++) p->row_of[j] = XCI_UNMATCHED;
    for (size_t i = 0; i < p->n_rows; i++) {
      p->column_of[i] = XCI_UNMATCHED;
      free_rows[i] = i;
    }
    for (int pass = 0; pass < 2; pass++) n_free = reduce_rows(p, free_rows, n_free);
    for (size_t k = 0; k < n_free; k++) augment(p, free_rows[k]);
  }
  xci_free(free_rows);
  xci_free(p->price);
  xci_free(p->row_of);
  xci_free(p->distance);
  xci_free(p->before);
  xci_free(p->order);
  return status;
}

static xcoder_status solve_transposed(const float *similarity, size_t n_rows, size_t n_columns, int64_t *partner,
                                      xcoder_error *err) {
  float *turned = NULL;
  int64_t *row_of = NULL;
  xcoder_status status = XCI_ALLOC(&turned, n_rows * n_columns, err);
  if (!status) status = XCI_ALLOC(&row_of, n_columns, err);
  if (!status) {
    for (size_t i = 0; i < n_rows; i++) {
      partner[i] = XCI_UNMATCHED;
      for (size_t j = 0; j < n_columns; j++) turned[j * n_rows + i] = similarity[i * n_columns + j];
    }
    problem p = {.similarity = turned, .n_rows = n_columns, .n_columns = n_rows, .column_of = row_of};
    status = solve(&p, err);
    for (size_t j = 0; !status && j < n_columns; j++) partner[row_of[j]] = (int64_t)j;
  }
  xci_free(turned);
  xci_free(row_of);
  return status;
}

xcoder_status xci_assign(const float *similarity, size_t n_rows, size_t n_columns, int64_t *partner,
                         xcoder_error *err) {
  for (size_t i = 0; i < n_rows; i++) partner[i] = XCI_UNMATCHED;
  if (n_rows == 0 || n_columns == 0) return XCODER_OK;
  if (n_rows > n_columns) return solve_transposed(similarity, n_rows, n_columns, partner, err);
  problem p = {.similarity = similarity, .n_rows = n_rows, .n_columns = n_columns, .column_of = partner};
  return solve(&p, err);
}

void xci_nearest(const float *similarity, size_t n_rows, size_t n_columns, int64_t *best_column, int64_t *best_row) {
  for (size_t j = 0; j < n_columns; j++) best_row[j] = n_rows ? 0 : XCI_UNMATCHED;
  for (size_t i = 0; i < n_rows; i++) {
    const float *row = similarity + i * n_columns;
    best_column[i] = n_columns ? 0 : XCI_UNMATCHED;
    for (size_t j = 0; j < n_columns; j++) {
      if (row[j] > row[best_column[i]]) best_column[i] = (int64_t)j;
      if (row[j] > similarity[(size_t)best_row[j] * n_columns + j]) best_row[j] = (int64_t)i;
    }
  }
}
