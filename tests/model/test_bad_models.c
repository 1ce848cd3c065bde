/* SPDX-License-Identifier: Apache-2.0 */
/* Model folders from strangers: each bad config, index or weight file gives its status and a message that names the
 * culprit, and valid variants open. The folders are made here from golden/tiny-neox. */
#include "tests/model/model_test.h"

#include "base/file.h"
#include "formats/json.h"
#include <sys/stat.h>
#include <unistd.h>

static const char *folder = "test-bad-models.tmp";
static xcoder_device *device;

static const char *in_folder(const char *name) {
  static char path[2][256];
  static int next;
  next = !next;
  snprintf(path[next], sizeof path[next], "%s/%s", folder, name);
  return path[next];
}

static void write_text(const char *name, const char *text) {
  xci_writer *writer = NULL;
  ck_ok(xci_writer_open(in_folder(name), &writer, err));
  ck_ok(xci_writer_write(writer, text, strlen(text), err));
  ck_ok(xci_writer_commit(writer, err));
}

static void copy_file(const char *model, const char *name, const char *as) {
  xci_map map;
  xci_writer *writer = NULL;
  ck_ok(xci_map_open(golden_path(model, name), &map, err));
  ck_ok(xci_writer_open(in_folder(as), &writer, err));
  ck_ok(xci_writer_write(writer, map.bytes, map.n_bytes, err));
  ck_ok(xci_writer_commit(writer, err));
  xci_map_close(&map);
}

static void setup(void) {
  ck_ok(xci_remove_folder(folder, err));
  ck_ok(xci_make_folder(folder, err));
  copy_file("tiny-neox", "config.json", "config.json");
  copy_file("tiny-neox", "model.safetensors", "model.safetensors");
  if (device == NULL) ck_ok(xcoder_device_open("cpu", &device, err));
}

static void teardown(void) { ck_ok(xci_remove_folder(folder, err)); }

/* Opening must end in `expected`; a failure's message must contain `words`, and inspecting must not succeed where
 * opening fails because of the config. */
static void expect(xcoder_status expected, const char *words, const char *what) {
  xcoder_model *model = NULL;
  xcoder_error err = {0};
  xcoder_status status = xcoder_model_open(folder, device, -1, &model, &err);
  ck_assert_msg(status == expected, "%s: status %s (%s), expected %s", what, xcoder_status_name(status), err.message,
                xcoder_status_name(expected));
  ck_assert((model != NULL) == (status == XCODER_OK));
  if (status) ck_assert_msg(strstr(err.message, words) != NULL, "%s: '%s' lacks '%s'", what, err.message, words);
  ck_assert(strchr(err.message, '\n') == NULL);
  xcoder_model_close(model);
}

/* ---- config.json ---- */

typedef struct change {
  const char *key, *value; /* JSON text; value NULL: the key is removed */
  xcoder_status expected;
  const char *words;
} change;

