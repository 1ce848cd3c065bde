/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of verdicts. */
#include "analysis/quality/verdict.h"

#include "base/memory.h"
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void xcoder_verdicts_free(xcoder_verdicts *verdicts) {
  if (!verdicts) return;
  xci_free(verdicts->item);
  *verdicts = (xcoder_verdicts){0};
}

xcoder_status xci_verdict_add(xcoder_verdicts *verdicts, bool pass, const char *remedy, const char *value,
                              const char *limit, xcoder_error *err, const char *name_format, ...) {
  xcoder_verdict *larger = NULL;
  va_list arguments;
  const xcoder_status status = XCI_ALLOC(&larger, verdicts->n + 1, err);
  if (status) return status;
  if (verdicts->n) memcpy(larger, verdicts->item, verdicts->n * sizeof *larger);
  xcoder_verdict *verdict = &larger[verdicts->n];
  va_start(arguments, name_format);
  vsnprintf(verdict->name, sizeof verdict->name, name_format, arguments);
  va_end(arguments);
  verdict->pass = pass;
  snprintf(verdict->value, sizeof verdict->value, "%s", value);
  snprintf(verdict->limit, sizeof verdict->limit, "%s", limit);
  snprintf(verdict->remedy, sizeof verdict->remedy, "%s", pass ? "" : remedy);
  xci_free(verdicts->item);
  verdicts->item = larger;
  verdicts->n++;
  return XCODER_OK;
}

void xci_verdicts_write(xci_json_out *out, const xcoder_verdicts *verdicts) {
  xci_json_line(out);
  xci_json_open(out, "verdicts", '[');
  for (size_t i = 0; i < verdicts->n; i++) {
    const xcoder_verdict *verdict = &verdicts->item[i];
    xci_json_line(out);
    xci_json_open(out, NULL, '{');
    xci_json_text(out, "name", verdict->name);
    xci_json_flag(out, "pass", verdict->pass);
    xci_json_text(out, "value", verdict->value);
    xci_json_text(out, "limit", verdict->limit);
    xci_json_text(out, "remedy", verdict->remedy);
    xci_json_close(out, '}');
  }
  xci_json_close(out, ']');
}

const char *xci_fixed(char out[32], double value, int decimals) {
  if (isnan(value)) snprintf(out, 32, "undefined");
  else snprintf(out, 32, "%.*f", decimals, value);
  char *point = strchr(out, localeconv()->decimal_point[0]);
  if (point) *point = '.';
  return out;
}
