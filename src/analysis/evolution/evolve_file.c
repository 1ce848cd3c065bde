/* SPDX-License-Identifier: Apache-2.0 */
/* evolution.csv, evolution.json, evolution-languages.csv. */
#include "analysis/evolution/evolve.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

static const char *const bases[XCI_N_BASES] = {"decoder", "activation", "effect", "normalised effect"};
static const char *const measures[XCI_N_MEASURES] = {"token_entropy", "top_token_share"};
static const char *const contrasts[XCI_N_CONTRASTS][2] = {{"late", "early"}, {"shared", "early"}, {"late", "shared"}};
static const char *const groups[XCI_N_GROUPS] = {"early", "shared", "late"};

static const char *task_name(const xci_evolution_data *data, size_t t) {
  return t < data->effects.n_tasks ? data->effects.task[t].name : "all";
}

static double tokens_at(const xci_evolution_data *data, size_t checkpoint) {
  return data->options->tokens_seen && checkpoint < data->n ? data->options->tokens_seen[checkpoint] : NAN;
}

static void add_field(xci_text *table, const char *text) {
  xci_text_add(table, ",");
  xci_text_csv(table, text, strlen(text));
}

static void add_number(xci_text *table, double value) {
  xci_text_add(table, ",");
  if (isfinite(value)) xci_text_number(table, value);
}

static const char *label_at(const xci_evolution_data *data, size_t checkpoint) {
  return checkpoint < data->n ? data->effects.labels[checkpoint] : "";
}

/* ---- evolution.csv ---- */

/* A feature that is first present at checkpoint c appeared somewhere behind c - 1: tokens_low is that of c - 1. */
static void add_life(xci_text *table, const xci_evolution_data *data, size_t t, size_t feature) {
  const size_t n = data->n, at = t * data->effects.n_features + feature;
  const xci_life *life = &data->view[0].life[at], *norm = &data->view[1].life[at];
  const char *name = task_name(data, t);
  xci_text_csv(table, name, strlen(name));
  xci_text_format(table, ",%zu,%s", feature, xci_cycle_names[life->cycle]);
  add_number(table, life->support);
  xci_text_add(table, life->support >= 0.95 ? ",yes" : ",no");
  add_field(table, label_at(data, life->onset));
  add_field(table, label_at(data, life->onset_low));
  add_field(table, label_at(data, life->onset_high));
  add_number(table, tokens_at(data, life->onset));
  add_number(table, life->onset_low == 0 ? 0 : tokens_at(data, life->onset_low - 1));
  add_number(table, tokens_at(data, life->onset_high));
  for (size_t c = 0; c < n; c++) add_number(table, data->view[0].share[at * n + c]);
  xci_text_format(table, ",%s", xci_cycle_names[norm->cycle]);
  add_number(table, norm->support);
  add_field(table, label_at(data, norm->onset));
  add_number(table, tokens_at(data, norm->onset));
  for (size_t c = 0; c < n; c++) add_number(table, data->view[1].share[at * n + c]);
  xci_text_add(table, "\n");
}

static void write_lives(xci_text *table, const xci_evolution_data *data) {
  const size_t d = data->effects.n_features;
  xci_text_add(table, "task,feature,cycle,support,certain,onset,onset_low,onset_high,onset_tokens,onset_tokens_low,"
                      "onset_tokens_high");
  for (size_t v = 0; v < XCI_N_VIEWS; v++) {
    if (v) xci_text_add(table, ",norm_cycle,norm_support,norm_onset,norm_onset_tokens");
    for (size_t c = 0; c < data->n; c++) {
      xci_text name = {0};
      xci_text_format(&name, "%srel_ie_%s", v ? "norm_" : "", data->effects.labels[c]);
      add_field(table, name.bytes ? name.bytes : "");
      xci_text_clear(&name);
    }
  }
  xci_text_add(table, "\n");
  for (size_t k = 0; k <= data->effects.n_tasks; k++) {
    const size_t t = k ? k - 1 : data->effects.n_tasks; /* all tasks together come first */
    for (size_t i = 0; i < d; i++)
      if (!isnan(data->view[0].share[(t * d + i) * data->n])) add_life(table, data, t, i);
  }
}

static void write_languages_table(xci_text *table, const xci_evolution_data *data) {
  const xci_language_life *life = &data->languages;
  const size_t n = data->n;
  const double *share = data->view[0].share + data->effects.n_tasks * data->effects.n_features * n;
  xci_text_add(table, "feature,checkpoint,n_languages,language_entropy,rel_ie\n");
  for (size_t k = 0; k < life->n_chosen; k++)
    for (size_t c = 0; c < n; c++) {
      xci_text_format(table, "%lu", (unsigned long)life->feature[k]);
      add_field(table, data->effects.labels[c]);
      xci_text_format(table, ",%lu", (unsigned long)life->n_languages[k * n + c]);
      add_number(table, life->entropy[k * n + c]);
      add_number(table, share[life->feature[k] * n + c]);
      xci_text_add(table, "\n");
    }
}

