/* SPDX-License-Identifier: Apache-2.0 */
/* The database of features against a plain reading of the same activations; its bounds; labels of tokens. */
#include "scene.h"

#include "analysis/csv_in.h"
#include "analysis/features/feature_cards.h"
#include "analysis/statistics.h"
#include "analysis/features/token_labels.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const xcoder_features_options small = {.n_contexts = 3, .context_before = 2, .context_after = 1, .n_logits = 4,
                                              .n_quantiles = 4, .n_negatives = 4};

typedef struct dense { /* every activation of the held-out text */
  xci_bench bench;
  xci_stretch s;
  float *value; /* [samples, latents] */
} dense;

static void read_dense(const scene *in, dense *all) {
  ck_ok(xci_bench_open(&in->setting, &all->bench, err));
  ck_ok(xci_stretch_open(&all->bench, in->held_out, 0, xcoder_tokens_sequences(in->held_out), XCI_CODES, &all->s, err));
  ck_ok(XCI_ALLOC(&all->value, all->s.n_unmasked * all->bench.n_latents, err));
  for (size_t k = 0; k < all->s.n_unmasked; k++)
    for (size_t j = all->s.codes.start[k]; j < all->s.codes.start[k + 1]; j++)
      all->value[k * all->bench.n_latents + all->s.codes.index[j]] = all->s.codes.value[j];
}

static void close_dense(dense *all) {
  xci_stretch_close(&all->s);
  xci_free(all->value);
}

/* The mass of every token at checkpoint c (n: all), then entropy and top share of it. */
static void profile(const dense *all, size_t feature, size_t c, size_t n_types, double *entropy, double *top) {
  enum { V = 512 };
  double mass[V] = {0}, count[V] = {0}, sum = 0;
  const size_t n = all->bench.n, d = all->bench.d_model;
  for (size_t k = 0; k < all->s.n_unmasked; k++) {
    const double f = (double)all->value[k * all->bench.n_latents + feature];
    const uint32_t token = all->s.ids[all->s.row[k]];
    double z[N], positive = 0;
    if (!(f > 0)) continue;
    ck_assert_uint_lt(token, V);
    for (size_t a = 0; a < n; a++) {
      z[a] = 0;
      for (size_t j = 0; j < d; j++)
        z[a] += (double)all->bench.scale[a] * (double)all->s.hidden[(all->s.row[k] * n + a) * d + j] *
                (double)all->bench.w_enc[(a * d + j) * all->bench.n_latents + feature];
      positive += fmax(0, z[a]);
    }
    const double share = c == n ? 1 : positive > 0 ? fmax(0, z[c]) / positive : 0;
    mass[token] += f * share;
    count[token] += c == n ? 1 : f * share;
  }
  double largest = 0;
  for (size_t v = 0; v < V; v++) {
    sum += mass[v];
    largest = fmax(largest, mass[v]);
  }
  *entropy = xci_entropy(count, V, n_types);
  *top = sum > 0 ? largest / sum : NAN;
}

