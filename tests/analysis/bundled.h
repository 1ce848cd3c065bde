/* SPDX-License-Identifier: Apache-2.0 */
/* A model of examples/tiny-pythia with its tokenizer, and golden values of tests/analysis/golden beside it. */
#ifndef TEST_ANALYSIS_BUNDLED_H
#define TEST_ANALYSIS_BUNDLED_H

#include "analysis/csv_in.h"
#include <check.h>
#include <crosscoder/analysis.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static xcoder_error error;
#define ck_ok(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)
/* Logits of float32 models differ by some 1e-5 between implementations; a score adds at most 40 of them. */
enum { MOST_TOKENS = 40 };
static const double LOGIT = 2e-5;

/* A path below the folder of the sources. */
static const char *below(const char *name) {
  static char path[4][512];
  static int next;
  const char *root = getenv("top_srcdir");
  next = (next + 1) % 4;
  snprintf(path[next], sizeof path[next], "%s/%s", root ? root : ".", name);
  return path[next];
}

typedef struct scene {
  xcoder_device *device;
  xcoder_tokenizer *tokenizer;
  xcoder_model *model;
  xci_csv golden;
} scene;

/* golden: a table of tests/analysis/golden. */
static inline scene open_scene(const char *golden) {
  const char *folder = below("examples/tiny-pythia/step256");
  scene s = {0};
  ck_ok(xcoder_device_open("cpu", &s.device, &error));
  ck_ok(xcoder_tokenizer_open(folder, &s.tokenizer, &error));
  ck_ok(xcoder_model_open(folder, s.device, -1, &s.model, &error));
  ck_ok(xci_csv_open(below(golden), &s.golden, &error));
  return s;
}

static inline void close_scene(scene *s) {
  xci_csv_close(&s->golden);
  xcoder_model_close(s->model);
  xcoder_tokenizer_close(s->tokenizer);
  xcoder_device_close(s->device);
}

/* What `accuracy` writes for the pairs, read again; the last row is that of all of them. */
static inline void write_accuracies(const scene *s, xcoder_normalization normalization, double tokens_seen,
                                    const xcoder_pairs *pairs, const char *path, xci_csv *csv) {
  xcoder_accuracies *table = NULL;
  ck_ok(xcoder_accuracies_create(normalization, &table, &error));
  ck_ok(xcoder_accuracies_add(table, s->model, "step256", tokens_seen, pairs, NULL, &error));
  ck_ok(xcoder_accuracies_write(table, path, &error));
  xcoder_accuracies_free(table);
  ck_ok(xci_csv_open(path, csv, &error));
}

#endif
