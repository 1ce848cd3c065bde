/* SPDX-License-Identifier: Apache-2.0 */
/* Making error messages: one line, hostile text shown escaped. */
#ifndef XCI_BASE_ERROR_H
#define XCI_BASE_ERROR_H

#include <crosscoder/status.h>
#include <stddef.h>

/* Fills *err (if not NULL) and returns `status`. The message is cut at XCODER_ERROR_BYTES and control
 * characters, C1, bidi overrides and invalid UTF-8 in it are escaped (\x1b, \u202e). */
xcoder_status xci_fail(xcoder_error *err, xcoder_status status, const char *format, ...) XCODER_PRINTF(3, 4);

/* The same with the errno text appended: "PATH: cannot open: No such file or directory". The status is
 * XCODER_MISSING for ENOENT/ENOTDIR, XCODER_MEMORY for ENOMEM, else XCODER_IO. */
xcoder_status xci_fail_errno(xcoder_error *err, const char *path, const char *action);

/* Escapes `n` bytes of untrusted text into `out` (always terminated), cutting at 200 bytes of input with "...".
 * Returns `out`. */
char *xci_quote(char *out, size_t out_bytes, const char *text, size_t n);

#endif
