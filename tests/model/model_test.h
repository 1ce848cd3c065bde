/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of this layer share: finding the golden models, reading expected values, comparing. */
#ifndef TESTS_MODEL_MODEL_TEST_H
#define TESTS_MODEL_MODEL_TEST_H

#include "base/memory.h"
#include "formats/safetensors.h"
#include <check.h>
#include <crosscoder/model.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ck_ok(call) \
  do { \
    xcoder_error ck_error = {0}; \
    xcoder_error *err = &ck_error; \
    xcoder_status ck_status = (call); \
    ck_assert_msg(ck_status == XCODER_OK, "%s: %s", #call, ck_error.message); \
  } while (0)

static inline const char *golden_path(const char *model, const char *file) {
  static char path[2][1024];
  static int next;
  const char *srcdir = getenv("srcdir");
  next = !next;
  snprintf(path[next], sizeof path[next], "%s/tests/model/golden/%s%s%s", srcdir != NULL ? srcdir : ".", model,
           file[0] != '\0' ? "/" : "", file);
  return path[next];
}

static inline const xci_tensor *find_tensor(const xci_safetensors *file, const char *name) {
  const xci_tensor *tensor = xci_safetensors_find(file, name);
  ck_assert_msg(tensor != NULL, "no %s", name);
  return tensor;
}

static inline float *read_floats(const xci_safetensors *file, const char *name) {
  const xci_tensor *tensor = find_tensor(file, name);
  float *values = NULL;
  ck_ok(xci_alloc(tensor->n_values, sizeof *values, (void **)&values, err));
  ck_ok(xci_tensor_to_f32(tensor, values, err));
  return values;
}

static inline int64_t *read_integers(const xci_safetensors *file, const char *name, size_t *n) {
  const xci_tensor *tensor = find_tensor(file, name);
  int64_t *values = NULL;
  ck_ok(xci_alloc(tensor->n_values, sizeof *values, (void **)&values, err));
  ck_ok(xci_tensor_to_i64(tensor, values, err));
  *n = tensor->n_values;
  return values;
}

/* Largest deviation, relative to the largest expected value. */
static inline double relative_error(const float *x, const float *expected, size_t n) {
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < n; i++) {
    double error = fabs((double)x[i] - (double)expected[i]);
    if (!(error <= worst)) worst = error;
    largest = fmax(largest, fabs((double)expected[i]));
  }
  return worst / largest;
}

#endif