/* ---- evolution.json ---- */

static void write_flow(xci_json_out *out, const xci_flow *flow) {
  xci_json_number(out, "observed", flow->observed);
  xci_json_number(out, "expected", flow->expected);
  xci_json_number(out, "low", flow->low);
  xci_json_number(out, "high", flow->high);
  xci_json_number(out, "p", flow->p);
}

static void write_cycles(xci_json_out *out, const xci_evolution_data *data, size_t v, size_t t) {
  const size_t d = data->effects.n_features;
  const xci_view *view = &data->view[v];
  xci_json_open(out, v ? "norm_cycles" : "cycles", '[');
  for (size_t k = 1; k < XCI_N_CYCLES; k++) {
    uint64_t n_certain = 0;
    for (size_t i = 0; i < d; i++)
      n_certain += view->life[t * d + i].cycle == (xci_cycle)k && view->life[t * d + i].support >= 0.95;
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "cycle", xci_cycle_names[k]);
    write_flow(out, &view->cycles[t * XCI_N_CYCLES + k]);
    xci_json_count(out, "certain", n_certain);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  xci_json_open(out, v ? "norm_words" : "words", '[');
  for (size_t k = 1; k < XCI_N_WORDS; k++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "word", xci_word_names[k]);
    write_flow(out, &view->words[t * XCI_N_WORDS + k]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_flows(xci_json_out *out, const xci_evolution_data *data, size_t v, size_t t) {
  const size_t per_step = XCI_N_STATES * XCI_N_STATES;
  const xci_flow *flow = data->view[v].flows + t * (data->n - 1) * per_step;
  xci_json_open(out, v ? "norm_flows" : "flows", '[');
  for (size_t k = 0; k < (data->n - 1) * per_step; k++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "from_checkpoint", data->effects.labels[k / per_step]);
    xci_json_text(out, "to_checkpoint", data->effects.labels[k / per_step + 1]);
    xci_json_text(out, "from", xci_state_names[k % per_step / XCI_N_STATES]);
    xci_json_text(out, "to", xci_state_names[k % XCI_N_STATES]);
    write_flow(out, &flow[k]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_contrast(xci_json_out *out, const xci_contrast *c, const char *const names[2]) {
  xci_json_line(out);
  xci_json_open(out, NULL, '{');
  xci_json_text(out, "first", names[0]);
  xci_json_text(out, "second", names[1]);
  xci_json_count(out, "n_first", c->n_first);
  xci_json_count(out, "n_second", c->n_second);
  xci_json_number(out, "median_first", c->median_first);
  xci_json_number(out, "median_second", c->median_second);
  xci_json_number(out, "cliffs_delta", c->delta);
  xci_json_number(out, "low", c->low);
  xci_json_number(out, "high", c->high);
  xci_json_number(out, "p", c->p);
  xci_json_number(out, "matched_delta", c->matched_delta);
  xci_json_number(out, "matched_p", c->matched_p);
  xci_json_close(out, '}');
}

static void write_groups(xci_json_out *out, const xci_specificity *s) {
  xci_json_open(out, "groups", '[');
  for (size_t g = 0; g < XCI_N_GROUPS; g++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "group", groups[g]);
    xci_json_count(out, "n", s->n_group[g]);
    for (size_t m = 0; m < XCI_N_MEASURES; m++) {
      xci_json_open(out, measures[m], '{');
      xci_json_number(out, "median", s->median[m][g]);
      xci_json_number(out, "quartile_low", s->low[m][g]);
      xci_json_number(out, "quartile_high", s->high[m][g]);
      xci_json_close(out, '}');
    }
    /* Without --token-labels nothing was looked for, which is not the same as nothing found. */
    xci_json_number(out, "n_telling", isnan(s->mean_auc[g]) ? NAN : (double)s->n_telling[g]);
    xci_json_number(out, "mean_auc", s->mean_auc[g]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_specificity(xci_json_out *out, const xci_evolution_data *data) {
  xci_json_open(out, "token_specificity", '[');
  for (size_t b = 0; data->has_database && b < XCI_N_BASES; b++) {
    const xci_specificity *s = &data->specificity[b];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "classes_by", bases[b]);
    write_groups(out, s);
    for (size_t m = 0; m < XCI_N_MEASURES; m++) {
      xci_json_open(out, measures[m], '[');
      for (size_t k = 0; k < XCI_N_CONTRASTS; k++) write_contrast(out, &s->contrast[m][k], contrasts[k]);
      xci_json_close(out, ']');
    }
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_overlaps(xci_json_out *out, const xci_evolution_data *data) {
  xci_json_open(out, "overlaps", '[');
  for (size_t k = 0; k < data->languages.n_overlaps; k++) {
    const xci_overlap *o = &data->languages.overlap[k];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "checkpoint", data->effects.labels[o->checkpoint]);
    xci_json_text(out, "a", data->effects.languages[o->a]);
    xci_json_text(out, "b", data->effects.languages[o->b]);
    xci_json_count(out, "count", o->count);
    xci_json_number(out, "jaccard", o->jaccard);
    xci_json_number(out, "expected", o->expected);
    xci_json_number(out, "p", o->p);
    xci_json_count(out, "candidates", o->n_candidates);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void write_languages(xci_json_out *out, const xci_evolution_data *data) {
  const xci_language_life *life = &data->languages;
  xci_json_open(out, "languages", '{');
  xci_json_count(out, "top", data->options->n_top);
  xci_json_open(out, "names", '[');
  for (size_t g = 0; g < data->effects.n_languages; g++) xci_json_text(out, NULL, data->effects.languages[g]);
  xci_json_close(out, ']');
  write_overlaps(out, data);
  xci_json_open(out, "checkpoints", '[');
  for (size_t c = 0; life->n_overlaps && c < data->n; c++) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "label", data->effects.labels[c]);
    xci_json_number(out, "languages", life->mean_languages[c]);
    xci_json_number(out, "languages_low", life->mean_languages_low[c]);
    xci_json_number(out, "languages_high", life->mean_languages_high[c]);
    xci_json_number(out, "entropy", life->mean_entropy[c]);
    xci_json_number(out, "entropy_low", life->mean_entropy_low[c]);
    xci_json_number(out, "entropy_high", life->mean_entropy_high[c]);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  xci_json_number(out, "entropy_against_last_rel_ie", life->n_overlaps ? life->rho : NAN);
  xci_json_number(out, "p", life->n_overlaps ? life->rho_p : NAN);
  xci_json_close(out, '}');
}

static void write_all(xci_json_out *out, const xci_evolution_data *data) {
  xci_json_open(out, NULL, '{');
  xci_json_count(out, "format", 1);
  xci_json_open(out, "labels", '[');
  for (size_t c = 0; c < data->n; c++) xci_json_text(out, NULL, data->effects.labels[c]);
  xci_json_close(out, ']');
  xci_json_open(out, "tokens_seen", '[');
  for (size_t c = 0; c < data->n; c++) xci_json_number(out, NULL, tokens_at(data, c));
  xci_json_close(out, ']');
  xci_json_count(out, "bootstrap", data->options->bootstrap);
  xci_json_count(out, "permutations", data->options->permutations);
  xci_json_number(out, "specific_border", data->borders.specific);
  xci_json_number(out, "shared_border", data->borders.shared);
  xci_json_open(out, "tasks", '[');
  for (size_t k = 0; k <= data->effects.n_tasks; k++) {
    const size_t t = k ? k - 1 : data->effects.n_tasks;
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "task", task_name(data, t));
    for (size_t v = 0; v < XCI_N_VIEWS; v++) {
      write_cycles(out, data, v, t);
      write_flows(out, data, v, t);
    }
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
  write_specificity(out, data);
  write_languages(out, data);
  xci_json_close(out, '}');
}

xcoder_status xci_evolution_write(const xci_evolution_data *data, xcoder_error *err) {
  xci_text table = {0}, languages = {0};
  xci_json_out out = {0};
  char *csv = NULL, *json = NULL, *language_csv = NULL;
  xcoder_status status = xci_run_path(data->run_directory, NULL, "evolution", ".csv", &csv, err);
  if (!status) status = xci_run_path(data->run_directory, NULL, "evolution", ".json", &json, err);
  if (!status) status = xci_run_path(data->run_directory, NULL, "evolution-languages", ".csv", &language_csv, err);
  if (!status) {
    write_lives(&table, data);
    write_languages_table(&languages, data);
    write_all(&out, data);
    status = xci_write_text(csv, &table, err);
  }
  if (!status) status = xci_write_text(language_csv, &languages, err);
  if (!status) status = xci_write_text(json, &out.text, err);
  xci_text_clear(&table);
  xci_text_clear(&languages);
  xci_text_clear(&out.text);
  xci_free(csv);
  xci_free(json);
  xci_free(language_csv);
  return status;
}
