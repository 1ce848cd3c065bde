/* SPDX-License-Identifier: Apache-2.0 */
/* Import and export: which form a file has, the files of a folder, and the comparison after each conversion. */
#include "crosscoder/foreign.h"

#include "base/memory.h"
#include "formats/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONFIG_BYTES = 16 << 20 };

static const char *const form_names[] = {"authors", "dictionary-learning", "saelens", "dictionary-learning-sae"};

const char *xcoder_form_name(xcoder_form form) {
  bool known = (int)form >= 0 && (size_t)form < sizeof form_names / sizeof *form_names;
  return known ? form_names[form] : "unknown";
}

/* ---- Finding the files ---- */

static bool ends_with(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n > m && strcmp(name + n - m, end) == 0;
}

/* The one file of weights in a folder. */
static xcoder_status find_weights(const char *folder, char **path, xcoder_error *err) {
  char **names = NULL, quoted[2][256];
  const char *found = NULL;
  size_t n_names = 0;
  xcoder_status status = xci_list_folder(folder, &names, &n_names, err);
  for (size_t i = 0; i < n_names && !status; i++) {
    if (!ends_with(names[i], ".pt") && !ends_with(names[i], ".safetensors")) continue;
    if (strcmp(names[i], "sparsity.safetensors") == 0) continue; /* SAELens' frequencies */
    if (found != NULL)
      status = xci_fail(err, XCODER_USAGE, "%s: '%s' and '%s' are there, expected one file of weights (name it)",
                        folder, xci_quote(quoted[0], 256, found, strlen(found)),
                        xci_quote(quoted[1], 256, names[i], strlen(names[i])));
    found = names[i];
  }
  if (!status && found == NULL)
    status = xci_fail(err, XCODER_MISSING, "%s: no .pt and no .safetensors in this folder", folder);
  if (!status) status = xci_join_path(folder, found, path, err);
  xci_free_names(names, n_names);
  return status;
}

/* NAME_cfg.json beside NAME.pt, or one of the names that a folder of one crosscoder has. */
static xcoder_status find_config(xci_foreign *file, xcoder_error *err) {
  static const char *const names[] = {"_cfg.json", "cfg.json", "cc_cfg.json", "config.json"};
  const char *slash = strrchr(file->path, '/'), *base = slash != NULL ? slash + 1 : file->path;
  const char *dot = strrchr(base, '.');
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < 4 && file->config_path == NULL && !status; i++) {
    xci_text text = {0};
    const char *end = i == 0 && dot != NULL ? dot : base;
    xci_text_append(&text, file->path, (size_t)(end - file->path));
    xci_text_add(&text, names[i]);
    status = xci_text_status(&text, err);
    if (!status && xci_exists(text.bytes)) status = xci_copy_text(text.bytes, &file->config_path, err);
    xci_text_clear(&text);
  }
  if (status) return status;
  file->has_config = file->config_path != NULL;
  if (!file->has_config) {
    file->config = json_object();
    return file->config != NULL ? xci_copy_text(file->path, &file->config_path, err)
                                : xci_fail(err, XCODER_MEMORY, "memory: no room for a JSON object");
  }
  status = xci_json_read(file->config_path, MAX_CONFIG_BYTES, &file->config, err);
  if (!status && !json_is_object(file->config))
    status = xci_fail(err, XCODER_FORMAT, "%s: expected a JSON object", file->config_path);
  return status;
}

static xcoder_status open_file(const char *path, xci_foreign *file, xcoder_error *err) {
  xcoder_status status = xci_is_folder(path) ? find_weights(path, &file->path, err)
                                             : xci_copy_text(path, &file->path, err);
  if (!status) status = find_config(file, err);
  if (!status && ends_with(file->path, ".safetensors"))
    status = xci_safetensors_open(file->path, &file->safetensors, err);
  else if (!status)
    status = xci_torch_open(file->path, &file->torch, err);
  file->prefix = "";
  if (!status && xci_foreign_find(file, "_orig_mod.encoder.weight") != NULL) file->prefix = "_orig_mod.";
  return status;
}

static void close_file(xci_foreign *file) {
  xci_torch_close(file->torch);
  xci_safetensors_close(file->safetensors);
  json_decref(file->config);
  xci_free(file->path);
  xci_free(file->config_path);
}

/* ---- Import ---- */

