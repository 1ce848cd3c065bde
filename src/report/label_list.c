/* SPDX-License-Identifier: Apache-2.0 */
/* Labels of features from the files of several annotators: reading, checking, merging. */
#include "report/labels.h"

#include "base/file.h"
#include "base/memory.h"
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 2000 };

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool is_formula(const char *text) { return *text && strchr("=+-@\t\r", *text) != NULL; }

void xci_label_field(xci_text *csv, const char *text) {
  if (*text == '\'' && is_formula(text + strspn(text, "'"))) { /* reading takes one ' away */
    xci_text quoted = {0};
    xci_text_format(&quoted, "'%s", text);
    xci_text_csv(csv, quoted.bytes ? quoted.bytes : "", quoted.n_bytes);
    csv->failed |= quoted.failed;
    xci_text_clear(&quoted);
  } else {
    xci_text_csv(csv, text, strlen(text));
  }
}

/* In place: without the ' that guards a formula, runs of white space as one space, none at the ends. */
static const char *tidy(xci_csv *csv, size_t row, size_t column) {
  const char *field = xci_csv_at(csv, row, column);
  if (!*field) return field;
  char *text = csv->bytes + (field - csv->bytes), *to;
  if (*text == '\'' && is_formula(text + strspn(text, "'"))) text++;
  to = text;
  for (const char *from = text; *from; from++) {
    if (!is_space(*from)) *to++ = *from;
    else if (to > text && to[-1] != ' ') *to++ = ' ';
  }
  if (to > text && to[-1] == ' ') to--;
  *to = '\0';
  return text;
}

static size_t find_column(const xci_csv *csv, const char *name) {
  for (size_t i = 0; i < csv->n_columns; i++) {
    const char *at = csv->field[i], *want = name;
    while (is_space(*at)) at++;
    while (*want && tolower((unsigned char)*at) == *want) at++, want++;
    while (is_space(*at)) at++;
    if (!*want && !*at) return i;
  }
  return SIZE_MAX;
}

static xcoder_status read_confidence(const char *path, size_t line, const char *text, const char **out,
                                     xcoder_error *err) {
  static const char *const names[] = {"", "low", "medium", "high"};
  char quoted[XCODER_ERROR_BYTES];
  for (size_t i = 0; i < 4; i++) {
    const char digit[2] = {(char)('0' + i), '\0'};
    size_t k = 0;
    while (names[i][k] && tolower((unsigned char)text[k]) == names[i][k]) k++;
    if ((!names[i][k] && !text[k]) || (i && strcmp(text, digit) == 0)) {
      *out = names[i];
      return XCODER_OK;
    }
  }
  return xci_fail(err, XCODER_FORMAT, "%s: line %zu: confidence '%s' was found, expected low, medium, high or nothing",
                  path, line, xci_quote(quoted, sizeof quoted, text, strlen(text)));
}

static xcoder_status check_text(const char *path, size_t line, const char *what, const char *text, xcoder_error *err) {
  const size_t n = strlen(text);
  if (!xci_utf8_valid(text, n))
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s is not UTF-8 (save the sheet as CSV in UTF-8)", path, line,
                    what);
  if (n > MOST_BYTES)
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu: %s of %zu bytes, at most %d are kept", path, line, what, n,
                    MOST_BYTES);
  return XCODER_OK;
}

/* "anna" of "labels/anna.csv", into the memory of the path; "" for names that name nobody. */
static const char *name_from_path(char *path) {
  char *name = strrchr(path, '/');
  name = name ? name + 1 : path;
  char *dot = strrchr(name, '.');
  if (dot && dot > name) *dot = '\0';
  return strncmp(name, "labels", 6) == 0 || strstr(name, "annotation") ? "" : name;
}

static xcoder_status read_feature(const char *path, size_t line, const xci_csv *csv, size_t row, size_t column,
                                  uint32_t *feature, xcoder_error *err) {
  char quoted[XCODER_ERROR_BYTES];
  const double value = xci_csv_number(csv, row, column);
  const char *text = xci_csv_at(csv, row, column);
  if (!(value >= 0 && value < 4294967295.0) || value != floor(value))
    return xci_fail(err, XCODER_FORMAT, "%s: line %zu: feat_id '%s' was found, expected the number of a feature", path,
                    line, xci_quote(quoted, sizeof quoted, text, strlen(text)));
  *feature = (uint32_t)value;
  return XCODER_OK;
}

typedef struct columns {
  size_t feature, description, languages, annotator, confidence;
} columns;

static xcoder_status find_columns(const char *path, const xci_csv *csv, columns *at, xcoder_error *err) {
  *at = (columns){find_column(csv, "feat_id"), find_column(csv, "description"), find_column(csv, "languages"),
                  find_column(csv, "annotator"), find_column(csv, "confidence")};
  const char *missing = at->feature == SIZE_MAX ? "feat_id" : at->description == SIZE_MAX ? "description" : NULL;
  if (!missing) return XCODER_OK;
  return xci_fail(err, XCODER_FORMAT, "%s: line 1: no column %s, expected feat_id and description%s", path, missing,
                  strchr(csv->field[0], ';') ? " (the fields are separated by ';': save with ',')" : "");
}