static const change changes[] = {
  {"hidden_size", "16", XCODER_OK, ""},
  {"hidden_size", "0", XCODER_FORMAT, "hidden_size"},
  {"hidden_size", "-64", XCODER_FORMAT, "hidden_size"},
  {"hidden_size", "2147483648", XCODER_FORMAT, "hidden_size"},
  {"hidden_size", "9223372036854775808", XCODER_FORMAT, "config.json"},
  {"hidden_size", "\"16\"", XCODER_FORMAT, "hidden_size"},
  {"hidden_size", "16.5", XCODER_FORMAT, "hidden_size"},
  {"hidden_size", "null", XCODER_MISMATCH, "embed_in.weight"}, /* as if absent: the family's default */
  {"hidden_size", "15", XCODER_FORMAT, "multiple"},
  {"hidden_size", "18", XCODER_MISMATCH, "[320,18]"},
  {"num_attention_heads", "0", XCODER_FORMAT, "num_attention_heads"},
  {"num_attention_heads", "3", XCODER_FORMAT, "multiple"},
  {"num_attention_heads", "32", XCODER_FORMAT, "multiple"},
  {"num_attention_heads", "-2", XCODER_FORMAT, "num_attention_heads"},
  {"num_attention_heads", "[2]", XCODER_FORMAT, "num_attention_heads"},
  {"num_hidden_layers", "0", XCODER_FORMAT, "num_hidden_layers"},
  {"num_hidden_layers", "2", XCODER_MISMATCH, "layers.2"},
  {"num_hidden_layers", "4", XCODER_MISMATCH, "layers.3"},
  {"num_hidden_layers", "1000000000", XCODER_MISMATCH, "layers.3"},
  {"num_hidden_layers", "1e3", XCODER_FORMAT, "num_hidden_layers"},
  {"intermediate_size", "31", XCODER_MISMATCH, "dense_h_to_4h"},
  {"intermediate_size", "9223372036854775807", XCODER_FORMAT, "intermediate_size"},
  {"vocab_size", "1099511627776", XCODER_FORMAT, "vocab_size"},
  {"vocab_size", "319", XCODER_MISMATCH, "embed_in.weight"},
  {"max_position_embeddings", "0", XCODER_FORMAT, "max_position_embeddings"},
  {"layer_norm_eps", "-1", XCODER_FORMAT, "layer_norm_eps"},
  {"layer_norm_eps", "0", XCODER_FORMAT, "layer_norm_eps"},
  {"layer_norm_eps", "NaN", XCODER_FORMAT, "config.json"},
  {"layer_norm_eps", "1e400", XCODER_FORMAT, "config.json"},
  {"layer_norm_eps", "\"1e-5\"", XCODER_FORMAT, "layer_norm_eps"},
  {"rotary_pct", "7.5", XCODER_FORMAT, "rotary_pct"},
  {"rotary_pct", "0", XCODER_FORMAT, "rotary_pct"},
  {"rotary_pct", "0.125", XCODER_UNSUPPORTED, "odd"},
  {"rotary_pct", "0.375", XCODER_UNSUPPORTED, "factor 0.375"},
  {"rotary_emb_base", "-10000", XCODER_FORMAT, "rotary_emb_base"},
  {"rope_scaling", "null", XCODER_OK, ""},
  {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2.0}", XCODER_UNSUPPORTED, "rope_scaling of type 'linear'"},
  {"rope_scaling", "{\"rope_type\": \"default\"}", XCODER_OK, ""},
  {"rope_scaling", "7", XCODER_UNSUPPORTED, "rope_scaling"},
  {"rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 2}", XCODER_UNSUPPORTED, "yarn"},
  {"rope_parameters", "{\"rope_theta\": 0}", XCODER_FORMAT, "rope_theta"},
  {"hidden_act", "\"mish\"", XCODER_UNSUPPORTED, "hidden_act 'mish'"},
  {"hidden_act", "3", XCODER_FORMAT, "hidden_act"},
  {"use_parallel_residual", "1", XCODER_FORMAT, "use_parallel_residual"},
  {"model_type", "\"../../evil\"", XCODER_UNSUPPORTED, "../../evil"},
  {"model_type", "\"\\u001b[2J\"", XCODER_UNSUPPORTED, "\\x1b[2J"},
  {"model_type", "7", XCODER_FORMAT, "model_type"},
  {"model_type", NULL, XCODER_OK, ""}, /* architectures names the family too */
  {"torch_dtype", "\"float7\"", XCODER_OK, ""}, /* a hint; the files say what they hold */
  {"auto_map", "{\"AutoModel\": \"evil.py--Evil\"}", XCODER_OK, ""}, /* never run */
  {"quantization_config", "{\"bits\": 4}", XCODER_OK, ""},
};

START_TEST(test_config) {
  const change *c = &changes[_i];
  json_t *json = NULL, *value = NULL;
  char *text;
  ck_ok(xci_json_read(in_folder("config.json"), 1 << 20, &json, err));
  json_object_del(json, c->key);
  text = json_dumps(json, JSON_INDENT(2));
  ck_assert(text != NULL);
  size_t n = strlen(text) + 600;
  char *changed = malloc(n);
  /* As text, because much of what is tried here is no JSON. */
  if (c->value == NULL) snprintf(changed, n, "%s", text);
  else snprintf(changed, n, "{\"%s\": %s,%s", c->key, c->value, strchr(text, '{') + 1);
  write_text("config.json", changed);
  expect(c->expected, c->words, c->value != NULL ? c->value : c->key);
  json_decref(value);
  json_decref(json);
  free(text);
  free(changed);
}
END_TEST

