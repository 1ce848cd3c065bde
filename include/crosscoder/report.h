/* SPDX-License-Identifier: Apache-2.0 */
/* One self-contained offline page of a run, its figures (SVG) and its tables (CSV). */
#ifndef CROSSCODER_REPORT_H
#define CROSSCODER_REPORT_H

#include <crosscoder/status.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_report_options {
  const char *title;  /* NULL: made from the run */
  size_t n_cards;     /* cards of top features, 10 per task; 0: 10 */
} xcoder_report_options;

/* Reads the files of the run directory `run` (also of an unfinished run: what is missing is said on the page) and
 * writes `out`/index.html, `out`/figures/NAME.svg, `out`/tables/NAME.csv; `out` NULL: run/report.
 * Text from files is never markup (doc/interpreting.md, RELIABILITY H01-H12). */
XCODER_API xcoder_status xcoder_report(const char *run, const xcoder_report_options *options, const char *out,
                                       const xcoder_monitor *monitor, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
