/* SPDX-License-Identifier: Apache-2.0 */
/* Crosscoders of other programs: read and compared with what their classes compute (make_exchange_golden.py), written
 * and compared with the tensors that those classes hold, and bad files, a case for each clause. */
#include "support.h"

#include "base/memory.h"
#include "crosscoder/foreign.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
  "authors-l1", "authors-batchtopk", "authors-bf16", "learning-l1", "learning-plain", "learning-batchtopk",
  "learning-neuron", "learning-sae", "saelens-standard", "saelens-jumprelu", "saelens-topk", "saelens-topk-plain",
  "autoencoder-plain", "autoencoder-new", "autoencoder-topk", "autoencoder-batchtopk", "autoencoder-jumprelu"};
enum { N_NAMES = 17 };

static const char *golden(const char *name, const char *file) {
  static char path[8][4096];
  static int turn;
  turn = (turn + 1) % 8;
  const char *srcdir = getenv("srcdir");
  snprintf(path[turn], sizeof path[turn], "%s/tests/crosscoder/golden/%s%s%s", srcdir ? srcdir : ".", name,
           file ? "/" : "", file ? file : "");
  return path[turn];
}

static const char *weights_of(const char *name) {
  if (strncmp(name, "authors", 7) == 0) return golden(name, "20.pt");
  if (strncmp(name, "autoencoder", 11) == 0) return golden(name, "ae.pt");
  if (strcmp(name, "learning-sae") == 0) return golden(name, "model.safetensors");
  return strncmp(name, "learning", 8) == 0 ? golden(name, "model_final.pt") : golden(name, "sae_weights.safetensors");
}

/* ---- Against the classes ---- */

static float *read_f32(const xci_safetensors *file, const char *name, size_t *n) {
  const xci_tensor *tensor = xci_safetensors_find(file, name);
  float *values;
  ck_assert_ptr_nonnull(tensor);
  OK(XCI_ALLOC(&values, tensor->n_values, &error));
  OK(xci_tensor_to_f32(tensor, values, &error));
  *n = tensor->n_values;
  return values;
}

/* No path from an input to a result has more than n d + D + 12 roundings: the scale, the product, n d sums, the bias
 * (moved by a sum that was made in double and rounded once), D sums, the factors of weights. The expected values were
 * rounded once more, to float32, when they were read. */
static void compare(const char *name, const xci_safetensors *file, const char *what, const char *size,
                    const float *got, double m) {
  size_t n, n_size;
  float *want = read_f32(file, what, &n), *bound = read_f32(file, size, &n_size);
  ck_assert_uint_eq(n, n_size);
  for (size_t i = 0; i < n; i++)
    if (!(fabs((double)got[i] - (double)want[i]) <= m * 0x1p-24 * (double)bound[i]))
      ck_abort_msg("%s: %s[%zu]: %.9g, expected %.9g within %g", name, what, i, (double)got[i], (double)want[i],
                   m * 0x1p-24 * (double)bound[i]);
  xci_free(want);
  xci_free(bound);
}

static void check_against_class(const char *name, const xcoder *coder) {
  xci_safetensors *file;
  xcoder_codes codes;
  size_t n;
  OK(xci_safetensors_open(golden(name, "expected.safetensors"), &file, &error));
  const xcoder_info *info = xcoder_describe(coder);
  size_t row = info->n_checkpoints * info->d_model;
  float *a = read_f32(file, "a", &n), *f, *xhat;
  size_t count = n / row;
  double m = (double)(row + info->n_latents + 12);
  OK(XCI_ALLOC(&f, count * info->n_latents, &error));
  OK(XCI_ALLOC(&xhat, count * row, &error));
  OK(xcoder_encode(coder, NULL, a, count, f, &error));
  OK(xcoder_encode_sparse(coder, NULL, a, count, &codes, &error));
  OK(xcoder_decode(coder, NULL, &codes, xhat, &error));
  compare(name, file, "f", "f_size", f, m);
  compare(name, file, "xhat", "xhat_size", xhat, m);
  xcoder_codes_free(&codes);
  xci_free(a), xci_free(f), xci_free(xhat);
  xci_safetensors_close(file);
}

