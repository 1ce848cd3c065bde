/* SPDX-License-Identifier: Apache-2.0 */
/* Text of the command line: errors, growing strings, comparing names, paths. */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <crosscoder.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#if defined __GNUC__
#define CLI_PRINTF(text_index, first) __attribute__((format(printf, text_index, first)))
#else
#define CLI_PRINTF(text_index, first)
#endif

/* Fills `err` (control characters become \xNN) and returns `status`. */
xcoder_status cli_fail(xcoder_error *err, xcoder_status status, const char *format, ...) CLI_PRINTF(3, 4);
xcoder_status cli_fail_memory(xcoder_error *err);
/* Puts "PREFIX: " before the message of `err`. */
void cli_prefix_error(xcoder_error *err, const char *prefix);

/* A growing string; `failed` is set when memory ran out, and nothing is added from then on. */
typedef struct cli_string {
  char *text;
  size_t n_bytes, room;
  bool failed;
} cli_string;
void cli_add(cli_string *string, const char *text);
void cli_add_bytes(cli_string *string, const char *bytes, size_t n_bytes);
void cli_addf(cli_string *string, const char *format, ...) CLI_PRINTF(2, 3);
void cli_string_free(cli_string *string);

/* printf into fresh memory; NULL when there is none left. Freed with free(). */
char *cli_format(const char *format, ...) CLI_PRINTF(1, 2);
char *cli_copy(const char *text);

/* The copy of `text` fit for a terminal: control characters, C1 and direction overrides as \xNN or \uNNNN. */
char *cli_printable(const char *text, size_t n_bytes);

/* Edits (insert, delete, replace, swap neighbours) between two names of at most 63 bytes; larger ones count 64. */
size_t cli_distance(const char *a, const char *b);

/* FOLDER/PATH, or a copy of PATH where it is absolute or FOLDER is NULL. */
char *cli_join(const char *folder, const char *path);
char *cli_folder_of(const char *path);      /* "." for a bare name */
const char *cli_base_name(const char *path); /* points into `path` */
bool cli_is_folder(const char *path);
bool cli_is_regular(const char *path);
bool cli_exists(const char *path);
/* Absolute path without links where it exists; else absolute by joining. NULL without memory. */
char *cli_absolute(const char *path);
bool cli_is_utf8(const char *text);

#endif
