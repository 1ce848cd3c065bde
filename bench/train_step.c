/* SPDX-License-Identifier: Apache-2.0 */
/* Time of one training step of the crosscoder: encode, backward, update. Synthetic weights and activations. The device
 * is that of BENCH_DEVICE, else the processor. With XCODER_OPENCL_PROFILE set also what each kernel took. */
#include "config.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include "compute/compute.h"
#include "compute/cpu/coder_kernels.h"
#if HAVE_OPENCL
#include "compute/opencl/opencl.h"
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

typedef struct bench {
  size_t n, d, D, B; /* checkpoints, width, latents, samples */
  double l0;         /* wanted mean number of active features; 0: as after initialisation */
  int n_steps;
  float *scratch;    /* [n d] */
} bench;

enum { N_PHASES = 5 };
static const char *const phase_names[N_PHASES] = {"encode", "backward", "update", "total", "cpu"};

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const xcoder_error *err) {
  fprintf(stderr, "train_step: %s\n", err->message);
  exit(1);
}

static float *make_floats(size_t n) {
  float *p;
  xcoder_error err;
  if (XCI_ALLOC(&p, n, &err)) stop(&err);
  return p;
}

/* The point that a standard normal number exceeds with probability p. */
static double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 60; i++) {
    double middle = (low + high) / 2;
    if (0.5 * erfc(middle / sqrt(2)) > p) low = middle;
    else high = middle;
  }
  return low;
}

/* Rows of norm 0.08, the encoder their transpose. Feature frequencies are log-uniform over three decades with the mean
 * that was asked for, set through the bias: x is standard normal, so x . w has the standard deviation ||w||. */
static void fill_parameters(const bench *q, float *const tensor[XCI_N_TENSORS]) {
  size_t columns = q->n * q->d;
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < q->D; i++) {
    float *row = tensor[XCI_W_DEC] + i * columns;
    for (size_t c = 0; c < q->n; c++) {
      double square = 0;
      for (size_t k = c * q->d; k < (c + 1) * q->d; k++) {
        /* a sum of four uniform numbers is normal enough and much faster */
        uint64_t u = xci_random_u64(1, XCI_STREAM_TEST, i * columns + k);
        row[k] = (float)((double)(u & 65535) + (double)(u >> 16 & 65535) + (double)(u >> 32 & 65535) +
                         (double)(u >> 48) - 131070);
        square += (double)row[k] * (double)row[k];
      }
      for (size_t k = c * q->d; k < (c + 1) * q->d; k++) row[k] *= (float)(0.08 / sqrt(square));
    }
    for (size_t k = 0; k < columns; k++) tensor[XCI_W_ENC][k * q->D + i] = row[k];
    double share = pow(10, -3 * xci_random_uniform(2, XCI_STREAM_TEST, i)) * q->l0 / (double)q->D * 3 * log(10) / 0.999;
    if (q->l0 > 0) tensor[XCI_B_ENC][i] = (float)(-normal_quantile(fmin(share, 0.6)) * 0.08 * sqrt((double)q->n));
  }
}

static xci_coder *make_coder(const bench *q, xcoder_device *device) {
  xcoder_error err;
  xci_coder *coder;
  xci_coder_shape shape = {q->n, q->d, q->D, q->B, true, 0, false};
  size_t columns = q->n * q->d;
  float *tensor[XCI_N_TENSORS] = {make_floats(columns * q->D), make_floats(q->D), make_floats(columns * q->D),
                                  make_floats(columns)};
  fill_parameters(q, tensor);
  if (device->ops->coder_create(device, &shape, &coder, &err)) stop(&err);
  for (int t = 0; t < XCI_N_TENSORS; t++) {
    if (device->ops->coder_write(device, coder, (xci_coder_tensor)t, XCI_VALUE, tensor[t], &err)) stop(&err);
    xci_free(tensor[t]);
  }
  return coder;
}

