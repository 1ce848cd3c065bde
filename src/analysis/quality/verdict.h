/* SPDX-License-Identifier: Apache-2.0 */
/* Verdict lines: what was measured, what is asked for, what to do. */
#ifndef XCI_ANALYSIS_VERDICT_H
#define XCI_ANALYSIS_VERDICT_H

#include "analysis/json_out.h"
#include <crosscoder/analysis.h>

/* Limits of the verdicts, each with its source. */
#define XCI_LIMIT_DEAD (400.0 / 16384)  /* METHOD section 4: the paper's 400 of 16384 */
#define XCI_LIMIT_DELTA_CE 0.5          /* METHOD section 4 */
#define XCI_LIMIT_RECOVERED 0.9
#define XCI_LIMIT_EV 0.8
#define XCI_LIMIT_SPLICED_ACCURACY 0.95 /* of the clean one */
#define XCI_LIMIT_GAP 0.05              /* of the change of the metric */
#define XCI_LIMIT_ERROR_NODE 0.3        /* of the sum of all nodes' absolute effects: beyond it the features no longer
                                           tell most of the story */
#define XCI_LIMIT_SPEARMAN 0.5
#define XCI_UNDEFINED_RECOVERED 0.05    /* METHOD section 4: blanked - clean below this has no share */

/* Adds a verdict; `remedy` is dropped when it passes. Errors: XCODER_MEMORY. */
xcoder_status xci_verdict_add(xcoder_verdicts *verdicts, bool pass, const char *remedy, const char *value,
                              const char *limit, xcoder_error *err, const char *name_format, ...) XCODER_PRINTF(7, 8);
void xci_verdicts_write(xci_json_out *out, const xcoder_verdicts *verdicts); /* the member "verdicts" */
/* `value` with that many decimals and '.', whatever the locale; "undefined" for NaN. Returns `out`. */
const char *xci_fixed(char out[32], double value, int decimals);

#endif
