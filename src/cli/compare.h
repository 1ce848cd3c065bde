/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing runs, for the command and for run. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "command.h"

/* Matches the features of `runs` and writes compare.json, matches.csv and stability.csv into `out`. */
xcoder_status cli_compare_runs(const cli_call *call, char *const *runs, size_t n_runs, const char *out,
                               xcoder_error *err);

#endif