START_TEST(the_database_says_what_is_there) {
  scene in;
  dense all;
  xci_database db;
  scene_open(&in, NULL);
  read_dense(&in, &all);
  const xcoder_pairs *const tasks[] = {in.pairs};
  xcoder_features_options options = small;
  options.tasks = tasks;
  options.n_tasks = 1;
  ck_ok(xcoder_describe_features(&in.setting, in.held_out, NULL, 0, &options, in.run, err));
  ck_ok(xci_database_open(scene_path(&in, "features/database.safetensors"), NULL, &db, err));
  const size_t n_latents = all.bench.n_latents, slots = 3 + 4 + 4, width = 4;
  ck_assert_uint_eq(db.n_tokens, all.s.n_unmasked);
  size_t row = 0;
  for (size_t i = 0; i < n_latents; i++) {
    int64_t fired = 0;
    float max = 0;
    for (size_t k = 0; k < all.s.n_unmasked; k++) {
      fired += all.value[k * n_latents + i] > 0;
      max = fmaxf(max, all.value[k * n_latents + i]);
    }
    ck_assert(xci_database_row(&db, (uint32_t)i) == (fired ? row : SIZE_MAX));
    if (!fired) continue;
    ck_assert_int_eq(db.fired[row], fired);
    ck_assert_float_eq(db.max[row], max);
    for (size_t c = 0; c <= N; c++) {
      double entropy, top;
      profile(&all, i, c, db.n_types, &entropy, &top);
      const double found = c == N ? db.token_entropy[row] : db.token_entropy_checkpoint[row * N + c];
      const double share = c == N ? db.top_token_share[row] : db.top_token_share_checkpoint[row * N + c];
      if (isnan(top)) ck_assert(isnan(share));
      else ck_assert_double_eq_tol(found, entropy, 1e-6); /* sums of float products in another order */
      if (!isnan(top)) ck_assert_double_eq_tol(share, top, 1e-6);
    }
    const int32_t *token = db.context_tokens + row * slots * width;
    const float *activation = db.context_activation + row * slots * width;
    ck_assert_float_eq(activation[2], max); /* the first context, at its place */
    for (size_t k = 0; k < slots; k++) {
      if (db.context_sequence[row * slots + k] < 0) continue;
      const float at = activation[k * width + 2];
      ck_assert(k < 7 ? at > 0 : at == 0);
      if (k > 3 && k < 7 && db.context_sequence[row * slots + k] >= 0)
        ck_assert_float_le(at, activation[(k - 1) * width + 2]);
      if (k == 7 || k == 8) ck_assert_int_eq(token[k * width + 2], db.top_tokens[row * XCI_N_TOP_TOKENS]);
    }
    ck_assert(db.density_task[row] >= 0 && db.density_task[row] <= 1);
    ck_assert(db.nearest[row * XCI_N_NEAREST] >= 0 && db.nearest_cosine[row * XCI_N_NEAREST] <= 1);
    row++;
  }
  ck_assert_uint_eq(row, db.size.rows);
  xci_database_close(&db);
  close_dense(&all);
  scene_close(&in);
}
END_TEST

START_TEST(a_card_comes_from_the_database) {
  scene in;
  char *json = NULL;
  scene_open(&in, NULL);
  ck_assert_int_eq(xcoder_feature_card(in.run, 3, &json, NULL), XCODER_MISSING);
  ck_ok(xcoder_describe_features(&in.setting, in.held_out, NULL, 0, &small, in.run, err));
  ck_ok(xcoder_feature_card(in.run, 3, &json, err));
  ck_assert_ptr_nonnull(strstr(json, "\"feature\": 3"));
  ck_assert_ptr_nonnull(strstr(json, "negative_contexts"));
  xcoder_free(json);
  ck_assert_int_eq(xcoder_feature_card(in.run, 4000000000u, &json, NULL), XCODER_MISSING);
  /* Damaged files are refused: every header byte in turn. */
  char *bytes = NULL;
  size_t n_bytes;
  ck_ok(xci_read_file(scene_path(&in, "features/database.safetensors"), 1 << 24, &bytes, &n_bytes, err));
  for (size_t at = 0; at < 6000 && at < n_bytes; at += 7) {
    xci_writer *writer = NULL;
    const char kept = bytes[at];
    bytes[at] = (char)(kept ^ 1);
    ck_ok(xci_writer_open(scene_path(&in, "features/database.safetensors"), &writer, err));
    ck_ok(xci_writer_write(writer, bytes, n_bytes, err));
    ck_ok(xci_writer_commit(writer, err));
    const xcoder_status status = xcoder_feature_card(in.run, 3, &json, NULL);
    ck_assert(status == XCODER_OK || status == XCODER_FORMAT || status == XCODER_MISSING || status == XCODER_MEMORY);
    xcoder_free(json);
    bytes[at] = kept;
  }
  xci_free(bytes);
  scene_close(&in);
}
END_TEST

