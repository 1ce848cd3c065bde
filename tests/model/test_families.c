/* SPDX-License-Identifier: Apache-2.0 */
/* Config files of each family: other spellings of the same model, values that are refused by name; ALiBi's slopes. */
#include "tests/model/model_test.h"

#include "base/file.h"
#include "formats/json.h"
#include "model/family.h"

static const char *folder = "test-families.tmp";

static const char *in_folder(const char *name) {
  static char path[256];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static void setup(void) {
  ck_ok(xci_remove_folder(folder, err));
  ck_ok(xci_make_folder(folder, err));
}

static void teardown(void) { ck_ok(xci_remove_folder(folder, err)); }

static void copy_weights(const char *model) {
  xci_map map;
  xci_writer *writer = NULL;
  ck_ok(xci_map_open(golden_path(model, "model.safetensors"), &map, err));
  ck_ok(xci_writer_open(in_folder("model.safetensors"), &writer, err));
  ck_ok(xci_writer_write(writer, map.bytes, map.n_bytes, err));
  ck_ok(xci_writer_commit(writer, err));
  xci_map_close(&map);
}

typedef struct change {
  const char *model, *values; /* a JSON object whose members replace those of the config; null removes one */
  xcoder_status expected;
  const char *words;
} change;

static const change changes[] = {
  {"olmo-clip-f16", "{}", XCODER_OK, ""},
  {"olmo-clip-f16", "{\"model_type\": null}", XCODER_OK, ""},
  {"olmo-clip-f16", "{\"model_type\": \"hf_olmo\"}", XCODER_UNSUPPORTED, "'hf_olmo'"},
  {"olmo-clip-f16", "{\"clip_qkv\": 0}", XCODER_FORMAT, "clip_qkv"},
  {"olmo-clip-f16", "{\"clip_qkv\": -8.0}", XCODER_FORMAT, "clip_qkv"},
  {"olmo-clip-f16", "{\"clip_qkv\": \"8\"}", XCODER_FORMAT, "clip_qkv"},
  {"olmo-clip-f16", "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}}", XCODER_UNSUPPORTED,
   "rope_scaling of type 'dynamic'"},
  {"olmo-clip-f16", "{\"rope_parameters\": {\"rope_type\": \"yarn\"}}", XCODER_UNSUPPORTED, "yarn"},
  {"olmo-clip-f16", "{\"rope_theta\": 0}", XCODER_FORMAT, "rope_theta"},
  {"olmo-clip-f16", "{\"partial_rotary_factor\": 0.5}", XCODER_UNSUPPORTED, "partial_rotary_factor"},
  {"olmo-clip-f16", "{\"hidden_act\": \"mish\"}", XCODER_UNSUPPORTED, "hidden_act 'mish'"},
  {"olmo-clip-f16", "{\"num_key_value_heads\": 3}", XCODER_FORMAT, "key heads"},
  {"olmo-clip-f16", "{\"num_key_value_heads\": 4}", XCODER_MISMATCH, "k_proj"},
  {"olmo-clip-f16", "{\"num_key_value_heads\": 8}", XCODER_FORMAT, "key heads"},
  {"olmo-clip-f16", "{\"attention_bias\": true}", XCODER_MISMATCH, "'model.layers.0.self_attn.q_proj.bias' is missing"},
  {"olmo-clip-f16", "{\"num_hidden_layers\": 1}", XCODER_MISMATCH, "layers.1"},
  {"olmo-clip-f16", "{\"tie_word_embeddings\": true}", XCODER_OK, ""}, /* the stored head is not used */
  {"olmo-clip-f16", "{\"head_dim\": 5}", XCODER_UNSUPPORTED, "head of 5"},
  {"olmo-clip-f16", "{\"head_dim\": 8}", XCODER_MISMATCH, "q_proj"},
  {"olmo-clip-f16", "{\"head_dim\": 2000000000}", XCODER_UNSUPPORTED, "head_dim"},
  {"olmo-tied-bf16", "{\"tie_word_embeddings\": false}", XCODER_MISMATCH, "'lm_head.weight' is missing"},
  {"newer-f32", "{\"hidden_act\": \"gelu_pytorch_tanh\"}", XCODER_OK, ""}, /* newer name of gelu_new */
  {"llama-bf16", "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}}", XCODER_UNSUPPORTED,
   "rope_scaling of type 'llama3'"},
  {"llama-bf16", "{\"rope_scaling\": {\"factor\": 8.0}}", XCODER_UNSUPPORTED, "rope_scaling"},
  {"llama-bf16", "{\"rope_theta\": null, \"rope_parameters\": {\"rope_theta\": 5000.0}}", XCODER_OK, ""},
  {"llama-bf16", "{\"head_dim\": null}", XCODER_OK, ""},
  {"llama-bf16", "{\"rms_norm_eps\": 0}", XCODER_FORMAT, "rms_norm_eps"},
  {"llama-bf16", "{\"mlp_bias\": true}", XCODER_MISMATCH, "'model.layers.0.mlp.gate_proj.bias' is missing"},
  {"llama-bf16", "{\"num_key_value_heads\": null}", XCODER_MISMATCH, "k_proj"},
  {"llama-bf16", "{\"model_type\": \"mistral\"}", XCODER_UNSUPPORTED, "'mistral'"},
  {"llama-bf16", "{\"model_type\": \"olmo2\"}", XCODER_MISMATCH, "post_feedforward_layernorm"},
  {"olmo2-f16", "{\"model_type\": null}", XCODER_OK, ""},
  {"olmo2-f16", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}}", XCODER_UNSUPPORTED, "'linear'"},
  {"olmo2-f16", "{\"num_key_value_heads\": 4}", XCODER_MISMATCH, "k_norm"},
  {"gpt2-f16", "{}", XCODER_OK, ""},
  {"gpt2-f16", "{\"model_type\": null}", XCODER_OK, ""},
  {"gpt2-f16", "{\"n_embd\": null, \"hidden_size\": 20}", XCODER_OK, ""},
  {"gpt2-f16", "{\"n_head\": null, \"num_attention_heads\": 2}", XCODER_OK, ""},
  {"gpt2-f16", "{\"n_layer\": null, \"num_hidden_layers\": 2}", XCODER_OK, ""},
  {"gpt2-f16", "{\"n_positions\": null, \"max_position_embeddings\": 32}", XCODER_OK, ""},
  {"gpt2-f16", "{\"n_positions\": 31}", XCODER_MISMATCH, "'transformer.wpe.weight': shape [32,20]"},
  {"gpt2-f16", "{\"n_inner\": null}", XCODER_MISMATCH, "mlp.c_fc.weight': shape [20,28], config.json asks for [20,80]"},
  {"gpt2-f16", "{\"n_layer\": 3}", XCODER_MISMATCH, "h.2"},
  {"gpt2-f16", "{\"n_layer\": 1}", XCODER_MISMATCH, "h.1"},
  {"gpt2-f16", "{\"n_head\": 3}", XCODER_FORMAT, "multiple"},
  {"gpt2-f16", "{\"n_embd\": 1800000000, \"n_head\": 1}", XCODER_FORMAT, "out of range"},
  {"gpt2-f16", "{\"activation_function\": \"tanh\"}", XCODER_UNSUPPORTED, "activation_function 'tanh'"},
  {"gpt2-f16", "{\"activation_function\": null}", XCODER_OK, ""},
  {"gpt2-f16", "{\"layer_norm_epsilon\": 0}", XCODER_FORMAT, "layer_norm_epsilon"},
  {"gpt2-f16", "{\"add_cross_attention\": true}", XCODER_UNSUPPORTED, "add_cross_attention true"},
  {"gpt2-f16", "{\"scale_attn_by_inverse_layer_idx\": true}", XCODER_UNSUPPORTED, "scale_attn_by_inverse_layer_idx"},
  {"gpt2-f16", "{\"scale_attn_weights\": false}", XCODER_UNSUPPORTED, "scale_attn_weights false"},
  {"gpt2-f16", "{\"tie_word_embeddings\": false}", XCODER_MISMATCH, "'lm_head.weight' is missing"},
  {"bloom-f16", "{\"n_inner\": 7}", XCODER_OK, ""}, /* ignored, as by the family's own code */
  {"bloom-f16", "{\"hidden_size\": null, \"n_embed\": 24}", XCODER_OK, ""},
  {"bloom-f16", "{\"hidden_size\": 64, \"n_embed\": 24}", XCODER_OK, ""},
  {"bloom-f16", "{\"hidden_size\": null}", XCODER_FORMAT, "multiple"}, /* the default, 64, by 6 heads */
  {"bloom-f16", "{\"n_head\": null, \"num_attention_heads\": 6}", XCODER_OK, ""},
  {"bloom-f16", "{\"n_layer\": null, \"num_hidden_layers\": 2}", XCODER_OK, ""},
  {"bloom-f16", "{\"n_layer\": 3}", XCODER_MISMATCH, "h.2"},
  {"bloom-f16", "{\"n_layer\": 1}", XCODER_MISMATCH, "h.1"},
  {"bloom-f16", "{\"n_head\": 0}", XCODER_FORMAT, "n_head"},
  {"bloom-f16", "{\"n_head\": 5}", XCODER_FORMAT, "multiple"},
  {"bloom-f16", "{\"hidden_size\": 1800000000, \"n_head\": 1}", XCODER_FORMAT, "out of range"},
  {"bloom-f16", "{\"layer_norm_epsilon\": 0}", XCODER_FORMAT, "layer_norm_epsilon"},
  {"bloom-f16", "{\"apply_residual_connection_post_layernorm\": 1}", XCODER_FORMAT, "apply_residual"},
  {"bloom-f16", "{\"tie_word_embeddings\": false}", XCODER_MISMATCH, "'lm_head.weight' is missing"},
  {"bloom-f16", "{\"vocab_size\": 38}", XCODER_MISMATCH, "word_embeddings.weight"},
};