static void check_difference(const xcoder *a, const xcoder *b, double most) {
  size_t n, n_different;
  double largest;
  OK(xcoder_difference(a, b, &n, &n_different, &largest, &error));
  ck_assert_uint_gt(n, 100);
  ck_assert_msg(largest <= most && (most > 0 || n_different == 0), "%zu of %zu differ, by %g", n_different, n, largest);
}

START_TEST(test_import) {
  for (size_t i = 0; i < N_NAMES; i++) {
    xcoder *coder, *again;
    xcoder_exchange_report report;
    OK(xcoder_import(weights_of(names[i]), NULL, &coder, &report, &error));
    const xcoder_info *info = xcoder_describe(coder);
    ck_assert(info->layer == 4 && !info->mask.keep_first && report.folded == (i == 4 || i > 7));
    ck_assert_str_eq(info->labels[0], i < 3 ? "step64" : "A");
    check_against_class(names[i], coder);
    OK(xcoder_save(coder, in_folder("a.safetensors"), &error));
    OK(xcoder_load(in_folder("a.safetensors"), &again, &error));
    check_difference(coder, again, 0);
    ck_assert_int_eq(xcoder_describe(again)->activation, info->activation);
    ck_assert_uint_eq(xcoder_describe(again)->k, info->k);
    check_against_class(names[i], again);
    xcoder_free_coder(again);
    OK(xcoder_fold(coder, &error)); /* thresholds and rankings stay exact */
    check_against_class(names[i], coder);
    OK(xcoder_save(coder, in_folder("b.safetensors"), &error));
    OK(xcoder_load(in_folder("b.safetensors"), &again, &error));
    check_against_class(names[i], again);
    xcoder_free_coder(again);
    xcoder_free_coder(coder);
  }
}
END_TEST

/* What is written, read by the readers of files alone, has the bits of the tensors that torch has saved. */
static void check_same_tensors(const char *made, const char *saved) {
  xci_torch *a, *b;
  OK(xci_torch_open(made, &a, &error));
  OK(xci_torch_open(saved, &b, &error));
  ck_assert_uint_eq(xci_torch_count(a), xci_torch_count(b));
  for (size_t i = 0; i < xci_torch_count(a); i++) {
    const xci_tensor *x = xci_torch_at(a, i), *y = xci_torch_at(b, i);
    ck_assert_str_eq(x->name, y->name);
    ck_assert(x->dtype == y->dtype && x->rank == y->rank && x->n_bytes == y->n_bytes);
    ck_assert_int_eq(memcmp(x->shape, y->shape, x->rank * sizeof *x->shape), 0);
    ck_assert_int_eq(memcmp(x->bytes, y->bytes, x->n_bytes), 0);
    ck_assert_uint_eq((uintptr_t)x->bytes % 64, 0);
  }
  xci_torch_close(a);
  xci_torch_close(b);
}

