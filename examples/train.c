/* SPDX-License-Identifier: Apache-2.0 */
/* Train a crosscoder from an array of floats. Usage: train RUN-DIRECTORY
 * The array here is made up: two checkpoints that share some directions. */
#include <crosscoder.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_SAMPLES = 4096, N_CHECKPOINTS = 2, D_MODEL = 16 };

/* Sparse combinations of 24 fixed directions, the later ones present at the second checkpoint only. */
static void make_activations(float *a) {
  unsigned state = 1;
  for (size_t s = 0; s < N_SAMPLES; s++)
    for (int active = 0; active < 3; active++) {
      state = state * 1664525u + 1013904223u;
      unsigned direction = (state >> 16) % 24;
      for (unsigned i = 0; i < D_MODEL; i++) {
        float w = (float)((direction * 37 + i * 101 + direction * i * 13) % 64) / 32.0f - 1.0f;
        if (direction < 16) a[(s * N_CHECKPOINTS + 0) * D_MODEL + i] += w;
        a[(s * N_CHECKPOINTS + 1) * D_MODEL + i] += w;
      }
    }
}

int main(int argc, char **argv) {
  xcoder_error err = {0};
  xcoder_source *source = NULL;
  xcoder_device *device = NULL;
  xcoder *coder = NULL;
  float scales[N_CHECKPOINTS];
  if (argc != 2) {
    fprintf(stderr, "usage: train RUN-DIRECTORY\n");
    return 2;
  }
  float *a = calloc((size_t)N_SAMPLES * N_CHECKPOINTS * D_MODEL, sizeof *a);
  if (!a) return 5;
  make_activations(a);
  xcoder_train_options options;
  xcoder_train_defaults(&options);
  options.n_latents = 64;
  options.batch_size = 256;
  options.n_tokens = 256 * 400;
  options.learning_rate = 2e-3;
  options.l1_coefficient = 0.3;
  xcoder_status status = xcoder_device_open("cpu", &device, &err);
  if (!status) status = xcoder_source_array(a, N_SAMPLES, N_CHECKPOINTS, D_MODEL, NULL, &source, &err);
  if (!status) status = xcoder_source_scales(source, scales, NULL, NULL, &err);
  if (!status) status = xcoder_train(source, NULL, scales, &options, argv[1], false, device, NULL, &coder, &err);
  if (status)
    fprintf(stderr, "train: %s\n", err.message);
  else
    printf("trained %zu features; see %s/metrics.csv\n", xcoder_describe(coder)->n_latents, argv[1]);
  xcoder_free_coder(coder);
  xcoder_source_close(source);
  xcoder_device_close(device);
  free(a);
  return xcoder_exit_status(status);
}
