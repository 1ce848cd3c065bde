/* SPDX-License-Identifier: Apache-2.0 */
/* Another model's activations in one slot of a crosscoder, nothing retrained (METHOD section 10). */
#include "analysis/comparison/compare.h"
#include "analysis/statistics.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/size.h"
#include "crosscoder/object.h"
#include <crosscoder/harvest.h>
#include <math.h>
#include <string.h>

enum { N_DRAWS = 1000 };

/* s_c of the model that takes the slot. */
static xcoder_status find_scale(const xcoder_setting *setting, const xcoder_info *info, xcoder_model *other,
                                const xcoder_tokens *tokens, float *scale, xcoder_error *err) {
  xcoder_source *source = NULL;
  const xcoder_source_options options = {.mask = info->mask};
  xcoder_model *const models[] = {other};
  xcoder_status status = xcoder_source_live(models, 1, info->layer, tokens, &options, &source, err);
  if (!status) status = xcoder_source_scales(source, scale, NULL, setting->monitor, err);
  xcoder_source_close(source);
  return status;
}

/* The crosscoder with another label and scale in one slot; weights, mask and gates as they are, unfolded. A threshold
 * refers to the unfolded decoder, which does not change, and so do those of single features. */
static xcoder_status make_coder(const xcoder *from, size_t checkpoint, const char *label, float scale, xcoder **out,
                                xcoder_error *err) {
  static const xcoder_tensor tensors[] = {XCODER_W_ENC, XCODER_B_ENC, XCODER_W_DEC, XCODER_B_DEC};
  const xcoder_info *info = xcoder_describe(from);
  const char *labels[XCODER_MAX_CHECKPOINTS];
  float scales[XCODER_MAX_CHECKPOINTS];
  for (size_t c = 0; c < info->n_checkpoints; c++) {
    labels[c] = c == checkpoint ? label : info->labels[c];
    scales[c] = c == checkpoint ? scale : info->scales[c];
  }
  if (info->folded)
    return xci_fail(err, XCODER_UNSUPPORTED, "transfer: the crosscoder is folded, expected one as trained, whose "
                    "scales can be exchanged");
  xcoder_status status = xcoder_create(info->n_checkpoints, info->d_model, info->n_latents, info->layer, labels, scales,
                                       out, err);
  for (int t = 0; !status && t < 4; t++) {
    size_t n_values;
    const float *x = xcoder_weights((xcoder *)from, tensors[t], &n_values); /* read only */
    memcpy(xcoder_weights(*out, tensors[t], &n_values), x, n_values * sizeof *x);
  }
  if (!status) {
    (*out)->info.mask = info->mask;
    xcoder_changed(*out);
    status = xci_coder_set_activation(*out, info->activation, info->k, info->threshold, from->theta, from->score, err);
  }
  return status;
}

/* |IE| at the checkpoint by feature, 0 for features without effects. */
static void spread(const xci_side *side, const xci_task_effects *task, size_t checkpoint, double *out) {
  for (size_t i = 0; i < side->n_latents; i++) out[i] = 0;
  for (size_t r = 0; r < task->n_features; r++) {
    const double effect = fabs(task->ie[r * side->n + checkpoint]);
    if (task->feature[r] < side->n_latents && !isnan(effect)) out[task->feature[r]] = effect;
  }
}

/* The k largest; top[i] marks feature i. */
static xcoder_status mark_top(const double *size, size_t n, size_t k, bool *top, size_t *n_top, xcoder_error *err) {
  size_t *order = NULL;
  xcoder_status status = XCI_ALLOC(&order, n, err);
  *n_top = 0;
  if (!status) status = xci_order_descending(size, n, order, err);
  for (size_t i = 0; !status && i < n; i++) top[i] = false;
  for (size_t r = 0; !status && r < n && r < k && size[order[r]] > 0; r++) {
    top[order[r]] = true;
    ++*n_top;
  }
  xci_free(order);
  return status;
}

typedef struct staying {
  size_t n_features, n_top, n_stay;
  double spearman, null_share, null_high;
} staying;

/* Features of about the density of the top ones (a tenth of all features to either side in order of it) are drawn in
 * their place; how many of them are among the other's top? */
