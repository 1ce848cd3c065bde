/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a made-up run whose every text is hostile: nothing of it may become markup. */
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "report/figure.h"
#include <check.h>
#include <crosscoder/report.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char own_folder[] = "test-report-XXXXXX";
static char *folder = own_folder;

/* RELIABILITY H01-H12, as JSON text (backslashes doubled for C). */
static const char *const hostile[] = {"<script>document.title=`P1`</script>",
                                      "</script><img src=x onerror=document.title=`P2`>",
                                      "<!--",
                                      "]]>",
                                      "\\\"><svg/onload=document.title=`P3`>",
                                      "javascript:document.title=`P4`",
                                      "a\\u2028b\\u2029c",
                                      "\\u202egnp.exe",
                                      "\\u001b[2J",
                                      "=HYPERLINK(1)",
                                      "</title>&amp;",
                                      "' onmouseover='document.title=`P5`"};
enum { N_HOSTILE = sizeof hostile / sizeof *hostile };

static void put(const char *name, const char *content) {
  char *path, *slash;
  xci_writer *writer;
  ck_assert_int_eq(xci_join_path(folder, name, &path, NULL), XCODER_OK);
  slash = strrchr(path, '/');
  *slash = '\0';
  ck_assert_int_eq(xci_make_folder(path, NULL), XCODER_OK);
  *slash = '/';
  ck_assert_int_eq(xci_writer_open(path, &writer, NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_write(writer, content, strlen(content), NULL), XCODER_OK);
  ck_assert_int_eq(xci_writer_commit(writer, NULL), XCODER_OK);
  xci_free(path);
}

static void put_features(void) {
  xci_text t = {0};
  xci_text_add(&t, "{\"format\":1,\"features\":[");
  for (int i = 0; i < N_HOSTILE; i++) {
    const char *h = hostile[i];
    xci_text_format(&t,
                    "%s{\"feature\":%d,\"density\":0.01,\"max\":2,\"mean_active\":1,\"token_entropy\":0.5,\"top_token_"
                    "share\":0.5,"
                    "\"decoder_norm\":[1,2,3],\"rel_dec\":[0.2,0.3,0.5],\"decoder_cosine\":[[1,0.5,0],[0.5,1,0],[0,0,1]"
                    "],"
                    "\"promoted\":[[{\"token\":\"%s\",\"id\":1,\"logit\":1}]],\"suppressed\":[],\"nearest\":[{"
                    "\"feature\":1,\"cosine\":0.3}],"
                    "\"contexts\":[{\"tokens\":[\"x\",\"%s\",\"y\\nz\"],\"activation\":[0,2,1],\"peak\":1,"
                    "\"per_checkpoint\":[[0,1,2],[0,0,1],[-1,0,3]]}]}",
                    i ? "," : "", i, h, h);
  }
  xci_text_add(&t, "]}");
  put("features/features.json", t.bytes);
  xci_text_clear(&t);
}

static void put_effects(void) {
  put("effects/pairs-x.csv", "feature,ie_<b>A</b>,ie_B,ie_C,abs_share,rel_ie_<b>A</"
                             "b>,rel_ie_B,rel_ie_C,rel_ie_low_<b>A</b>,rel_ie_low_B,rel_ie_low_C,"
                             "rel_ie_high_<b>A</b>,rel_ie_high_B,rel_ie_high_C,rel_dec_<b>A</"
                             "b>,rel_dec_B,rel_dec_C,class,class_authors,evolution,n_active\n"
                             "3,0.1,0.2,0.7,1,0.1,0.2,0.7,0,0.1,0.6,0.2,0.3,0.8,0.3,0.3,0.4,specific:C,C,emerging,10\n"
                             "4,-0.3,-0.3,-0.3,0.5,0.33,0.33,0.33,,,,,,,0.3,0.3,0.4,<i>,other,,9\n");
  put("effects/pairs-x.json", "{\"format\":1,\"specific_border\":0.6,\"shared_border\":0.2,\"labels\":[\"<b>A</"
                              "b>\",\"B\",\"C\"],\"n_examples\":7,\"checkpoints\":[{\"label\":\"<b>A</"
                              "b>\",\"metric_clean\":-1,"
                              "\"metric_baseline\":0.5,\"sum_effects\":1.4,\"error_effect\":0.1,\"gap\":0.001,\"gap_"
                              "share\":0.0007}],"
                              "\"verdicts\":[{\"name\":\"</script><script>document.title=`P6`</"
                              "script>\",\"pass\":false,\"value\":\"1\",\"limit\":\"2\",\"remedy\":\"<img src=x>\"}]}");
}

static char *read_out(const char *name) {
  char *path, *bytes;
  size_t n;
  ck_assert_int_eq(xci_join_path(folder, name, &path, NULL), XCODER_OK);
  ck_assert_int_eq(xci_read_file(path, 1 << 24, &bytes, &n, NULL), XCODER_OK);
  ck_assert(xci_utf8_valid(bytes, n));
  xci_free(path);
  return bytes;
}

static size_t count(const char *text, const char *word) {
  size_t n = 0;
  for (const char *p = text; (p = strstr(p, word)) != NULL; p++) n++;
  return n;
}

START_TEST(hostile_text_stays_text) {
  xcoder_error err = {0};
  xcoder_report_options options = {.title = "</title><script>document.title=`P7`</script>", .n_cards = 0};
  put_features();
  put_effects();
  put("metrics.csv", "step,split,tokens,learning_rate,lambda,loss,reconstruction,sparsity,l0,dead_share,ev_pooled,ev_"
                     "mean,gradient_norm\n"
                     "0,train,64,0.1,0,3,3,0,10,0,0.1,0.1,1\n1,train,128,0.1,0.1,2,2,1,9,0,0.5,0.4,1\n1,validation,128,"
                     ",,2,2,1,9,0.1,0.5,0.4,\n");
  ck_assert_msg(xcoder_report(folder, &options, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  char *page = read_out("report/index.html");
  ck_assert_uint_eq(count(page, "<script"), 1); /* ours */
  ck_assert_uint_eq(count(page, "</script"), 1);
  ck_assert_uint_eq(count(page, "<img"), 0);
  ck_assert_uint_eq(count(page, "<svg/onload"), 0);
  ck_assert_uint_eq(count(page, "<!--"), 0);
  ck_assert_uint_eq(count(page, "<b>A</b>"), 0);
  ck_assert_uint_eq(count(page, " onmouseover='"), 0);
  ck_assert_uint_eq(count(page, "href=\"javascript:"), 0);
  ck_assert_uint_eq(count(page, "http://"), count(page, "http://www.w3.org/2000/svg"));
  ck_assert_uint_eq(count(page, "https://"), 0);
  ck_assert_uint_eq(count(page, "\x1b"), 0);
  ck_assert_uint_gt(count(page, "&lt;script&gt;document.title=`P1`&lt;/script&gt;"), 0);
  xci_free(page);
  char *svg = read_out("report/figures/relie-pairs-x.svg");
  ck_assert_uint_eq(count(svg, "<b>"), 0);
  ck_assert_uint_eq(count(svg, "dashed: 0.6 (specific) and 0.2 (shared)"), 1);
  xci_free(svg);
  char *csv = read_out("report/tables/verdicts.csv");
  ck_assert_uint_gt(count(csv, "WARN,pairs-x"), 0);
  xci_free(csv);
}
END_TEST

/* The page that tests/report/check-labels.sh labels from one end to the other, by keys alone. */
START_TEST(fifty_features_to_label) {
  char *run;
  xcoder_error err = {0};
  xci_text features = {0}, effects = {0};
  xci_text_add(&features, "{\"features\":[");
  xci_text_add(&effects, "feature,ie_A,ie_B,abs_share,rel_ie_A,rel_ie_B,rel_ie_low_A,rel_ie_low_B,rel_ie_high_A,"
                         "rel_ie_high_B,rel_dec_A,rel_dec_B,class,class_authors,evolution,n_active\n");
  for (unsigned i = 0; i < 50; i++) {
    xci_text_format(&features,
                    "%s{\"feature\":%u,\"density\":0.01,\"contexts\":[{\"tokens\":[\"The\",\" cat\"],"
                    "\"activation\":[0,1],\"peak\":1}]}", i ? "," : "", 7 * i);
    xci_text_format(&effects, "%u,0.1,%.2f,%.2f,0.1,0.9,0,0.8,0.2,1,0.5,0.5,specific:B,specific:B,emerging,9\n", 7 * i,
                    1 - 0.01 * i, 1 - 0.01 * i);
  }
  xci_text_add(&features, "]}");
  put("fifty/features/features.json", features.bytes);
  put("fifty/effects/pairs-x.csv", effects.bytes);
  put("fifty/effects/pairs-x.json",
      "{\"labels\":[\"A\",\"B\"],\"n_examples\":7,\"checkpoints\":[],\"verdicts\":[]}");
  put("fifty/eval.json", "{\"labels\":[\"A\",\"B\"]}");
  xci_text_clear(&features);
  xci_text_clear(&effects);
  ck_assert_int_eq(xci_join_path(folder, "fifty", &run, NULL), XCODER_OK);
  const xcoder_report_options few = {.n_cards = 4}; /* the same 4 at B; at A all are alike, and the first are taken */
  ck_assert_msg(xcoder_report(run, &few, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  char *page = read_out("fifty/report/index.html");
  ck_assert_uint_eq(count(page, "<section class=\"card\""), 4);
  xci_free(page);
  ck_assert_msg(xcoder_report(run, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  xci_free(run);
  page = read_out("fifty/report/index.html");
  ck_assert_uint_eq(count(page, "<section class=\"card\""), 50);
  xci_free(page);
}
END_TEST

START_TEST(figures_and_tables_of_labelled_features) {
  static const char effects[] = "feature,ie_A,ie_B,abs_share,rel_ie_A,rel_ie_B,rel_ie_low_A,rel_ie_low_B,rel_ie_high_A,"
                                "rel_ie_high_B,rel_dec_A,rel_dec_B,"
                                "class,class_authors,evolution,n_active\n"
                                "3,0.1,-0.9,1,0.1,0.9,0,0.8,0.2,1,0.5,0.5,specific:B,specific:B,emerging,10\n"
                                "4,0.4,0.4,0.5,0.5,0.5,0.4,0.4,0.6,0.6,0.9,0.1,shared:A+B,shared:A+B,persisting,9\n"
                                "5,0,0,0,,,,,,,0.5,0.5,none,shared:A+B,,1\n";
  char *run, *text;
  xcoder_error err = {0};
  put("many/effects/pairs-x.csv", effects);
  put("many/effects/pairs-y.csv", effects);
  put("many/effects/pairs-x.json", "{\"labels\":[\"A\",\"B\"],\"n_examples\":7,\"checkpoints\":[],\"verdicts\":[]}");
  put("many/eval.json", "{\"labels\":[\"A\",\"B\"]}");
  put("many/latent-scaling.csv", "feature,direction,checkpoint,fired,rel_dec,beta_error,nu_error,beta_reconstruction,"
                                 "nu_reconstruction\n"
                                 "3,A,B,9,0.9,1,1,1,1\n3,B,A,9,0.1,0.5,0.5,0.1,0.1\n"
                                 "4,A,B,9,0.5,1,1,1,1\n4,B,A,9,0.2,0.2,0.25,0.1,0.1\n"
                                 "5,A,B,9,0.5,,,,\n5,B,A,9,0.25,-1,,-1,\n");
  put("many/features/features.json", "{\"features\":[{\"feature\":3}]}");
  put("many/chain/chain.json", "{\"format\":1,\"labels\":[\"A\",\"B\",\"<i>C\"],\"runs\":[\"w1\",\"<b>w2\"],"
                               "\"strongest_by\":\"effects\","
                               "\"links\":[{\"a\":\"w1\",\"b\":\"<b>w2\",\"n_pairs\":9,\"n_above\":5,\"above_by_"
                               "chance\":0.09,\"n_mutual\":4,"
                               "\"mean_similarity\":0.9,\"null_high\":0.8}],\"lengths\":[{\"windows\":1,\"n\":7},{"
                               "\"windows\":2,\"n\":5}],"
                               "\"cycles\":[{\"by\":\"effects\",\"windows\":\"all\",\"cycle\":\"emerging\","
                               "\"observed\":3,\"expected\":1,\"low\":0,"
                               "\"high\":2,\"p\":0.01}],\"strongest\":[{\"trajectory\":17,\"features\":[3,8],\"share\":"
                               "[0.1,0.2,0.7]}]}");
  put("many/labels.csv", "feat_id,description,languages,annotator\n3,\"50% of {a_b} & "
                         "</title><script>\",en,anna\n3,x,,ben\n");
  ck_assert_int_eq(xci_join_path(folder, "many", &run, NULL), XCODER_OK);
  ck_assert_msg(xcoder_report(run, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  xci_free(run);
  text = read_out("many/report/tables/annotation-pairs-x.tex");
  ck_assert_uint_eq(count(text, "3 & 0.10 & 0.90 & 50\\% of \\{a\\_b\\} \\& \\textless{}/title\\textgreater{}"), 1);
  ck_assert_uint_eq(count(text, "\\multicolumn{6}{l}{specific:B}"), 1);
  xci_free(text);
  text = read_out("many/report/tables/annotation-pairs-x.csv");
  ck_assert_uint_eq(count(text, "specific:B,3,0.1,0.9,x,,ben,\n"), 1);
  ck_assert_uint_eq(count(text, ",5,"), 0); /* no effect: nothing to annotate */
  xci_free(text);
  text = read_out("many/report/tables/overlap-top10-B.csv");
  ck_assert_uint_eq(count(text, "pairs-x,pairs-y,2,2,2,1\n"), 1);
  xci_free(text);
  text = read_out("many/report/tables/chain-cycles.csv");
  ck_assert_uint_eq(count(text, "effects,all,emerging,3,1,0,2,0.01\n"), 1);
  xci_free(text);
  text = read_out("many/report/tables/chain-strongest.csv");
  ck_assert_uint_eq(count(text, "17,w1,3\n17,<b>w2,8\n"), 1);
  xci_free(text);
  text = read_out("many/report/tables/chain-links.csv");
  ck_assert_uint_eq(count(text, "w1,<b>w2,9,5,0.09,4,0.9,0.8\n"), 1);
  xci_free(text);
  text = read_out("many/report/figures/chain-lives.svg");
  ck_assert_uint_eq(count(text, "<polyline"), 1);
  ck_assert_uint_eq(count(text, "<i>"), 0);
  xci_free(text);
  text = read_out("many/report/tables/confusion-pairs-x.csv");
  ck_assert_uint_eq(count(text, "B,A+B,1\n"), 1);   /* feature 3 */
  ck_assert_uint_eq(count(text, "A+B,A,1\n"), 1);   /* feature 4 */
  ck_assert_uint_eq(count(text, "none,A+B,1\n"), 1); /* feature 5 */
  xci_free(text);
  text = read_out("many/report/tables/ie-distribution-pairs-x.csv");
  ck_assert_uint_eq(count(text, "rank,abs_ie_A,abs_ie_B\n1,0.4,0.9\n2,0.1,0.4\n3,0,0\n"), 1);
  xci_free(text);
  text = read_out("many/report/figures/evolution-pairs-x.svg");
  ck_assert_uint_eq(count(text, "<script"), 0);
  ck_assert_uint_gt(count(text, "3 50% of {a_b} &amp; &lt;/ti"), 0);
  xci_free(text);
  text = read_out("many/report/tables/latent-scaling.csv");
  ck_assert_uint_eq(count(text, "A,B,3,0,,,\n"), 1);
  ck_assert_uint_eq(count(text, "B,A,3,3,0.375,0.1,0.3333333333333333\n"), 1);
  xci_free(text);
  text = read_out("many/report/index.html");
  ck_assert_uint_eq(count(text, "B in A <b>0.50</b> / <b>0.10</b>"), 1);
  ck_assert_uint_eq(count(text, "<script"), 1);
  xci_free(text);
}
END_TEST

static const char pair_of_runs[] = "{\"format\":1,\"n_top\":10,\"runs\":[{\"name\":\"main\",\"layer\":%d,\"labels\":["
                                   "\"A\",\"B\"]},{\"name\":\"%s\","
                                   "\"layer\":%d,\"labels\":[\"A\",\"B\"]}],\"pairs\":[{\"a\":\"main\",\"b\":\"%s\","
                                   "\"match\":\"cosine\",\"threshold\":0.7,"
                                   "\"n_shared_checkpoints\":2,\"n_live_a\":100,\"share_recurring\":0.75,\"low\":0.66,"
                                   "\"high\":0.82,\"null_share_recurring\":0.01,"
                                   "\"mean_similarity\":0.8,\"null_mean_similarity\":0.2,\"null_high_similarity\":0.3,"
                                   "\"share_mutual\":0.6,\"tasks\":[{\"task\":\"pairs-x\","
                                   "\"checkpoints\":[{\"label_a\":\"A\",\"label_b\":\"A\",\"n_top\":10,\"n_recurring\":"
                                   "8,\"n_top_again\":5,\"share\":0.5,\"low\":0.24,"
                                   "\"high\":0.76,\"share_by_chance\":0.1,\"n_rel_ie\":40,\"rel_ie_spearman\":0.9,"
                                   "\"rel_ie_difference\":0.05}],"
                                   "\"n_classes_compared\":50,\"class_agreement\":0.8,\"class_kappa\":0.6,\"classes\":["
                                   "{\"class\":\"specific:B\",\"share_a\":0.4,"
                                   "\"low_a\":0.3,\"high_a\":0.5,\"token_entropy_a\":0.3,\"token_entropy_low_a\":0.2,"
                                   "\"token_entropy_high_a\":0.4,\"share_b\":0.6,"
                                   "\"low_b\":0.5,\"high_b\":0.7,\"token_entropy_b\":0.35,\"token_entropy_low_b\":0.25,"
                                   "\"token_entropy_high_b\":0.45}],"
                                   "\"onsets\":[{\"label_a\":\"A\",\"label_b\":\"A\",\"share_a\":0.2,\"low_a\":0.1,"
                                   "\"high_a\":0.3,\"share_b\":0.1,\"low_b\":0,"
                                   "\"high_b\":0.2}]}]}]}";

static void put_pair(const char *file, const char *name, int layer_a, int layer_b) {
  xci_text text = {0};
  xci_text_format(&text, pair_of_runs, layer_a, name, layer_b, name);
  put(file, text.bytes);
  xci_text_clear(&text);
}

/* Shares of a class over three tasks: 0.5, 0.4, 0.6 of one model, 0.3, 0.3 and none of the other, whose last task does
 * not have the class. Mean 0.5, standard deviation 0.1, Student's 4.3027 of 2 degrees of freedom: 0.5 - 0.2484. */
START_TEST(classes_are_pooled_over_tasks) {
  static const double a[] = {0.5, 0.4, 0.6}, b[] = {0.3, 0.3};
  char *run, *text;
  xcoder_error err = {0};
  xci_text t = {0};
  xci_text_add(&t, "{\"format\":1,\"runs\":[{\"name\":\"one\",\"layer\":2,\"labels\":[\"A\",\"B\"]},{\"name\":\"two\","
                   "\"layer\":2,\"labels\":[\"A\",\"B\"]}],\"pairs\":[{\"a\":\"one\",\"b\":\"two\","
                   "\"match\":\"correlation\",\"n_shared_checkpoints\":0,\"share_recurring\":0.4,\"tasks\":[");
  for (size_t k = 0; k < 3; k++) {
    xci_text_format(&t,
                    "%s{\"task\":\"pairs-%zu\",\"checkpoints\":[],\"classes\":[{\"class\":\"specific:B\","
                    "\"share_a\":%g",
                    k ? "," : "", k, a[k]);
    if (k < 2) xci_text_format(&t, ",\"share_b\":%g", b[k]);
    xci_text_add(&t, "}]}");
  }
  xci_text_add(&t, "]}]}");
  put("pooled/compare/compare.json", t.bytes);
  xci_text_clear(&t);
  put("pooled/eval.json", "{\"labels\":[\"A\",\"B\"]}");
  ck_assert_int_eq(xci_join_path(folder, "pooled", &run, NULL), XCODER_OK);
  ck_assert_msg(xcoder_report(run, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  xci_free(run);
  text = read_out("pooled/report/tables/models-shares-pooled.csv");
  double mean, low, high;
  const char *row = strstr(text, "specific:B,one,");
  ck_assert(row && sscanf(row, "specific:B,one,%lf,%lf,%lf", &mean, &low, &high) == 3);
  ck_assert_double_eq_tol(mean, 0.5, 1e-12);
  ck_assert_double_eq_tol(low, 0.5 - 4.30265 * 0.1 / sqrt(3), 1e-4); /* the quantile's digits */
  ck_assert_double_eq_tol(high, 0.5 + 4.30265 * 0.1 / sqrt(3), 1e-4);
  row = strstr(text, "specific:B,two,");
  ck_assert(row && sscanf(row, "specific:B,two,%lf,%lf,%lf", &mean, &low, &high) == 3);
  ck_assert_double_eq_tol(mean, 0.2, 1e-12);
  ck_assert(low == 0); /* cut off */
  ck_assert_double_eq_tol(high, 0.2 + 4.30265 * 0.1, 1e-4);
  xci_free(text);
  text = read_out("pooled/report/figures/models-shares-pooled.svg");
  ck_assert_uint_eq(count(text, "Classes, mean over tasks"), 2); /* title and its text */
  xci_free(text);
}
END_TEST

/* Another seed, another layer, another revision, curves: made-up numbers must come out where they belong. */
START_TEST(further_checks) {
  char *run, *text;
  xcoder_error err = {0};
  put("further/eval.json", "{\"labels\":[\"A\",\"B\"],\"cross_entropy\":[{\"label\":\"A\",\"delta\":0.1}]}");
  put("further/layers/layer-3/eval.json", "{\"cross_entropy\":[{\"label\":\"A\",\"delta\":0.7}]}");
  put("further/features/features.csv", "feature,token_entropy\n0,0.1\n1,0.2\n2,0.3\n3,\n");
  put("further/layers/layer-3/features/features.csv", "feature,token_entropy\n0,0.6\n1,0.7\n2,0.8\n");
  put("further/features/features.json", "{\"features\":[{\"feature\":7}]}");
  put_pair("further/compare/compare.json", "<b>two</b>", 2, 2);
  put("further/compare/stability.csv", "run,feature,n_compared,n_recurring,mean_similarity\nother,7,2,0,0.1\nmain,7,2,"
                                       "1,0.625\n");
  put_pair("further/compare-layers/compare.json", "layer-3", 2, 3);
  put("further/transfer/B by C/transfer.json", "{\"slot\":\"B\",\"taken_by\":\"C\",\"scale\":0.5,\"scale_before\":0.4,"
                                               "\"tasks\":[{\"task\":\"pairs-x\",\"checkpoints\":["
                                               "{\"label\":\"A\",\"share\":1,\"null_share\":0.1,\"spearman\":0.9},{"
                                               "\"label\":\"C\",\"n_top\":10,\"n_stay\":8,"
                                               "\"share\":0.8,\"low\":0.5,\"high\":0.9,\"null_share\":0.07,\"null_"
                                               "high\":0.2,\"spearman\":0.625}]}]}");
  put("further/effects/pairs-x.csv", "feature,ie_A,ie_B\n7,0.1,0.2\n");
  put("further/ablation/pairs-x.json", "{\"value\":\"mean\",\"n_features\":3,\"spearman\":[{\"label\":\"A\",\"rel_ie\":"
                                       "0.875,\"rel_ie_low\":0.5,\"rel_ie_high\":1,"
                                       "\"rel_dec\":0.25,\"rel_dec_low\":-0.5,\"rel_dec_high\":0.75,\"n\":25}],"
                                       "\"joint\":[{\"label\":\"A\",\"accuracy_clean\":1,"
                                       "\"accuracy_ablated\":0.5,\"log_prob_difference_clean\":4,\"log_prob_difference_"
                                       "ablated\":0.25}]}");
  put("further/ablation/pairs-x.curves.csv",
      "checkpoint,curve,k,n,accuracy,log_prob_difference,share,low,high\nA,faithfulness,0,9,0,0,0,0,0\n"
      "A,faithfulness,1,9,1,1,0.5,0.45,0.55\nA,faithfulness,2,9,1,1,1,1,1\nB,faithfulness,1,9,1,1,0.5,-3,4\n");
  ck_assert_int_eq(xci_join_path(folder, "further", &run, NULL), XCODER_OK);
  ck_assert_msg(xcoder_report(run, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  text = read_out("further/report/tables/ablation-spearman.csv");
  ck_assert_uint_eq(count(text, "x,A,mean,25,0.875,0.5,1,0.25,-0.5,0.75\n"), 1);
  xci_free(text);
  text = read_out("further/report/tables/ablation-spearman.tex");
  ck_assert_uint_eq(count(text, "x & A & mean & 25 & 0.875 [0.50, 1.00] & 0.250 [-0.50, 0.75]"), 1);
  xci_free(text);
  text =
      read_out("further/report/tables/layers-tokens.csv"); /* means 0.2 and 0.7, standard errors 0.0577 each: t = 6.1 */
  ck_assert_uint_eq(count(text, "2,3,3,3,0.2"), 1);
  xci_free(text);
  text = read_out("further/report/tables/layers-quality.csv");
  ck_assert_uint_eq(count(text, "2,A,,,,0.1,\n3,A,,,,0.7,\n"), 1);
  xci_free(text);
  text = read_out("further/report/tables/layers-shares.csv");
  ck_assert_uint_eq(count(text, "x,specific:B,layer 3,0.6,0.5,0.7,0.35,0.25,0.45\n"), 1);
  xci_free(text);
  text = read_out("further/report/tables/transfer.csv");
  ck_assert_uint_eq(count(text, "B by C,x,C,,0.625,10,8,0.8,0.5,0.9,0.07,0.2\n"), 1);
  xci_free(text);
  text = read_out("further/report/index.html");
  ck_assert_uint_eq(count(text, "75 % of the features of one run are found again"), 1);
  ck_assert_uint_eq(count(text, "found again in <b>1 of 2</b>"), 1);
  ck_assert_uint_eq(count(text, "From layer 2 to layer 3 the mean token entropy rises by 0.500"), 1);
  ck_assert_uint_eq(count(text, "set to their mean activation"), 1);
  ck_assert_uint_eq(count(text, "too little to explain there: B."), 1);
  ck_assert_uint_eq(count(text, "<b>80 %</b> of the strongest features stay"), 1);
  ck_assert_uint_eq(count(text, "<b>two</b>"), 0);
  ck_assert_uint_eq(count(text, " nan") + count(text, ">nan") + count(text, "[nan"),
                    0); /* but in data-v, for sorting */
  ck_assert_uint_eq(count(text, "id=\"models\""), 0);
  xci_free(text);
  put_pair("further/compare-layers/compare.json", "../x", 2, 3); /* leads nowhere outside of the run */
  put("further/compare/compare.json", "{\"runs\":[{\"name\":\"a\",\"labels\":[\"A\"]},{\"name\":\"b\",\"labels\":["
                                      "\"Z\"]}],\"pairs\":[{}]}");
  ck_assert_msg(xcoder_report(run, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  text = read_out("further/report/index.html");
  ck_assert_uint_eq(count(text, "id=\"models\""), 1);
  xci_free(text);
  xci_free(run);
}
END_TEST

START_TEST(unfinished_and_foreign_folders) {
  xcoder_error err;
  ck_assert_int_eq(xcoder_report("no-such-run", NULL, NULL, NULL, &err), XCODER_MISSING);
  char *empty;
  ck_assert_int_eq(xci_join_path(folder, "empty", &empty, NULL), XCODER_OK);
  ck_assert_int_eq(xci_make_folder(empty, NULL), XCODER_OK);
  ck_assert_int_eq(xcoder_report(empty, NULL, NULL, NULL, &err), XCODER_MISSING);
  xci_free(empty);
  put("early/metrics.csv", "step,split,tokens,learning_rate,lambda,loss,reconstruction,sparsity,l0,dead_share,ev_"
                           "pooled,ev_mean,gradient_norm\n");
  char *early;
  ck_assert_int_eq(xci_join_path(folder, "early", &early, NULL), XCODER_OK);
  ck_assert_msg(xcoder_report(early, NULL, NULL, NULL, &err) == XCODER_OK, "%s", err.message);
  xci_free(early);
  char *page = read_out("early/report/index.html");
  ck_assert_uint_gt(count(page, "Not there yet"), 0);
  xci_free(page);
  put("bad/eval.json", "{\"format\": ");
  char *bad;
  ck_assert_int_eq(xci_join_path(folder, "bad", &bad, NULL), XCODER_OK);
  ck_assert_int_eq(xcoder_report(bad, NULL, NULL, NULL, &err), XCODER_FORMAT);
  xci_free(bad);
}
END_TEST

START_TEST(ticks_are_round) {
  double t[12];
  size_t n = xci_ticks(0, 1, 5, t);
  ck_assert_uint_eq(n, 6);
  ck_assert_double_eq_tol(t[1], 0.2, 1e-12);
  n = xci_ticks(-3.2, 7.9, 5, t);
  ck_assert_double_eq_tol(t[0], 0, 1e-12); /* steps of 5: 0 and 5 */
  ck_assert_double_eq_tol(t[n - 1], 5, 1e-12);
  ck_assert_uint_eq(xci_ticks(2, 2, 5, t), 1);
}
END_TEST

START_TEST(charts_survive_odd_data) {
  double x[] = {0, 1, 2}, y[] = {NAN, INFINITY, NAN}, edges[] = {0, 0}, counts[] = {0};
  xci_series series = {.name = "s", .color = "#000", .n = 3, .x = x, .y = y, .line = true, .points = true};
  xci_chart chart = {.title = "t", .x_title = "x", .y_title = "y", .series = &series, .n_series = 1, .reference = NAN};
  xci_text svg = {0};
  xci_chart_svg(&chart, &svg);
  chart.n_series = 0;
  chart.log_x = true;
  xci_chart_svg(&chart, &svg);
  xci_histogram histogram = {.title = "h", .x_title = "x", .y_title = "y", .edges = edges, .counts = counts, .n = 1};
  xci_histogram_svg(&histogram, &svg);
  ck_assert_ptr_null(strstr(svg.bytes, "nan"));
  ck_assert_ptr_null(strstr(svg.bytes, "inf"));
  xci_text_clear(&svg);
}
END_TEST

int main(void) {
  if (getenv("XCODER_KEEP_REPORT")) /* tests/report/check-page.sh opens the page in a browser */
    folder = getenv("XCODER_KEEP_REPORT");
  else if (!mkdtemp(own_folder))
    return 99;
  Suite *suite = suite_create("report");
  TCase *tests = tcase_create("report");
  tcase_add_test(tests, hostile_text_stays_text);
  tcase_add_test(tests, fifty_features_to_label);
  tcase_add_test(tests, figures_and_tables_of_labelled_features);
  tcase_add_test(tests, classes_are_pooled_over_tasks);
  tcase_add_test(tests, further_checks);
  tcase_add_test(tests, unfinished_and_foreign_folders);
  tcase_add_test(tests, ticks_are_round);
  tcase_add_test(tests, charts_survive_odd_data);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  if (folder == own_folder) xci_remove_folder(folder, NULL);
  return failed ? 1 : 0;
}