START_TEST(test_export) {
  static const struct { const char *name; xcoder_form form; double most; } cases[] = {
    {"authors-l1", XCODER_FORM_AUTHORS, 0}, {"authors-batchtopk", XCODER_FORM_AUTHORS, 0},
    {"authors-l1", XCODER_FORM_DICTIONARY_LEARNING, 0x1p-22},
    {"authors-batchtopk", XCODER_FORM_DICTIONARY_LEARNING, 0x1p-22},
    {"saelens-jumprelu", XCODER_FORM_SAELENS, 0}, {"saelens-topk", XCODER_FORM_SAELENS, 0},
    {"saelens-jumprelu", XCODER_FORM_DICTIONARY_LEARNING_SAE, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    xcoder *coder, *again;
    xcoder_exchange_report report, second;
    OK(xcoder_load(golden(cases[i].name, "ours.safetensors"), &coder, &error));
    check_against_class(cases[i].name, coder);
    OK(xcoder_export(coder, cases[i].form, false, in_folder("out%zu", i), &report, &error));
    ck_assert(report.form == cases[i].form && report.folded == (cases[i].form >= XCODER_FORM_SAELENS));
    ck_assert(report.n_values > 100 && report.largest_difference <= cases[i].most);
    OK(xcoder_import(in_folder("out%zu", i), NULL, &again, &second, &error));
    ck_assert(second.form == cases[i].form && second.folded == report.folded);
    check_difference(coder, again, cases[i].most);
    check_against_class(cases[i].name, again);
    for (size_t c = 0; c < coder->info.n_checkpoints; c++)
      ck_assert_str_eq(again->info.labels[c], coder->info.labels[c]);
    xcoder_free_coder(again);
    xcoder_free_coder(coder);
  }
  check_same_tensors(in_folder("out0/cc_weights.pt"), golden("authors-l1", "20.pt"));
  check_same_tensors(in_folder("out1/cc_weights.pt"), golden("authors-batchtopk", "20.pt"));
}
END_TEST

/* Their class of a plain autoencoder, written from ours: the tensors that torch has saved of theirs. */
START_TEST(test_export_autoencoder) {
  xcoder *coder, *again;
  xcoder_exchange_report report;
  OK(xcoder_import(weights_of("autoencoder-new"), NULL, &coder, NULL, &error));
  OK(xcoder_export(coder, XCODER_FORM_DICTIONARY_LEARNING_SAE, false, in_folder("out"), &report, &error));
  ck_assert(report.n_different == 0 && report.folded);
  check_same_tensors(in_folder("out/ae.pt"), weights_of("autoencoder-new"));
  OK(xcoder_import(in_folder("out"), NULL, &again, NULL, &error));
  check_difference(coder, again, 0);
  xcoder_free_coder(again);
  xcoder_free_coder(coder);
  OK(xcoder_import(weights_of("autoencoder-topk"), NULL, &coder, NULL, &error));
  FAILS(xcoder_export(coder, XCODER_FORM_DICTIONARY_LEARNING_SAE, false, in_folder("no"), NULL, &error),
        XCODER_UNSUPPORTED);
  xcoder_free_coder(coder);
}
END_TEST

START_TEST(test_refused_exports) {
  xcoder *coder;
  OK(xcoder_load(golden("authors-batchtopk", "ours.safetensors"), &coder, &error));
  FAILS(xcoder_export(coder, XCODER_FORM_SAELENS, false, in_folder("out"), NULL, &error), XCODER_UNSUPPORTED);
  FAILS(xcoder_export(coder, XCODER_FORM_DICTIONARY_LEARNING_SAE, false, in_folder("out"), NULL, &error),
        XCODER_UNSUPPORTED);
  FAILS(xcoder_export(coder, XCODER_FORM_AUTHORS, true, in_folder("out"), NULL, &error), XCODER_UNSUPPORTED);
  FAILS(xcoder_export(coder, XCODER_FORM_DICTIONARY_LEARNING, true, in_folder("out"), NULL, &error),
        XCODER_UNSUPPORTED);
  FAILS(xcoder_export(coder, (xcoder_form)9, false, in_folder("out"), NULL, &error), XCODER_USAGE);
  write_whole(in_folder("file"), "x", 1);
  FAILS(xcoder_export(coder, XCODER_FORM_AUTHORS, false, in_folder("file"), NULL, &error), XCODER_IO);
  FAILS(xcoder_export(coder, XCODER_FORM_AUTHORS, false, in_folder("file/below"), NULL, &error), XCODER_IO);
  ck_assert(!xci_exists(in_folder("out")));
  for (long n = 1, left = 1; left; n++) { /* every allocation fails once, and nothing is left behind */
    xci_fail_allocation(n, 0);
    xcoder_status status = xcoder_export(coder, XCODER_FORM_DICTIONARY_LEARNING, false, in_folder("out"), NULL, &error);
    xci_fail_allocation(0, 0);
    ck_assert(status == XCODER_OK || status == XCODER_MEMORY);
    left = status != XCODER_OK;
    ck_assert(xci_exists(in_folder("out")) == !left);
  }
  xcoder_free_coder(coder);
}
END_TEST

/* ---- Bad files ---- */

typedef struct bad_case {
  const char *what, *base;
  const char *drop, *tensor; /* a tensor left out; one changed or added */
  size_t rank, shape[3];
  float fill;
  const char *config_name, *config; /* the JSON beside it; NULL: none */
  xcoder_status expected;
  const char *words;
} bad_case;

static const char good_learning[] = "{\"trainer\": {\"layer\": 4}}";
static const char good_saelens[] = "{\"architecture\": \"jumprelu\", \"metadata\": {\"hook_name\": "
                                   "\"blocks.5.hook_resid_pre\"}}";
#define AUTOENCODER(name) "{\"trainer\": {\"layer\": 4, \"dict_class\": \"" name "\"}}"
#define AUTHORS "{\"hook_point\": \"blocks.5.hook_resid_pre\", "
#define SCALED "\"estimated_act_norm_list\": [1, 1, 1]}"

static const bad_case bad_cases[] = {
  {"valid control", "authors-l1", .config = AUTHORS SCALED},
  {"valid control", "learning-l1", .config = good_learning},
  {"valid control", "saelens-jumprelu", .config = good_saelens},
  {"no W_dec", "authors-l1", .drop = "W_dec", .config = AUTHORS SCALED, .expected = XCODER_FORMAT, .words = "W_dec"},
  {"no W_enc", "authors-l1", .drop = "W_enc", .config = AUTHORS SCALED, .expected = XCODER_UNSUPPORTED},
  {"no b_enc", "authors-l1", .drop = "b_enc", .config = AUTHORS SCALED, .expected = XCODER_FORMAT, .words = "b_enc"},
  {"b_dec of another shape", "authors-l1", .tensor = "b_dec", .rank = 2, .shape = {6, 3}, .config = AUTHORS SCALED,
   .expected = XCODER_FORMAT, .words = "shape [6, 3], expected [3, 6]"},
  {"an extra tensor", "authors-l1", .tensor = "W_skip", .rank = 1, .shape = {3}, .config = AUTHORS SCALED,
   .expected = XCODER_UNSUPPORTED, .words = "'W_skip'"},
  {"NaN", "authors-l1", .tensor = "b_enc", .rank = 1, .shape = {10}, .fill = NAN, .config = AUTHORS SCALED,
   .expected = XCODER_FORMAT, .words = "b_enc: value 0"},
  {"k of two values", "authors-l1", .tensor = "k", .rank = 1, .shape = {2}, .config = AUTHORS SCALED,
   .expected = XCODER_UNSUPPORTED, .words = "k: 2 values"},
  {"k not whole", "authors-l1", .tensor = "k", .rank = 0, .fill = 1.5f, .config = AUTHORS SCALED,
   .expected = XCODER_FORMAT, .words = "k is 1.5"},
  {"threshold NaN", "authors-l1", .tensor = "threshold", .rank = 0, .fill = NAN, .config = AUTHORS SCALED,
   .expected = XCODER_FORMAT, .words = "threshold"},
  {"no layer", "authors-l1", .config = "{" SCALED, .expected = XCODER_USAGE, .words = "--layer"},
  {"layer of another hook", "authors-l1", .config = "{\"hook_point\": \"blocks.5.attn.hook_z\", " SCALED,
   .expected = XCODER_USAGE, .words = "--layer"},
  {"no scales", "authors-l1", .config = AUTHORS "\"estimated_act_norm_list\": null}", .expected = XCODER_USAGE,
   .words = "--scales"},
  {"two scales", "authors-l1", .config = AUTHORS "\"estimated_act_norm_list\": [1, 2]}", .expected = XCODER_FORMAT},
  {"scale 0", "authors-l1", .config = AUTHORS "\"estimated_act_norm_list\": [1, 2, 0]}", .expected = XCODER_FORMAT},
  {"scale a text", "authors-l1", .config = AUTHORS "\"estimated_act_norm_list\": [1, 2, \"3\"]}",
   .expected = XCODER_FORMAT},
  {"dict_size of another", "authors-l1", .config = AUTHORS "\"dict_size\": 11, " SCALED, .expected = XCODER_FORMAT,
   .words = "dict_size is 11"},
  {"labels twice the same", "authors-l1", .config = AUTHORS "\"revision_list\": \"a-a-b\", " SCALED,
   .expected = XCODER_FORMAT, .words = "'a'"},
  {"config no object", "authors-l1", .config = "[1]", .expected = XCODER_FORMAT},
  {"config cut off", "authors-l1", .config = "{\"d_in\": ", .expected = XCODER_FORMAT},
  {"config twice the same key", "authors-l1", .config = "{\"d_in\": 6, \"d_in\": 7}", .expected = XCODER_FORMAT},
  {"no decoder.weight", "learning-l1", .drop = "decoder.weight", .config = good_learning, .expected = XCODER_FORMAT},
  {"an extra tensor", "learning-l1", .tensor = "encoder.gate", .rank = 1, .shape = {1}, .config = good_learning,
   .expected = XCODER_UNSUPPORTED},
  {"decoder of other layers", "learning-l1", .tensor = "decoder.weight", .rank = 3, .shape = {1, 10, 6},
   .config = good_learning, .expected = XCODER_FORMAT, .words = "expected [3, 10, 6]"},
  {"mean without std", "learning-l1", .drop = "activation_std", .config = good_learning, .expected = XCODER_FORMAT},
  {"mean infinite", "learning-l1", .tensor = "activation_mean", .rank = 2, .shape = {3, 6}, .fill = INFINITY,
   .config = good_learning, .expected = XCODER_FORMAT},
  {"scale 0", "learning-l1", .tensor = "activation_global_scale", .rank = 1, .shape = {3}, .config = good_learning,
   .expected = XCODER_FORMAT, .words = "activation_global_scale"},
  {"std negative", "learning-l1", .tensor = "activation_std", .rank = 2, .shape = {3, 6}, .fill = -1,
   .config = "{\"layer\": 4, \"keep_relative_variance\": false}", .expected = XCODER_FORMAT, .words = "activation_std"},
  {"mixed code", "learning-batchtopk", .tensor = "code_normalization_id", .rank = 0, .fill = 3,
   .config = good_learning, .expected = XCODER_UNSUPPORTED, .words = "MIXED"},
  {"decoupled code", "learning-batchtopk", .tensor = "code_normalization_id", .rank = 0, .fill = 5,
   .config = good_learning, .expected = XCODER_UNSUPPORTED, .words = "DECOUPLED"},
  {"one threshold a layer", "learning-batchtopk", .tensor = "threshold", .rank = 1, .shape = {3},
   .config = good_learning, .expected = XCODER_UNSUPPORTED, .words = "threshold: 3 values"},
  {"no layer", "learning-l1", .config = "{}", .expected = XCODER_USAGE, .words = "--layer"},
  {"no config", "saelens-jumprelu", .expected = XCODER_MISSING, .words = "cfg.json"},
  {"architecture", "saelens-jumprelu", .config = "{\"architecture\": \"gated\"}", .expected = XCODER_UNSUPPORTED,
   .words = "'gated'"},
  {"normaliser", "saelens-jumprelu", .config = "{\"architecture\": \"jumprelu\", \"normalize_activations\": "
   "\"layer_norm\"}", .expected = XCODER_UNSUPPORTED, .words = "'layer_norm'"},
  {"scale needed", "saelens-jumprelu", .config = "{\"architecture\": \"jumprelu\", \"normalize_activations\": "
   "\"expected_average_only_in\", \"hook_name\": \"blocks.5.hook_resid_pre\"}", .expected = XCODER_USAGE,
   .words = "--scales"},
  {"reshaping", "saelens-jumprelu", .config = "{\"architecture\": \"jumprelu\", \"reshape_activations\": \"hook_z\"}",
   .expected = XCODER_UNSUPPORTED, .words = "hook_z"},
  {"d_sae of another", "saelens-jumprelu", .config = "{\"architecture\": \"jumprelu\", \"d_sae\": 9}",
   .expected = XCODER_FORMAT, .words = "d_sae 9"},
  {"threshold missing", "saelens-jumprelu", .drop = "threshold", .config = good_saelens, .expected = XCODER_FORMAT},
  {"threshold infinite", "saelens-jumprelu", .tensor = "threshold", .rank = 1, .shape = {10}, .fill = INFINITY,
   .config = good_saelens, .expected = XCODER_FORMAT},
  {"threshold not expected", "saelens-jumprelu", .config = "{\"architecture\": \"standard\"}",
   .expected = XCODER_UNSUPPORTED, .words = "'threshold'"},
  {"valid control", "autoencoder-new", .config = AUTOENCODER("AutoEncoderNew")},
  {"valid control", "autoencoder-jumprelu", .config = AUTOENCODER("JumpReluAutoEncoder")},
  {"valid control", "autoencoder-topk", .tensor = "k", .rank = 0, .fill = 10,
   .config = AUTOENCODER("AutoEncoderTopK")},
  {"batchtopk without a threshold yet", "autoencoder-batchtopk", .tensor = "k", .rank = 0, .fill = 10,
   .drop = "threshold", .config = AUTOENCODER("BatchTopKSAE")},
  {"no class", "autoencoder-new", .config = good_learning, .expected = XCODER_MISSING, .words = "dict_class"},
  {"class a number", "autoencoder-new", .config = "{\"trainer\": {\"dict_class\": 3}}", .expected = XCODER_MISSING},
  {"gated", "autoencoder-new", .config = AUTOENCODER("GatedAutoEncoder"), .expected = XCODER_UNSUPPORTED,
   .words = "'GatedAutoEncoder'"},
  {"another class", "autoencoder-new", .config = AUTOENCODER("AutoEncoder"), .expected = XCODER_UNSUPPORTED,
   .words = "'decoder.bias'"},
  {"another class", "autoencoder-new", .config = AUTOENCODER("JumpReluAutoEncoder"), .expected = XCODER_FORMAT,
   .words = "W_dec"},
  {"no layer", "autoencoder-new", .config = "{\"trainer\": {\"dict_class\": \"AutoEncoderNew\"}}",
   .expected = XCODER_USAGE, .words = "--layer"},
  {"empty", "autoencoder-new", .tensor = "encoder.weight", .rank = 2, .shape = {0, 6},
   .config = AUTOENCODER("AutoEncoderNew"), .expected = XCODER_FORMAT, .words = "shape [0, 6]"},
  {"no encoder.bias", "autoencoder-new", .drop = "encoder.bias", .config = AUTOENCODER("AutoEncoderNew"),
   .expected = XCODER_FORMAT, .words = "encoder.bias"},
  {"decoder not transposed", "autoencoder-new", .tensor = "decoder.weight", .rank = 2, .shape = {10, 6},
   .config = AUTOENCODER("AutoEncoderNew"), .expected = XCODER_FORMAT, .words = "expected [6, 10]"},
  {"topk without k", "autoencoder-topk", .config = AUTOENCODER("AutoEncoderTopK"), .expected = XCODER_FORMAT,
   .words = "k is 0"},
  {"k above all", "autoencoder-topk", .tensor = "k", .rank = 0, .fill = 11, .config = AUTOENCODER("AutoEncoderTopK"),
   .expected = XCODER_FORMAT, .words = "from 1 to 10"},
  {"k of two values", "autoencoder-topk", .tensor = "k", .rank = 1, .shape = {2},
   .config = AUTOENCODER("AutoEncoderTopK"), .expected = XCODER_UNSUPPORTED, .words = "k: 2 values"},
  {"threshold missing", "autoencoder-jumprelu", .drop = "threshold", .config = AUTOENCODER("JumpReluAutoEncoder"),
   .expected = XCODER_FORMAT, .words = "threshold"},
  {"topk without k", "saelens-topk", .config = "{\"architecture\": \"topk\"}", .expected = XCODER_FORMAT},
};

/* Copies the base's tensors, without those dropped or changed, into a safetensors file. */
static void write_case(const bad_case *c, const char *path) {
  xci_foreign file = {.prefix = ""};
  xci_safetensors_writer *writer;
  float filled[180], *copies[16];
  size_t n_copies = 0;
  const char *source = weights_of(c->base);
  bool torch = strstr(source, ".pt") != NULL;
  if (torch) OK(xci_torch_open(source, &file.torch, &error));
  else OK(xci_safetensors_open(source, &file.safetensors, &error));
  OK(xci_safetensors_create(&writer, &error));
  size_t n = torch ? xci_torch_count(file.torch) : xci_safetensors_count(file.safetensors);
  for (size_t i = 0; i < n; i++) {
    const xci_tensor *t = torch ? xci_torch_at(file.torch, i) : xci_safetensors_at(file.safetensors, i);
    const char *name = strncmp(t->name, "_orig_mod.", 10) == 0 ? t->name + 10 : t->name;
    if ((c->drop && strcmp(name, c->drop) == 0) || (c->tensor && strcmp(name, c->tensor) == 0)) continue;
    if (t->dtype != XCI_F32) continue; /* integers of buffers are not needed here */
    OK(XCI_ALLOC(&copies[n_copies], t->n_values, &error));
    OK(xci_tensor_to_f32(t, copies[n_copies], &error));
    OK(xci_safetensors_add(writer, name, XCI_F32, t->rank, t->shape, copies[n_copies++], &error));
  }
  for (size_t i = 0; i < 180; i++) filled[i] = c->fill;
  if (c->tensor) OK(xci_safetensors_add(writer, c->tensor, XCI_F32, c->rank, c->shape, filled, &error));
  OK(xci_safetensors_write(writer, path, &error));
  xci_safetensors_discard(writer);
  for (size_t i = 0; i < n_copies; i++) xci_free(copies[i]);
  xci_torch_close(file.torch);
  xci_safetensors_close(file.safetensors);
}

START_TEST(test_bad_files) {
  for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
    const bad_case *c = &bad_cases[i];
    xcoder *coder;
    OK(xci_remove_folder(in_folder("case"), &error));
    OK(xci_make_folder(in_folder("case"), &error));
    write_case(c, in_folder("case/weights.safetensors"));
    if (c->config) write_whole(in_folder("case/cfg.json"), c->config, strlen(c->config));
    error.message[0] = '\0';
    xcoder_status status = xcoder_import(in_folder("case"), NULL, &coder, NULL, &error);
    ck_assert_msg(status == c->expected, "%s, %s: status %d: %s", c->base, c->what, (int)status, error.message);
    ck_assert_msg(!c->words || strstr(error.message, c->words), "%s, %s: %s", c->base, c->what, error.message);
    ck_assert((coder == NULL) == (status != XCODER_OK));
    xcoder_free_coder(coder);
  }
}
END_TEST