static xcoder_status find_null(const xci_side *side, const xci_task_effects *task, const bool *top, const bool *other,
                               uint64_t seed, staying *out, xcoder_error *err) {
  size_t *order = NULL; /* rows by density */
  double *share = NULL, sd;
  const size_t n = task->n_features, width = xci_max_size(n / 10, 5);
  xcoder_status status = XCI_ALLOC(&order, n, err);
  if (!status) status = XCI_ALLOC(&share, N_DRAWS, err);
  if (!status) status = xci_order_descending(task->n_active, n, order, err);
  uint64_t index = 0;
  for (size_t draw = 0; !status && draw < N_DRAWS; draw++) {
    size_t n_stay = 0;
    for (size_t r = 0; r < n; r++) {
      if (task->feature[order[r]] >= side->n_latents || !top[task->feature[order[r]]]) continue;
      const size_t low = r > width ? r - width : 0, high = xci_min_size(n - 1, r + width);
      const size_t drawn = low + (size_t)xci_random_below(seed, XCI_STREAM_NULL, index++, high - low + 1);
      const uint32_t feature = task->feature[order[drawn]];
      n_stay += feature < side->n_latents && other[feature];
    }
    share[draw] = out->n_top ? (double)n_stay / (double)out->n_top : 0;
  }
  if (!status) {
    xci_mean_sd(share, N_DRAWS, &out->null_share, &sd);
    xci_sort_f64(share, N_DRAWS);
    out->null_high = xci_quantile(share, N_DRAWS, 0.975);
  }
  xci_free(order);
  xci_free(share);
  return status;
}

static xcoder_status find_staying(const xci_side *a, const xci_task_effects *of_a, const xci_side *b,
                                  const xci_task_effects *of_b, size_t checkpoint, size_t k, uint64_t seed,
                                  staying *out, xcoder_error *err) {
  const size_t n = a->n_latents;
  double *x = NULL;
  bool *top_a = NULL, *top_b = NULL;
  size_t n_top_b = 0;
  *out = (staying){.spearman = NAN, .null_share = NAN, .null_high = NAN};
  xcoder_status status = XCI_ALLOC(&x, 4 * n, err);
  if (!status) status = XCI_ALLOC(&top_a, n, err);
  if (!status) status = XCI_ALLOC(&top_b, n, err);
  if (!status) {
    double *y = x + n, *of_both = y + n;
    spread(a, of_a, checkpoint, x);
    spread(b, of_b, checkpoint, y);
    status = mark_top(x, n, k, top_a, &out->n_top, err);
    if (!status) status = mark_top(y, n, k, top_b, &n_top_b, err);
    for (size_t i = 0; !status && i < n; i++) {
      out->n_stay += top_a[i] && top_b[i];
      if (x[i] == 0 && y[i] == 0) continue;
      of_both[out->n_features] = x[i];
      y[out->n_features++] = y[i]; /* never ahead of i */
    }
    if (!status) status = xci_spearman(of_both, y, out->n_features, &out->spearman, err);
    if (!status) status = find_null(a, of_a, top_a, top_b, seed, out, err);
  }
  xci_free(x);
  xci_free(top_a);
  xci_free(top_b);
  return status;
}

static const xci_task_effects *find_task(const xci_side *side, const char *name) {
  for (size_t t = 0; t < side->n_tasks; t++)
    if (strcmp(side->task[t].task, name) == 0) return &side->task[t];
  return NULL;
}

static void write_staying(const staying *s, const char *label, xci_json_out *json) {
  double low, high;
  xci_wilson(s->n_stay, s->n_top, &low, &high);
  xci_json_line(json);
  xci_json_open(json, NULL, '{');
  xci_json_text(json, "label", label);
  xci_json_count(json, "n_features", s->n_features);
  xci_json_number(json, "spearman", s->spearman);
  xci_json_count(json, "n_top", s->n_top);
  xci_json_count(json, "n_stay", s->n_stay);
  xci_json_number(json, "share", s->n_top ? (double)s->n_stay / (double)s->n_top : NAN);
  xci_json_number(json, "low", low);
  xci_json_number(json, "high", high);
  xci_json_number(json, "null_share", s->null_share);
  xci_json_number(json, "null_high", s->null_high);
  xci_json_close(json, '}');
}

