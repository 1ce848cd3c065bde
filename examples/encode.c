/* SPDX-License-Identifier: Apache-2.0 */
/* Load a crosscoder and encode one sample of activations. Usage: encode CROSSCODER */
#include <crosscoder.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const xcoder_error *err) {
  fprintf(stderr, "encode: %s\n", err->message);
  return xcoder_exit_status(err->status);
}

int main(int argc, char **argv) {
  xcoder_error err = {0};
  xcoder *coder = NULL;
  xcoder_device *device = NULL;
  xcoder_codes codes = {0};
  if (argc != 2) {
    fprintf(stderr, "usage: encode CROSSCODER\n");
    return 2;
  }
  if (xcoder_load(argv[1], &coder, &err) || xcoder_device_open("cpu", &device, &err)) return fail(&err);
  const xcoder_info *info = xcoder_describe(coder);
  size_t n = info->n_checkpoints * info->d_model;
  float *activations = calloc(n, sizeof *activations);
  if (!activations) return 5;
  for (size_t i = 0; i < n; i++) activations[i] = (float)(i % 7) - 3.0f; /* yours come from a model */
  if (xcoder_encode_sparse(coder, device, activations, 1, &codes, &err)) return fail(&err);
  printf("%zu of %zu features are active\n", codes.start[1], info->n_latents);
  for (size_t k = 0; k < codes.start[1] && k < 10; k++)
    printf("feature %u: %g\n", (unsigned)codes.index[k], (double)codes.value[k]);
  xcoder_codes_free(&codes);
  free(activations);
  xcoder_device_close(device);
  xcoder_free_coder(coder);
  return 0;
}