START_TEST(test_config_texts) {
  static const struct {
    const char *text;
    xcoder_status expected;
  } cases[] = {{"", XCODER_FORMAT}, {"[]", XCODER_FORMAT}, {"7", XCODER_FORMAT}, {"null", XCODER_FORMAT},
               {"{", XCODER_FORMAT}, {"{\"model_type\": \"gpt_neox\", \"model_type\": \"gpt_neox\"}", XCODER_FORMAT},
               {"{}", XCODER_UNSUPPORTED}, {"{\"architectures\": 7}", XCODER_UNSUPPORTED},
               {"{\"model_type\": \"\xff\"}", XCODER_FORMAT}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_text("config.json", cases[i].text);
    expect(cases[i].expected, "config.json", cases[i].text);
  }
  enum { DEPTH = 100000 };
  char *deep = malloc(2 * DEPTH + 64);
  char *p = deep + sprintf(deep, "{\"model_type\": ");
  memset(p, '[', DEPTH);
  memset(p + DEPTH, ']', DEPTH);
  strcpy(p + 2 * DEPTH, "}");
  write_text("config.json", deep);
  expect(XCODER_FORMAT, "config.json", "depth 100000");
  free(deep);
  unlink(in_folder("config.json"));
  expect(XCODER_MISSING, "config.json", "no config");
  mkdir(in_folder("config.json"), 0755);
  expect(XCODER_FORMAT, "config.json", "config is a folder");
  rmdir(in_folder("config.json"));
  mkfifo(in_folder("config.json"), 0644);
  expect(XCODER_FORMAT, "config.json", "config is a pipe"); /* and does not wait */
}
END_TEST

/* ---- Weights ---- */

typedef enum damage { NO_DAMAGE, ONE_NAN, ONE_INFINITY, INTEGERS, MISSING_TENSOR, SURPLUS_TENSOR, WRONG_RANK } damage;

static void rewrite_weights(damage kind) {
  xci_safetensors *file = NULL;
  xci_safetensors_writer *writer = NULL;
  static uint16_t values[16];
  const size_t shape[3] = {16, 1, 1};
  ck_ok(xci_safetensors_open(golden_path("tiny-neox", "model.safetensors"), &file, err));
  ck_ok(xci_safetensors_create(&writer, err));
  for (size_t i = 0; i < xci_safetensors_count(file); i++) {
    const xci_tensor *t = xci_safetensors_at(file, i);
    bool target = strcmp(t->name, "gpt_neox.layers.1.input_layernorm.weight") == 0;
    if (target && kind == MISSING_TENSOR) continue;
    if (!target || kind == NO_DAMAGE || kind == SURPLUS_TENSOR) {
      ck_ok(xci_safetensors_add(writer, t->name, t->dtype, t->rank, t->shape, t->bytes, err));
      continue;
    }
    memcpy(values, t->bytes, t->n_bytes);
    if (kind == ONE_NAN) values[11] = 0x7e00;
    if (kind == ONE_INFINITY) values[5] = 0xfc00;
    ck_ok(xci_safetensors_add(writer, t->name, kind == INTEGERS ? XCI_I16 : t->dtype, kind == WRONG_RANK ? 2 : 1, shape,
                              values, err));
  }
  if (kind == SURPLUS_TENSOR)
    ck_ok(xci_safetensors_add(writer, "gpt_neox.layers.7.input_layernorm.weight", XCI_F16, 1, shape, values, err));
  ck_ok(xci_safetensors_write(writer, in_folder("model.safetensors"), err));
  xci_safetensors_discard(writer);
  xci_safetensors_close(file);
}

START_TEST(test_weights) {
  static const struct {
    damage kind;
    xcoder_status expected;
    const char *words;
  } cases[] = {{NO_DAMAGE, XCODER_OK, ""},
               {ONE_NAN, XCODER_FORMAT, "'gpt_neox.layers.1.input_layernorm.weight': value 11 is NaN"},
               {ONE_INFINITY, XCODER_FORMAT, "'gpt_neox.layers.1.input_layernorm.weight': value 5"},
               {INTEGERS, XCODER_FORMAT, "I16"},
               {MISSING_TENSOR, XCODER_MISMATCH, "'gpt_neox.layers.1.input_layernorm.weight' is missing"},
               {SURPLUS_TENSOR, XCODER_MISMATCH, "layers.7"},
               {WRONG_RANK, XCODER_MISMATCH, "[16,1]"}};
  rewrite_weights(cases[_i].kind);
  expect(cases[_i].expected, cases[_i].words, cases[_i].words);
}
END_TEST

