/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: every sample once an epoch, the same bits live and stored, resuming, damage found, scales. */
#include "base/file.h"
#include "base/half.h"
#include "base/memory.h"
#include "fake_model.h"
#include "harvest/harvest.h"

#include <check.h>
#include <crosscoder/harvest.h>
#include <crosscoder/run.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N = 3, D = 5, SEQUENCES = 40 };

static char folder[64];
static xcoder_error error;
static xcoder_model fakes[N], *models[N];
static xcoder_tokens tokens;
static const char *const labels[N] = {"step1", "st\"ep2\n", "step3"};
static const long layers[2] = {-1, 2};

static void set_up(void) {
  strcpy(folder, "test-harvest-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  for (uint32_t m = 0; m < N; m++) {
    fake_model_init(&fakes[m], m + 1, D);
    models[m] = &fakes[m];
  }
  fake_tokens_init(&tokens, SEQUENCES, 1, 9);
}

static void tear_down(void) {
  fake_tokens_clear(&tokens);
  ck_assert_int_eq(xci_remove_folder(folder, NULL), XCODER_OK);
}

static const char *path_of(const char *name) {
  static char path[4][256];
  static int turn;
  turn = (turn + 1) % 4;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

#define OK(call) ck_assert_msg((call) == XCODER_OK, "%s", error.message)

static xcoder_status harvest_to(const char *path, const xcoder_monitor *monitor) {
  const xcoder_harvest_options options = {
      .layers = layers, .n_layers = 2, .labels = labels, .batch_tokens = 20, .shard_tokens = 50};
  return xcoder_harvest(models, N, &tokens, &options, path, monitor, &error);
}

/* The first `count` samples, read in pieces of `piece`. */
static uint16_t *read_samples(xcoder_source *source, size_t count, size_t piece) {
  const size_t width = xcoder_source_checkpoints(source) * xcoder_source_width(source);
  uint16_t *samples = calloc(count * width + 1, sizeof *samples);
  for (size_t i = 0; i < count; i += piece)
    OK(xcoder_source_read(source, i, i + piece < count ? piece : count - i, samples + i * width, &error));
  return samples;
}

START_TEST(array_gives_every_sample_once_an_epoch) {
  enum { COUNT = 1000 };
  static float values[COUNT * 2 * 2];
  int seen[2][COUNT] = {{0}}, order_differs = 0, moved = 0;
  for (size_t i = 0; i < COUNT; i++)
    for (size_t j = 0; j < 4; j++) values[4 * i + j] = xci_bf16_to_f32((uint16_t)(0x3f80 + i));
  const xcoder_source_options options = {.seed = 5, .window_samples = 64};
  xcoder_source *source;
  OK(xcoder_source_array(values, COUNT, 2, 2, &options, &source, &error));
  ck_assert_uint_eq(xcoder_source_epoch(source), COUNT);
  uint16_t *samples = read_samples(source, 2 * COUNT, 77), *again = read_samples(source, 2 * COUNT, 1);
  ck_assert_mem_eq(samples, again, 2 * COUNT * 4 * sizeof *samples);
  for (size_t i = 0; i < 2 * COUNT; i++) seen[i / COUNT][samples[4 * i] - 0x3f80]++;
  for (size_t i = 0; i < COUNT; i++) {
    ck_assert(seen[0][i] == 1 && seen[1][i] == 1);
    order_differs += samples[4 * i] != samples[4 * (COUNT + i)];
    moved += samples[4 * i] != 0x3f80 + i;
  }
  ck_assert_int_gt(order_differs, COUNT * 9 / 10);
  ck_assert_int_gt(moved, COUNT * 9 / 10);
  free(samples);
  free(again);
  ck_assert_int_eq(xcoder_source_read(source, UINT64_MAX, 2, NULL, &error), XCODER_USAGE);
  xcoder_source_close(source);
  ck_assert_int_eq(xcoder_source_array(values, 0, 2, 2, NULL, &source, &error), XCODER_USAGE);
  ck_assert_int_eq(xcoder_source_array(values, 1, 33, 2, NULL, &source, &error), XCODER_USAGE);
  ck_assert_ptr_null(source);
}
END_TEST

/* The multiset of live samples is what the models make of the positions that are not masked. */
START_TEST(live_gives_the_unmasked_positions) {
  for (int keep_first = 0; keep_first < 2; keep_first++) {
    const xcoder_source_options options = {
        .seed = 1, .mask.keep_first = keep_first, .window_samples = 30, .batch_tokens = 1};
    xcoder_source *source;
    OK(xcoder_source_live(models, N, 2, &tokens, &options, &source, &error));
    const size_t n = (size_t)xcoder_source_epoch(source);
    ck_assert_uint_eq(n, tokens.start[SEQUENCES] - (keep_first ? 0 : SEQUENCES));
    uint16_t *samples = read_samples(source, n, 7);
    for (size_t s = 0; s < SEQUENCES; s++)
      for (size_t i = tokens.start[s] + !keep_first; i < tokens.start[s + 1]; i++) {
        size_t length = tokens.start[s + 1] - tokens.start[s], found = 0;
        uint16_t expected[N * D];
        for (size_t k = 0; k < N * D; k++) {
          float value = fake_value((uint32_t)(k / D + 1), 2, tokens.ids[i], i - tokens.start[s], k % D);
          expected[k] = xci_f32_to_bf16((1 + (float)(length % 31) / 64) * value);
        }
        for (size_t k = 0; k < n; k++) found += !memcmp(samples + k * N * D, expected, sizeof expected);
        ck_assert_uint_ge(found, 1);
      }
    free(samples);
    xcoder_source_close(source);
  }
}
END_TEST

START_TEST(store_and_live_give_the_same_bits) {
  OK(harvest_to(path_of("store"), NULL));
  for (int variant = 0; variant < 8; variant++) {
    xcoder_source_options options = {.seed = 9, .mask.keep_first = variant & 1, .batch_tokens = 20,
                                     .window_samples = variant & 2 ? 40 : 100000, .sequential = variant & 4};
    const long layer = layers[variant & 1];
    xcoder_source *live, *store;
    OK(xcoder_source_live(models, N, layer, &tokens, &options, &live, &error));
    options.batch_tokens = 0; /* the store knows */
    OK(xcoder_source_store(path_of("store"), layer, &options, &store, &error));
    ck_assert_uint_eq(xcoder_source_epoch(live), xcoder_source_epoch(store));
    ck_assert(xcoder_source_checkpoints(store) == N && xcoder_source_width(store) == D);
    const size_t n = (size_t)xcoder_source_epoch(live) * 2 + 3;
    uint16_t *a = read_samples(live, n, 11), *b = read_samples(store, n, n), last[N * D];
    ck_assert_mem_eq(a, b, n * N * D * sizeof *a);
    OK(xcoder_source_read(live, 3, 1, last, &error)); /* going back, as a resumed run does */
    ck_assert_mem_eq(last, a + 3 * N * D, sizeof last);
    for (size_t m = 0; m < N; m++) { /* one at a time: each lets go of its memory before the next runs */
      ck_assert(options.sequential ? fakes[m].n_idle > 0 : fakes[m].n_idle == 0);
      fakes[m].n_idle = 0;
    }
    free(a);
    free(b);
    xcoder_source_close(live);
    xcoder_source_close(store);
  }
}
END_TEST

START_TEST(scales_are_those_of_the_mean_norm) {
  xcoder_source *source;
  const xcoder_source_options options = {.batch_tokens = 20};
  OK(xcoder_source_live(models, N, 2, &tokens, &options, &source, &error));
  float scales[N];
  double relative_error, sum[N] = {0};
  OK(xcoder_source_scales(source, scales, &relative_error, NULL, &error));
  const size_t n = (size_t)xcoder_source_epoch(source);
  uint16_t *samples = read_samples(source, n, n);
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < N; c++) {
      double squares = 0;
      for (size_t j = 0; j < D; j++) squares += pow((double)xci_bf16_to_f32(samples[(i * N + c) * D + j]), 2);
      sum[c] += sqrt(squares);
    }
  /* Both sum in double and round to float once: half an ulp of float apart at most, if rounding goes either way. */
  for (size_t c = 0; c < N; c++)
    ck_assert_double_eq_tol((double)scales[c] * sum[c] / (double)n, sqrt(D), 1.2e-7 * sqrt(D));
  ck_assert(relative_error > 0 && relative_error < 0.1);
  free(samples);
  volatile sig_atomic_t stop = 1;
  const xcoder_monitor monitor = {.stop = &stop};
  ck_assert_int_eq(xcoder_source_scales(source, scales, NULL, &monitor, &error), XCODER_INTERRUPTED);
  xcoder_source_close(source);
}
END_TEST

