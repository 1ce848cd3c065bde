/* SPDX-License-Identifier: Apache-2.0 */
/* Time of a forward pass to a layer: opens a checkpoint, runs sequences, prints the fastest and the processor's time,
 * the share of the measured speed of float32 products, and the peak of memory. */
#include "base/memory.h"
#include "base/random.h"
#include "compute/cpu/gemm.h"
#include <crosscoder/model.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MOST_MODELS = 8 };

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const xcoder_error *err) {
  fprintf(stderr, "forward: %s\n", err->message);
  exit(1);
}

static float *make_floats(size_t n) {
  float *p;
  xcoder_error err;
  if (XCI_ALLOC(&p, n, &err)) stop(&err);
  return p;
}

/* Operations a second of the best of some float32 products of 2048 x 2048 x 2048, the speed that a pass is held to. */
static double measure_peak(void) {
  const size_t n = 2048;
  float *a = make_floats(n * n), *b = make_floats(n * n), *c = make_floats(n * n);
  double best = 1e30;
  for (size_t i = 0; i < n * n; i++) a[i] = b[i] = (float)(i % 7) - 3;
  for (int i = 0; i < 6; i++) {
    double start = now(CLOCK_MONOTONIC);
    xci_gemm(false, true, n, n, n, 1, a, n, b, n, 0, c, n);
    best = fmin(best, now(CLOCK_MONOTONIC) - start);
  }
  xci_free(a);
  xci_free(b);
  xci_free(c);
  return 2 * pow((double)n, 3) / best;
}

/* Of the linear products and of causal attention, for a plain feed-forward layer. */
static double count_operations(const xcoder_model_info *info, size_t n_blocks, size_t n_sequences, size_t length) {
  double d = (double)info->d_model, rows = (double)(n_sequences * length);
  return (double)n_blocks * rows * (8 * d * d + 4 * d * (double)info->d_mlp + 2 * d * (double)(length + 1));
}

/* hidden against the float32 numbers in FILE, which is written if it is not there: error relative to the norm. */
static void compare(const char *path, const float *hidden, size_t n) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    file = fopen(path, "wb");
    if (file == NULL || fwrite(hidden, sizeof *hidden, n, file) != n)
      fprintf(stderr, "forward: cannot write %s\n", path);
    if (file != NULL) fclose(file);
    return;
  }
  float *expected = make_floats(n);
  double error = 0, norm = 0;
  if (fread(expected, sizeof *expected, n, file) == n) {
    for (size_t i = 0; i < n; i++) {
      error += ((double)hidden[i] - (double)expected[i]) * ((double)hidden[i] - (double)expected[i]);
      norm += (double)expected[i] * (double)expected[i];
    }
    printf("error %.9f\n", sqrt(error / norm));
  }
  xci_free(expected);
  fclose(file);
}

int main(int argc, char **argv) {
  if (argc < 8) {
    fprintf(stderr, "usage: %s LAYER LENGTH SEQUENCES ROUNDS THREADS fp32|bf16 MODEL... [=FILE]\n", argv[0]);
    return 2;
  }
  long layer = strtol(argv[1], NULL, 10);
  size_t length = strtoul(argv[2], NULL, 10), n_sequences = strtoul(argv[3], NULL, 10), n_models = 0;
  int n_rounds = atoi(argv[4]);
  xcoder_set_threads(atoi(argv[5]));
  xcoder_error err;
  xcoder_device *device;
  xcoder_model *models[MOST_MODELS];
  const char *file = NULL;
  if (xcoder_device_open("cpu", &device, &err) || xcoder_device_set_compute(device, argv[6], &err)) stop(&err);
  for (int i = 7; i < argc && n_models < MOST_MODELS; i++)
    if (argv[i][0] == '=') file = argv[i] + 1;
    else if (xcoder_model_open(argv[i], device, layer, &models[n_models++], &err)) stop(&err);
  const xcoder_model_info *info = xcoder_model_describe(models[0]);
  size_t n_rows = length * n_sequences, *start;
  uint32_t *ids;
  if (XCI_ALLOC(&ids, n_rows, &err) || XCI_ALLOC(&start, n_sequences + 1, &err)) stop(&err);
  for (size_t i = 0; i < n_rows; i++) ids[i] = (uint32_t)(i * 7919 % info->n_vocab);
  for (size_t s = 0; s <= n_sequences; s++) start[s] = s * length;
  float *hidden = make_floats(n_rows * info->d_model);
  double peak = n_rounds > 1 ? measure_peak() : 0, best = 1e30, best_cpu = 1e30;
  for (int round = 0; round < n_rounds; round++) {
    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t m = 0; m < n_models; m++)
      if (xcoder_model_hidden(models[m], ids, start, n_sequences, layer, hidden, &err)) stop(&err);
    best = fmin(best, now(CLOCK_MONOTONIC) - wall);
    best_cpu = fmin(best_cpu, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
  }
  double rate = (double)n_models * count_operations(info, (size_t)(layer + 1), n_sequences, length) / best;
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("kernels %s, threads %d, peak memory %.2f GiB\n", xcoder_device_kernels(device), xcoder_threads(),
         (double)usage.ru_maxrss / 1048576);
  printf("total %.6f\ncpu %.6f\nrate %.3f\nmemory %.3f\n", best, best_cpu, rate / 1e9,
         (double)usage.ru_maxrss / 1048576);
  if (peak > 0) printf("peak %.3f\nshare %.3f\n", peak / 1e9, rate / peak);
  if (file != NULL) compare(file, hidden, n_rows * info->d_model);
  for (size_t m = 0; m < n_models; m++) xcoder_model_close(models[m]);
  xcoder_device_close(device);
  xci_free(hidden);
  xci_free(ids);
  xci_free(start);
  return 0;
}
