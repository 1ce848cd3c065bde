/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the same crosscoder on the cpu backend and on the reference. */
#include "coder_pair.h"

#include "base/memory.h"
#include "base/random.h"
#include "compute/cpu/coder_kernels.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const instruction_sets[N_SETS] = {"baseline", "avx2", "avx512"};
static const float SENTINEL = 12345.678f;

float *make_floats(size_t n) {
  float *p = NULL;
  ck_assert_int_eq(XCI_ALLOC(&p, n + SENTINELS, NULL), XCODER_OK);
  for (size_t i = n; i < n + SENTINELS; i++) p[i] = SENTINEL;
  return p;
}
void check_sentinels(const float *p, size_t n) {
  for (size_t i = n; i < n + SENTINELS; i++)
    if (p[i] != SENTINEL) ck_abort_msg("written behind the end, at +%zu", i - n);
}
float *make_normal(size_t n, double scale, double mean, uint64_t seed) {
  float *p = make_floats(n);
  for (size_t i = 0; i < n; i++) p[i] = (float)(mean + scale * xci_random_normal(seed, XCI_STREAM_TEST, i));
  return p;
}

void open_pair(pair *p, example e, bool training) {
  *p = (pair){.shape = e, .columns = e.n * e.d};
  const char *names[2] = {tested_device(), "reference"};
  size_t n_weights = p->columns * e.D, n_values[XCI_N_TENSORS] = {n_weights, e.D, n_weights, p->columns};
  memcpy(p->n_values, n_values, sizeof n_values);
  p->x = make_normal(e.B * p->columns, 1, 0.1, 1);
  p->tensor[XCI_W_ENC] = make_normal(n_weights, 1 / sqrt((double)p->columns), 0, 2);
  p->tensor[XCI_B_ENC] = make_normal(e.D, 0.3, (double)e.bias, 3);
  p->tensor[XCI_W_DEC] = make_normal(n_weights, 1 / sqrt((double)e.d), 0, 4);
  p->tensor[XCI_B_DEC] = make_normal(p->columns, 0.2, 0, 5);
  for (size_t k = 0; k < e.d; k++) p->tensor[XCI_W_DEC][e.D / 2 * p->columns + k] = 0; /* a row of norm 0 */
  if (e.D > 3) p->tensor[XCI_B_ENC][1] = -100;                                      /* a dead latent */
  if (e.D > 5) p->tensor[XCI_B_ENC][4] = 100;                                       /* and one that always fires */
  xci_coder_shape shape = {e.n, e.d, e.D, e.B, training, 0, false};
  for (int i = 0; i < 2; i++) {
    xcoder_error err = {0};
    ck_assert_msg(xcoder_device_open(names[i], &p->device[i], &err) == XCODER_OK, "%s", err.message);
    p->backend[i] = p->device[i]->ops;
    ck_assert_int_eq(p->backend[i]->coder_create(p->device[i], &shape, &p->coder[i], NULL), XCODER_OK);
    for (int t = 0; t < XCI_N_TENSORS; t++)
      ck_assert_int_eq(p->backend[i]->coder_write(p->device[i], p->coder[i], (xci_coder_tensor)t, XCI_VALUE,
                                                  p->tensor[t], NULL), XCODER_OK);
  }
}

void close_pair(pair *p) {
  for (int i = 0; i < 2; i++) {
    p->backend[i]->coder_free(p->device[i], p->coder[i]);
    xcoder_device_close(p->device[i]);
  }
  for (int t = 0; t < XCI_N_TENSORS; t++) xci_free(p->tensor[t]);
  xci_free(p->x);
}

const char *tested_device(void) {
  const char *spec = getenv("XCODER_TEST_DEVICE");
  return spec != NULL ? spec : "cpu";
}

bool use_set(int index) {
  if (strcmp(tested_device(), "cpu") != 0) return index == 0; /* instruction sets are the processor's */
  setenv("XCODER_ISA", instruction_sets[index], 1);
  return strcmp(xci_coder_kernels_select()->name, instruction_sets[index]) == 0;
}
