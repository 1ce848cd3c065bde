/* SPDX-License-Identifier: Apache-2.0 */
/* Opening what golden/ holds. */
#include "scene.h"

#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[N] = {"early", "middle", "late"};

static const char *find(const char *name) {
  static char path[600];
  const char *folder = getenv("srcdir");
  snprintf(path, sizeof path, "%s/tests/analysis/golden/%s", folder ? folder : ".", name);
  return path;
}

float *scene_golden(const scene *s, const char *name, size_t *n) {
  const xci_tensor *tensor = xci_safetensors_find(s->golden, name);
  float *value = NULL;
  ck_assert_msg(tensor != NULL, "golden tensor %s", name);
  ck_ok(XCI_ALLOC(&value, tensor->n_values, err));
  ck_ok(xci_tensor_to_f32(tensor, value, err));
  if (n) *n = tensor->n_values;
  return value;
}

/* Moves the checkpoint axis: value [outer, N, inner]. */
static void permute(float *value, size_t outer, size_t inner, const size_t *order) {
  float *kept = NULL;
  ck_ok(XCI_ALLOC(&kept, N * inner, err));
  for (size_t o = 0; o < outer; o++) {
    memcpy(kept, value + o * N * inner, N * inner * sizeof *kept);
    for (size_t c = 0; c < N; c++) memcpy(value + (o * N + c) * inner, kept + order[c] * inner, inner * sizeof *kept);
  }
  xci_free(kept);
}

static void make_coder(scene *s, const size_t *order) {
  static const struct {
    const char *name;
    xcoder_tensor tensor;
  } parts[] = {{"W_enc", XCODER_W_ENC}, {"b_enc", XCODER_B_ENC}, {"W_dec", XCODER_W_DEC}, {"b_dec", XCODER_B_DEC}};
  const xci_tensor *shape = xci_safetensors_find(s->golden, "W_dec");
  const size_t n_latents = shape->shape[0], d = shape->shape[2];
  const char *labels[N];
  float *scales = scene_golden(s, "scales", NULL);
  for (size_t c = 0; c < N; c++) labels[c] = names[order[c]];
  permute(scales, 1, 1, order);
  ck_ok(xcoder_create(N, d, n_latents, 0, labels, scales, &s->coder, err));
  for (size_t p = 0; p < 4; p++) {
    size_t n, n_golden;
    float *to = xcoder_weights(s->coder, parts[p].tensor, &n), *from = scene_golden(s, parts[p].name, &n_golden);
    ck_assert_uint_eq(n, n_golden);
    if (parts[p].tensor == XCODER_W_ENC) permute(from, 1, d * n_latents, order);
    if (parts[p].tensor == XCODER_W_DEC) permute(from, n_latents, d, order);
    if (parts[p].tensor == XCODER_B_DEC) permute(from, 1, d, order);
    memcpy(to, from, n * sizeof *to);
    xci_free(from);
  }
  xcoder_changed(s->coder);
  xci_free(scales);
}

void scene_open(scene *s, const size_t *order) {
  static const size_t straight[N] = {0, 1, 2};
  char task[700];
  if (!order) order = straight;
  *s = (scene){0};
  snprintf(s->run, sizeof s->run, "test-analysis-%ld", (long)getpid());
  ck_ok(xci_remove_folder(s->run, err));
  const char *device = getenv("XCODER_TEST_DEVICE");
  ck_ok(xcoder_device_open(device != NULL ? device : "cpu", &s->device, err));
  ck_ok(xci_safetensors_open(find("golden.safetensors"), &s->golden, err));
  for (size_t c = 0; c < N; c++) ck_ok(xcoder_model_open(find(names[order[c]]), s->device, -1, &s->models[c], err));
  make_coder(s, order);
  ck_ok(xcoder_tokenizer_open(find("tokenizer.json"), &s->tokenizer, err));
  snprintf(task, sizeof task, "pairs:%s", find("pairs.jsonl"));
  const xcoder_pairs_options options = {0};
  ck_ok(xcoder_pairs_load(task, s->tokenizer, &options, &s->pairs, err));
  ck_assert_uint_eq(xcoder_pairs_count(s->pairs), E);
  ck_ok(xcoder_tokens_load(find("heldout.npy"), 0, &s->held_out, err));
  snprintf(s->gold_path, sizeof s->gold_path, "%s", find("gold.jsonl"));
  s->setting = (xcoder_setting){s->device, s->coder, s->models, s->tokenizer, NULL, NULL};
}

void scene_close(scene *s) {
  for (size_t c = 0; c < N; c++) xcoder_model_close(s->models[c]);
  xcoder_free_coder(s->coder);
  xcoder_tokenizer_close(s->tokenizer);
  xcoder_pairs_free(s->pairs);
  xcoder_tokens_free(s->held_out);
  xci_safetensors_close(s->golden);
  xcoder_device_close(s->device);
  ck_ok(xci_remove_folder(s->run, err));
}

const char *scene_path(const scene *s, const char *name) {
  static char path[600];
  snprintf(path, sizeof path, "%s/%s", s->run, name);
  return path;
}