START_TEST(threads_do_not_matter) {
  scene in;
  char *bytes[2];
  size_t n_bytes[2];
  scene_open(&in, NULL);
  for (int k = 0; k < 2; k++) {
    xcoder_set_threads(k ? 5 : 1);
    ck_ok(xcoder_describe_features(&in.setting, in.held_out, NULL, 0, NULL, in.run, err));
    ck_ok(xci_read_file(scene_path(&in, "features/database.safetensors"), 1 << 26, &bytes[k], &n_bytes[k], err));
  }
  xcoder_set_threads(0);
  ck_assert_uint_eq(n_bytes[0], n_bytes[1]);
  ck_assert_mem_eq(bytes[0], bytes[1], n_bytes[0]);
  xci_free(bytes[0]);
  xci_free(bytes[1]);
  scene_close(&in);
}
END_TEST

/* As many features as in the paper, all firing often, with the contexts of the defaults: memory stays within what the
 * header of the database promises. */
START_TEST(many_features_fit) {
  enum { D = 16384 };
  const char *const labels[N] = {"a", "b", "c"};
  const float scales[N] = {1, 1, 1};
  scene in;
  xcoder *coder;
  struct rusage before, after;
  scene_open(&in, NULL);
  const size_t d = xcoder_describe(in.coder)->d_model;
  size_t n;
  ck_ok(xcoder_create(N, d, D, 0, labels, scales, &coder, err));
  float *w = xcoder_weights(coder, XCODER_W_ENC, &n);
  for (size_t i = 0; i < n; i++) w[i] = (float)xci_random_uniform(1, XCI_STREAM_TEST, i) - 0.5f;
  w = xcoder_weights(coder, XCODER_W_DEC, &n);
  for (size_t i = 0; i < n; i++) w[i] = (float)xci_random_uniform(2, XCI_STREAM_TEST, i) - 0.5f;
  xcoder_changed(coder);
  xcoder_setting setting = in.setting;
  setting.coder = coder;
  getrusage(RUSAGE_SELF, &before);
  const xcoder_features_options options = {.n_contexts = 12, .context_before = 20, .context_after = 10, .n_logits = 10,
                                           .n_quantiles = 10, .n_negatives = 4};
  ck_ok(xcoder_describe_features(&setting, in.held_out, NULL, 0, &options, in.run, err));
  getrusage(RUSAGE_SELF, &after);
  xci_csv csv;
  ck_ok(xci_csv_open(scene_path(&in, "features/features.csv"), &csv, err));
  ck_assert_uint_gt(csv.n_rows, D * 9 / 10);
  xci_csv_close(&csv);
  /* Tables of types within 512 MiB, 16 kB a feature while contexts move from the scan to the arrays, and 128 MiB for
   * the text of the table, the file being written, and the stretch. */
  const long bound = (512 + 128) * 1024L + D * 16L;
  printf("16384 features: %ld MiB\n", (after.ru_maxrss - before.ru_maxrss) / 1024);
  ck_assert_int_le(after.ru_maxrss - before.ru_maxrss, bound);
  xcoder_free_coder(coder);
  scene_close(&in);
}
END_TEST

/* ---- Labels of tokens ---- */

static int compare_scores(const void *a, const void *b) {
  const float *p = a, *q = b;
  return p[0] != q[0] ? (p[0] < q[0] ? -1 : 1) : (p[1] > q[1]) - (p[1] < q[1]);
}

static void sort_order(const float *score, size_t n, uint32_t *order) {
  float *pair = NULL;
  ck_ok(XCI_ALLOC(&pair, 2 * n, err));
  for (size_t i = 0; i < n; i++) {
    pair[2 * i] = score[i];
    pair[2 * i + 1] = (float)i;
  }
  qsort(pair, n, 2 * sizeof *pair, compare_scores);
  for (size_t i = 0; i < n; i++) order[i] = (uint32_t)pair[2 * i + 1];
  xci_free(pair);
}