static xcoder_status read_form(xci_foreign *file, xcoder **coder, xcoder_error *err) {
  const xci_tensor *encoder = xci_foreign_find(file, "encoder.weight"), *w_enc = xci_foreign_find(file, "W_enc");
  if (encoder != NULL && encoder->rank == 3) {
    file->report->form = XCODER_FORM_DICTIONARY_LEARNING;
    return xci_read_learning(file, coder, err);
  }
  if (xci_is_autoencoder(file)) {
    file->report->form = XCODER_FORM_DICTIONARY_LEARNING_SAE;
    return xci_read_autoencoder(file, coder, err);
  }
  if (w_enc != NULL && w_enc->rank == 2) {
    file->report->form = XCODER_FORM_SAELENS;
    return xci_read_saelens(file, coder, err);
  }
  if (w_enc != NULL) {
    file->report->form = XCODER_FORM_AUTHORS;
    return xci_read_authors(file, coder, err);
  }
  return xci_fail(err, XCODER_UNSUPPORTED, "%s: neither W_enc nor encoder.weight [checkpoints, width, features] is in "
                  "it: not a crosscoder in a form that is read", file->path);
}

xcoder_status xcoder_import(const char *path, const xcoder_import_options *options, xcoder **coder,
                            xcoder_exchange_report *report, xcoder_error *err) {
  static const xcoder_import_options nothing = {0};
  xcoder_exchange_report own;
  xci_foreign file = {.options = options != NULL ? options : &nothing, .report = report != NULL ? report : &own};
  *file.report = (xcoder_exchange_report){0};
  *coder = NULL;
  xcoder_status status = open_file(path, &file, err);
  if (!status) status = read_form(&file, coder, err);
  close_file(&file);
  return status;
}

/* ---- Comparing ---- */

typedef struct tally {
  size_t n, n_different;
  double largest;
} tally;

static void compare_values(tally *t, const float *a, const float *b, size_t n) {
  double size = 0, worst = 0;
  t->n += n;
  for (size_t i = 0; i < n; i++) {
    if (isfinite(a[i])) size = fmax(size, fabs((double)a[i]));
    if (memcmp(&a[i], &b[i], sizeof *a) == 0) continue;
    t->n_different++;
    if (a[i] == b[i]) continue;
    bool finite = isfinite(a[i]) && isfinite(b[i]);
    worst = fmax(worst, finite ? fabs((double)a[i] - (double)b[i]) : HUGE_VAL);
  }
  if (worst > 0) t->largest = fmax(t->largest, size > 0 ? worst / size : HUGE_VAL);
}

typedef xcoder_status (*make_vector)(const xcoder *coder, float *values, xcoder_error *err);

static xcoder_status compare_made(tally *t, const xcoder *a, const xcoder *b, make_vector make, xcoder_error *err) {
  float *x = NULL, *y = NULL;
  size_t n = a->info.n_latents;
  xcoder_status status = XCI_ALLOC(&x, n, err);
  if (!status) status = XCI_ALLOC(&y, n, err);
  if (!status) status = make(a, x, err);
  if (!status) status = make(b, y, err);
  if (!status) compare_values(t, x, y, n);
  xci_free(x);
  xci_free(y);
  return status;
}

xcoder_status xcoder_difference(const xcoder *a, const xcoder *b, size_t *n_values, size_t *n_different,
                                double *largest, xcoder_error *err) {
  tally t = {0};
  const xcoder_info *x = &a->info, *y = &b->info;
  if (x->n_checkpoints != y->n_checkpoints || x->d_model != y->d_model || x->n_latents != y->n_latents)
    return xci_fail(err, XCODER_MISMATCH, "difference: %zu x %zu x %zu and %zu x %zu x %zu, expected equal shapes",
                    x->n_checkpoints, x->d_model, x->n_latents, y->n_checkpoints, y->d_model, y->n_latents);
  xcoder_status status = XCODER_OK;
  for (int k = 0; k < XCI_N_TENSORS; k++) compare_values(&t, a->weights[k], b->weights[k], a->n_values[k]);
  if (!x->folded || !y->folded) compare_values(&t, a->scales, b->scales, x->n_checkpoints);
  if (xci_coder_has_thresholds(a) != xci_coder_has_thresholds(b) || (x->activation == XCODER_TOPK) !=
      (y->activation == XCODER_TOPK) || x->folded != y->folded)
    t.n_different++, t.n++, t.largest = HUGE_VAL;
  else if (xci_coder_has_thresholds(a))
    status = compare_made(&t, a, b, xci_coder_thresholds, err);
  else if (x->activation == XCODER_TOPK)
    status = compare_made(&t, a, b, xci_coder_scores, err);
  *n_values = t.n;
  *n_different = t.n_different;
  *largest = t.largest;
  return status;
}

