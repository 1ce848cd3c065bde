/* SPDX-License-Identifier: Apache-2.0 */
/* Bad, unsupported and good files, made on the spot: the tests read them, the fuzzers start from them. */
#ifndef TESTS_FORMATS_CORPUS_H
#define TESTS_FORMATS_CORPUS_H

#include "base/text.h"
#include <crosscoder/status.h>

typedef struct corpus_case {
  const char *name;
  xcoder_status expected; /* of opening */
  const char *words;      /* in the message; NULL: none */
  /* safetensors: the JSON header, and the number of data bytes behind it; npy: the dictionary (version 1) likewise;
   * JSON: the whole text. NULL: `make` appends the whole file. */
  const char *text;
  size_t n_data;
  void (*make)(xci_text *file);
  uint64_t sparse_bytes; /* the file is extended to this many bytes by a hole */
} corpus_case;

typedef struct corpus_format {
  const char *name, *suffix;
  const corpus_case *cases; /* ends with a case without name */
  void (*wrap)(const corpus_case *entry, xci_text *file); /* makes a file of text and n_data */
} corpus_format;

extern const corpus_format corpus_safetensors, corpus_npy, corpus_json;

/* The bytes of a case (without its hole). */
void corpus_make(const corpus_format *format, const corpus_case *entry, xci_text *file);
/* Writes a case to a file, without syncing. False if that fails. */
int corpus_write(const corpus_format *format, const corpus_case *entry, const char *path);
int corpus_write_bytes(const char *path, const char *bytes, size_t n_bytes, uint64_t sparse_bytes);

void corpus_add_u64(xci_text *file, uint64_t value);
void corpus_repeat(xci_text *file, const char *text, size_t count);

#endif
