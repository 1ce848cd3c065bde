/* SPDX-License-Identifier: Apache-2.0 */
/* Which files hold tokens, and in which form: told by the first bytes, by the name where those leave it open. */
#include "base/bytes.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size.h"
#include "base/text.h"
#include "data/tokens.h"
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { LOOKED_AT = 64 << 10 };

static bool ends_with(const char *path, const char *ending) {
  size_t n = strlen(path), m = strlen(ending);
  return n > m && strcasecmp(path + n - m, ending) == 0;
}

xcoder_status xci_token_file_beside(const char *path, const char *ending, char **out, xcoder_error *err) {
  xci_text name = {0};
  const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
  *out = NULL;
  xci_text_append(&name, path, dot && dot > (slash ? slash + 1 : path) ? (size_t)(dot - path) : strlen(path));
  xci_text_add(&name, ending);
  xcoder_status status = xci_text_status(&name, err);
  if (!status) status = xci_copy_text(name.bytes, out, err);
  xci_text_clear(&name);
  return status;
}

static xcoder_status read_start(const char *path, unsigned char *bytes, size_t *n, uint64_t *n_all, xcoder_error *err) {
  int descriptor = -1;
  *n = 0;
  xcoder_status status = xci_open_regular(path, &descriptor, n_all, err);
  if (status) return status;
  while (*n < LOOKED_AT) {
    ssize_t more = read(descriptor, bytes + *n, LOOKED_AT - *n);
    if (more < 0 && errno == EINTR) continue;
    if (more < 0) status = xci_fail_errno(err, path, "cannot read");
    if (more <= 0) break;
    *n += (size_t)more;
  }
  close(descriptor);
  return status;
}

static bool starts_with(const unsigned char *bytes, size_t n, const char *magic, size_t n_magic) {
  return n >= n_magic && memcmp(bytes, magic, n_magic) == 0;
}

static xci_token_form form_of_magic(const unsigned char *bytes, size_t n) {
  if (starts_with(bytes, n, "\x93NUMPY", 6)) return XCI_TOKENS_NPY;
  if (starts_with(bytes, n, "MMIDIDX\0\0", 9)) return XCI_TOKENS_MEGATRON;
  if (starts_with(bytes, n, "TNTIDX\0\0", 8)) return XCI_TOKENS_INDEXED;
  if (starts_with(bytes, n, "PK\3\4", 4) || starts_with(bytes, n, "\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9", 9))
    return XCI_TOKENS_TORCH;
  return XCI_NO_TOKENS;
}

/* Ids of 32 bits have small upper halves; of two ids of 16 bits the second is not always below 16. */
static xci_token_form guess_width(const unsigned char *bytes, size_t n, uint64_t n_all) {
  if (n_all % 4 != 0 || n < 4) return XCI_TOKENS_U16;
  for (size_t i = 0; i + 4 <= n; i += 4)
    if (xci_load_u32(bytes + i) >> 20) return XCI_TOKENS_U16;
  return XCI_TOKENS_U32;
}

/* Text has no zero bytes, plain numbers have them within a few ids. What is named as text, is compressed or starts
 * like JSON lines stays text, so that its faults are reported as such. */
static bool is_text(const char *path, const unsigned char *bytes, size_t n) {
  static const char *const endings[] = {".txt", ".json", ".jsonl", ".ndjson", ".gz", ".zst"};
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
    if (ends_with(path, endings[i])) return true;
  if (starts_with(bytes, n, "\x1f\x8b\x08", 3) || starts_with(bytes, n, "\x28\xb5\x2f\xfd", 4)) return true;
  if (starts_with(bytes, n, "{\"", 2)) return true;
  return memchr(bytes, '\0', n) == NULL;
}

/* NAME.bin whose NAME.idx is an index; false also if that cannot be read. */
static bool has_index(const char *path, unsigned char *bytes, xci_token_form *form) {
  char *index = NULL;
  size_t n = 0;
  uint64_t n_all = 0;
  if (!ends_with(path, ".bin") || xci_token_file_beside(path, ".idx", &index, NULL)) return false;
  *form = read_start(index, bytes, &n, &n_all, NULL) ? XCI_NO_TOKENS : form_of_magic(bytes, n);
  xci_free(index);
  return *form == XCI_TOKENS_MEGATRON || *form == XCI_TOKENS_INDEXED;
}

static xci_token_form form_of_numbers(const char *path, const unsigned char *bytes, size_t n, uint64_t n_all,
                                      unsigned token_bytes) {
  if (token_bytes == 2 || (!token_bytes && ends_with(path, ".u16"))) return XCI_TOKENS_U16;
  if (token_bytes == 4 || (!token_bytes && ends_with(path, ".u32"))) return XCI_TOKENS_U32;
  return guess_width(bytes, n, n_all);
}

xcoder_status xci_token_file_form(const char *path, unsigned token_bytes, xci_token_form *form, xcoder_error *err) {
  static const char *const endings[] = {".u16", ".u32", ".npy", ".bin"};
  unsigned char *bytes = NULL;
  size_t n = 0;
  uint64_t n_all = 0;
  *form = XCI_NO_TOKENS;
  if (strcmp(path, "-") == 0) return XCODER_OK;
  xcoder_status status = XCI_ALLOC(&bytes, LOOKED_AT, err);
  if (!status) status = read_start(path, bytes, &n, &n_all, err);
  if (status) {
    xci_free(bytes);
    return status;
  }
  bool named = false;
  for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) named = named || ends_with(path, endings[i]);
  *form = form_of_magic(bytes, n);
  if (*form == XCI_NO_TOKENS && ends_with(path, ".idx")) *form = XCI_TOKENS_MEGATRON; /* its reader will complain */
  else if (*form == XCI_NO_TOKENS && (named || !is_text(path, bytes, n)))
    *form = form_of_numbers(path, bytes, n, n_all, token_bytes);
  xci_token_form beside = XCI_NO_TOKENS;
  if (*form == XCI_TOKENS_U16 || *form == XCI_TOKENS_U32)
    if (!token_bytes && has_index(path, bytes, &beside)) *form = beside;
  xci_free(bytes);
  return XCODER_OK;
}

bool xcoder_tokens_recognize(const char *path) {
  xci_token_form form = XCI_NO_TOKENS;
  return !xci_token_file_form(path, 0, &form, NULL) && form != XCI_NO_TOKENS;
}
