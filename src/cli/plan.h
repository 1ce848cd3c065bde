/* SPDX-License-Identifier: Apache-2.0 */
/* Plans: YAML files whose keys are the names of options. */
#ifndef CLI_PLAN_H
#define CLI_PLAN_H

#include "options.h"
#include "text.h"

/* Sets the options named in the plan `path`; relative paths are relative to the plan. Keys of other commands are
 * checked and kept. Errors name the line: XCODER_USAGE for an unknown key or a wrong value, XCODER_FORMAT for bad
 * YAML. */
xcoder_status cli_plan_read(const char *path, cli_values *values, cli_origin origin, xcoder_error *err);

/* Writes every key of a plan with its value, with comments that explain them when `comments`. */
xcoder_status cli_plan_write(const cli_values *values, bool comments, cli_string *text, xcoder_error *err);

/* `text` as a YAML scalar: plain where that is safe, else in double quotes. */
void cli_add_yaml(cli_string *string, const char *text);

#endif
