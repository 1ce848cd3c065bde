/* SPDX-License-Identifier: Apache-2.0 */
/* How far annotators agree: Cohen's kappa of each pair, Fleiss' kappa of all, and where they differ. */
#include "report/labels.h"

#include "analysis/json_out.h"
#include "base/memory.h"
#include "base/size.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ANNOTATORS = 64 };

xcoder_status xci_cohen_kappa(const uint32_t *a, const uint32_t *b, size_t n, size_t n_categories, double *agreement,
                              double *kappa, xcoder_error *err) {
  size_t *count, equal = 0;
  double chance = 0;
  *agreement = *kappa = NAN;
  xcoder_status status = XCI_ALLOC(&count, 2 * n_categories, err);
  if (status) return status;
  for (size_t i = 0; i < n; i++) {
    count[a[i]]++;
    count[n_categories + b[i]]++;
    equal += a[i] == b[i];
  }
  for (size_t k = 0; k < n_categories; k++) chance += (double)count[k] * (double)count[n_categories + k];
  xci_free(count);
  if (n == 0) return XCODER_OK;
  chance /= (double)n * (double)n;
  *agreement = (double)equal / (double)n;
  if (chance < 1) *kappa = (*agreement - chance) / (1 - chance);
  return XCODER_OK;
}

xcoder_status xci_fleiss_kappa(const uint32_t *category, size_t n_items, size_t n_raters, size_t n_categories,
                               double *kappa, xcoder_error *err) {
  const double m = (double)n_raters, all = (double)n_items * m;
  double equal = 0, chance = 0;
  size_t *count;
  *kappa = NAN;
  xcoder_status status = XCI_ALLOC(&count, n_categories, err);
  if (status) return status;
  for (size_t i = 0; i < n_items * n_raters; i++) count[category[i]]++;
  for (size_t k = 0; k < n_categories; k++) chance += (double)count[k] / all * ((double)count[k] / all);
  xci_free(count);
  if (n_items == 0 || n_raters < 2 || chance >= 1) return XCODER_OK;
  for (size_t i = 0; i < n_items; i++) { /* ordered pairs of raters that agree */
    size_t pairs = 0;
    for (size_t r = 0; r < n_raters; r++)
      for (size_t s = 0; s < n_raters; s++) pairs += r != s && category[i * n_raters + r] == category[i * n_raters + s];
    equal += (double)pairs / (m * (m - 1));
  }
  equal /= (double)n_items;
  *kappa = (equal - chance) / (1 - chance);
  return XCODER_OK;
}

/* ---- Texts as categories ---- */