START_TEST(test_no_weights) {
  unlink(in_folder("model.safetensors"));
  expect(XCODER_MISSING, "model.safetensors", "no weights");
  write_text("pytorch_model.bin", "x");
  expect(XCODER_FORMAT, "pytorch_model.bin", "no torch file");
  unlink(in_folder("pytorch_model.bin"));
  write_text("pytorch_model.bin.index.json", "{\"weight_map\": {\"a\": \"../b.bin\"}}");
  expect(XCODER_FORMAT, "plain name", "torch shard elsewhere");
  write_text("pytorch_model.bin.index.json", "{\"weight_map\": {\"a\": \"none.bin\"}}");
  expect(XCODER_MISSING, "none.bin", "torch shard missing");
  write_text("pytorch_model.bin.index.json", "{\"weight_map\": {\"a\": \"pytorch_model.bin.index.json\"}}");
  expect(XCODER_FORMAT, "neither zip", "torch shard is the index");
  unlink(in_folder("pytorch_model.bin.index.json"));
  write_text("tf_model.h5", "x");
  expect(XCODER_UNSUPPORTED, "tf_model.h5", "other weights");
  write_text("model.safetensors", "");
  expect(XCODER_FORMAT, "model.safetensors", "empty weights");
}
END_TEST

/* ---- Index of shards ---- */

START_TEST(test_index) {
  static const struct {
    const char *text;
    xcoder_status expected;
    const char *words;
  } cases[] = {
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"../../etc/passwd\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"/etc/passwd\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"..\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \".\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": 7}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"a\\u0000b\"}}", XCODER_FORMAT, "index.json"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"none.safetensors\"}}", XCODER_MISSING, "none.safetensors"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"model.safetensors.index.json\"}}", XCODER_FORMAT, "index.json"},
    {"{\"weight_map\": {\"gpt_neox.no.such\": \"shard\"}}", XCODER_FORMAT, "gpt_neox.no.such"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"cut\"}}", XCODER_FORMAT, "cut"},
    {"{\"weight_map\": []}", XCODER_FORMAT, "weight_map"},
    {"{\"weight_map\": {}}", XCODER_FORMAT, "weight_map"},
    {"{}", XCODER_FORMAT, "weight_map"},
    {"[]", XCODER_FORMAT, "weight_map"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": [\"shard\"]}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"a/shard\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"..\\\\shard\"}}", XCODER_FORMAT, "plain name"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\", \"gpt_neox.embed_in.weight\": \"none\"}}",
     XCODER_FORMAT, "duplicate"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\", \"gpt_neox.final_layer_norm.weight\": \"copy\"}}",
     XCODER_FORMAT, "expected one place"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\", \"gpt_neox.final_layer_norm.weight\": \"shard\"}}",
     XCODER_OK, ""},
    {"{\"weight_map\": \"shard\"}", XCODER_FORMAT, "weight_map"},
    {"{\"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\"}", XCODER_FORMAT, "index.json"},
    {"", XCODER_FORMAT, "index.json"},
    {"{\"metadata\": {\"total_size\": 9223372036854775808}, \"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\"}}",
     XCODER_FORMAT, "index.json"},
    {"{\"metadata\": {\"total_size\": -1}, \"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\"}}",
     XCODER_OK, ""},
    {"{\"metadata\": {\"total_size\": 9223372036854775807}, \"weight_map\": {\"gpt_neox.embed_in.weight\": \"shard\"}}",
     XCODER_OK, ""},
  };
  rename(in_folder("model.safetensors"), in_folder("shard"));
  copy_file("tiny-neox", "model.safetensors", "copy");
  write_text("cut", "\x08");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    write_text("model.safetensors.index.json", cases[i].text);
    expect(cases[i].expected, cases[i].words, cases[i].text);
  }
  /* A link out of the folder is how the cache stores files: followed. */
  char *target = realpath(in_folder("shard"), NULL);
  unlink("test-bad-models.shard");
  rename(target, "test-bad-models.shard");
  ck_assert_int_eq(symlink("../test-bad-models.shard", in_folder("shard")), 0);
  expect(XCODER_OK, "", "linked shard");
  unlink("test-bad-models.shard");
  free(target);
}
END_TEST

/* ---- Calls that ask for the impossible ---- */