START_TEST(clustered_auc_is_the_auc) {
  enum { M = 40 };
  float score[M];
  double plain[M], auc, work[2 * M];
  uint8_t label[M];
  int32_t value[M];
  uint32_t cluster[M], order[M];
  for (size_t i = 0; i < M; i++) {
    score[i] = (float)xci_random_below(3, XCI_STREAM_TEST, i, 9); /* with ties */
    plain[i] = (double)score[i];
    label[i] = xci_random_below(4, XCI_STREAM_TEST, i, 2) != 0;
    value[i] = label[i];
    cluster[i] = (uint32_t)i;
  }
  sort_order(score, M, order);
  xci_clustered_auc found;
  xci_auc_clustered(score, order, value, 1, cluster, M, M, work, &found);
  ck_ok(xci_auc(plain, label, M, &auc, err));
  ck_assert_double_eq_tol(found.auc, auc, 1e-12);
  /* Every position twice, in clusters of two: the same AUC with the same spread, for nothing was learned. */
  float twice[2 * M];
  int32_t twice_value[2 * M];
  uint32_t twice_cluster[2 * M], twice_order[2 * M];
  for (size_t i = 0; i < 2 * M; i++) {
    twice[i] = score[i / 2];
    twice_value[i] = value[i / 2];
    twice_cluster[i] = (uint32_t)(i / 2);
  }
  sort_order(twice, 2 * M, twice_order);
  xci_clustered_auc again;
  xci_auc_clustered(twice, twice_order, twice_value, 1, twice_cluster, 2 * M, M, work, &again);
  ck_assert_double_eq_tol(again.auc, auc, 1e-12);
  ck_assert_double_eq_tol(again.se, found.se, 1e-12);
}
END_TEST

/* Labels that have nothing to do with the score, but are one label a sentence: 5 % of the tests reject at 5 %, within
 * three standard errors of 2000 trials (1.5 %). */
START_TEST(false_positives_are_nominal) {
  enum { TRIALS = 2000, SENTENCES = 40, LENGTH = 5, M = SENTENCES * LENGTH };
  size_t n_rejected = 0;
  for (uint64_t trial = 0; trial < TRIALS; trial++) {
    float score[M];
    int32_t value[M];
    uint32_t cluster[M], order[M];
    double work[2 * SENTENCES];
    for (size_t i = 0; i < M; i++) {
      const uint64_t sentence = trial * SENTENCES + i / LENGTH;
      cluster[i] = (uint32_t)(i / LENGTH);
      value[i] = (int32_t)xci_random_below(5, XCI_STREAM_TEST, sentence, 2);
      score[i] = (float)(xci_random_normal(6, XCI_STREAM_TEST, sentence) +
                         0.3 * xci_random_normal(7, XCI_STREAM_TEST, trial * M + i));
    }
    sort_order(score, M, order);
    xci_clustered_auc found;
    xci_auc_clustered(score, order, value, 1, cluster, M, SENTENCES, work, &found);
    n_rejected += xci_student_p((found.auc - 0.5) / found.se, found.df) < 0.05;
  }
  printf("labels of tokens: %.2f %% rejected at 5 %%\n", 100.0 * (double)n_rejected / TRIALS);
  ck_assert_double_eq_tol((double)n_rejected / TRIALS, 0.05, 0.015);
}
END_TEST

static xcoder_status open_labels(const scene *in, const char *text, xci_token_labels *labels, xcoder_error *error) {
  xci_writer *writer = NULL;
  ck_ok(xci_make_folder(in->run, err));
  ck_ok(xci_writer_open(scene_path(in, "labels"), &writer, err));
  ck_ok(xci_writer_write(writer, text, strlen(text), err));
  ck_ok(xci_writer_commit(writer, err));
  return xci_token_labels_open(scene_path(in, "labels"), in->tokenizer, labels, error);
}

