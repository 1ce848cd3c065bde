/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing runs, for the command and for run. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "command.h"

/* Matches the features of `runs` and writes compare.json, matches.csv, stability.csv and seeds.csv into `out`. */
xcoder_status cli_compare_runs(const cli_call *call, char *const *runs, size_t n_runs, const char *out,
                               xcoder_error *err);

/* The runs, windows of checkpoints in the order of training, as one chain: chain.csv, chain-links.csv, chain.json in
 * OUT or in the folder chain of the first run; prints what was found. */
xcoder_status cli_chain(const cli_call *call, xcoder_error *err);

/* Slots of a run taken by other checkpoints (--transfer): OUT/transfer/LABEL-by-NAME/. */
xcoder_status cli_transfer_run(const cli_call *call, const char *run, const char *out, xcoder_error *err);
/* run: everything that can be wrong with --seeds, --layers and --transfer, before any work. */
xcoder_status cli_check_further(const cli_call *call, xcoder_error *err);
/* run: the runs of other seeds and layers inside `out`, compared with it, and transfers. */
xcoder_status cli_run_further(const cli_call *call, const char *out, xcoder_error *err);
/* One more run inside `main_run`: its plan with another value of one option. `bare`: trained and evaluated, no
 * tasks. */
xcoder_status cli_run_beside(const cli_call *call, const char *main_run, cli_id id, const char *value,
                             const char *store, bool bare, const char *out, xcoder_error *err);
/* sweep.c: OUT/sweep/KEY-VALUE/ for each value, and OUT/sweep/sweep.csv; *changed tells that the table is another. */
xcoder_status cli_check_sweep(const cli_values *values, xcoder_error *err);
xcoder_status cli_run_sweep(const cli_call *call, const char *out, bool *changed, xcoder_error *err);
void cli_print_further(const cli_call *call);
/* All stages of the plan in the call's values, nothing printed. */
xcoder_status cli_run_quietly(cli_call *call, xcoder_error *err);

#endif