START_TEST(test_calls) {
  static const size_t start[] = {0, 2}, backwards[] = {0, 2, 1}, late[] = {1, 2}, empty[] = {0, 2, 2};
  static const size_t too_long[] = {0, 65};
  static uint32_t ids[65], bad_id[2] = {0, 320};
  static float hidden[65 * 16];
  double metric[2];
  xcoder_model *model = NULL, *lower = NULL;
  ck_assert_int_eq(xcoder_model_open(folder, device, 3, &model, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_open(folder, device, -2, &model, NULL), XCODER_USAGE);
  ck_ok(xcoder_model_open(folder, device, -1, &model, err));
  ck_ok(xcoder_model_open(folder, device, 0, &lower, err));
  ck_ok(xcoder_model_hidden(model, ids, start, 1, 2, hidden, err));
  ck_ok(xcoder_model_hidden(lower, ids, start, 1, 0, hidden, err));
  ck_ok(xcoder_model_hidden(model, ids, start, 0, 2, hidden, err));
  ck_ok(xcoder_model_hidden(model, ids, empty, 2, 2, hidden, err));
  ck_assert_int_eq(xcoder_model_hidden(model, ids, start, 1, 3, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(model, ids, start, 1, -2, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(lower, ids, start, 1, 1, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(model, bad_id, start, 1, 2, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(model, ids, backwards, 2, 2, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(model, ids, late, 1, 2, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_hidden(model, ids, too_long, 1, 2, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_log_probs(lower, ids, start, 1, hidden, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_metric(lower, 0, hidden, start, 1, ids, ids, metric, NULL, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_metric(model, 0, hidden, start, 1, bad_id + 1, ids, metric, NULL, NULL), XCODER_USAGE);
  ck_assert_int_eq(xcoder_model_metric(model, 0, hidden, empty, 2, ids, ids, metric, NULL, NULL), XCODER_USAGE);
  xcoder_model_close(model);
  xcoder_model_close(lower);
  xcoder_model_close(NULL);
}
END_TEST

/* ---- Memory ---- */

static xcoder_status use_everything(const char *name, xcoder_device **cpu, xcoder_model **model) {
  static const uint32_t ids[6] = {1, 2, 3, 4, 5, 6}, right[2] = {1, 2}, wrong[2] = {3, 4};
  static const size_t start[3] = {0, 2, 6};
  static float hidden[6 * 24], gradient[6 * 24], log_probs[6];
  double metric[2];
  xcoder_status status = xcoder_device_open("cpu", cpu, NULL);
  if (!status) status = xcoder_model_open(golden_path(name, ""), *cpu, -1, model, NULL);
  if (!status) status = xcoder_model_hidden(*model, ids, start, 2, 0, hidden, NULL);
  if (!status)
    status = xcoder_model_metric(*model, 0, hidden, start, 2, right, wrong, metric, gradient, NULL);
  if (!status) status = xcoder_model_log_probs(*model, ids, start, 2, log_probs, NULL);
  if (!status) status = xcoder_device_self_test(*cpu, NULL);
  return status;
}

/* The n-th allocation fails, and then also all after it, for every n. */
START_TEST(test_allocations) {
  static const char *const names[] = {"sharded-f16", "bloom-f16", "olmo2-f16"};
  xcoder_status status = XCODER_MEMORY;
  xcoder_set_threads(1); /* hundreds of short runs: starting teams would be all of their time */
  for (long n = 1; status; n++) {
    xcoder_device *cpu = NULL;
    xcoder_model *model = NULL;
    xci_fail_allocation(n, _i % 2);
    status = use_everything(names[_i / 2], &cpu, &model);
    xci_fail_allocation(0, 0);
    ck_assert_msg(status == XCODER_OK || status == XCODER_MEMORY, "allocation %ld: %s", n, xcoder_status_name(status));
    xcoder_model_close(model);
    xcoder_device_close(cpu);
    ck_assert_int_lt(n, 5000);
  }
  xcoder_set_threads(0);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("bad models");
  TCase *tcase = tcase_create("folders");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_loop_test(tcase, test_config, 0, (int)(sizeof changes / sizeof *changes));
  tcase_add_test(tcase, test_config_texts);
  tcase_add_loop_test(tcase, test_weights, 0, 7);
  tcase_add_test(tcase, test_no_weights);
  tcase_add_test(tcase, test_index);
  tcase_add_test(tcase, test_calls);
  tcase_add_loop_test(tcase, test_allocations, 0, 6);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  xcoder_device_close(device);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
