/* SPDX-License-Identifier: Apache-2.0 */
/* Unicode normalisation of text of any length, in time n log n. */
#ifndef XCI_DATA_NORMALIZE_H
#define XCI_DATA_NORMALIZE_H

#include "base/error.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct xci_form {
  bool compose;   /* NFC, NFKC */
  bool compatible; /* NFKC, NFKD */
} xci_form;

/* Work space, kept between calls. */
typedef struct xci_normalizer {
  xci_text out;
  int32_t *code_points, *sorted;
  size_t capacity, sorted_capacity;
} xci_normalizer;

/* The normal form of valid UTF-8. *out is `text` itself where nothing changes, else it points into the work space
 * until the next call. */
xcoder_status xci_normalize(xci_normalizer *work, xci_form form, const char *text, size_t n_bytes, const char **out,
                            size_t *n_out, xcoder_error *err);
void xci_normalizer_clear(xci_normalizer *work);

/* True for code points that NFC never changes, alone or beside others of their kind (a subset, for speed). */
bool xci_inert_in_nfc(uint32_t code_point);

#endif