START_TEST(conllu_is_laid_over_tokens) {
  static const char text[] = "# text = ab cd'e.\n"
                             "1\tab\tab\tNOUN\t_\tNumber=Sing|Case=Nom\t0\troot\t_\t_\n"
                             "2-3\tcd'e\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No\n"
                             "2\tcd\t_\tADP\t_\t_\t1\tcase\t_\t_\n"
                             "3\t'e\t_\tDET\t_\t_\t1\tdet\t_\t_\n"
                             "3.1\tx\t_\tVERB\t_\t_\t_\t_\t_\t_\n"
                             "4\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_\n\n";
  scene in;
  xci_token_labels labels;
  scene_open(&in, NULL);
  ck_ok(open_labels(&in, text, &labels, err));
  ck_assert_uint_eq(labels.n_layers, 3);
  ck_assert_uint_eq(labels.n_labels, 4); /* NOUN, PUNCT, Number=Sing, Case=Nom */
  ck_assert_str_eq(labels.label[0], "upos=NOUN");
  const uint32_t *ids = xcoder_tokens_ids(labels.tokens);
  size_t at = 0, n_bytes, n_noun = 0;
  for (size_t p = 0; p < labels.n_positions; p++) {
    xcoder_token_bytes(in.tokenizer, ids[p], &n_bytes);
    const bool special = p == 0;
    if (!special) at += n_bytes;
    const int32_t upos = labels.value[p];
    if (special) ck_assert_int_eq(upos, -1);
    else if (at <= 2) ck_assert_str_eq(labels.label[upos], "upos=NOUN");
    else if (at == 8) ck_assert_str_eq(labels.label[upos], "upos=PUNCT");
    else ck_assert_int_eq(upos, -1);
    n_noun += upos == 0;
  }
  ck_assert_uint_eq(at, strlen("ab cd'e."));
  ck_assert_uint_gt(n_noun, 0);
  xci_token_labels_close(&labels);
  scene_close(&in);
}
END_TEST

START_TEST(bad_token_labels_are_refused) {
  static const struct {
    const char *text;
    xcoder_status status;
    const char *word;
  } cases[] = {{"{\"ids\":[5,6],\"kind\":[\"a\",null]}\n", XCODER_OK, ""}, /* a valid control */
               {"{\"ids\":[5,6],\"kind\":[\"a\"]}\n", XCODER_MISMATCH, "no labels"},
               {"{\"ids\":[5,-1],\"kind\":[\"a\",\"b\"]}\n", XCODER_FORMAT, "line 1"},
               {"\n{\"kind\":[\"a\",\"b\"]}\n", XCODER_FORMAT, "line 2"},
               {"{\"ids\":[5,6]\n", XCODER_FORMAT, "line 1"},
               {"", XCODER_MISMATCH, "no labels"},
               {"1\tab\tab\tNOUN\n", XCODER_FORMAT, "ten columns"},
               {"1\tab\tab\tNOUN\t_\t_\t0\troot\t_\t_\n", XCODER_OK, ""}, /* a valid control */
               {"x\tab\tab\tNOUN\t_\t_\t0\troot\t_\t_\n", XCODER_FORMAT, "number of a word"},
               {"1x\tab\tab\tNOUN\t_\t_\t0\troot\t_\t_\n", XCODER_FORMAT, "number of a word"}};
  scene in;
  scene_open(&in, NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xci_token_labels labels;
    xcoder_error error = {0};
    const xcoder_status status = open_labels(&in, cases[i].text, &labels, &error);
    ck_assert_msg(status == cases[i].status, "case %zu: %d, %s", i, (int)status, error.message);
    ck_assert_msg(strstr(error.message, cases[i].word) != NULL, "case %zu: %s", i, error.message);
    xci_token_labels_close(&labels);
  }
  scene_close(&in);
}
END_TEST

/* AUCs of the table against the plain AUC of the pre-activations. */
static void compare_aucs(const scene *in, const char *path, const xci_csv *csv, const xci_database *db) {
  xci_token_labels labels;
  xci_bench bench;
  xci_stretch s;
  ck_ok(xci_token_labels_open(path, in->tokenizer, &labels, err));
  ck_ok(xci_bench_open(&in->setting, &bench, err));
  ck_ok(xci_stretch_open(&bench, labels.tokens, 0, xcoder_tokens_sequences(labels.tokens), XCI_CODES, &s, err));
  for (size_t r = 0; r < csv->n_rows; r++) {
    const size_t feature = (size_t)xci_csv_number(csv, r, 0), c = r % N;
    double score[1024], auc;
    uint8_t label[1024];
    size_t n = 0;
    for (size_t k = 0; k < s.n_unmasked; k++) {
      const int32_t value = labels.value[s.row[k]];
      if (value < 0) continue;
      double sum = 0;
      for (size_t j = 0; j < bench.d_model; j++)
        sum += (double)s.hidden[(s.row[k] * N + c) * bench.d_model + j] *
               (double)bench.w_enc[(c * bench.d_model + j) * bench.n_latents + feature];
      score[n] = (double)(float)sum;
      label[n++] = value == db->predicted_label[r];
    }
    ck_ok(xci_auc(score, label, n, &auc, err));
    ck_assert_double_eq_tol(xci_csv_number(csv, r, xci_csv_column(csv, "auc")), auc, 1e-9);
  }
  xci_stretch_close(&s);
  xci_token_labels_close(&labels);
}

