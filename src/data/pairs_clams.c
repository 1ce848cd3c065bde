/* SPDX-License-Identifier: Apache-2.0 */
/* CLAMS (Mueller et al. 2020): lines True or False, a tab, a sentence; the k-th of the one and the k-th of the other
 * are a pair. */
#include "data/pairs.h"

#include <string.h>

static const char *const LABELS[2] = {"False\t", "True\t"};
enum { MAX_WAITING_BYTES = 1 << 26 };

/* Sentences of one kind, zero-terminated, whose partners have not come yet. */
typedef struct waiting {
  xci_text text, scratch;
  size_t at, n;
  int kind;
} waiting;

static xcoder_status add_line(xci_pairs_builder *b, waiting *w, const xci_lines *lines, const char *line,
                              size_t n_bytes, xcoder_error *err) {
  const char *path = xci_stream_path(lines->stream);
  unsigned long long number = lines->number;
  int kind = -1;
  for (int i = 0; i < 2; i++)
    if (n_bytes > strlen(LABELS[i]) && memcmp(line, LABELS[i], strlen(LABELS[i])) == 0) kind = i;
  if (kind < 0)
    return xci_fail(err, XCODER_FORMAT, "%s: line %llu: expected True or False, a tab and a sentence", path, number);
  xcoder_status status = xci_pairs_check_text(lines, line, n_bytes, err);
  if (status) return status;
  bool joins = w->n == 0 || w->kind == kind;
  xci_text *text = joins ? &w->text : &w->scratch;
  if (w->n == 0) w->text.n_bytes = w->at = 0;
  w->scratch.n_bytes = 0;
  xci_text_append(text, line + strlen(LABELS[kind]), n_bytes - strlen(LABELS[kind]));
  xci_text_append(text, "", 1);
  status = xci_text_status(text, err);
  if (status) return status;
  if (joins) {
    w->kind = kind;
    w->n++;
    if (w->text.n_bytes > MAX_WAITING_BYTES)
      return xci_fail(err, XCODER_FORMAT, "%s: line %llu: too many sentences in a row that are all %s", path, number,
                      kind ? "True" : "False");
    return XCODER_OK;
  }
  const char *first = w->text.bytes + w->at;
  w->at += strlen(first) + 1;
  w->n--;
  return xci_pairs_add_sentences(b, kind ? text->bytes : first, kind ? first : text->bytes, true, b->file_group.bytes,
                                 b->file_language, err);
}

xcoder_status xci_read_clams(xci_pairs_builder *b, xci_lines *lines, const char *line, size_t n_bytes,
                             xcoder_error *err) {
  waiting w = {0};
  xcoder_status status = XCODER_OK;
  while (!status && line && !xci_pairs_full(b)) {
    while (n_bytes && (line[n_bytes - 1] == '\r' || line[n_bytes - 1] == ' ')) n_bytes--;
    if (n_bytes) status = add_line(b, &w, lines, line, n_bytes, err);
    if (!status) status = xci_pairs_line(lines, &line, &n_bytes, err);
  }
  if (!status && w.n && !xci_pairs_full(b))
    status = xci_fail(err, XCODER_FORMAT, "%s: %zu sentences marked %s have no partner marked %s",
                      xci_stream_path(lines->stream), w.n, w.kind ? "True" : "False", w.kind ? "False" : "True");
  xci_text_clear(&w.text);
  xci_text_clear(&w.scratch);
  return status;
}

static bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

void xci_clams_place(const char *folder, const char *stem, char language[4], xci_text *group) {
  static const char *const languages[] = {"de_", "en_", "fr_", "he_", "ru_"};
  if (is_letter(folder[0]) && is_letter(folder[1]) && (!folder[2] || strcmp(folder + 2, "_evalset") == 0)) {
    memcpy(language, folder, 2);
    language[2] = '\0';
  }
  for (size_t i = 0; !language[0] && i < sizeof languages / sizeof *languages; i++)
    if (strncmp(stem, languages[i], 3) == 0 && stem[3]) {
      memcpy(language, stem, 2);
      language[2] = '\0';
      stem += 3;
    }
  xci_text_add(group, stem);
}
