/* SPDX-License-Identifier: Apache-2.0 */
/* Training: schedules, measures, the whole loop against METHOD section 2 in double precision, bad numbers, cost. */
#include "support.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/random.h"
#include "crosscoder/checkpoint.h"
#include "crosscoder/checkpoint_folder.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const float scales[3] = {0.5f, 1.0f, 1.5f};

START_TEST(test_schedules) {
  xcoder_train_options o;
  xcoder_train_defaults(&o);
  ck_assert(o.batch_size == 4096 && o.learning_rate == 5e-5 && o.l1_coefficient == 2 && o.clip_norm == 1);
  o.batch_size = 10;
  o.n_tokens = 2009; /* a rest that does not fill a batch is not used */
  ck_assert_uint_eq(xci_train_steps(&o), 200);
  ck_assert_double_eq(xci_train_lambda(&o, 0), 0);
  ck_assert_double_eq(xci_train_lambda(&o, 5), 1);
  ck_assert_double_eq(xci_train_lambda(&o, 10), 2);
  ck_assert_double_eq(xci_train_lambda(&o, 199), 2);
  ck_assert_double_eq(xci_train_rate(&o, 0), 5e-5);
  ck_assert_double_eq(xci_train_rate(&o, 160), 5e-5);
  ck_assert_double_eq_tol(xci_train_rate(&o, 180), 2.5e-5, 1e-18);
  ck_assert_double_eq_tol(xci_train_rate(&o, 199), 5e-5 / 40, 1e-18);
  o.warmup_share = o.decay_share = 0;
  ck_assert_double_eq(xci_train_lambda(&o, 0), 2);
  ck_assert_double_eq(xci_train_rate(&o, 199), 5e-5);
}
END_TEST

START_TEST(test_bad_options) {
  xcoder_train_options good, o, resolved;
  xcoder_cost cost;
  const char *const twice[] = {"a", "a", "b"}, *const not_utf8[] = {"a", "b\xff", "c"};
  small_options(&good);
  OK(xci_train_resolve(&good, 3, 12, &resolved, &error));
#define REFUSED(change, status) \
  o = good;                     \
  o.change;                     \
  FAILS(xcoder_train_cost(3, 12, &o, &cost, &error), status)
  REFUSED(n_latents = 0, XCODER_USAGE);
  REFUSED(batch_size = 0, XCODER_USAGE);
  REFUSED(batch_size = SIZE_MAX / 64, XCODER_MEMORY);
  REFUSED(n_tokens = 31, XCODER_USAGE);
  REFUSED(n_tokens = UINT64_MAX, XCODER_USAGE);
  REFUSED(learning_rate = -1, XCODER_USAGE);
  REFUSED(learning_rate = (double)NAN, XCODER_USAGE);
  REFUSED(beta1 = 1, XCODER_USAGE);
  REFUSED(beta2 = (double)INFINITY, XCODER_USAGE);
  REFUSED(warmup_share = 2, XCODER_USAGE);
  REFUSED(decay_share = -0.1, XCODER_USAGE);
  REFUSED(l1_coefficient = -1, XCODER_USAGE);
  REFUSED(clip_norm = (double)NAN, XCODER_USAGE);
  REFUSED(labels = twice, XCODER_USAGE);
  REFUSED(labels = not_utf8, XCODER_USAGE);
  REFUSED(layer = -2, XCODER_USAGE);
  REFUSED(config_hash = "123", XCODER_USAGE);
  FAILS(xcoder_train_cost(0, 12, &good, &cost, &error), XCODER_USAGE);
  FAILS(xcoder_train_cost(33, 12, &good, &cost, &error), XCODER_USAGE);
}
END_TEST