START_TEST(scales_refuse_zero_and_nan) {
  static float values[8];
  xcoder_source *source;
  float scales[2];
  OK(xcoder_source_array(values, 4, 2, 1, NULL, &source, &error));
  ck_assert_int_eq(xcoder_source_scales(source, scales, NULL, NULL, &error), XCODER_MISMATCH);
  xcoder_source_close(source);
  for (int i = 0; i < 8; i++) values[i] = i == 5 ? NAN : 1;
  OK(xcoder_source_array(values, 4, 2, 1, NULL, &source, &error));
  ck_assert_int_eq(xcoder_source_scales(source, scales, NULL, NULL, &error), XCODER_DIVERGED);
  ck_assert_ptr_nonnull(strstr(error.message, "checkpoint 1"));
  xcoder_source_close(source);
}
END_TEST

/* Enough samples that the standard error stops the estimate early. */
START_TEST(scales_stop_when_sure) {
  enum { COUNT = 20000 };
  static float values[COUNT];
  xcoder_source *source;
  float scale;
  double relative_error;
  for (size_t i = 0; i < COUNT; i++) values[i] = i % 2 ? 2 : 2.015625f;
  OK(xcoder_source_array(values, COUNT, 1, 1, NULL, &source, &error));
  OK(xcoder_source_scales(source, &scale, &relative_error, NULL, &error));
  ck_assert(relative_error < 1e-3);
  ck_assert_double_eq_tol((double)scale, 1 / 2.0078125, 1e-3);
  xcoder_source_close(source);
}
END_TEST