START_TEST(test_config) {
  const change *c = &changes[_i];
  json_t *json = NULL, *values = NULL, *value;
  xcoder_model_info info;
  xcoder_error error = {0};
  xci_writer *writer = NULL;
  const char *key;
  copy_weights(c->model);
  ck_ok(xci_json_read(golden_path(c->model, "config.json"), 1 << 20, &json, err));
  ck_ok(xci_json_parse(c->values, strlen(c->values), "values", 0, &values, err));
  json_object_foreach(values, key, value) json_object_set(json, key, value);
  char *text = json_dumps(json, JSON_INDENT(2));
  ck_ok(xci_writer_open(in_folder("config.json"), &writer, err));
  ck_ok(xci_writer_write(writer, text, strlen(text), err));
  ck_ok(xci_writer_commit(writer, err));
  xcoder_status status = xcoder_model_inspect(folder, &info, &error);
  ck_assert_msg(status == c->expected, "%s %s: status %s (%s)", c->model, c->values, xcoder_status_name(status),
                error.message);
  if (status) ck_assert_msg(strstr(error.message, c->words) != NULL, "'%s' lacks '%s'", error.message, c->words);
  json_decref(json);
  json_decref(values);
  free(text);
}
END_TEST

START_TEST(test_slopes) {
  static const struct {
    size_t n_heads;
    double slopes[16];
  } cases[] = {
    {1, {0.00390625}},
    {6, {.25, .0625, .015625, .00390625, .5, .125}},
    {8, {.5, .25, .125, .0625, .03125, .015625, .0078125, .00390625}},
    {12, {.5, .25, .125, .0625, .03125, .015625, .0078125, .00390625, 0.707106781, 0.353553391, 0.176776695,
          0.0883883476}},
    {16, {0.707106781, 0.5, 0.353553391, 0.25, 0.176776695, 0.125, 0.0883883476, 0.0625, 0.0441941738, 0.03125,
          0.0220970869, 0.015625, 0.0110485435, 0.0078125, 0.00552427173, 0.00390625}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    float slopes[16];
    xci_alibi_slopes(cases[i].n_heads, slopes);
    /* The base is off by 2^-24 of itself at most, its 16th power by 16 times that, 1e-6. */
    for (size_t h = 0; h < cases[i].n_heads; h++)
      ck_assert_double_eq_tol((double)slopes[h] / cases[i].slopes[h], 1, 1e-6);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("families");
  TCase *tcase = tcase_create("config");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_loop_test(tcase, test_config, 0, (int)(sizeof changes / sizeof *changes));
  tcase_add_test(tcase, test_slopes);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, CK_NOFORK);
  srunner_run_all(runner, CK_NORMAL);
  int n_failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