/* Explained variance against its definition. */
START_TEST(test_spread) {
  enum { B = 37, N = 3, W = 70 };
  float x[B * N * W], xhat[B * N * W];
  xci_spread spread;
  xci_quality q;
  for (size_t i = 0; i < B * N * W; i++) {
    x[i] = (float)xci_random_normal(1, XCI_STREAM_TEST, i) + 3;
    xhat[i] = x[i] + 0.3f * (float)xci_random_normal(2, XCI_STREAM_TEST, i);
  }
  OK(xci_spread_create(N, W, B, &spread, &error));
  xci_spread_measure(&spread, x, xhat, B, &q);
  double errors[N] = {0}, variances[N] = {0}, token_mean = 0, error_sum = 0, variance_sum = 0;
  for (size_t b = 0; b < B; b++) {
    double e_token = 0, v_token = 0;
    for (size_t c = 0; c < N; c++)
      for (size_t k = c * W; k < (c + 1) * W; k++) {
        double mean = 0;
        for (size_t s = 0; s < B; s++) mean += (double)x[s * N * W + k] / B;
        double e = (double)x[b * N * W + k] - (double)xhat[b * N * W + k], v = (double)x[b * N * W + k] - mean;
        errors[c] += e * e, variances[c] += v * v, e_token += e * e, v_token += v * v;
      }
    token_mean += (1 - e_token / v_token) / B;
    error_sum += e_token, variance_sum += v_token;
  }
  ck_assert_double_eq_tol(q.reconstruction, error_sum / B, 1e-10);
  ck_assert_double_eq_tol(q.ev_pooled, 1 - error_sum / variance_sum, 1e-12);
  ck_assert_double_eq_tol(q.ev_mean, token_mean, 1e-12);
  for (size_t c = 0; c < N; c++) ck_assert_double_eq_tol(q.ev_checkpoint[c], 1 - errors[c] / variances[c], 1e-12);
  xci_spread_measure(&spread, x, xhat, 1, &q); /* one sample has no variance */
  ck_assert(isnan(q.ev_pooled) && isnan(q.ev_mean) && isnan(q.ev_checkpoint[0]));
  xci_spread_free(&spread);
}
END_TEST

/* ---- METHOD section 2 in plain double precision ---- */

enum { N = 3, W = 12, F = 24, B = 32, STEPS = 60, ROW = N * W };

typedef struct plain {
  double w_enc[ROW * F], b_enc[F], w_dec[F * ROW], b_dec[ROW]; /* W_enc [n d, D], W_dec [D, n d] */
} plain;

static double norm_of(const double *row) {
  double sum = 0;
  for (size_t k = 0; k < W; k++) sum += row[k] * row[k];
  return sqrt(sum);
}

static void plain_gradient(const plain *p, const double *x, double lambda, plain *g) {
  memset(g, 0, sizeof *g);
  for (size_t b = 0; b < B; b++, x += ROW) {
    double f[F], error_row[ROW];
    memcpy(error_row, p->b_dec, sizeof error_row);
    for (size_t i = 0; i < F; i++) {
      f[i] = p->b_enc[i];
      for (size_t k = 0; k < ROW; k++) f[i] += x[k] * p->w_enc[k * F + i];
      if (f[i] < 0) f[i] = 0;
      for (size_t k = 0; k < ROW; k++) error_row[k] += f[i] * p->w_dec[i * ROW + k];
    }
    for (size_t k = 0; k < ROW; k++) {
      error_row[k] = 2 * (error_row[k] - x[k]) / B;
      g->b_dec[k] += error_row[k];
    }
    for (size_t i = 0; i < F; i++) {
      double push = 0;
      if (f[i] <= 0) continue;
      for (size_t c = 0; c < N; c++) {
        const double *row = p->w_dec + i * ROW + c * W;
        double norm = norm_of(row);
        push += lambda / B * norm;
        for (size_t k = 0; k < W; k++) {
          push += error_row[c * W + k] * row[k];
          g->w_dec[i * ROW + c * W + k] += f[i] * (error_row[c * W + k] + (norm > 0 ? lambda / B * row[k] / norm : 0));
        }
      }
      g->b_enc[i] += push;
      for (size_t k = 0; k < ROW; k++) g->w_enc[k * F + i] += push * x[k];
    }
  }
}

static void plain_adam(plain *p, plain *m, plain *v, const plain *g, double rate, int t) {
  double *w = (double *)p, *m1 = (double *)m, *m2 = (double *)v, sum = 0;
  const double *grad = (const double *)g;
  size_t n = sizeof *p / sizeof(double);
  for (size_t i = 0; i < n; i++) sum += grad[i] * grad[i];
  double clip = 1 / (sqrt(sum) + 1e-6);
  if (clip > 1) clip = 1;
  for (size_t i = 0; i < n; i++) {
    double d = grad[i] * clip;
    m1[i] = 0.9 * m1[i] + 0.1 * d;
    m2[i] = 0.999 * m2[i] + 0.001 * d * d;
    w[i] -= rate * (m1[i] / (1 - pow(0.9, t))) / (sqrt(m2[i] / (1 - pow(0.999, t))) + 1e-8);
  }
}