START_TEST(sequences_in_order) {
  static float hidden[400 * N * D];
  OK(xci_harvest_sequences(models, N, 1, &tokens, 3, 5, hidden, &error));
  size_t rows = tokens.start[8] - tokens.start[3], row = 0;
  for (size_t s = 3; s < 8; s++)
    for (size_t i = tokens.start[s]; i < tokens.start[s + 1]; i++, row++)
      for (size_t k = 0; k < N * D; k++) {
        float value = (1 + (float)(rows % 31) / 64) *
                      fake_value((uint32_t)(k / D + 1), 1, tokens.ids[i], i - tokens.start[s], k % D);
        ck_assert(hidden[row * N * D + k] == xci_bf16_to_f32(xci_f32_to_bf16(value)));
      }
  ck_assert_uint_eq(row, rows);
  ck_assert_int_eq(xci_harvest_sequences(models, N, 1, &tokens, 39, 2, hidden, &error), XCODER_USAGE);
}
END_TEST

/* ---- Stores: interrupted, other inputs, damaged ---- */

static volatile sig_atomic_t stop;
static int calls_left;
static void stop_after(void *context, const xcoder_progress *progress) {
  (void)context;
  (void)progress;
  if (--calls_left == 0) stop = 1;
}

/* A window is filled for longer than anybody waits for an interruption. */
START_TEST(filling_can_be_stopped) {
  const xcoder_source_options options = {.batch_tokens = 20};
  const xcoder_monitor monitor = {.progress = stop_after, .stop = &stop};
  float scales[N], again[N];
  xcoder_source *source;
  for (int calls = 1; calls < 8; calls += 3) {
    fakes[0].n_calls = fakes[1].n_calls = fakes[2].n_calls = 0;
    stop = 0;
    calls_left = calls;
    OK(xcoder_source_live(models, N, 2, &tokens, &options, &source, &error));
    ck_assert_int_eq(xcoder_source_scales(source, scales, NULL, &monitor, &error), XCODER_INTERRUPTED);
    ck_assert_uint_eq(fakes[0].n_calls + fakes[1].n_calls + fakes[2].n_calls, (size_t)calls);
    OK(xcoder_source_scales(source, scales, NULL, NULL, &error)); /* the monitor is not kept */
    xcoder_source_close(source);
  }
  OK(xcoder_source_live(models, N, 2, &tokens, &options, &source, &error));
  OK(xcoder_source_scales(source, again, NULL, NULL, &error));
  ck_assert_int_eq(memcmp(scales, again, sizeof scales), 0);
  xcoder_source_close(source);
}
END_TEST