static int compare_words(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Without case (of ASCII letters); languages also without order, repetition and the kind of separator. */
static xcoder_status normalize(const char *text, bool languages, char **out, xcoder_error *err) {
  enum { MOST_WORDS = 64 };
  char *word[MOST_WORDS], *copy = NULL;
  size_t n = 0;
  xcoder_status status = xci_copy_text(text, &copy, err);
  *out = NULL;
  for (char *p = copy; !status && *p; p++) *p = (char)tolower((unsigned char)*p);
  if (status || !languages) {
    *out = copy;
    return status;
  }
  for (char *p = copy; *p && n < MOST_WORDS;) {
    p += strspn(p, " ,;/|");
    if (!*p) break;
    word[n++] = p;
    p += strcspn(p, " ,;/|");
    if (*p) *p++ = '\0';
  }
  qsort(word, n, sizeof *word, compare_words);
  xci_text joined = {0};
  for (size_t i = 0; i < n; i++)
    if (i == 0 || strcmp(word[i], word[i - 1])) xci_text_format(&joined, "%s%s", joined.n_bytes ? " " : "", word[i]);
  status = xci_text_status(&joined, err);
  if (!status) status = xci_copy_text(joined.bytes ? joined.bytes : "", out, err);
  xci_text_clear(&joined);
  xci_free(copy);
  return status;
}

/* The table of who said what: category[item * n_people + person], NONE where nothing was said. */
typedef struct table {
  const xci_label_list *list;
  const char *person[MOST_ANNOTATORS];
  size_t n_people, n_items, n_categories;
  uint32_t *feature, *category;
} table;

static const uint32_t none = UINT32_MAX;

static xcoder_status find_people(table *t, xcoder_error *err) {
  for (size_t i = 0; i < t->list->n; i++) {
    const char *name = t->list->label[i].annotator;
    size_t at = 0;
    while (at < t->n_people && strcmp(t->person[at], name) < 0) at++;
    if (at < t->n_people && strcmp(t->person[at], name) == 0) continue;
    if (t->n_people == MOST_ANNOTATORS)
      return xci_fail(err, XCODER_FORMAT, "%s: more than %d annotators, at most %d are supported",
                      t->list->file[t->list->label[i].file].path, MOST_ANNOTATORS, MOST_ANNOTATORS);
    memmove(&t->person[at + 1], &t->person[at], (t->n_people - at) * sizeof *t->person);
    t->person[at] = name;
    t->n_people++;
  }
  return XCODER_OK;
}

static size_t person_of(const table *t, const char *name) {
  size_t p = 0;
  while (strcmp(t->person[p], name)) p++;
  return p;
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Fills t->category with the numbers of the normalised texts of one field. */
static xcoder_status categorize(table *t, bool languages, xcoder_error *err) {
  const size_t n = t->list->n;
  char **text = NULL, **sorted = NULL;
  size_t n_sorted = 0, item = 0;
  xcoder_status status = XCI_ALLOC(&text, n, err);
  if (!status) status = XCI_ALLOC(&sorted, n, err);
  for (size_t i = 0; !status && i < n; i++) {
    const xci_label *label = &t->list->label[i];
    status = normalize(languages ? label->languages : label->description, languages, &text[i], err);
    if (!status) sorted[i] = text[i];
  }
  if (!status) {
    qsort(sorted, n, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < n; i++)
      if (i == 0 || strcmp(sorted[i], sorted[n_sorted - 1])) sorted[n_sorted++] = sorted[i];
    for (size_t i = 0; i < t->n_items * t->n_people; i++) t->category[i] = none;
    for (size_t i = 0; i < n; i++) {
      const xci_label *label = &t->list->label[i];
      item += i > 0 && label->feature != t->list->label[i - 1].feature;
      t->feature[item] = label->feature;
      if (!*text[i]) continue;
      char **found = bsearch(&text[i], sorted, n_sorted, sizeof *sorted, compare_texts);
      t->category[item * t->n_people + person_of(t, label->annotator)] = (uint32_t)(found - sorted);
    }
  }
  t->n_categories = n_sorted;
  for (size_t i = 0; text && i < n; i++) xci_free(text[i]);
  xci_free(text);
  xci_free(sorted);
  return status;
}

static xcoder_status add_pair(const table *t, const char *what, size_t p, size_t q, xci_json_out *out,
                              xcoder_error *err) {
  uint32_t *a = NULL, *b = NULL;
  size_t n = 0;
  double agreement = NAN, kappa = NAN;
  xcoder_status status = XCI_ALLOC(&a, t->n_items, err);
  if (!status) status = XCI_ALLOC(&b, t->n_items, err);
  for (size_t i = 0; !status && i < t->n_items; i++) {
    const uint32_t *row = t->category + i * t->n_people;
    if (row[p] == none || row[q] == none) continue;
    a[n] = row[p];
    b[n++] = row[q];
  }
  if (!status) status = xci_cohen_kappa(a, b, n, t->n_categories, &agreement, &kappa, err);
  if (!status) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "field", what);
    xci_json_text(out, "a", t->person[p]);
    xci_json_text(out, "b", t->person[q]);
    xci_json_count(out, "n", n);
    xci_json_number(out, "agreement", agreement);
    xci_json_number(out, "kappa", kappa);
    xci_json_close(out, '}');
  }
  xci_free(a);
  xci_free(b);
  return status;
}

