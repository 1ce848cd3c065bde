/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the JSON beside the weights of other programs: the same good weights in all three forms, with the input as
 * their cfg.json or config.json. What is accepted has the weights' shape, finite scales, and can be described. */
#include "fuzz_file.h"

#include <crosscoder.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

enum { N_FORMS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static char folder[N_FORMS][128];
static const char *const configs[N_FORMS] = {"cfg.json", "config.json", "cfg.json"};

/* Runs before the folder around them is removed. */
static void remove_forms(void) {
  static const char *const files[] = {"cc_weights.pt", "cfg.json", "cc_cfg.json", "config.json", "model.safetensors",
                                      "model_final.pt", "sae_weights.safetensors"};
  char path[256];
  for (int form = 0; form < N_FORMS; form++) {
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
      snprintf(path, sizeof path, "%s/%s", folder[form], files[i]);
      unlink(path);
    }
    rmdir(folder[form]);
  }
}

static void make_form(int form) {
  xcoder *coder = NULL;
  xcoder_error err = {0};
  snprintf(folder[form], sizeof folder[form], "%s/%d", fuzz_folder, form);
  if (xcoder_create(form == XCODER_FORM_SAELENS ? 1 : 2, 2, 3, 1, NULL, NULL, &coder, &err) ||
      xcoder_export(coder, (xcoder_form)form, form == XCODER_FORM_SAELENS, folder[form], NULL, &err)) {
    fprintf(stderr, "%s\n", err.message);
    abort();
  }
  xcoder_free_coder(coder);
}

static void read_form(int form, const xcoder_import_options *options) {
  xcoder *coder = NULL;
  xcoder_exchange_report report;
  xcoder_error err = {0};
  xcoder_status status = xcoder_import(folder[form], options, &coder, &report, &err);
  if (status) {
    if (coder || !err.message[0] || strchr(err.message, '\n')) abort();
    return;
  }
  const xcoder_info *info = xcoder_describe(coder);
  if (info->n_checkpoints != (form == XCODER_FORM_SAELENS ? 1 : 2) || info->d_model != 2 || info->n_latents != 3)
    abort();
  for (size_t c = 0; c < info->n_checkpoints; c++)
    if (!isfinite(info->scales[c]) || info->scales[c] <= 0 || !info->labels[c]) abort();
  if (strchr(report.notes, '\n') || info->layer < -1) abort();
  xcoder_free_coder(coder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes) {
  static const float scales[] = {2, 3};
  if (!folder[0][0]) {
    fuzz_file("input", data, 0);
    for (int form = 0; form < N_FORMS; form++) make_form(form);
    atexit(remove_forms);
  }
  for (int form = 0; form < N_FORMS; form++) {
    char name[32];
    snprintf(name, sizeof name, "%d/%s", form, configs[form]);
    fuzz_file(name, data, n_bytes);
    read_form(form, NULL);
    read_form(form, &(xcoder_import_options){.has_layer = true, .layer = 3});
    read_form(form, &(xcoder_import_options){.n_scales = 2, .scales = scales, .has_layer = true, .layer = 3});
  }
  return 0;
}
