/* SPDX-License-Identifier: Apache-2.0 */
/* The tiny models, crosscoder, pairs and texts of golden/, opened for a test. */
#ifndef TEST_ANALYSIS_SCENE_H
#define TEST_ANALYSIS_SCENE_H

#include "analysis/workbench.h"
#include "formats/safetensors.h"
#include <check.h>

enum { N = 3, E = 6 };

typedef struct scene {
  xcoder_device *device;
  xcoder_model *models[N];
  xcoder *coder;
  xcoder_tokenizer *tokenizer;
  xcoder_pairs *pairs;
  xcoder_tokens *held_out;
  xci_safetensors *golden;
  xcoder_setting setting;
  char gold_path[600];
  char run[64]; /* a folder of its own, removed at the end */
} scene;

/* order[N] permutes the checkpoints (NULL: as they are). */
void scene_open(scene *s, const size_t *order);
void scene_close(scene *s);
/* Values of a golden tensor; freed by the caller. */
float *scene_golden(const scene *s, const char *name, size_t *n);
/* RUN/name */
const char *scene_path(const scene *s, const char *name);

#define ck_ok(call)                                                                   \
  do {                                                                                \
    xcoder_error scene_error = {0};                                                   \
    xcoder_error *err = &scene_error;                                                 \
    const xcoder_status scene_status = (call);                                        \
    ck_assert_msg(scene_status == XCODER_OK, "%s: %s", #call, scene_error.message);   \
  } while (0)

#endif