/* ---- Export ---- */

static xcoder_status copy_coder(const xcoder *coder, xcoder **copy, xcoder_error *err) {
  const xcoder_info *info = &coder->info;
  xcoder *made = NULL;
  xcoder_status status = xcoder_create(info->n_checkpoints, info->d_model, info->n_latents, info->layer, info->labels,
                                       info->scales, &made, err);
  if (!status)
    status = xci_coder_set_activation(made, info->activation, info->k, info->threshold, coder->theta, coder->score,
                                      err);
  if (status) {
    xcoder_free_coder(made);
    return status;
  }
  made->info.folded = info->folded;
  made->info.mask = info->mask;
  for (int t = 0; t < XCI_N_TENSORS; t++)
    memcpy(made->weights[t], coder->weights[t], coder->n_values[t] * sizeof *coder->weights[t]);
  *copy = made;
  return XCODER_OK;
}

static xcoder_status write_form(const xcoder *coder, xcoder_form form, const char *folder, xcoder_error *err) {
  switch (form) {
    case XCODER_FORM_AUTHORS: return xci_write_authors(coder, folder, err);
    case XCODER_FORM_DICTIONARY_LEARNING: return xci_write_learning(coder, folder, err);
    case XCODER_FORM_SAELENS: return xci_write_saelens(coder, folder, err);
    case XCODER_FORM_DICTIONARY_LEARNING_SAE: return xci_write_autoencoder(coder, folder, err);
    default: return xci_fail(err, XCODER_USAGE, "export: form %d is unknown", (int)form);
  }
}

/* Reads what was written. A ranking by norms is made anew from the norms in the file, which folding changed by a factor
 * common to all features; nothing is to be compared there. */
static xcoder_status check_written(const xcoder *coder, const char *folder, xcoder_exchange_report *report,
                                   xcoder_error *err) {
  xcoder *again = NULL;
  xcoder_status status = xcoder_import(folder, NULL, &again, NULL, err);
  if (!status && coder->info.activation == XCODER_TOPK)
    status = xci_coder_set_activation(again, XCODER_TOPK, again->info.k, -1, NULL, coder->score, err);
  if (!status)
    status = xcoder_difference(coder, again, &report->n_values, &report->n_different, &report->largest_difference, err);
  if (!status && !(report->largest_difference <= 0x1p-22))
    status = xci_fail(err, XCODER_INTERNAL, "%s: what was written differs by %g when it is read again", folder,
                      report->largest_difference);
  xcoder_free_coder(again);
  return status;
}

static xcoder_status write_folder(const xcoder *coder, xcoder_form form, const char *temporary, const char *folder,
                                  xcoder_exchange_report *report, xcoder_error *err) {
  xcoder_status status = xci_make_folder(temporary, err);
  if (!status) status = write_form(coder, form, temporary, err);
  if (!status) status = check_written(coder, temporary, report, err);
  if (!status) status = xci_publish_folder(temporary, folder, err);
  if (status) xci_remove_folder(temporary, NULL);
  return status;
}

xcoder_status xcoder_export(const xcoder *coder, xcoder_form form, bool fold, const char *folder,
                            xcoder_exchange_report *report, xcoder_error *err) {
  xcoder_exchange_report own;
  xcoder *copy = NULL;
  xci_text temporary = {0};
  if (report == NULL) report = &own;
  *report = (xcoder_exchange_report){.form = form};
  if (xci_exists(folder)) return xci_fail(err, XCODER_IO, "%s: it is there already", folder);
  size_t n = strlen(folder);
  while (n > 1 && folder[n - 1] == '/') n--;
  xci_text_append(&temporary, folder, n);
  xci_text_format(&temporary, ".tmp-%ld", (long)getpid());
  xcoder_status status = xci_text_status(&temporary, err);
  bool without_scales = form == XCODER_FORM_SAELENS || form == XCODER_FORM_DICTIONARY_LEARNING_SAE;
  if (!status && (fold || without_scales) && !coder->info.folded) {
    status = copy_coder(coder, &copy, err);
    if (!status) status = xcoder_fold(copy, err);
  }
  const xcoder *written = copy != NULL ? copy : coder;
  if (!status) status = write_folder(written, form, temporary.bytes, folder, report, err);
  report->folded = written->info.folded;
  if (!status && without_scales && xci_coder_has_thresholds(coder))
    snprintf(report->notes, sizeof report->notes, "thresholds are written one for each feature (jumprelu)");
  xcoder_free_coder(copy);
  xci_text_clear(&temporary);
  return status;
}