static void plain_train(plain *p, const world *w, const xcoder_train_options *o) {
  plain *m = calloc(1, sizeof *m), *v = calloc(1, sizeof *v), *g = calloc(1, sizeof *g);
  double *x = calloc(B * ROW, sizeof *x);
  ck_assert(m && v && g && x);
  memset(p, 0, sizeof *p);
  for (size_t r = 0; r < F * N; r++) {
    double *row = p->w_dec + r * W;
    for (size_t k = 0; k < W; k++) row[k] = xci_random_normal(o->seed, XCI_STREAM_INIT, r * W + k);
    double norm = norm_of(row);
    for (size_t k = 0; k < W; k++) {
      row[k] *= 0.08 / norm;
      p->w_enc[(r % N * W + k) * F + r / N] = row[k];
    }
  }
  for (int t = 0; t < STEPS; t++) {
    float sample[ROW];
    for (size_t b = 0; b < B; b++) {
      world_sample(w, (uint64_t)t * B + b, sample);
      for (size_t k = 0; k < ROW; k++)
        x[b * ROW + k] = (double)xci_bf16_to_f32(xci_f32_to_bf16(sample[k])) * (double)scales[k / W];
    }
    plain_gradient(p, x, o->l1_coefficient * fmin(1, t / (0.05 * STEPS)), g);
    plain_adam(p, m, v, g, o->learning_rate * fmin(1, (STEPS - t) / (0.2 * STEPS)), t + 1);
  }
  free(m), free(v), free(g), free(x);
}

/* The library keeps parameters in float32. A rounding error of 2^-24 relative is amplified by Adam where a gradient is
 * itself near 0: one step moves a weight by at most the rate, so the comparison allows a small part of the 60 steps'
 * total path of at most 60 * 3e-3 = 0.18. */
START_TEST(test_method) {
  static plain expected;
  world w;
  xcoder_train_options o;
  xcoder *coder;
  small_options(&o);
  make_world(&w, N, W, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 5000);
  plain_train(&expected, &w, &o);
  for (int kind = 0; kind < 2; kind++) {
    xcoder_device *device;
    OK(xcoder_device_open(kind ? "cpu" : "reference", &device, &error));
    OK(xci_train(&train, NULL, scales, &o, in_folder("run%d", kind), false, device, NULL, &coder, &error));
    const double *tensors[4] = {expected.w_enc, expected.b_enc, expected.w_dec, expected.b_dec};
    for (int t = 0; t < 4; t++) {
      size_t n;
      const float *values = xcoder_weights(coder, (xcoder_tensor)t, &n);
      double worst = 0, moved = 0;
      for (size_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)values[i] - tensors[t][i]));
        moved = fmax(moved, fabs(tensors[t][i]));
      }
      ck_assert_msg(worst < 1e-4 && moved > 1e-2, "device %d tensor %d: off by %g of %g", kind, t, worst, moved);
    }
    xcoder_free_coder(coder);
    xcoder_device_close(device);
  }
  free_world(&w);
}
END_TEST

/* ---- What a run leaves ---- */

/* Value of a column in the row-th line (from 1) whose second field is `split`; NAN for an empty field or no row. */
static double csv_value(const char *csv, const char *column, const char *split, size_t row) {
  size_t index = 0, n = strlen(column);
  const char *p = csv;
  while (strncmp(p, column, n) != 0 || (p[n] != ',' && p[n] != '\n')) {
    p += strcspn(p, ",\n");
    ck_assert_msg(*p == ',', "no column %s", column);
    p++, index++;
  }
  for (p = strchr(csv, '\n') + 1; *p; p = strchr(p, '\n') + 1) {
    const char *second = strchr(p, ',') + 1;
    if (strncmp(second, split, strlen(split)) != 0 || --row > 0) continue;
    for (size_t k = 0; k < index; k++) p = strchr(p, ',') + 1;
    return *p == ',' || *p == '\n' ? NAN : strtod(p, NULL);
  }
  return NAN;
}

