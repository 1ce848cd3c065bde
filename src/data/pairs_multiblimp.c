/* SPDX-License-Identifier: Apache-2.0 */
/* MultiBLiMP (Jumelet et al. 2025): a table with a header, columns between tabs, fields quoted as in CSV; or the same
 * rows as JSON lines. Columns are found by name. */
#include "data/pairs.h"

#include <string.h>

static const size_t MAX_ROW_BYTES = (size_t)1 << 20;

enum { GOOD, BAD, PHENOMENON, N_WANTED };
static const char *const WANTED[N_WANTED] = {"sen", "wrong_sen", "phenomenon"};

typedef enum field_state { AT_START, PLAIN, QUOTED, BEHIND_QUOTE } field_state;

typedef struct table {
  xci_lines *lines;
  xci_text cells; /* of one row, zero-terminated each */
  size_t n_cells, n_columns, column[N_WANTED];
  uint64_t row; /* line on which the row begins */
} table;

static xcoder_status fail_row(const table *t, const char *what, xcoder_error *err) {
  return xci_fail(err, XCODER_FORMAT, "%s: line %llu: %s", xci_stream_path(t->lines->stream),
                  (unsigned long long)t->row, what);
}

/* One character of a field; false if it may not stand there. */
static bool read_character(table *t, field_state *state, char c) {
  if (*state == QUOTED && c != '"') {
    xci_text_append(&t->cells, &c, 1);
  } else if (*state == QUOTED) {
    *state = BEHIND_QUOTE;
  } else if (c == '\t') {
    xci_text_append(&t->cells, "", 1);
    t->n_cells++;
    *state = AT_START;
  } else if (c == '"' && *state == AT_START) {
    *state = QUOTED;
  } else if (*state == BEHIND_QUOTE && c != '"') {
    return false;
  } else { /* a quote within a plain field stands for itself, a doubled one in a quoted field for one */
    xci_text_append(&t->cells, &c, 1);
    *state = *state == BEHIND_QUOTE ? QUOTED : PLAIN;
  }
  return true;
}

/* A row that begins with `line`; a quoted field may hold newlines. */
static xcoder_status read_row(table *t, const char *line, size_t n_bytes, xcoder_error *err) {
  field_state state = AT_START;
  t->cells.n_bytes = t->n_cells = 0;
  t->row = t->lines->number;
  for (;;) {
    xcoder_status status = xci_pairs_check_text(t->lines, line, n_bytes, err);
    for (size_t i = 0; !status && i < n_bytes; i++) {
      bool at_end = line[i] == '\r' && i + 1 == n_bytes && state != QUOTED;
      if (!at_end && !read_character(t, &state, line[i]))
        status = fail_row(t, "characters behind the closing quote of a field", err);
    }
    if (!status && t->cells.n_bytes > MAX_ROW_BYTES) status = fail_row(t, "a row of more than 1 MiB", err);
    if (status) return status;
    if (state != QUOTED) break;
    xci_text_append(&t->cells, "\n", 1);
    status = xci_pairs_line(t->lines, &line, &n_bytes, err);
    if (status) return status;
    if (!line) return fail_row(t, "the closing quote of a field is missing", err);
  }
  xci_text_append(&t->cells, "", 1);
  t->n_cells++;
  return xci_text_status(&t->cells, err);
}

static xcoder_status read_header(table *t, xcoder_error *err) {
  const char *cell = t->cells.bytes;
  for (size_t k = 0; k < N_WANTED; k++) t->column[k] = SIZE_MAX;
  t->n_columns = t->n_cells;
  for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1)
    for (size_t k = 0; k < N_WANTED; k++) {
      if (strcmp(cell, WANTED[k]) != 0) continue;
      if (t->column[k] != SIZE_MAX) return fail_row(t, "two columns have the same name", err);
      t->column[k] = i;
    }
  for (size_t k = 0; k < N_WANTED; k++)
    if (t->column[k] == SIZE_MAX)
      return xci_fail(err, XCODER_FORMAT, "%s: line %llu: no column '%s': not MultiBLiMP",
                      xci_stream_path(t->lines->stream), (unsigned long long)t->row, WANTED[k]);
  return XCODER_OK;
}

static xcoder_status add_row(xci_pairs_builder *b, const table *t, xcoder_error *err) {
  const char *cell = t->cells.bytes, *wanted[N_WANTED] = {"", "", ""};
  if (t->n_cells != t->n_columns)
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: %zu columns, the header has %zu",
                    xci_stream_path(t->lines->stream), (unsigned long long)t->row, t->n_cells, t->n_columns);
  for (size_t i = 0; i < t->n_cells; i++, cell += strlen(cell) + 1)
    for (size_t k = 0; k < N_WANTED; k++)
      if (t->column[k] == i) wanted[k] = cell;
  if (b->options->sentences) /* MultiBLiMP's own scoring puts nothing before a sentence */
    return xci_pairs_add_whole(b, "", wanted[GOOD], strlen(wanted[GOOD]), wanted[BAD], strlen(wanted[BAD]),
                               wanted[PHENOMENON], b->file_language, err);
  return xci_pairs_add_sentences(b, wanted[GOOD], wanted[BAD], false, wanted[PHENOMENON], b->file_language, err);
}

xcoder_status xci_read_multiblimp(xci_pairs_builder *b, xci_lines *lines, const char *line, size_t n_bytes,
                                  xcoder_error *err) {
  table t = {.lines = lines};
  xcoder_status status = read_row(&t, line, n_bytes, err);
  if (!status) status = read_header(&t, err);
  while (!status && !xci_pairs_full(b)) {
    status = xci_pairs_line(lines, &line, &n_bytes, err);
    if (status || !line) break;
    if (n_bytes == 0 || (n_bytes == 1 && line[0] == '\r')) continue;
    status = read_row(&t, line, n_bytes, err);
    if (!status) status = add_row(b, &t, err);
  }
  xci_text_clear(&t.cells);
  return status;
}

xcoder_status xci_read_multiblimp_item(xci_pairs_builder *b, const json_t *line, const char *path, uint64_t number,
                                       xcoder_error *err) {
  const char *texts[N_WANTED] = {0}, *language = NULL;
  xcoder_status status = xci_item_text(line, path, number, "language", &language, err);
  for (size_t k = 0; !status && k < N_WANTED; k++) {
    status = xci_item_text(line, path, number, WANTED[k], &texts[k], err);
    if (!status && !texts[k])
      status = xci_fail(err, XCODER_FORMAT, "%s: line %llu: no key '%s': not MultiBLiMP", path,
                        (unsigned long long)number, WANTED[k]);
  }
  if (status) return status;
  if (b->options->sentences)
    return xci_pairs_add_whole(b, "", texts[GOOD], strlen(texts[GOOD]), texts[BAD], strlen(texts[BAD]),
                               texts[PHENOMENON], language ? language : b->file_language, err);
  return xci_pairs_add_sentences(b, texts[GOOD], texts[BAD], false, texts[PHENOMENON],
                                 language ? language : b->file_language, err);
}

static bool is_code(const char *name) {
  for (size_t i = 0; i < 3; i++)
    if (name[i] < 'a' || name[i] > 'z') return false;
  return name[3] == '\0';
}

void xci_multiblimp_place(const char *folder, const char *stem, char language[4], xci_text *group) {
  (void)group; /* it stands in the rows */
  const char *name = strcmp(stem, "data") == 0 ? folder : stem;
  if (is_code(name)) memcpy(language, name, 4);
}
