/* SPDX-License-Identifier: Apache-2.0 */
/* What choosing checkpoints starts from: counts of right answers and similarities of revisions. */
#ifndef XCI_ANALYSIS_SELECT_H
#define XCI_ANALYSIS_SELECT_H

#include <crosscoder/analysis.h>

/* Revisions in the order of training, and what was measured at them. */
typedef struct xci_evidence {
  size_t n_revisions, n_cells;
  char **labels;       /* [n_revisions] */
  double *tokens_seen; /* [n_revisions] */
  char **cells;        /* [n_cells] names */
  double *n, *right;   /* [n_cells, n_revisions] pairs and right answers; 0 of 0 where not measured */
  double *cosine, *pearson; /* [n_revisions, n_revisions], 1 on the diagonal; NULL without similarities */
} xci_evidence;

/* Reads the tables (one may be NULL). Revisions are in the order of their tokens where all are known, else as they
 * first appear; those below `min_tokens` are left out. Errors: XCODER_FORMAT for columns or pairs that are missing,
 * XCODER_MISMATCH for revisions of one table that the other lacks. */
xcoder_status xci_evidence_read(const char *accuracy_csv, const char *similarity_csv, double min_tokens,
                                xci_evidence *evidence, xcoder_error *err);
void xci_evidence_free(xci_evidence *evidence);

#endif
