/* SPDX-License-Identifier: Apache-2.0 */
/* Error messages and the meaning of statuses. */
#include "base/error.h"

#include "base/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  int exit_status;
} statuses[] = {
    [XCODER_OK] = {"ok", 0},
    [XCODER_INTERNAL] = {"internal", 1},
    [XCODER_USAGE] = {"usage", 2},
    [XCODER_MISSING] = {"missing", 3},
    [XCODER_FORMAT] = {"format", 3},
    [XCODER_UNSUPPORTED] = {"unsupported", 3},
    [XCODER_MISMATCH] = {"mismatch", 3},
    [XCODER_IO] = {"io", 4},
    [XCODER_MEMORY] = {"memory", 5},
    [XCODER_DEVICE] = {"device", 6},
    [XCODER_DIVERGED] = {"diverged", 7},
    [XCODER_LOCKED] = {"locked", 8},
    [XCODER_STATE] = {"state", 9},
    [XCODER_INTERRUPTED] = {"interrupted", 130},
};

int xcoder_exit_status(xcoder_status status) {
  size_t i = (size_t)status;
  return i < sizeof statuses / sizeof *statuses ? statuses[i].exit_status : 1;
}

const char *xcoder_status_name(xcoder_status status) {
  size_t i = (size_t)status;
  return i < sizeof statuses / sizeof *statuses ? statuses[i].name : "unknown";
}

/* Characters that could move the cursor, hide text or reverse its order on a terminal. */
static int is_dangerous(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* Copies text into out, escaping what is dangerous or invalid, and stops before an escape that does not fit. */
static void escape(char *out, size_t out_bytes, const char *text, size_t n) {
  size_t used = 0;
  for (size_t i = 0; i < n;) {
    uint32_t code_point = 0;
    size_t length = xci_utf8_decode(text + i, n - i, &code_point);
    char piece[12];
    size_t piece_bytes;
    if (length == 0 || (is_dangerous(code_point) && code_point < 0x100)) {
      piece_bytes = (size_t)snprintf(piece, sizeof piece, "\\x%02x", length ? (unsigned)code_point
                                                                            : (unsigned)(unsigned char)text[i]);
      length = length ? length : 1;
    } else if (is_dangerous(code_point)) {
      piece_bytes = (size_t)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)code_point);
    } else {
      memcpy(piece, text + i, length);
      piece_bytes = length;
    }
    if (used + piece_bytes + 1 > out_bytes) break;
    memcpy(out + used, piece, piece_bytes);
    used += piece_bytes;
    i += length;
  }
  if (out_bytes > 0) out[used] = '\0';
}

char *xci_quote(char *out, size_t out_bytes, const char *text, size_t n) {
  enum { LONGEST = 200 };
  if (n <= LONGEST) {
    escape(out, out_bytes, text, n);
    return out;
  }
  escape(out, out_bytes > 3 ? out_bytes - 3 : out_bytes, text, LONGEST);
  size_t used = strlen(out);
  if (used + 4 <= out_bytes) memcpy(out + used, "...", 4);
  return out;
}

xcoder_status xci_fail(xcoder_error *err, xcoder_status status, const char *format, ...) {
  if (!err) return status;
  char raw[XCODER_ERROR_BYTES * 2];
  va_list arguments;
  va_start(arguments, format);
  int written = vsnprintf(raw, sizeof raw, format, arguments);
  va_end(arguments);
  size_t length = written < 0 ? 0 : (size_t)written < sizeof raw ? (size_t)written : sizeof raw - 1;
  err->status = status;
  escape(err->message, sizeof err->message, raw, length);
  return status;
}

xcoder_status xci_fail_errno(xcoder_error *err, const char *path, const char *action) {
  int code = errno;
  xcoder_status status = code == ENOENT || code == ENOTDIR ? XCODER_MISSING
                         : code == ENOMEM                  ? XCODER_MEMORY
                                                           : XCODER_IO;
  char name[256];
  return xci_fail(err, status, "%s: %s: %s", xci_quote(name, sizeof name, path, strlen(path)), action,
                  strerror(code));
}