static void hash_folder(const char *path, char hex[33]) {
  char **names, all[4096] = "";
  size_t n;
  OK(xci_list_folder(path, &names, &n, &error));
  for (size_t i = 0; i < n; i++) {
    char *file, one[33];
    OK(xci_join_path(path, names[i], &file, &error));
    OK(xcoder_hash_file(file, one, &error));
    snprintf(all + strlen(all), sizeof all - strlen(all), "%s %s\n", names[i], one);
    xci_free(file);
  }
  xci_free_names(names, n);
  xci_hash_bytes(all, strlen(all), hex);
}

START_TEST(interrupted_harvest_continues) {
  char whole[33], pieces[33];
  const xcoder_monitor monitor = {.progress = stop_after, .stop = &stop};
  OK(harvest_to(path_of("whole"), NULL));
  int interruptions = 0;
  for (;;) {
    stop = 0;
    calls_left = 5; /* a shard takes up to 4: all layers of a block come from one pass */
    xcoder_status status = harvest_to(path_of("pieces"), &monitor);
    if (status == XCODER_OK) break;
    ck_assert_int_eq(status, XCODER_INTERRUPTED);
    xcoder_source *source;
    ck_assert_int_eq(xcoder_source_store(path_of("pieces"), 2, NULL, &source, &error), XCODER_STATE);
    ck_assert_ptr_nonnull(strstr(error.message, "interrupted"));
    ck_assert_int_lt(++interruptions, 50);
  }
  ck_assert_int_gt(interruptions, 1);
  hash_folder(path_of("whole"), whole);
  hash_folder(path_of("pieces"), pieces);
  ck_assert_str_eq(whole, pieces);
  size_t n_calls = fakes[0].n_calls;
  OK(harvest_to(path_of("pieces"), NULL)); /* only the probe runs */
  ck_assert_uint_eq(fakes[0].n_calls, n_calls + 1); /* one pass for all layers */
}
END_TEST

START_TEST(missing_shard_is_made_again) {
  char before[33], after[33];
  OK(harvest_to(path_of("s"), NULL));
  hash_folder(path_of("s"), before);
  ck_assert_int_eq(remove(path_of("s/shard-002-00001.safetensors")), 0);
  OK(harvest_to(path_of("s"), NULL));
  hash_folder(path_of("s"), after);
  ck_assert_str_eq(before, after);
}
END_TEST

START_TEST(other_inputs_are_refused) {
  OK(harvest_to(path_of("s"), NULL));
  fakes[1].seed = 77; /* the same shape, other weights */
  ck_assert_int_eq(harvest_to(path_of("s"), NULL), XCODER_STATE);
  ck_assert_ptr_nonnull(strstr(error.message, "'checkpoints' differs"));
  fakes[1].seed = 2;
  tokens.ids[3]++;
  ck_assert_int_eq(harvest_to(path_of("s"), NULL), XCODER_STATE);
  ck_assert_ptr_nonnull(strstr(error.message, "'tokens' differs"));
  OK(xcoder_write_file(path_of("other/thesis.tex"), "x", 1, &error));
  ck_assert_int_eq(harvest_to(path_of("other"), NULL), XCODER_STATE);
  ck_assert_ptr_nonnull(strstr(error.message, "neither empty nor a store"));
}
END_TEST

static void change_byte(const char *path, long offset, int truncate_by) {
  char *bytes;
  size_t n;
  OK(xcoder_read_file(path, 0, &bytes, &n, &error));
  if (offset) bytes[offset > 0 ? (size_t)offset : n - (size_t)-offset] ^= 1;
  OK(xcoder_write_file(path, bytes, n - (size_t)truncate_by, &error));
  xci_free(bytes);
}

/* Opens layer 2 of the store "s" and reads all of it. */
static xcoder_status read_store(void) {
  xcoder_source *source;
  uint16_t sample[N * D];
  xcoder_status status = xcoder_source_store(path_of("s"), 2, NULL, &source, &error);
  if (!status) status = xcoder_source_read(source, 0, 1, sample, &error); /* one window holds all */
  xcoder_source_close(source);
  return status;
}