static xcoder_status write_tasks(const xci_side *a, const xci_side *b, size_t n_top, uint64_t seed,
                                 xci_json_out *json, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  xci_json_open(json, "tasks", '[');
  for (size_t t = 0; !status && t < a->n_tasks; t++) {
    const xci_task_effects *other = find_task(b, a->task[t].task);
    if (!other) continue;
    xci_json_line(json);
    xci_json_open(json, NULL, '{');
    xci_json_text(json, "task", a->task[t].task);
    xci_json_open(json, "checkpoints", '[');
    for (size_t c = 0; !status && c < a->n; c++) {
      staying found;
      status = find_staying(a, &a->task[t], b, other, c, n_top, seed, &found, err);
      if (!status) write_staying(&found, b->labels[c], json);
    }
    xci_json_close(json, ']');
    xci_json_close(json, '}');
  }
  xci_json_close(json, ']');
  return status;
}

/* Labels and effects of a run as a side without codes. */
static xcoder_status read_effects(const xcoder *coder, const char *run_directory, xci_side *side, xcoder_error *err) {
  const xcoder_info *info = xcoder_describe(coder);
  *side = (xci_side){.n = info->n_checkpoints, .d_model = info->d_model, .n_latents = info->n_latents};
  xcoder_status status = XCI_ALLOC(&side->labels, side->n, err);
  for (size_t c = 0; !status && c < side->n; c++) status = xci_copy_text(info->labels[c], &side->labels[c], err);
  if (!status) status = xci_side_read_tables(run_directory, side, err);
  if (status) xci_side_close(side);
  return status;
}

static xcoder_status write_result(const xcoder *coder, const xcoder *changed, size_t checkpoint, size_t n_top,
                                  uint64_t seed, const char *run_directory, const char *folder, xcoder_error *err) {
  const xcoder_info *info = xcoder_describe(coder), *after = xcoder_describe(changed);
  xci_side a = {0}, b = {0};
  xci_json_out json = {0};
  char *path = NULL;
  xcoder_status status = read_effects(coder, run_directory, &a, err);
  if (!status) status = read_effects(changed, folder, &b, err);
  if (!status) {
    xci_json_open(&json, NULL, '{');
    xci_json_count(&json, "format", 1);
    xci_json_text(&json, "slot", info->labels[checkpoint]);
    xci_json_text(&json, "taken_by", after->labels[checkpoint]);
    xci_json_float(&json, "scale", after->scales[checkpoint]);
    xci_json_float(&json, "scale_before", info->scales[checkpoint]);
    status = write_tasks(&a, &b, n_top, seed, &json, err);
    xci_json_close(&json, '}');
  }
  if (!status) status = xci_run_path(folder, NULL, "transfer", ".json", &path, err);
  if (!status) status = xci_write_text(path, &json.text, err);
  xci_text_clear(&json.text);
  xci_free(path);
  xci_side_close(&a);
  xci_side_close(&b);
  return status;
}

xcoder_status xcoder_transfer(const xcoder_setting *setting, size_t checkpoint, xcoder_model *other, const char *label,
                              const xcoder_tokens *tokens, const xcoder_pairs *const *tasks, size_t n_tasks,
                              const xcoder_attribute_options *options, size_t n_top, const char *run_directory,
                              const char *folder, xcoder_error *err) {
  const xcoder_info *info = xcoder_describe(setting->coder);
  xcoder_model *models[XCODER_MAX_CHECKPOINTS];
  xcoder *changed = NULL;
  float scale = 0;
  if (checkpoint >= info->n_checkpoints)
    return xci_fail(err, XCODER_USAGE, "transfer: slot %zu, the crosscoder has %zu", checkpoint, info->n_checkpoints);
  for (size_t c = 0; c < info->n_checkpoints; c++) models[c] = c == checkpoint ? other : setting->models[c];
  xcoder_status status = find_scale(setting, info, other, tokens, &scale, err);
  if (!status) status = make_coder(setting->coder, checkpoint, label, scale, &changed, err);
  xcoder_setting moved = *setting;
  moved.coder = changed;
  moved.models = models;
  for (size_t t = 0; !status && t < n_tasks; t++) {
    xcoder_verdicts verdicts;
    status = xcoder_attribute(&moved, tasks[t], options, folder, &verdicts, err);
    if (!status) xcoder_verdicts_free(&verdicts);
  }
  if (!status)
    status = write_result(setting->coder, changed, checkpoint, n_top, options ? options->seed : 0, run_directory,
                          folder, err);
  xcoder_free_coder(changed);
  return status;
}