static xcoder_status read_row(xci_label_list *list, size_t file, const char *person, size_t row, const columns *at,
                              xcoder_error *err) {
  xci_csv *csv = &list->file[file].csv;
  const char *path = list->file[file].path;
  xci_label label = {.description = tidy(csv, row, at->description), .languages = tidy(csv, row, at->languages),
                     .annotator = tidy(csv, row, at->annotator), .file = file, .line = csv->line[row]};
  const char *confidence = tidy(csv, row, at->confidence);
  if (!*label.description && !*label.languages && !*confidence) { /* a row that nobody filled in */
    list->n_empty++;
    return XCODER_OK;
  }
  xcoder_status status = read_feature(path, label.line, csv, row, at->feature, &label.feature, err);
  if (!status) status = read_confidence(path, label.line, confidence, &label.confidence, err);
  if (!status) status = check_text(path, label.line, "the description", label.description, err);
  if (!status) status = check_text(path, label.line, "languages", label.languages, err);
  if (!status) status = check_text(path, label.line, "the annotator", label.annotator, err);
  if (!*label.annotator) label.annotator = person;
  if (!status && !*label.annotator)
    status = xci_fail(err, XCODER_FORMAT, "%s: line %zu: no annotator (fill in the column, or name the file after the "
                      "person, such as anna.csv)", path, label.line);
  if (!status) status = xci_grow((void **)&list->label, &list->capacity, list->n + 1, sizeof *list->label, err);
  if (!status) list->label[list->n++] = label;
  return status;
}

xcoder_status xci_labels_read(xci_label_list *list, const char *path, xcoder_error *err) {
  xcoder_status status =
      xci_grow((void **)&list->file, &list->file_capacity, list->n_files + 2, sizeof *list->file, err);
  if (status) return status;
  const size_t index = list->n_files;
  xci_label_file *file = &list->file[index], *name = file + 1; /* a second place for the name, cut from the path */
  *file = *name = (xci_label_file){0};
  list->n_files += 2;
  columns at;
  status = xci_copy_text(path, &file->path, err);
  if (!status) status = xci_copy_text(path, &name->path, err);
  if (!status) status = xci_csv_open(path, &file->csv, err);
  if (!status) status = find_columns(path, &file->csv, &at, err);
  const char *person = status ? "" : name_from_path(name->path);
  for (size_t row = 0; !status && row < file->csv.n_rows; row++) status = read_row(list, index, person, row, &at, err);
  return status;
}

static int compare_labels(const void *a, const void *b) {
  const xci_label *p = a, *q = b;
  if (p->feature != q->feature) return p->feature < q->feature ? -1 : 1;
  const int order = strcmp(p->annotator, q->annotator);
  if (order) return order;
  if (p->file != q->file) return p->file < q->file ? -1 : 1;
  return p->line < q->line ? -1 : p->line > q->line;
}

static bool says_the_same(const xci_label *p, const xci_label *q) {
  return !strcmp(p->description, q->description) && !strcmp(p->languages, q->languages) &&
         !strcmp(p->confidence, q->confidence);
}

static xcoder_status fail_twice(const xci_label_list *list, const xci_label *first, const xci_label *second,
                                xcoder_error *err) {
  char who[3][XCODER_ERROR_BYTES / 4];
  return xci_fail(err, XCODER_FORMAT,
                  "%s: line %zu: feature %u by '%s' is '%s' here and '%s' on line %zu, expected one label "
                  "(remove one of the rows)",
                  list->file[second->file].path, second->line, second->feature,
                  xci_quote(who[0], sizeof who[0], second->annotator, strlen(second->annotator)),
                  xci_quote(who[1], sizeof who[1], second->description, strlen(second->description)),
                  xci_quote(who[2], sizeof who[2], first->description, strlen(first->description)), first->line);
}

xcoder_status xci_labels_merge(xci_label_list *list, size_t n_features, xcoder_error *err) {
  size_t kept = 0;
  for (size_t i = 0; n_features && i < list->n; i++)
    if (list->label[i].feature >= n_features)
      return xci_fail(err, XCODER_FORMAT,
                      "%s: line %zu: feature %u was found, the run has features 0 to %zu (is it another "
                      "run's file?)",
                      list->file[list->label[i].file].path, list->label[i].line, list->label[i].feature,
                      n_features - 1);
  if (list->n) qsort(list->label, list->n, sizeof *list->label, compare_labels);
  for (size_t i = 0; i < list->n; i++) {
    const xci_label *next = &list->label[i];
    xci_label *last = kept ? &list->label[kept - 1] : NULL;
    if (!last || last->feature != next->feature || strcmp(last->annotator, next->annotator)) {
      list->label[kept++] = *next;
    } else if (says_the_same(last, next)) {
      list->n_repeated++;
    } else if (last->file == next->file) {
      return fail_twice(list, last, next, err);
    } else {
      list->n_replaced++;
      *last = *next;
    }
  }
  list->n = kept;
  return XCODER_OK;
}

void xci_labels_clear(xci_label_list *list) {
  for (size_t i = 0; i < list->n_files; i++) {
    xci_free(list->file[i].path);
    xci_csv_close(&list->file[i].csv);
  }
  xci_free(list->file);
  xci_free(list->label);
  *list = (xci_label_list){0};
}

const xci_label *xci_labels_of(const xci_label_list *list, uint32_t feature, size_t *n) {
  size_t low = 0, high = list->n;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (list->label[middle].feature < feature) low = middle + 1;
    else high = middle;
  }
  *n = 0;
  while (low + *n < list->n && list->label[low + *n].feature == feature) ++*n;
  return *n ? &list->label[low] : NULL;
}

const char *xci_label_shown(const xci_label_list *list, uint32_t feature) {
  size_t n, most = 0;
  const xci_label *label = xci_labels_of(list, feature, &n);
  const char *shown = "";
  for (size_t i = 0; i < n; i++) {
    size_t votes = 0;
    for (size_t k = 0; k < n; k++) votes += !strcmp(label[i].description, label[k].description);
    if (*label[i].description && votes > most) {
      most = votes;
      shown = label[i].description;
    }
  }
  return shown;
}