static void run_step(const bench *q, xcoder_device *device, xci_coder *coder, const float *x, uint64_t step,
                     xci_losses *losses, double best[N_PHASES]) {
  xcoder_error err;
  const xci_gate gate = {.kind = XCI_GATE_RELU, .k = 0};
  const xci_objective objective = {.l1_coefficient = 2};
  const xci_adam adam = {step, 1e-6, 0.9, 0.999, 1e-8, 1}; /* small, so that the number of features stays */
  double t[4], cpu = now(CLOCK_PROCESS_CPUTIME_ID);
  t[0] = now(CLOCK_MONOTONIC);
  if (device->ops->coder_encode(device, coder, x, q->B, &gate, &err)) stop(&err);
  t[1] = now(CLOCK_MONOTONIC);
  if (device->ops->coder_backward(device, coder, &objective, losses, &err)) stop(&err);
  t[2] = now(CLOCK_MONOTONIC);
  if (device->ops->coder_update(device, coder, &adam, &err)) stop(&err);
  if (device->has_traffic && device->ops->coder_read(device, coder, XCI_B_DEC, XCI_VALUE, q->scratch, &err)) stop(&err);
  t[3] = now(CLOCK_MONOTONIC);
  double seconds[N_PHASES] = {t[1] - t[0], t[2] - t[1], t[3] - t[2], t[3] - t[0],
                              now(CLOCK_PROCESS_CPUTIME_ID) - cpu};
  for (int i = 0; i < N_PHASES && step > 1; i++)
    if (step == 2 || seconds[i] < best[i]) best[i] = seconds[i];
}

/* What the kernels took in the last `steps`; 0: only forgets what was before. */
static void print_kernels(xcoder_device *device, int steps) {
#if HAVE_OPENCL
  if (getenv("XCODER_OPENCL_PROFILE") == NULL || strcmp(device->ops->name, "opencl") != 0) return;
  if (steps > 0) printf("steps %d\n", steps);
  xci_cl_profile(device, steps > 0 ? stdout : NULL);
#else
  (void)device;
  (void)steps;
#endif
}

int main(int argc, char **argv) {
  if (argc != 7 && argc != 8) {
    fprintf(stderr, "usage: %s CHECKPOINTS WIDTH LATENTS BATCH L0 STEPS [THREADS]\n", argv[0]);
    return 2;
  }
  bench q = {strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10),
             strtoul(argv[4], NULL, 10), strtod(argv[5], NULL), atoi(argv[6]), NULL};
  if (argc == 8) xcoder_set_threads(atoi(argv[7]));
  xcoder_error err;
  xcoder_device *device;
  if (xcoder_device_open(getenv("BENCH_DEVICE"), &device, &err)) stop(&err);
  q.scratch = make_floats(q.n * q.d); /* reading it waits for the device */
  xci_coder *coder = make_coder(&q, device);
  float *x = make_floats(q.B * q.n * q.d);
  for (size_t i = 0; i < q.B * q.n * q.d; i++)
    x[i] = xci_bf16_to_f32(xci_f32_to_bf16((float)xci_random_normal(3, XCI_STREAM_TEST, i)));
  xci_losses losses = {0};
  double best[N_PHASES] = {0};
  xcoder_traffic before, after;
  xcoder_device_traffic(device, &before);
  for (int step = 1; step <= q.n_steps + 1; step++) {
    run_step(&q, device, coder, x, (uint64_t)step, &losses, best);
    if (step == 1) print_kernels(device, 0);
  }
  if (xcoder_device_traffic(device, &after)) {
    double steps = q.n_steps + 1;
    printf("%s: %s\na step: %.1f commands, %.1f waits, %.1f MB up, %.3f MB down, %.6f s with nothing queued\n",
           xcoder_device_name(device), xcoder_device_kernels(device),
           (double)(after.n_launches - before.n_launches) / steps, (double)(after.n_waits - before.n_waits) / steps,
           (double)(after.bytes_up - before.bytes_up) / steps / 1e6,
           (double)(after.bytes_down - before.bytes_down) / steps / 1e6,
           (after.idle_seconds - before.idle_seconds) / steps);
  }
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("kernels %s, threads %d, L0 %.1f, loss %.6g, gradient norm %.6g, peak %.2f GiB\n",
         xci_coder_kernels_select()->name, xcoder_threads(), losses.l0, losses.loss, losses.gradient_norm,
         (double)usage.ru_maxrss / 1048576);
  for (int i = 0; i < N_PHASES; i++) printf("%s %.6f\n", phase_names[i], best[i]);
  print_kernels(device, q.n_steps);
  device->ops->coder_free(device, coder);
  xci_free(x);
  xci_free(q.scratch);
  xcoder_device_close(device);
  return 0;
}
