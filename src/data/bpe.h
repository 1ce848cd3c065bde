/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-pair encoding of one piece of text. */
#ifndef XCI_DATA_BPE_H
#define XCI_DATA_BPE_H

#include "data/maps.h"

enum { XCI_NO_TOKEN = 0xffffffff };

typedef struct xci_ids {
  uint32_t *ids;
  size_t n, capacity;
} xci_ids;

xcoder_status xci_ids_add(xci_ids *ids, const uint32_t *more, size_t n, xcoder_error *err);

/* What byte-pair encoding needs of a tokenizer. */
typedef struct xci_bpe {
  xci_pair_map merges;         /* left id << 32 | right id -> rank, product */
  uint32_t byte_token[256];    /* XCI_NO_TOKEN: the vocabulary has no symbol for the byte */
  uint32_t unknown;            /* stands for such bytes; XCI_NO_TOKEN: they are dropped */
  bool fuse_unknown;           /* one for a run of them */
  bool whole_first;            /* ignore_merges: a piece that is a token stays whole */
  xci_string_map whole;        /* bytes -> id, with whole_first */
} xci_bpe;

typedef struct xci_bpe_work xci_bpe_work; /* one thread's: cache and scratch */
xcoder_status xci_bpe_work_open(bool with_cache, xci_bpe_work **work, xcoder_error *err);
void xci_bpe_work_close(xci_bpe_work *work);

xcoder_status xci_bpe_encode(const xci_bpe *bpe, xci_bpe_work *work, const char *piece, size_t n_bytes, xci_ids *out,
                             xcoder_error *err);

/* The two ways of merging; equal results (tests compare them). *n symbols become *n tokens in place. */
void xci_bpe_merge_short(const xci_bpe *bpe, uint32_t *symbols, size_t *n);
enum { XCI_BPE_SHORT = 48 };
xcoder_status xci_bpe_merge_long(const xci_bpe *bpe, xci_bpe_work *work, uint32_t *symbols, size_t *n,
                                 xcoder_error *err);

#endif