static xcoder_status add_all(const table *t, const char *what, xci_json_out *out, xcoder_error *err) {
  uint32_t *complete;
  size_t n = 0;
  double kappa = NAN;
  xcoder_status status = XCI_ALLOC(&complete, t->n_items * t->n_people, err);
  for (size_t i = 0; !status && i < t->n_items; i++) {
    const uint32_t *row = t->category + i * t->n_people;
    bool by_all = true;
    for (size_t p = 0; p < t->n_people; p++) by_all = by_all && row[p] != none;
    if (by_all) memcpy(complete + n++ * t->n_people, row, t->n_people * sizeof *row);
  }
  if (!status) status = xci_fleiss_kappa(complete, n, t->n_people, t->n_categories, &kappa, err);
  if (!status) {
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "field", what);
    xci_json_count(out, "n", n);
    xci_json_number(out, "kappa", kappa);
    xci_json_close(out, '}');
  }
  xci_free(complete);
  return status;
}

static bool differs(const table *t, size_t item) {
  uint32_t first = none;
  for (size_t p = 0; p < t->n_people; p++) {
    const uint32_t said = t->category[item * t->n_people + p];
    if (said == none) continue;
    if (first != none && said != first) return true;
    first = said;
  }
  return false;
}

static void add_disagreements(const table *t, xci_json_out *out) {
  xci_json_line(out);
  xci_json_open(out, "disagreements", '[');
  for (size_t i = 0; i < t->n_items; i++) {
    size_t n;
    const xci_label *label = xci_labels_of(t->list, t->feature[i], &n);
    if (!differs(t, i)) continue;
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_count(out, "feature", t->feature[i]);
    xci_json_open(out, "labels", '[');
    for (size_t k = 0; k < n; k++) {
      xci_json_open(out, NULL, '{');
      xci_json_text(out, "annotator", label[k].annotator);
      xci_json_text(out, "description", label[k].description);
      xci_json_text(out, "languages", label[k].languages);
      xci_json_text(out, "confidence", label[k].confidence);
      xci_json_close(out, '}');
    }
    xci_json_close(out, ']');
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

static void add_people(const table *t, xci_json_out *out) {
  xci_json_open(out, "annotators", '[');
  for (size_t p = 0; p < t->n_people; p++) {
    size_t n = 0;
    for (size_t i = 0; i < t->list->n; i++) n += !strcmp(t->list->label[i].annotator, t->person[p]);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "annotator", t->person[p]);
    xci_json_count(out, "n", n);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

/* `pairs` tells whether the pairs or the agreement of all are written; t->category is left as the last field's. */
static xcoder_status add_agreement(table *t, bool pairs, xci_json_out *out, xcoder_error *err) {
  static const char *const fields[] = {"languages", "description"};
  xcoder_status status = XCODER_OK;
  xci_json_line(out);
  xci_json_open(out, pairs ? "cohen" : "fleiss", '[');
  for (size_t f = 0; !status && f < 2; f++) {
    status = categorize(t, f == 0, err);
    for (size_t p = 0; pairs && p < t->n_people; p++)
      for (size_t q = p + 1; !status && q < t->n_people; q++) status = add_pair(t, fields[f], p, q, out, err);
    if (!status && !pairs && t->n_people > 1) status = add_all(t, fields[f], out, err);
  }
  xci_json_close(out, ']');
  return status;
}

xcoder_status xci_labels_json(const xci_label_list *list, xci_text *json, xcoder_error *err) {
  table t = {.list = list};
  xci_json_out out = {0};
  for (size_t i = 0; i < list->n; i++) t.n_items += i == 0 || list->label[i].feature != list->label[i - 1].feature;
  xcoder_status status = find_people(&t, err);
  if (!status) status = XCI_ALLOC(&t.feature, t.n_items, err);
  if (!status) status = XCI_ALLOC(&t.category, t.n_items * t.n_people, err);
  xci_json_open(&out, NULL, '{');
  xci_json_count(&out, "format", 1);
  xci_json_count(&out, "n_features", t.n_items);
  xci_json_count(&out, "n_labels", list->n);
  if (!status) add_people(&t, &out);
  if (!status) status = add_agreement(&t, true, &out, err);
  if (!status) status = add_agreement(&t, false, &out, err);
  if (!status) add_disagreements(&t, &out);
  xci_json_close(&out, '}');
  if (!status) status = xci_text_status(&out.text, err);
  if (!status) *json = out.text;
  else xci_text_clear(&out.text);
  xci_free(t.feature);
  xci_free(t.category);
  return status;
}