START_TEST(damage_is_found) {
  static const struct {
    const char *file;
    long offset;
    int truncate_by;
    const char *words;
  } cases[] = {{"shard-002-00000.safetensors", -1, 0, "checksum"}, {"shard-002-00001.safetensors", 3, 0, "checksum"},
               {"shard-002-00001.safetensors", 0, 1, "store.json says"}, {"starts.npy", -3, 0, "checksum"},
               {"starts.npy", 0, 8, "starts.npy"}, {"store.json", 12, 0, ""}, {"store.json", 0, 20, "not valid JSON"}};
  OK(harvest_to(path_of("s"), NULL));
  OK(read_store());
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char path[128];
    char *good;
    size_t n;
    snprintf(path, sizeof path, "%s/s/%s", folder, cases[i].file);
    OK(xcoder_read_file(path, 0, &good, &n, &error));
    change_byte(path, cases[i].offset, cases[i].truncate_by);
    error.message[0] = '\0';
    xcoder_status status = read_store();
    ck_assert_msg(status == XCODER_STATE || status == XCODER_FORMAT, "case %zu: %s", i, error.message);
    ck_assert_msg(strstr(error.message, cases[i].words) && strstr(error.message, folder), "%s", error.message);
    OK(xcoder_write_file(path, good, n, &error));
    xci_free(good);
  }
  OK(read_store());
  ck_assert_int_eq(remove(path_of("s/shard-002-00000.safetensors")), 0);
  ck_assert_int_eq(read_store(), XCODER_MISSING);
}
END_TEST

/* Without syncing, which would take most of the time of this test. */
static void write_quickly(const char *path, const char *text) {
  remove(path); /* some file systems sync a file that is truncated and written anew */
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  ck_assert_int_ge(fputs(text, file), 0);
  ck_assert_int_eq(fclose(file), 0);
}

/* Every number of store.json in turn replaced by something wrong: refused, or the same samples. */
START_TEST(hostile_store_json) {
  static const char *const wrong[] = {"-1", "0", "9223372036854775807", "\"x\"", "null", "[]", "1e9"};
  char *good;
  size_t n;
  OK(harvest_to(path_of("s"), NULL));
  OK(xcoder_read_file(path_of("s/store.json"), 0, &good, &n, &error));
  for (size_t i = 1; i < n; i++) {
    if (good[i] < '0' || good[i] > '9' || (good[i - 1] != ' ' && good[i - 1] != '[')) continue;
    size_t digits = strspn(good + i, "0123456789");
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
      char *bad = calloc(n + 64, 1);
      snprintf(bad, n + 64, "%.*s%s%s", (int)i, good, wrong[w], good + i + digits);
      write_quickly(path_of("s/store.json"), bad);
      xcoder_status status = read_store();
      ck_assert_msg(status == XCODER_OK || status == XCODER_STATE || status == XCODER_FORMAT || status == XCODER_USAGE,
                    "%s: %s", bad, error.message);
      free(bad);
    }
  }
  xci_free(good);
}
END_TEST

START_TEST(misfits_are_refused) {
  xcoder_source *source;
  fakes[1].info.d_model = 6;
  ck_assert_int_eq(xcoder_source_live(models, N, 2, &tokens, NULL, &source, &error), XCODER_MISMATCH);
  ck_assert_str_eq(error.message, "checkpoint 1 has width 6, checkpoint 0 has 5");
  fakes[1].info.d_model = D;
  ck_assert_int_eq(xcoder_source_live(models, N, 4, &tokens, NULL, &source, &error), XCODER_USAGE);
  ck_assert_int_eq(xcoder_source_live(models, N, -2, &tokens, NULL, &source, &error), XCODER_USAGE);
  ck_assert_int_eq(xcoder_source_live(models, 0, 2, &tokens, NULL, &source, &error), XCODER_USAGE);
  fakes[2].info.n_vocab = 49;
  ck_assert_int_eq(xcoder_source_live(models, N, 2, &tokens, NULL, &source, &error), XCODER_MISMATCH);
  ck_assert_ptr_nonnull(strstr(error.message, "token 49 is outside the vocabulary of 49 of checkpoint 2"));
  fakes[2].info.n_vocab = 50;
  fakes[0].info.n_context = 8;
  ck_assert_int_eq(xcoder_source_live(models, N, 2, &tokens, NULL, &source, &error), XCODER_MISMATCH);
  fakes[0].info.n_context = 0;
  xcoder_tokens single;
  fake_tokens_init(&single, 3, 1, 1); /* nothing but masked positions */
  ck_assert_int_eq(xcoder_source_live(models, N, 2, &single, NULL, &source, &error), XCODER_MISMATCH);
  fake_tokens_clear(&single);
  ck_assert_ptr_null(source);
  fakes[1].fail_call = 1;
  OK(xcoder_source_live(models, N, 2, &tokens, NULL, &source, &error));
  uint16_t sample[N * D];
  ck_assert_int_eq(xcoder_source_read(source, 0, 1, sample, &error), XCODER_DEVICE);
  OK(xcoder_source_read(source, 0, 1, sample, &error));
  xcoder_source_close(source);
  OK(harvest_to(path_of("s"), NULL));
  ck_assert_int_eq(xcoder_source_store(path_of("s"), 1, NULL, &source, &error), XCODER_USAGE);
  ck_assert_int_eq(xcoder_source_store(path_of("s"), LONG_MIN, NULL, &source, &error), XCODER_USAGE);
  ck_assert_int_eq(xcoder_source_store(path_of("none"), LONG_MIN, NULL, &source, &error), XCODER_MISSING);
}
END_TEST