static void count_progress(void *context, const xcoder_progress *progress) {
  ck_assert_str_eq(progress->stage, "train");
  ck_assert_str_eq(progress->unit, "tokens");
  ck_assert(strstr(progress->detail, "loss ") && strstr(progress->detail, " L0 ") && strstr(progress->detail, " EV "));
  ck_assert(progress->done <= progress->total);
  *(uint64_t *)context += 1;
}

START_TEST(test_run) {
  world w;
  xcoder_train_options o;
  xcoder *coder;
  uint64_t n_progress = 0;
  xcoder_monitor monitor = {.context = &n_progress, .progress = count_progress};
  const char *const labels[] = {"one", "two, or so", "three"};
  small_options(&o);
  o.labels = labels;
  make_world(&w, 3, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 5000), held_out = world_batches(&w, 70);
  OK(xci_train(&train, &held_out, scales, &o, in_folder("deep/run"), false, NULL, &monitor, &coder, &error));
  ck_assert_uint_eq(n_progress, 60);
  const xcoder_info *info = xcoder_describe(coder);
  ck_assert(info->layer == 2 && !info->folded && info->threshold < 0 && info->scales[2] == 1.5f);
  ck_assert_str_eq(info->labels[1], "two, or so");
  xcoder_free_coder(coder);

  size_t n;
  char *csv = read_whole(in_folder("deep/run/metrics.csv"), &n);
  const char *header = "step,split,tokens,learning_rate,lambda,loss,reconstruction,sparsity,l0,dead_share,ev_pooled,"
                       "ev_mean,gradient_norm,auxiliary,k,threshold,ev_pooled_one,\"ev_pooled_two, or so\","
                       "ev_pooled_three\n";
  ck_assert_int_eq(strncmp(csv, header, strlen(header)), 0);
  double first = csv_value(csv, "loss", "train", 1), last = csv_value(csv, "loss", "train", 13);
  ck_assert_msg(last < 0.5 * first, "loss %g, then %g", first, last);
  ck_assert_double_eq(csv_value(csv, "step", "train", 13), 59);
  ck_assert(isnan(csv_value(csv, "step", "train", 14)));
  ck_assert_double_eq(csv_value(csv, "step", "validation", 6), 60);
  ck_assert(isnan(csv_value(csv, "step", "validation", 7)));
  ck_assert_double_eq(csv_value(csv, "tokens", "train", 2), 5 * 32);
  ck_assert(isnan(csv_value(csv, "gradient_norm", "validation", 1)));
  ck_assert(csv_value(csv, "ev_pooled", "validation", 6) > csv_value(csv, "ev_pooled", "validation", 1));
  /* The sum of parts, as the trainer's and the validation's code paths find it. */
  for (size_t row = 1; row < 6; row++)
    for (int v = 0; v < 2; v++) {
      const char *split = v ? "validation" : "train";
      double sum = csv_value(csv, "reconstruction", split, row) +
                   csv_value(csv, "lambda", split, row) * csv_value(csv, "sparsity", split, row);
      ck_assert_double_eq_tol(csv_value(csv, "loss", split, row), sum, 1e-6 * sum);
    }
  xci_free(csv);

  /* The files: the newest two checkpoints, whole, of the size that was predicted; a run and a checkpoint load too. */
  uint64_t *steps;
  OK(xci_checkpoint_list(in_folder("deep/run"), &steps, &n, &error));
  ck_assert(n == 2 && steps[0] == 48 && steps[1] == 60);
  xci_free(steps);
  char *state = read_whole(in_folder("deep/run/checkpoints/step-60/state.safetensors"), &n);
  uint64_t predicted = xci_train_state_bytes(3, 12, 24);
  ck_assert_msg(n <= predicted && n + 8192 > predicted, "%zu, predicted %llu", n, (unsigned long long)predicted);
  xci_free(state);
  static const char *const places[] = {"deep/run", "deep/run/", "deep/run/checkpoints/step-60"};
  for (size_t i = 0; i < 3; i++) {
    OK(xcoder_load(in_folder("%s", places[i]), &coder, &error));
    OK(xcoder_save(coder, in_folder("again.safetensors"), &error));
    ck_assert(same_file(in_folder("again.safetensors"), in_folder("deep/run/crosscoder.safetensors")));
    xcoder_free_coder(coder);
  }
  ck_assert_int_eq(remove(in_folder("deep/run/crosscoder.safetensors")), 0);
  OK(xcoder_load(in_folder("deep/run"), &coder, &error)); /* of an unfinished run: the newest checkpoint */
  xcoder_free_coder(coder);
  free_world(&w);
}
END_TEST

