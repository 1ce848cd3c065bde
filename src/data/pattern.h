/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions of tokenizer files: Oniguruma's syntax, run by PCRE2 under limits. */
#ifndef XCI_DATA_PATTERN_H
#define XCI_DATA_PATTERN_H

#include "base/error.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_pattern xci_pattern;
typedef struct xci_match xci_match; /* work space of one thread for one pattern */

/* `literal`: the text itself is searched for. `path` and `place` are for messages. */
xcoder_status xci_pattern_open(const char *text, bool literal, const char *path, const char *place,
                               xci_pattern **pattern, xcoder_error *err);
void xci_pattern_close(xci_pattern *pattern);
xcoder_status xci_match_open(const xci_pattern *pattern, xci_match **match, xcoder_error *err);
void xci_match_close(xci_match *match);

/* The next match of the pattern in valid UTF-8 at or after `from`. An unbounded search ends with XCODER_FORMAT, which
 * names the pattern. */
xcoder_status xci_pattern_find(const xci_pattern *pattern, xci_match *match, const char *text, size_t n_bytes,
                               size_t from, bool *found, size_t *start, size_t *end, xcoder_error *err);

/* Writes Oniguruma's pattern as PCRE2 understands it (pattern_rewrite.c); false and a reason if that is not known. */
bool xci_pattern_rewrite(const char *pattern, xci_text *out, const char **reason);

#endif