START_TEST(test_bad_folders) {
  xcoder *coder;
  const float scales[2] = {1, 1};
  const char *const twice[] = {"a", "b", "a"};
  FAILS(xcoder_import(in_folder("none"), NULL, &coder, NULL, &error), XCODER_MISSING);
  OK(xci_make_folder(in_folder("empty"), &error));
  FAILS(xcoder_import(in_folder("empty"), NULL, &coder, NULL, &error), XCODER_MISSING);
  write_whole(in_folder("empty/a.pt"), "x", 1);
  FAILS(xcoder_import(in_folder("empty"), NULL, &coder, NULL, &error), XCODER_FORMAT);
  write_whole(in_folder("empty/b.pt"), "x", 1);
  FAILS(xcoder_import(in_folder("empty"), NULL, &coder, NULL, &error), XCODER_USAGE);
  const char *good = weights_of("authors-l1");
  FAILS(xcoder_import(good, &(xcoder_import_options){.n_scales = 2, .scales = scales}, &coder, NULL, &error),
        XCODER_USAGE);
  FAILS(xcoder_import(good, &(xcoder_import_options){.n_labels = 3, .labels = twice}, &coder, NULL, &error),
        XCODER_FORMAT);
  FAILS(xcoder_import(good, &(xcoder_import_options){.has_layer = true, .layer = -7}, &coder, NULL, &error),
        XCODER_FORMAT);
  FAILS(xcoder_import(weights_of("learning-l1"), &(xcoder_import_options){.n_scales = 2, .scales = scales}, &coder,
                      NULL, &error), XCODER_USAGE);
  for (size_t i = 0; i < N_NAMES; i += 3) /* every allocation fails once */
    for (long n = 1, left = 1; left; n++) {
      xci_fail_allocation(n, 0);
      xcoder_status status = xcoder_import(weights_of(names[i]), NULL, &coder, NULL, &error);
      xci_fail_allocation(0, 0);
      left = status != XCODER_OK;
      ck_assert(left ? coder == NULL : coder != NULL);
      xcoder_free_coder(coder);
    }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("exchange");
  TCase *tests = tcase_create("exchange");
  tcase_add_checked_fixture(tests, make_test_folder, remove_test_folder);
  tcase_add_test(tests, test_import);
  tcase_add_test(tests, test_export);
  tcase_add_test(tests, test_export_autoencoder);
  tcase_add_test(tests, test_refused_exports);
  tcase_add_test(tests, test_bad_files);
  tcase_add_test(tests, test_bad_folders);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP teams do not survive a fork */
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
