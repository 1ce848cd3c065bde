/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder object: files good and bad, folding, features and reconstructions, the copy on a device. */
#include "support.h"

#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, D = 20, F = 70 };
static const char *const labels[N] = {"step64", "step \"2\"", "fin\xc3\xa9"};
static const float scales[N] = {0.37f, 1.9f, 12.25f};

static float random_value(uint64_t seed, size_t index) {
  return (float)xci_random_normal(seed, XCI_STREAM_TEST, index);
}

static xcoder *make_coder(void) {
  xcoder *coder;
  OK(xcoder_create(N, D, F, 4, labels, scales, &coder, &error));
  for (int t = 0; t < 4; t++) {
    size_t n;
    float *w = xcoder_weights(coder, (xcoder_tensor)t, &n);
    for (size_t i = 0; i < n; i++) w[i] = random_value((uint64_t)t + 1, i) * 0.3f;
  }
  xcoder_changed(coder);
  return coder;
}

static float *make_samples(size_t count) {
  float *a;
  OK(XCI_ALLOC(&a, count * N * D, &error));
  for (size_t i = 0; i < count * N * D; i++) a[i] = random_value(9, i);
  return a;
}

/* f by the definition, in double precision. */
static double feature_of(xcoder *coder, const float *sample, size_t i) {
  const xcoder_info *info = xcoder_describe(coder);
  const float *w = xcoder_weights(coder, XCODER_W_ENC, NULL);
  double sum = (double)xcoder_weights(coder, XCODER_B_ENC, NULL)[i];
  for (size_t c = 0; c < N; c++)
    for (size_t k = 0; k < D; k++) {
      double x = (double)sample[c * D + k] * (info->folded ? 1 : (double)info->scales[c]);
      sum += x * (double)w[(c * D + k) * F + i];
    }
  return sum > 0 ? sum : 0;
}

/* float32 sums of 60 products of size up to scale * |x| |w| ~ 12.25 * 4 * 1: 60 * 2^-24 * 60 * 50 / 8 < 2e-3 at the
 * very worst; rounding errors add like a random walk, so 1e-4 leaves a factor of ten. */
static const double feature_tolerance = 1e-4;

START_TEST(test_save_and_load) {
  xcoder *coder = make_coder(), *again;
  OK(xcoder_save(coder, in_folder("a.safetensors"), &error));
  OK(xcoder_load(in_folder("a.safetensors"), &again, &error));
  const xcoder_info *a = xcoder_describe(coder), *b = xcoder_describe(again);
  ck_assert(a->n_checkpoints == b->n_checkpoints && a->d_model == b->d_model && a->n_latents == b->n_latents);
  ck_assert(b->layer == 4 && !b->folded && b->threshold < 0 && !b->mask.keep_first);
  for (size_t c = 0; c < N; c++) {
    ck_assert_str_eq(b->labels[c], labels[c]);
    ck_assert(b->scales[c] == scales[c]);
  }
  for (int t = 0; t < 4; t++) {
    size_t n, m;
    float *x = xcoder_weights(coder, (xcoder_tensor)t, &n), *y = xcoder_weights(again, (xcoder_tensor)t, &m);
    ck_assert_uint_eq(n, m);
    ck_assert_int_eq(memcmp(x, y, n * sizeof *x), 0);
  }
  OK(xcoder_save(again, in_folder("b.safetensors"), &error));
  ck_assert(same_file(in_folder("a.safetensors"), in_folder("b.safetensors")));
  xcoder_free_coder(again);

  /* Everything that is not the default: folded, threshold, mask. */
  coder->info.threshold = 0.7f;
  coder->info.mask.keep_first = true;
  OK(xcoder_fold(coder, &error));
  OK(xcoder_save(coder, in_folder("a.safetensors"), &error));
  OK(xcoder_load(in_folder("a.safetensors"), &again, &error));
  b = xcoder_describe(again);
  ck_assert(b->folded && b->threshold == 0.7f && b->mask.keep_first);
  xcoder_free_coder(again);
  xcoder_free_coder(coder);
}
END_TEST

