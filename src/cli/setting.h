/* SPDX-License-Identifier: Apache-2.0 */
/* What a command works on, opened from its options when it is first needed. */
#ifndef CLI_SETTING_H
#define CLI_SETTING_H

#include "command.h"

typedef struct cli_setting {
  cli_call *call;
  const cli_values *values;
  size_t n_checkpoints;
  char **labels, **folders;
  xcoder_model_info *infos;  /* [n_checkpoints] */
  char **specs;              /* as given, with the revision: folders do not tell it */
  double *tokens_seen;       /* [n_checkpoints], NaN where it is not known */
  char *tokenizer_path;
  xcoder_device *device;
  xcoder_device_plan plan;   /* of the job, for --device=auto */
  xcoder_tokenizer *tokenizer;
  xcoder_model **models;     /* [n_checkpoints], NULL while closed */
  long models_highest;       /* what the models were opened for, -1: all */
  xcoder_tokens *corpus, *heldout;
  size_t n_tasks;
  xcoder_pairs **tasks;
  xcoder *coder;
} cli_setting;

void cli_setting_init(cli_setting *setting, cli_call *call);
void cli_setting_close(cli_setting *setting);

/* Finds the checkpoints, reads their sizes, checks that they can be compared: 1 to 32, equal widths, labels that
 * differ, --layer and --length within each. */
xcoder_status cli_need_checkpoints(cli_setting *setting, xcoder_error *err);
/* Checked against the vocabularies of the checkpoints where they are known. */
xcoder_status cli_need_tokenizer(cli_setting *setting, xcoder_error *err);
xcoder_status cli_need_device(cli_setting *setting, xcoder_error *err);
/* Opens the models; `highest` as in xcoder_model_open(). Models that were opened for less are opened again. */
xcoder_status cli_need_models(cli_setting *setting, long highest, xcoder_error *err);
void cli_close_models(cli_setting *setting);
/* Tokens seen of `n` checkpoints, NaN where unknown; `specs` and `folders` may be NULL. Freed with free(). The option
 * --tokens-seen then holds what was found. */
xcoder_status cli_find_tokens_seen(cli_values *values, char *const *labels, char *const *specs, char *const *folders,
                                   size_t n, double **tokens, xcoder_error *err);
/* Tokens of OPT_CORPUS or OPT_HELDOUT; kept in the setting. */
xcoder_status cli_need_tokens(cli_setting *setting, cli_id which, xcoder_error *err);
xcoder_status cli_need_tasks(cli_setting *setting, xcoder_error *err);
/* The crosscoder of a run directory or file. */
xcoder_status cli_need_coder(cli_setting *setting, const char *path, xcoder_error *err);

/* checkpoints.c: the folder SPEC/REVISION where there is one, else SPEC@REVISION. Freed with free(). */
char *cli_name_revision(const char *spec, const char *revision);
/* What a checkpoint without a label is called: its revision, else the last part of its path. Points into `spec`. */
const char *cli_spec_label(const char *spec);
/* result.c: the path of a CSV, that of --out or a temporary one; then what was written there is printed unless it was
 * asked for by --out, as JSON with `json`, nothing unless it is `there`. Frees `path`; passes `status` on. */
xcoder_status cli_open_result(cli_call *call, const char *given, const char *name, char **path, xcoder_error *err);
xcoder_status cli_close_result(char *path, const char *given, bool json, bool there, xcoder_status status,
                               xcoder_error *err);

/* Opens the corpus of OPT_CORPUS or OPT_HELDOUT as documents. */
xcoder_status cli_open_corpus(const cli_values *values, cli_id which, xcoder_corpus **corpus, xcoder_error *err);
/* Checks that the files of an option are there; says which option names them. */
xcoder_status cli_check_files(const cli_values *values, cli_id which, xcoder_error *err);
/* Refuses to write over an input: `out` is none of the files and folders that the options name. */
xcoder_status cli_check_output(const cli_values *values, const char *out, xcoder_error *err);
/* The option must have been given. */
xcoder_status cli_require(const cli_values *values, cli_id id, xcoder_error *err);
/* Refuses (XCODER_MEMORY) what does not fit into --max-memory or this machine; `hint` says what would make it less. */
xcoder_status cli_check_memory(const cli_values *values, double bytes, const char *hint, xcoder_error *err);
xcoder_status cli_check_disk(const char *path, double bytes, xcoder_error *err);
double cli_available_memory(void);

xcoder_tokens_options cli_tokens_options(const cli_values *values);
xcoder_pairs_options cli_pairs_options(const cli_values *values);
bool cli_authors(const cli_values *values);
/* Whether the option names one file, and that holds tokens. */
bool cli_is_token_file(const cli_value *value);
/* The items of a list joined by commas; freed with free(). */
char *cli_join_items(const cli_value *value);

/* cmd_harvest.c: activations of OPT_CORPUS at these layers into the store `out`, and how large it gets (the corpus
 * must have been opened). */
xcoder_status cli_harvest_layers(cli_setting *setting, const long *layers, size_t n_layers, const char *out,
                                 xcoder_error *err);
double cli_store_bytes(const cli_setting *setting, size_t n_layers);

#endif