START_TEST(test_refused_runs) {
  world w;
  xcoder_train_options o;
  xcoder *coder = (xcoder *)&w;
  small_options(&o);
  make_world(&w, 3, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 5000), none = world_batches(&w, 0), other = train;
  other.d_model = 13;
  const float bad[3] = {1, NAN, 1};
  write_whole(in_folder("file"), "x", 1);
  FAILS(xci_train(&none, NULL, scales, &o, in_folder("r"), false, NULL, NULL, &coder, &error), XCODER_USAGE);
  ck_assert_ptr_null(coder);
  FAILS(xci_train(&train, &none, scales, &o, in_folder("r"), false, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xci_train(&train, &other, scales, &o, in_folder("r"), false, NULL, NULL, &coder, &error), XCODER_MISMATCH);
  FAILS(xci_train(&train, NULL, bad, &o, in_folder("r"), false, NULL, NULL, &coder, &error), XCODER_USAGE);
  FAILS(xci_train(&train, NULL, scales, &o, in_folder("file"), false, NULL, NULL, &coder, &error), XCODER_IO);
  o.n_latents = (size_t)1 << 31; /* 12 * 2 * 36 * 2^31 bytes */
  FAILS(xci_train(&train, NULL, scales, &o, in_folder("r"), false, NULL, NULL, &coder, &error), XCODER_MEMORY);
  ck_assert(!xci_exists(in_folder("r")));
  ck_assert_uint_eq(w.n_read, 0);
  free_world(&w);
}
END_TEST

/* ---- Numbers that are not finite ---- */

static void count_warning(void *context, const char *message) {
  (void)message;
  *(uint64_t *)context += 1;
}

static void check_finite_checkpoints(const char *run) {
  uint64_t *steps;
  size_t n_steps;
  OK(xci_checkpoint_list(run, &steps, &n_steps, &error));
  for (size_t i = 0; i < n_steps; i++) {
    char *folder;
    xcoder *coder;
    OK(xci_checkpoint_path(run, steps[i], "", &folder, &error));
    OK(xcoder_load(folder, &coder, &error)); /* refuses what is not finite */
    xcoder_free_coder(coder);
    xci_free(folder);
  }
  xci_free(steps);
}

START_TEST(test_not_finite) {
  world w;
  xcoder_train_options o;
  xcoder *coder;
  uint64_t n_warnings = 0;
  xcoder_monitor monitor = {.context = &n_warnings, .warn = count_warning};
  small_options(&o);
  make_world(&w, 3, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 5000);
  w.bad_from = 32 * 20 + 5, w.bad_to = 32 * 21 + 5; /* steps 20 and 21 */
  FAILS(xci_train(&train, NULL, scales, &o, in_folder("stop"), false, NULL, NULL, &coder, &error), XCODER_DIVERGED);
  ck_assert_ptr_nonnull(strstr(error.message, "step 20"));
  ck_assert(xci_exists(in_folder("stop/checkpoints/step-16")) && !xci_exists(in_folder("stop/crosscoder.safetensors")));
  check_finite_checkpoints(in_folder("stop"));

  o.skip_nan_steps = 1;
  FAILS(xci_train(&train, NULL, scales, &o, in_folder("one"), false, NULL, NULL, &coder, &error), XCODER_DIVERGED);
  ck_assert_ptr_nonnull(strstr(error.message, "step 21"));
  o.skip_nan_steps = 2;
  OK(xci_train(&train, NULL, scales, &o, in_folder("two"), false, NULL, &monitor, &coder, &error));
  ck_assert_uint_eq(n_warnings, 2);
  xcoder_free_coder(coder);
  free_world(&w);
}
END_TEST

START_TEST(test_divergence) {
  world w;
  xcoder_train_options o;
  xcoder *coder;
  small_options(&o);
  make_world(&w, 3, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 5000);
  o.learning_rate = 1e30;
  o.save_every = 1;
  FAILS(xci_train(&train, NULL, scales, &o, in_folder("run"), false, NULL, NULL, &coder, &error), XCODER_DIVERGED);
  ck_assert_ptr_null(coder);
  check_finite_checkpoints(in_folder("run"));
  free_world(&w);
}
END_TEST

/* ---- Cost ---- */

START_TEST(test_cost) {
  xcoder_train_options o;
  xcoder_cost small, large;
  xcoder_train_defaults(&o);
  OK(xcoder_train_cost(3, 2048, &o, &large, &error));
  o.n_latents /= 2;
  OK(xcoder_train_cost(3, 2048, &o, &small, &error));
  double parameters = 2.0 * 3 * 2048 * 16384; /* of the large one */
  /* Three checkpoints of 12 bytes each, and 4. */
  ck_assert((double)large.disk_bytes > 40 * parameters && (double)large.disk_bytes < 41 * parameters);
  ck_assert((double)large.memory_bytes > 16 * parameters && (double)large.memory_bytes < 40 * parameters);
  ck_assert(large.memory_bytes > small.memory_bytes && large.disk_bytes > small.disk_bytes);
  double dense = 97656.0 * 4096 * parameters; /* the encoder alone: 2 B n d D a step */
  ck_assert(large.flops > dense && large.flops < 1.1 * dense);
  o.n_tokens *= 2;
  xcoder_cost longer;
  OK(xcoder_train_cost(3, 2048, &o, &longer, &error));
  ck_assert(longer.memory_bytes == small.memory_bytes && longer.flops > 1.9 * small.flops);
  o.activation = XCODER_BATCH_TOPK; /* k of 200, and up to d/2 dead features of a sample */
  xcoder_cost with, without;
  OK(xcoder_train_cost(3, 2048, &o, &with, &error));
  o.auxiliary_coefficient = 0;
  OK(xcoder_train_cost(3, 2048, &o, &without, &error));
  double extra = (1 - 1e7 / (double)o.n_tokens) * 1024 * 8 * 3 * 2048 * (double)o.n_tokens;
  ck_assert(fabs(with.flops - without.flops - extra) < 0.01 * extra && with.memory_bytes > without.memory_bytes);
  o.activation = XCODER_JUMP_RELU; /* thresholds and their moments; no dense columns */
  OK(xcoder_train_cost(3, 2048, &o, &with, &error));
  ck_assert(with.flops > 0 && fabs((double)with.memory_bytes / (double)without.memory_bytes - 1) < 0.3);
}
END_TEST

/* ---- batchtopk and topk ---- */

START_TEST(test_ranked_options) {
  xcoder_train_options o, r;
  xcoder_train_defaults(&o);
  OK(xci_train_resolve(&o, 3, 2048, &r, &error));
  ck_assert(r.decoder_init_norm == 0.08 && r.l1_coefficient == 2);
  o.activation = XCODER_BATCH_TOPK;
  OK(xci_train_resolve(&o, 3, 2048, &r, &error)); /* the paper's run: its own constants */
  ck_assert(r.decoder_init_norm == 1 && r.l1_coefficient == 0 && r.k == 200 && r.k_start == 1000);
  ck_assert(r.anneal_steps == 4882 && r.threshold_start == 976 && r.threshold_decay == 0.999);
  ck_assert(r.dead_tokens == 10000000 && r.n_auxiliary == 1024);
  ck_assert_uint_eq(xci_train_k(&r, 0), 1000);
  ck_assert_uint_eq(xci_train_k(&r, 2441), 600);
  ck_assert_uint_eq(xci_train_k(&r, 4882), 200);
  o.n_tokens = 4096 * 1000, o.n_latents = 1024, o.k = 20; /* a small one: shares */
  OK(xci_train_resolve(&o, 3, 64, &r, &error));
  ck_assert(r.k_start == 64 && r.anneal_steps == 50 && r.threshold_start == 10 && r.dead_tokens == 102400);
  ck_assert_double_eq_tol(r.threshold_decay, 0.95, 1e-12);
#define REFUSED_RANKED(change) \
  r = o;                       \
  r.change;                    \
  FAILS(xci_train_resolve(&r, 3, 64, &r, &error), XCODER_USAGE)
  REFUSED_RANKED(k = 0);
  REFUSED_RANKED(k = 1025);
  REFUSED_RANKED(auxiliary_coefficient = -1);
  REFUSED_RANKED(threshold_decay = 1);
  REFUSED_RANKED(activation = (xcoder_activation)9);
}
END_TEST

/* At its k the reconstruction is good, inference keeps about k features, and the file says how. */
static void train_ranked(size_t n_checkpoints) {
  static const xcoder_activation kinds[] = {XCODER_BATCH_TOPK, XCODER_TOPK};
  world w;
  xcoder_train_options o;
  make_world(&w, n_checkpoints, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 50000), held_out = world_batches(&w, 200);
  for (size_t a = 0; a < 2; a++) {
    xcoder *coder;
    size_t n;
    small_options(&o);
    o.activation = kinds[a];
    o.k = 3;
    o.n_tokens = 32 * 1500;
    o.log_every = o.validate_every = 300;
    OK(xci_train(&train, &held_out, scales, &o, in_folder("ranked"), false, NULL, NULL, &coder, &error));
    const xcoder_info *info = xcoder_describe(coder);
    ck_assert(info->activation == kinds[a] && info->k == 3);
    ck_assert((kinds[a] == XCODER_BATCH_TOPK) == (info->threshold > 0));
    char *csv = read_whole(in_folder("ranked/metrics.csv"), &n);
    double l0 = csv_value(csv, "l0", "validation", 6), ev = csv_value(csv, "ev_pooled", "validation", 6);
    ck_assert_msg(l0 > 1.5 && l0 < 4.5, "kind %d: L0 %g", (int)kinds[a], l0);
    ck_assert_msg(ev > 0.8, "kind %d: explained variance %g", (int)kinds[a], ev);
    /* What only these have: k as it falls, the threshold's average once it has begun, the auxiliary term. */
    const bool batch = kinds[a] == XCODER_BATCH_TOPK;
    xcoder_train_options resolved;
    OK(xci_train_resolve(&o, n_checkpoints, 12, &resolved, &error));
    for (size_t row = 1; row < 6; row++) {
      double k = csv_value(csv, "k", "train", row), step = csv_value(csv, "step", "train", row);
      ck_assert_double_eq(k, (double)xci_train_k(&resolved, (uint64_t)step));
      double sum = csv_value(csv, "reconstruction", "train", row) +
                   resolved.auxiliary_coefficient * csv_value(csv, "auxiliary", "train", row);
      ck_assert_double_eq_tol(csv_value(csv, "loss", "train", row), sum, 1e-6 * sum);
    }
    ck_assert(isnan(csv_value(csv, "auxiliary", "validation", 6)));
    ck_assert(isnan(csv_value(csv, "k", "validation", 6)) == batch);
    double threshold = csv_value(csv, "threshold", "validation", 6);
    ck_assert(batch ? fabs(threshold - (double)info->threshold) <= 1e-6 * threshold : isnan(threshold));
    xci_free(csv);
    OK(xcoder_save(coder, in_folder("again.safetensors"), &error));
    ck_assert(same_file(in_folder("again.safetensors"), in_folder("ranked/crosscoder.safetensors")));
    xcoder_free_coder(coder);
  }
  free_world(&w);
}

START_TEST(test_ranked) {
  train_ranked(3);
}
END_TEST

/* ---- jumprelu ---- */

START_TEST(test_jump_options) {
  xcoder_train_options o, r;
  xcoder_train_defaults(&o);
  o.activation = XCODER_JUMP_RELU, o.l0_coefficient = 0.002, o.bandwidth = 0.01, o.initial_threshold = 0.02;
  OK(xci_train_resolve(&o, 3, 64, &r, &error)); /* samples have a mean norm of 3 * 8 and a mean square of 3 * 64 */
  ck_assert(r.decoder_init_norm == 1 && r.l1_coefficient == 0);
  ck_assert_double_eq_tol(r.l0_coefficient, 0.384, 1e-12);
  ck_assert_double_eq_tol(r.bandwidth, 0.24, 1e-12);
  ck_assert_double_eq_tol(r.initial_threshold, 0.48, 1e-12);
  ck_assert_double_eq_tol(xci_train_lambda(&r, 97655), 0.384, 1e-12);
  ck_assert_double_eq(xci_train_lambda(&r, 0), 0);
  REFUSED_RANKED(l0_coefficient = -1);
  REFUSED_RANKED(l0_coefficient = NAN);
  REFUSED_RANKED(bandwidth = 0);
  REFUSED_RANKED(bandwidth = NAN);
  REFUSED_RANKED(initial_threshold = 0);
  REFUSED_RANKED(initial_threshold = -1);
}
END_TEST

/* The reconstruction is good, the features are as many as there are, and the thresholds have been learnt: they differ,
 * and the file has them. Without the penalty more features fire. */
static void train_jump(size_t n_checkpoints) {
  world w;
  xcoder_train_options o;
  double l0[2];
  make_world(&w, n_checkpoints, 12, 10, 0.2, 3);
  xci_batches train = world_batches(&w, 50000), held_out = world_batches(&w, 200);
  for (size_t without = 0; without < 2; without++) {
    xcoder *coder;
    size_t n, n_moved = 0;
    float theta[24];
    small_options(&o);
    o.activation = XCODER_JUMP_RELU;
    o.l0_coefficient = without ? 0 : n_checkpoints == 1 ? 0.01 : 0.02; /* one checkpoint alone is less redundant */
    o.bandwidth = o.initial_threshold = 0.05;
    o.n_tokens = 32 * 1500;
    o.log_every = o.validate_every = 300;
    OK(xci_train(&train, &held_out, scales, &o, in_folder("jump"), false, NULL, NULL, &coder, &error));
    const xcoder_info *info = xcoder_describe(coder);
    ck_assert(info->activation == XCODER_JUMP_RELU && info->threshold < 0 && info->k == 0);
    OK(xci_coder_thresholds(coder, theta, &error));
    float first = (float)(0.05 * sqrt(12)); /* decoder norms of 1 */
    for (size_t i = 0; i < 24; i++) n_moved += fabsf(theta[i] / first - 1) > 0.2f;
    ck_assert_msg(without || n_moved >= 12, "%zu thresholds moved", n_moved);
    char *csv = read_whole(in_folder("jump/metrics.csv"), &n);
    l0[without] = csv_value(csv, "l0", "validation", 6);
    double ev = csv_value(csv, "ev_pooled", "validation", 6);
    ck_assert_msg(ev > 0.8, "explained variance %g, L0 %g", ev, l0[without]);
    for (size_t row = 1; row < 6; row++) {
      double sum = csv_value(csv, "reconstruction", "train", row) +
                   csv_value(csv, "lambda", "train", row) * csv_value(csv, "l0", "train", row);
      ck_assert_double_eq_tol(csv_value(csv, "loss", "train", row), sum, 1e-6 * sum);
    }
    xci_free(csv);
    OK(xcoder_save(coder, in_folder("again.safetensors"), &error));
    ck_assert(same_file(in_folder("again.safetensors"), in_folder("jump/crosscoder.safetensors")));
    xcoder_free_coder(coder);
    OK(xcoder_load(in_folder("jump/checkpoints/step-1500"), &coder, &error)); /* a state is a crosscoder, too */
    OK(xcoder_save(coder, in_folder("again.safetensors"), &error));
    ck_assert(same_file(in_folder("again.safetensors"), in_folder("jump/crosscoder.safetensors")));
    xcoder_free_coder(coder);
  }
  ck_assert_msg(l0[0] > 1 && l0[0] < 4.5 && l0[1] > 1.5 * l0[0], "L0 %g, without the penalty %g", l0[0], l0[1]);
  free_world(&w);
}

START_TEST(test_jump) {
  train_jump(3);
}
END_TEST

START_TEST(test_jump_alone) {
  train_jump(1);
}
END_TEST

START_TEST(test_ranked_alone) { /* a plain autoencoder */
  train_ranked(1);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("crosscoder training");
  TCase *tests = tcase_create("train");
  tcase_add_checked_fixture(tests, make_test_folder, remove_test_folder);
  tcase_add_test(tests, test_ranked_alone);
  tcase_add_test(tests, test_schedules);
  tcase_add_test(tests, test_bad_options);
  tcase_add_test(tests, test_spread);
  tcase_add_test(tests, test_method);
  tcase_add_test(tests, test_run);
  tcase_add_test(tests, test_refused_runs);
  tcase_add_test(tests, test_not_finite);
  tcase_add_test(tests, test_divergence);
  tcase_add_test(tests, test_cost);
  tcase_add_test(tests, test_ranked_options);
  tcase_add_test(tests, test_ranked);
  tcase_add_test(tests, test_jump_options);
  tcase_add_test(tests, test_jump);
  tcase_add_test(tests, test_jump_alone);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