START_TEST(test_create) {
  xcoder *coder;
  OK(xcoder_create(28, 1, 1, -1, NULL, NULL, &coder, &error));
  const xcoder_info *info = xcoder_describe(coder);
  ck_assert_str_eq(info->labels[0], "A");
  ck_assert_str_eq(info->labels[25], "Z");
  ck_assert_str_eq(info->labels[27], "AB");
  ck_assert(info->scales[3] == 1.0f);
  ck_assert_ptr_null(xcoder_weights(coder, (xcoder_tensor)9, NULL));
  xcoder_free_coder(coder);
  const float bad[2] = {1, 0};
  FAILS(xcoder_create(0, 4, 4, 0, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(33, 4, 4, 0, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(2, 0, 4, 0, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(2, 4, 0, 0, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(2, 4, 4, 0, NULL, bad, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(3, 4, 4, -2, NULL, NULL, &coder, &error), XCODER_USAGE);
  const char *const twice[2] = {"a", "a"}, *const empty[2] = {"a", ""};
  FAILS(xcoder_create(2, 4, 4, 0, twice, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(2, 4, 4, 0, empty, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xcoder_create(2, SIZE_MAX / 8, 4, 0, NULL, NULL, &coder, &error), XCODER_MEMORY);
  ck_assert_ptr_null(coder);
  xcoder_free_coder(NULL);
}
END_TEST

/* ---- Bad files ---- */

typedef struct file_case {
  const char *name;
  const char *drop_tensor, *drop_key; /* left out */
  const char *key, *value;            /* replaced */
  int odd_shape, odd_rank, odd_type;  /* tensor number + 1 */
  xcoder_status expected;
} file_case;

static const file_case file_cases[] = {
  {.name = "good", .expected = XCODER_OK},
  {.name = "unknown key", .key = "note", .value = "x", .expected = XCODER_OK},
  {.name = "no W_dec", .drop_tensor = "W_dec", .expected = XCODER_FORMAT},
  {.name = "no W_enc", .drop_tensor = "W_enc", .expected = XCODER_FORMAT},
  {.name = "no b_enc", .drop_tensor = "b_enc", .expected = XCODER_FORMAT},
  {.name = "no b_dec", .drop_tensor = "b_dec", .expected = XCODER_FORMAT},
  {.name = "no version", .drop_key = "format_version", .expected = XCODER_FORMAT},
  {.name = "no labels", .drop_key = "labels", .expected = XCODER_FORMAT},
  {.name = "no scales", .drop_key = "scales", .expected = XCODER_FORMAT},
  {.name = "no layer", .drop_key = "layer", .expected = XCODER_FORMAT},
  {.name = "no folded", .drop_key = "folded", .expected = XCODER_FORMAT},
  {.name = "no mask", .drop_key = "mask_keep_first", .expected = XCODER_FORMAT},
  {.name = "future", .key = "format_version", .value = "2", .expected = XCODER_UNSUPPORTED},
  {.name = "version 0", .key = "format_version", .value = "0", .expected = XCODER_FORMAT},
  {.name = "version text", .key = "format_version", .value = "one", .expected = XCODER_FORMAT},
  {.name = "labels: few", .key = "labels", .value = "[\"a\"]", .expected = XCODER_FORMAT},
  {.name = "labels: twice", .key = "labels", .value = "[\"a\",\"a\"]", .expected = XCODER_FORMAT},
  {.name = "labels: empty", .key = "labels", .value = "[\"\",\"a\"]", .expected = XCODER_FORMAT},
  {.name = "labels: numbers", .key = "labels", .value = "[1,2]", .expected = XCODER_FORMAT},
  {.name = "labels: object", .key = "labels", .value = "{}", .expected = XCODER_FORMAT},
  {.name = "labels: two values", .key = "labels", .value = "[\"a\",\"b\"],[]", .expected = XCODER_FORMAT},
  {.name = "labels: open", .key = "labels", .value = "[\"a\",\"b\"", .expected = XCODER_FORMAT},
  {.name = "scales: few", .key = "scales", .value = "[1]", .expected = XCODER_FORMAT},
  {.name = "scales: zero", .key = "scales", .value = "[1,0]", .expected = XCODER_FORMAT},
  {.name = "scales: negative", .key = "scales", .value = "[1,-2]", .expected = XCODER_FORMAT},
  {.name = "scales: overflow", .key = "scales", .value = "[1,1e300]", .expected = XCODER_FORMAT},
  {.name = "scales: underflow", .key = "scales", .value = "[1,1e-300]", .expected = XCODER_FORMAT},
  {.name = "scales: text", .key = "scales", .value = "[1,\"2\"]", .expected = XCODER_FORMAT},
  {.name = "layer: half", .key = "layer", .value = "1.5", .expected = XCODER_FORMAT},
  {.name = "layer: -2", .key = "layer", .value = "-2", .expected = XCODER_FORMAT},
  {.name = "layer: huge", .key = "layer", .value = "1e30", .expected = XCODER_FORMAT},
  {.name = "layer: empty", .key = "layer", .value = "", .expected = XCODER_FORMAT},
  {.name = "folded: yes", .key = "folded", .value = "yes", .expected = XCODER_FORMAT},
  {.name = "threshold: negative", .key = "threshold", .value = "-0.5", .expected = XCODER_FORMAT},
  {.name = "threshold: NaN", .key = "threshold", .value = "NaN", .expected = XCODER_FORMAT},
  {.name = "W_enc shape", .odd_shape = 1, .expected = XCODER_FORMAT},
  {.name = "b_enc shape", .odd_shape = 2, .expected = XCODER_FORMAT},
  {.name = "b_dec shape", .odd_shape = 4, .expected = XCODER_FORMAT},
  {.name = "W_dec rank", .odd_rank = 3, .expected = XCODER_FORMAT},
  {.name = "b_enc rank", .odd_rank = 2, .expected = XCODER_FORMAT},
  {.name = "W_dec type", .odd_type = 3, .expected = XCODER_UNSUPPORTED},
};

static void write_case(const file_case *bad, const char *path, const float *values) {
  static const char *const keys[][2] = {{"format_version", "1"}, {"labels", "[\"a\",\"b\"]"}, {"scales", "[1,2.5]"},
                                        {"layer", "3"}, {"folded", "false"}, {"mask_keep_first", "false"}};
  xci_safetensors_writer *writer;
  OK(xci_safetensors_create(&writer, &error));
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
    if (bad->drop_key && !strcmp(bad->drop_key, keys[k][0])) continue;
    if (bad->key && !strcmp(bad->key, keys[k][0])) continue;
    OK(xci_safetensors_add_metadata(writer, keys[k][0], keys[k][1], &error));
  }
  if (bad->key) OK(xci_safetensors_add_metadata(writer, bad->key, bad->value, &error));
  for (int t = 0; t < 4; t++) {
    size_t shape[4];
    size_t rank = xci_coder_tensor_shape(2, 3, 4, (xci_coder_tensor)t, shape);
    if (bad->drop_tensor && !strcmp(bad->drop_tensor, xci_coder_tensor_names[t])) continue;
    if (bad->odd_shape == t + 1) shape[0]++;
    if (bad->odd_rank == t + 1) shape[rank++] = 1;
    OK(xci_safetensors_add(writer, xci_coder_tensor_names[t], bad->odd_type == t + 1 ? XCI_I32 : XCI_F32, rank, shape,
                           values, &error));
  }
  OK(xci_safetensors_write(writer, path, &error));
  xci_safetensors_discard(writer);
}

START_TEST(test_bad_files) {
  float values[64] = {0};
  const char *path = in_folder("case.safetensors");
  for (size_t i = 0; i < sizeof file_cases / sizeof *file_cases; i++) {
    xcoder *coder = (xcoder *)&error;
    write_case(&file_cases[i], path, values);
    error = (xcoder_error){0};
    xcoder_status status = xcoder_load(path, &coder, &error);
    ck_assert_msg(status == file_cases[i].expected, "%s: %d %s", file_cases[i].name, (int)status, error.message);
    if (!status) xcoder_free_coder(coder);
    else ck_assert_msg(coder == NULL && strstr(error.message, path) != NULL, "%s", error.message);
  }
  xcoder *coder;
  values[5] = INFINITY;
  write_case(&file_cases[0], path, values);
  FAILS(xcoder_load(path, &coder, &error), XCODER_FORMAT);
  FAILS(xcoder_load(in_folder("nothing.safetensors"), &coder, &error), XCODER_MISSING);
  FAILS(xcoder_load(in_folder("."), &coder, &error), XCODER_MISSING);
  write_whole(path, "not a tensor file", 17);
  FAILS(xcoder_load(path, &coder, &error), XCODER_FORMAT);
}
END_TEST

/* Every byte of a small file changed, and every length: an error of one line or a crosscoder, never a crash. */
START_TEST(test_mutants) {
  float values[64] = {0};
  const char *path = in_folder("mutant.safetensors");
  size_t n, n_accepted = 0;
  write_case(&file_cases[0], path, values);
  char *good = read_whole(path, &n);
  for (size_t at = 0; at < n; at++)
    for (int kind = 0; kind < 5; kind++) {
      static const char whole[] = {0, (char)255};
      char kept = good[at];
      xcoder *coder;
      if (kind < 2) good[at] = whole[kind];
      else if (kind < 4) good[at] = (char)(kept + (kind == 2 ? 1 : -1));
      write_whole(path, good, kind == 4 ? at : n);
      good[at] = kept;
      error = (xcoder_error){0};
      xcoder_status status = xcoder_load(path, &coder, &error);
      n_accepted += !status;
      ck_assert(status ? coder == NULL && error.message[0] && !strchr(error.message, '\n') : coder != NULL);
      xcoder_free_coder(coder);
    }
  ck_assert_uint_gt(n_accepted, 0); /* changed weights are weights */
  xci_free(good);
}
END_TEST

/* ---- Computing ---- */

START_TEST(test_encode) {
  enum { COUNT = 1100 }; /* more than one block */
  xcoder *coder = make_coder();
  float *a = make_samples(COUNT), *f;
  xcoder_codes codes;
  OK(XCI_ALLOC(&f, (size_t)COUNT * F, &error));
  OK(xcoder_encode(coder, NULL, a, COUNT, f, &error));
  for (size_t b = 0; b < COUNT; b += 13)
    for (size_t i = 0; i < F; i++) {
      double expected = feature_of(coder, a + b * N * D, i);
      ck_assert_double_le(fabs((double)f[b * F + i] - expected), feature_tolerance);
    }
  OK(xcoder_encode_sparse(coder, NULL, a, COUNT, &codes, &error));
  ck_assert_uint_eq(codes.n_samples, COUNT);
  for (size_t b = 0; b < COUNT; b++) {
    size_t j = codes.start[b];
    for (size_t i = 0; i < F; i++)
      if (f[b * F + i] != 0) {
        ck_assert(j < codes.start[b + 1] && codes.index[j] == i && codes.value[j] == f[b * F + i]);
        j++;
      }
    ck_assert_uint_eq(j, codes.start[b + 1]);
  }
  xcoder_codes_free(&codes);
  xcoder_codes_free(&codes);
  OK(xcoder_encode_sparse(coder, NULL, a, 0, &codes, &error));
  ck_assert(codes.n_samples == 0 && codes.start[0] == 0);
  xcoder_codes_free(&codes);
  xci_free(f);
  xci_free(a);
  xcoder_free_coder(coder);
}
END_TEST

START_TEST(test_decode) {
  enum { COUNT = 1030 };
  xcoder *coder = make_coder();
  float *a = make_samples(COUNT), *xhat;
  const float *w = xcoder_weights(coder, XCODER_W_DEC, NULL), *bias = xcoder_weights(coder, XCODER_B_DEC, NULL);
  xcoder_codes codes;
  OK(XCI_ALLOC(&xhat, (size_t)COUNT * N * D, &error));
  OK(xcoder_encode_sparse(coder, NULL, a, COUNT, &codes, &error));
  OK(xcoder_decode(coder, NULL, &codes, xhat, &error));
  for (size_t b = 0; b < COUNT; b += 7)
    for (size_t k = 0; k < N * D; k++) {
      double sum = (double)bias[k], size = fabs(sum);
      for (size_t j = codes.start[b]; j < codes.start[b + 1]; j++) {
        double term = (double)codes.value[j] * (double)w[codes.index[j] * (N * D) + k];
        sum += term;
        size += fabs(term);
      }
      double s = (double)scales[k / D]; /* at most 72 roundings of the running sum, each 2^-24 of `size` */
      ck_assert_double_le(fabs((double)xhat[b * N * D + k] - sum / s), size / s * 72 * ldexp(1, -24));
    }
  xcoder_codes_free(&codes);

  /* No features: the bias, exactly. */
  size_t start[3] = {0, 0, 0};
  uint32_t index[2] = {0, 0};
  float value[2] = {0, 0};
  xcoder_codes none = {2, start, index, value};
  OK(xcoder_decode(coder, NULL, &none, xhat, &error));
  for (size_t k = 0; k < 2 * N * D; k++) ck_assert(xhat[k] == bias[k % (N * D)] / scales[k % (N * D) / D]);

  /* Codes that would read out of bounds are refused. */
  xcoder_codes one = {1, start, index, value};
  start[1] = 1, index[0] = F;
  FAILS(xcoder_decode(coder, NULL, &one, xhat, &error), XCODER_USAGE);
  start[1] = 2, index[0] = index[1] = 3;
  FAILS(xcoder_decode(coder, NULL, &one, xhat, &error), XCODER_USAGE);
  start[1] = F + 1;
  FAILS(xcoder_decode(coder, NULL, &one, xhat, &error), XCODER_USAGE);
  start[0] = start[1] = 1;
  FAILS(xcoder_decode(coder, NULL, &one, xhat, &error), XCODER_USAGE);
  xci_free(xhat);
  xci_free(a);
  xcoder_free_coder(coder);
}
END_TEST

/* Folding changes the weights, not what they compute: both forms differ by float32 rounding alone. */
START_TEST(test_fold) {
  enum { COUNT = 40 };
  xcoder *coder = make_coder(), *folded = make_coder();
  float *a = make_samples(COUNT), *f, *g, *x, *y;
  xcoder_codes codes;
  OK(XCI_ALLOC(&f, COUNT * F, &error));
  OK(XCI_ALLOC(&g, COUNT * F, &error));
  OK(XCI_ALLOC(&x, COUNT * N * D, &error));
  OK(XCI_ALLOC(&y, COUNT * N * D, &error));
  OK(xcoder_fold(folded, &error));
  OK(xcoder_fold(folded, &error)); /* once more changes nothing */
  ck_assert(xcoder_describe(folded)->folded);
  OK(xcoder_encode(coder, NULL, a, COUNT, f, &error));
  OK(xcoder_encode(folded, NULL, a, COUNT, g, &error));
  for (size_t i = 0; i < COUNT * F; i++) ck_assert_double_le(fabs((double)f[i] - (double)g[i]), 2 * feature_tolerance);
  OK(xcoder_encode_sparse(coder, NULL, a, COUNT, &codes, &error));
  OK(xcoder_decode(coder, NULL, &codes, x, &error));
  OK(xcoder_decode(folded, NULL, &codes, y, &error));
  for (size_t i = 0; i < COUNT * N * D; i++) {
    double size = 1 + 40 / (double)scales[i / D % N]; /* sum |f w| / s, generously */
    ck_assert_double_le(fabs((double)x[i] - (double)y[i]), size * 1e-5);
  }
  /* Thresholds refer to the unfolded decoder in both forms. */
  float *theta = f, *theta_folded = g;
  memset(xcoder_weights(coder, XCODER_W_DEC, NULL), 0, N * D * sizeof(float));
  memset(xcoder_weights(folded, XCODER_W_DEC, NULL), 0, N * D * sizeof(float));
  coder->info.threshold = folded->info.threshold = 3;
  OK(xci_coder_thresholds(coder, theta, &error));
  OK(xci_coder_thresholds(folded, theta_folded, &error));
  ck_assert(isinf(theta[0]) && isinf(theta_folded[0]));
  for (size_t i = 1; i < F; i++) ck_assert_double_le(fabs((double)theta[i] / (double)theta_folded[i] - 1), 1e-6);
  xcoder_codes_free(&codes);
  xci_free(f), xci_free(g), xci_free(x), xci_free(y), xci_free(a);
  xcoder_free_coder(coder);
  xcoder_free_coder(folded);
}
END_TEST

START_TEST(test_threshold) {
  enum { COUNT = 50 };
  xcoder *coder = make_coder();
  float *a = make_samples(COUNT), *f, *g, norms[F * N];
  size_t n_kept = 0, n_cut = 0;
  OK(XCI_ALLOC(&f, COUNT * F, &error));
  OK(XCI_ALLOC(&g, COUNT * F, &error));
  OK(xcoder_encode(coder, NULL, a, COUNT, f, &error));
  coder->info.threshold = 40;
  xcoder_changed(coder);
  OK(xcoder_encode(coder, NULL, a, COUNT, g, &error));
  OK(xcoder_decoder_norms(coder, norms, &error));
  for (size_t i = 0; i < COUNT * F; i++) {
    double norm = 0;
    for (size_t c = 0; c < N; c++) norm += (double)norms[i % F * N + c];
    double score = (double)f[i] * norm;
    if (fabs(score - 40) < 1e-3) continue; /* rounding decides */
    ck_assert(g[i] == (score > 40 ? f[i] : 0));
    if (f[i] > 0) *(score > 40 ? &n_kept : &n_cut) += 1;
  }
  ck_assert(n_kept > 100 && n_cut > 100);
  xci_free(f), xci_free(g), xci_free(a);
  xcoder_free_coder(coder);
}
END_TEST

/* Exchanging checkpoints in the samples and in the weights changes nothing but the order of sums. */
START_TEST(test_permute) {
  enum { COUNT = 30 };
  static const size_t to[N] = {2, 0, 1};
  xcoder *coder = make_coder(), *other;
  const char *other_labels[N];
  float other_scales[N], *a = make_samples(COUNT), *b = make_samples(COUNT), *f, *g;
  for (size_t c = 0; c < N; c++) other_labels[to[c]] = labels[c], other_scales[to[c]] = scales[c];
  OK(xcoder_create(N, D, F, 4, other_labels, other_scales, &other, &error));
  OK(XCI_ALLOC(&f, COUNT * F, &error));
  OK(XCI_ALLOC(&g, COUNT * F, &error));
  float *from_w = xcoder_weights(coder, XCODER_W_ENC, NULL), *to_w = xcoder_weights(other, XCODER_W_ENC, NULL);
  memcpy(xcoder_weights(other, XCODER_B_ENC, NULL), xcoder_weights(coder, XCODER_B_ENC, NULL), F * sizeof *f);
  for (size_t c = 0; c < N; c++) {
    memcpy(to_w + to[c] * D * F, from_w + c * D * F, D * F * sizeof *f);
    for (size_t s = 0; s < COUNT; s++) memcpy(b + (s * N + to[c]) * D, a + (s * N + c) * D, D * sizeof *a);
  }
  xcoder_changed(other);
  OK(xcoder_encode(coder, NULL, a, COUNT, f, &error));
  OK(xcoder_encode(other, NULL, b, COUNT, g, &error));
  for (size_t i = 0; i < COUNT * F; i++) ck_assert_double_le(fabs((double)f[i] - (double)g[i]), 2 * feature_tolerance);
  xci_free(f), xci_free(g), xci_free(a), xci_free(b);
  xcoder_free_coder(coder);
  xcoder_free_coder(other);
}
END_TEST

START_TEST(test_norms_and_project) {
  enum { COUNT = 300, CHOSEN = 300 };
  xcoder *coder = make_coder();
  float norms[F * N], *a = make_samples(COUNT), *out;
  uint32_t chosen[CHOSEN];
  const float *w = xcoder_weights(coder, XCODER_W_DEC, NULL);
  OK(xcoder_decoder_norms(coder, norms, &error));
  for (size_t r = 0; r < F * N; r++) {
    double sum = 0;
    for (size_t k = 0; k < D; k++) sum += (double)w[r * D + k] * (double)w[r * D + k];
    ck_assert_double_le(fabs((double)norms[r] - sqrt(sum)), 1e-6);
  }
  OK(XCI_ALLOC(&out, (size_t)COUNT * CHOSEN * N, &error));
  for (size_t k = 0; k < CHOSEN; k++) chosen[k] = (uint32_t)(k * 37 % F);
  for (int folded = 0; folded < 2; folded++) {
    OK(xcoder_project(coder, a, COUNT, chosen, CHOSEN, out, &error));
    for (size_t b = 0; b < COUNT; b += 29)
      for (size_t k = 0; k < CHOSEN; k += 7) {
        double sum = (double)xcoder_weights(coder, XCODER_B_ENC, NULL)[chosen[k]];
        for (size_t c = 0; c < N; c++) sum += (double)out[(b * CHOSEN + k) * N + c];
        double f = feature_of(coder, a + b * N * D, chosen[k]);
        ck_assert_double_le(fabs((sum > 0 ? sum : 0) - f), feature_tolerance);
      }
    OK(xcoder_fold(coder, &error));
  }
  chosen[CHOSEN - 1] = F;
  FAILS(xcoder_project(coder, a, COUNT, chosen, CHOSEN, out, &error), XCODER_USAGE);
  xci_free(a);
  xci_free(out);
  xcoder_free_coder(coder);
}
END_TEST

/* The copy on a device follows the weights, moves between devices, and survives its device. */
START_TEST(test_devices) {
  enum { COUNT = 3 };
  xcoder *coder = make_coder();
  xcoder_device *cpu, *reference;
  float *a = make_samples(COUNT), f[COUNT * F], g[COUNT * F];
  OK(xcoder_device_open("cpu", &cpu, &error));
  OK(xcoder_device_open("reference", &reference, &error));
  OK(xcoder_encode(coder, cpu, a, COUNT, f, &error));
  OK(xcoder_encode(coder, reference, a, COUNT, g, &error));
  for (size_t i = 0; i < COUNT * F; i++) ck_assert_double_le(fabs((double)f[i] - (double)g[i]), feature_tolerance);
  xcoder_device_close(reference); /* while it holds the copy */
  OK(xcoder_encode(coder, cpu, a, COUNT, g, &error));
  ck_assert_int_eq(memcmp(f, g, sizeof f), 0);
  float *w = xcoder_weights(coder, XCODER_W_ENC, NULL);
  for (size_t i = 0; i < N * D * F; i++) w[i] = -w[i];
  xcoder_changed(coder);
  OK(xcoder_encode(coder, cpu, a, COUNT, g, &error));
  ck_assert_int_ne(memcmp(f, g, sizeof f), 0);
  xcoder_device_close(cpu);
  OK(xcoder_encode(coder, NULL, a, COUNT, f, &error));
  ck_assert_int_eq(memcmp(f, g, sizeof f), 0);
  xci_free(a);
  xcoder_free_coder(coder);
}
END_TEST

/* Every allocation fails once: an error, no leak, and the next call works. */
START_TEST(test_allocation_failures) {
  xcoder *coder = make_coder(), *other;
  float *a = make_samples(4);
  xcoder_codes codes;
  OK(xcoder_save(coder, in_folder("a.safetensors"), &error));
  for (int onwards = 0; onwards < 2; onwards++) {
    xcoder_status status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      ck_assert_int_lt(n, 500);
      xci_fail_allocation(n, onwards);
      status = xcoder_load(in_folder("a.safetensors"), &other, &error);
      if (!status) status = xcoder_encode_sparse(other, NULL, a, 4, &codes, &error);
      else ck_assert_ptr_null(other);
      xci_fail_allocation(0, 0);
      if (!status) xcoder_codes_free(&codes);
      else ck_assert_msg(status == XCODER_MEMORY, "%d %s", (int)status, error.message);
      xcoder_free_coder(other);
    }
    status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      xci_fail_allocation(n, onwards);
      status = xcoder_save(coder, in_folder("b.safetensors"), &error);
      xci_fail_allocation(0, 0);
    }
    ck_assert(same_file(in_folder("a.safetensors"), in_folder("b.safetensors")));
  }
  xci_free(a);
  xcoder_free_coder(coder);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("crosscoder object");
  TCase *tests = tcase_create("object");
  tcase_add_checked_fixture(tests, make_test_folder, remove_test_folder);
  tcase_add_test(tests, test_save_and_load);
  tcase_add_test(tests, test_create);
  tcase_add_test(tests, test_bad_files);
  tcase_add_test(tests, test_mutants);
  tcase_add_test(tests, test_encode);
  tcase_add_test(tests, test_decode);
  tcase_add_test(tests, test_fold);
  tcase_add_test(tests, test_threshold);
  tcase_add_test(tests, test_permute);
  tcase_add_test(tests, test_norms_and_project);
  tcase_add_test(tests, test_devices);
  tcase_add_test(tests, test_allocation_failures);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
