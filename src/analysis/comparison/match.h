/* SPDX-License-Identifier: Apache-2.0 */
/* Matching features one to one by similarity. Pure functions. */
#ifndef XCI_ANALYSIS_MATCH_H
#define XCI_ANALYSIS_MATCH_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { XCI_UNMATCHED = -1 };

/* The one-to-one matching of rows and columns of similarity [n_rows, n_columns] that has the largest sum: partner[i]
 * is the column of row i, XCI_UNMATCHED for the rows that are too many. No value may be NaN. Time O(n^3) at worst,
 * usually far less; memory for a copy of the matrix when there are more rows than columns.
 * Source: Jonker and Volgenant 1987 (shortest augmenting paths after augmenting row reduction). */
xcoder_status xci_assign(const float *similarity, size_t n_rows, size_t n_columns, int64_t *partner, xcoder_error *err);

/* best_column[i]: the column most similar to row i (the first of equals), and best_row[j] likewise. Row i and column j
 * are mutual nearest neighbours when each is the other's. Both are XCI_UNMATCHED where the other side is empty. */
void xci_nearest(const float *similarity, size_t n_rows, size_t n_columns, int64_t *best_column, int64_t *best_row);

#endif
