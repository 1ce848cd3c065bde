/* SPDX-License-Identifier: Apache-2.0 */
/* Text of the command line: errors, growing strings, comparing names, paths. */
#include "text.h"

#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of the UTF-8 character at `s` (1 to 4), 0 where it is malformed; `*code` is its number. */
static size_t read_character(const unsigned char *s, size_t n, uint32_t *code) {
  *code = s[0];
  if (s[0] < 0x80)
    return 1;
  size_t n_more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : 1;
  if (s[0] < 0xc2 || s[0] > 0xf4 || n_more >= n)
    return 0;
  uint32_t c = s[0] & (0x3fu >> n_more);
  for (size_t i = 1; i <= n_more; i++) {
    if ((s[i] & 0xc0) != 0x80)
      return 0;
    c = (c << 6) | (s[i] & 0x3fu);
  }
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  if (c < least[n_more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
    return 0;
  *code = c;
  return n_more + 1;
}

/* Writes `text` so that a terminal shows it as it is; returns the bytes written, at most room - 1. */
static size_t escape(const char *text, size_t n_bytes, char *out, size_t room) {
  const unsigned char *s = (const unsigned char *)text;
  size_t n_out = 0;
  for (size_t i = 0; i < n_bytes;) {
    uint32_t code;
    size_t n = read_character(s + i, n_bytes - i, &code);
    char piece[16];
    size_t n_piece;
    bool direction = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code == 0x200e ||
                     code == 0x200f || code == 0x2028 || code == 0x2029;
    if (n == 0 || code < 0x20 || code == 0x7f) {
      n_piece = (size_t)snprintf(piece, sizeof piece, "\\x%02x", s[i]);
      n = 1;
    } else if ((code >= 0x80 && code < 0xa0) || direction) {
      n_piece = (size_t)snprintf(piece, sizeof piece, "\\u%04x", (unsigned)code);
    } else {
      memcpy(piece, s + i, n);
      n_piece = n;
    }
    if (n_out + n_piece >= room)
      break;
    memcpy(out + n_out, piece, n_piece);
    n_out += n_piece;
    i += n;
  }
  out[n_out] = '\0';
  return n_out;
}

xcoder_status cli_fail(xcoder_error *err, xcoder_status status, const char *format, ...) {
  char raw[XCODER_ERROR_BYTES];
  va_list list;
  va_start(list, format);
  vsnprintf(raw, sizeof raw, format, list);
  va_end(list);
  err->status = status;
  escape(raw, strlen(raw), err->message, sizeof err->message);
  return status;
}

xcoder_status cli_fail_memory(xcoder_error *err) {
  return cli_fail(err, XCODER_MEMORY, "out of memory");
}

void cli_prefix_error(xcoder_error *err, const char *prefix) {
  char rest[XCODER_ERROR_BYTES];
  memcpy(rest, err->message, sizeof rest);
  size_t n = escape(prefix, strlen(prefix), err->message, sizeof err->message / 2);
  snprintf(err->message + n, sizeof err->message - n, ": %.*s", (int)(sizeof err->message - n - 3), rest);
}

static bool reserve(cli_string *string, size_t n_more) {
  if (string->failed)
    return false;
  if (string->room - string->n_bytes > n_more)
    return true;
  size_t room = string->room ? string->room : 256;
  while (room - string->n_bytes <= n_more) {
    if (room > SIZE_MAX / 2) {
      string->failed = true;
      return false;
    }
    room *= 2;
  }
  char *text = realloc(string->text, room);
  if (!text) {
    string->failed = true;
    return false;
  }
  string->text = text;
  string->room = room;
  return true;
}

void cli_add_bytes(cli_string *string, const char *bytes, size_t n_bytes) {
  if (!reserve(string, n_bytes))
    return;
  memcpy(string->text + string->n_bytes, bytes, n_bytes);
  string->n_bytes += n_bytes;
  string->text[string->n_bytes] = '\0';
}

void cli_add(cli_string *string, const char *text) { cli_add_bytes(string, text, strlen(text)); }

void cli_addf(cli_string *string, const char *format, ...) {
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int n = vsnprintf(NULL, 0, format, list);
  va_end(list);
  if (n >= 0 && reserve(string, (size_t)n)) {
    vsnprintf(string->text + string->n_bytes, (size_t)n + 1, format, again);
    string->n_bytes += (size_t)n;
  }
  va_end(again);
}

void cli_string_free(cli_string *string) {
  free(string->text);
  *string = (cli_string){0};
}

char *cli_format(const char *format, ...) {
  va_list list, again;
  va_start(list, format);
  va_copy(again, list);
  int n = vsnprintf(NULL, 0, format, list);
  va_end(list);
  char *text = n < 0 ? NULL : malloc((size_t)n + 1);
  if (text)
    vsnprintf(text, (size_t)n + 1, format, again);
  va_end(again);
  return text;
}

char *cli_copy(const char *text) { return cli_format("%s", text); }

char *cli_printable(const char *text, size_t n_bytes) {
  if (n_bytes > (SIZE_MAX - 8) / 6)
    return NULL;
  size_t room = n_bytes * 6 + 8; /* the longest form of one byte is \uNNNN */
  char *out = malloc(room);
  if (out)
    escape(text, n_bytes, out, room);
  return out;
}

size_t cli_distance(const char *a, const char *b) {
  size_t n_a = strlen(a), n_b = strlen(b);
  if (n_a > 63 || n_b > 63)
    return 64;
  size_t rows[3][64] = {{0}};
  for (size_t j = 0; j <= n_b; j++)
    rows[0][j] = j;
  size_t *before = rows[2], *last = rows[0], *now = rows[1];
  for (size_t i = 1; i <= n_a; i++) {
    now[0] = i;
    for (size_t j = 1; j <= n_b; j++) {
      size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best)
        best = last[j] + 1;
      if (now[j - 1] + 1 < best)
        best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
    size_t *spare = before;
    before = last;
    last = now;
    now = spare;
  }
  return last[n_b];
}

char *cli_join(const char *folder, const char *path) {
  if (!folder || path[0] == '/' || strcmp(folder, ".") == 0)
    return cli_copy(path);
  return cli_format("%s/%s", folder, path);
}

char *cli_folder_of(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    return cli_copy(".");
  if (slash == path)
    return cli_copy("/");
  return cli_format("%.*s", (int)(slash - path), path);
}

const char *cli_base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

bool cli_is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool cli_is_regular(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool cli_exists(const char *path) {
  struct stat st;
  return stat(path, &st) == 0;
}

char *cli_absolute(const char *path) {
  char *real = realpath(path, NULL);
  if (real || path[0] == '/')
    return real ? real : cli_copy(path);
  char *here = getcwd(NULL, 0);
  char *joined = here ? cli_format("%s/%s", here, path) : NULL;
  free(here);
  return joined;
}

bool cli_is_utf8(const char *text) {
  size_t n_bytes = strlen(text);
  for (size_t i = 0; i < n_bytes;) {
    uint32_t code;
    size_t n = read_character((const unsigned char *)text + i, n_bytes - i, &code);
    if (n == 0)
      return false;
    i += n;
  }
  return true;
}
