/* SPDX-License-Identifier: Apache-2.0 */
/* Progress, notes and warnings on standard error; nothing else writes there but the final error. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "text.h"

typedef struct cli_progress {
  bool quiet, json, terminal, colour;
  bool line_open;         /* an unfinished progress line stands on the terminal */
  double last_shown;      /* seconds, monotonic */
  double stage_started;
  uint64_t first_done;    /* of the stage: a resumed stage does not start at 0 */
  double fill_started;    /* of the window of samples that is being filled within the stage; 0: none is */
  double fill_seconds;    /* spent on windows that are full, and the samples in them */
  double fill_samples;
  char stage[64];
  double seconds_after;   /* expected for the stages after this one; < 0: unknown */
  char *log_path;         /* log.jsonl of the run, NULL before there is one */
  const char *command;
} cli_progress;

void cli_progress_init(cli_progress *progress, bool quiet, bool json, const char *command);
void cli_progress_free(cli_progress *progress);

/* The functions of an xcoder_monitor; `context` is the cli_progress. */
void cli_show_progress(void *context, const xcoder_progress *progress);
void cli_warn(void *context, const char *message);

/* One line for people; not with --quiet. */
void cli_note(cli_progress *progress, const char *format, ...) CLI_PRINTF(2, 3);
/* Ends an open progress line. */
void cli_end_line(cli_progress *progress);
/* What crossed the bus and ran on the device since `before`; nothing where the device is the processor. */
void cli_note_traffic(cli_progress *progress, const char *what, const xcoder_device *device,
                      const xcoder_traffic *before);
/* Adds an event to log.jsonl of the run; failing to log is a warning, once. */
void cli_log_event(cli_progress *progress, const char *event, const char *message);

double cli_seconds(void); /* monotonic */
/* "3 s", "4 min", "2.5 h", "6 d". */
const char *cli_duration(double seconds, char out[32]);
/* "1.5 GiB". */
const char *cli_size(double bytes, char out[32]);

#endif