START_TEST(labels_are_told_by_features) {
  scene in;
  xci_csv csv;
  xci_database db;
  xci_text text = {0};
  xci_writer *writer = NULL;
  scene_open(&in, NULL);
  for (uint64_t k = 0; k < 60; k++) { /* the label is whether the token is above 40 */
    xci_text_add(&text, "{\"ids\": [");
    uint64_t id[6];
    for (uint64_t j = 0; j < 6; j++) {
      id[j] = 10 + xci_random_below(8, XCI_STREAM_TEST, k * 6 + j, 60);
      xci_text_format(&text, "%s%llu", j ? ", " : "", (unsigned long long)id[j]);
    }
    xci_text_add(&text, "], \"size\": [");
    for (uint64_t j = 0; j < 6; j++) xci_text_format(&text, "%s\"%s\"", j ? ", " : "", id[j] > 40 ? "big" : "small");
    xci_text_add(&text, "]}\n");
  }
  ck_ok(xci_make_folder(in.run, err));
  ck_ok(xci_writer_open(scene_path(&in, "labels"), &writer, err));
  ck_ok(xci_writer_write(writer, text.bytes, text.n_bytes, err));
  ck_ok(xci_writer_commit(writer, err));
  xci_text_clear(&text);
  char path[700];
  snprintf(path, sizeof path, "%s", scene_path(&in, "labels"));
  xcoder_features_options options = small;
  options.token_labels = path;
  ck_ok(xcoder_describe_features(&in.setting, in.held_out, NULL, 0, &options, in.run, err));
  ck_ok(xci_csv_open(scene_path(&in, "features/token-labels.csv"), &csv, err));
  ck_ok(xci_database_open(scene_path(&in, "features/database.safetensors"), NULL, &db, err));
  ck_assert_uint_eq(csv.n_rows, db.size.rows * N);
  const size_t auc = xci_csv_column(&csv, "auc"), p = xci_csv_column(&csv, "p"),
               q = xci_csv_column(&csv, "p_corrected");
  for (size_t r = 0; r < csv.n_rows; r++) {
    ck_assert_double_ge(xci_csv_number(&csv, r, auc), 0.5); /* of two labels that exclude each other the better one */
    ck_assert_double_ge(xci_csv_number(&csv, r, q), xci_csv_number(&csv, r, p) - 1e-12);
  }
  compare_aucs(&in, path, &csv, &db);
  ck_assert_uint_eq(db.size.n_token_labels, 2);
  xci_database_close(&db);
  xci_csv_close(&csv);
  scene_close(&in);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("features");
  TCase *tests = tcase_create("features");
  tcase_set_timeout(tests, 300);
  tcase_add_test(tests, the_database_says_what_is_there);
  tcase_add_test(tests, a_card_comes_from_the_database);
  tcase_add_test(tests, threads_do_not_matter);
  tcase_add_test(tests, many_features_fit);
  tcase_add_test(tests, clustered_auc_is_the_auc);
  tcase_add_test(tests, false_positives_are_nominal);
  tcase_add_test(tests, conllu_is_laid_over_tokens);
  tcase_add_test(tests, bad_token_labels_are_refused);
  tcase_add_test(tests, labels_are_told_by_features);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* libgomp does not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  const int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed != 0;
}