/* The n-th allocation fails, for every n, once and from there on: an error, no leak, nothing that looks finished. */
static void fail_every_allocation(xcoder_status (*work)(void)) {
  for (int onwards = 0; onwards < 2; onwards++) {
    xcoder_status status = XCODER_MEMORY;
    for (long n = 1; status; n++) {
      ck_assert_int_lt(n, 2000);
      xci_fail_allocation(n, onwards);
      status = work();
      xci_fail_allocation(0, 0);
      ck_assert_msg(!status || status == XCODER_MEMORY, "%ld: %d %s", n, status, error.message);
    }
  }
}

static xcoder_status harvest_small_store(void) {
  const xcoder_harvest_options options = {.layers = layers, .n_layers = 1, .labels = labels};
  xcoder_status status = xcoder_harvest(models, N, &tokens, &options, path_of("small"), NULL, &error);
  xci_fail_allocation(0, 0);
  OK(xci_remove_folder(path_of("small"), NULL));
  return status;
}

static xcoder_status use_sources(void) {
  const xcoder_source_options options = {.window_samples = 40, .batch_tokens = 20};
  xcoder_source *source;
  uint16_t samples[3 * N * D];
  float scales[N];
  xcoder_status status = xcoder_source_store(path_of("s"), 2, &options, &source, &error);
  if (!status) status = xcoder_source_scales(source, scales, NULL, NULL, &error);
  xcoder_source_close(source);
  source = NULL;
  if (!status) status = xcoder_source_live(models, N, 2, &tokens, &options, &source, &error);
  if (!status) status = xcoder_source_read(source, 1, 3, samples, &error);
  xcoder_source_close(source);
  source = NULL;
  if (!status) status = xcoder_source_array((const float[]){1, 2, 3, 4}, 4, 1, 1, NULL, &source, &error);
  xcoder_source_close(source);
  return status;
}

START_TEST(allocation_failures) {
  fail_every_allocation(harvest_small_store);
  OK(harvest_to(path_of("s"), NULL));
  fail_every_allocation(use_sources);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("harvest");
  TCase *sources = tcase_create("sources");
  tcase_add_checked_fixture(sources, set_up, tear_down);
  tcase_add_test(sources, array_gives_every_sample_once_an_epoch);
  tcase_add_test(sources, live_gives_the_unmasked_positions);
  tcase_add_test(sources, store_and_live_give_the_same_bits);
  tcase_add_test(sources, scales_are_those_of_the_mean_norm);
  tcase_add_test(sources, scales_refuse_zero_and_nan);
  tcase_add_test(sources, scales_stop_when_sure);
  tcase_add_test(sources, filling_can_be_stopped);
  tcase_add_test(sources, sequences_in_order);
  tcase_add_test(sources, interrupted_harvest_continues);
  tcase_add_test(sources, missing_shard_is_made_again);
  tcase_add_test(sources, other_inputs_are_refused);
  tcase_add_test(sources, damage_is_found);
  tcase_add_test(sources, hostile_store_json);
  tcase_add_test(sources, misfits_are_refused);
  tcase_add_test(sources, allocation_failures);
  suite_add_tcase(suite, sources);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed != 0;
}
