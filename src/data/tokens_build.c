/* SPDX-License-Identifier: Apache-2.0 */
/* From a corpus to token sequences: documents are read in order, tokenized by all threads, joined in order. */
#include "base/memory.h"
#include "base/parallel.h"
#include "base/size.h"
#include "data/encode.h"
#include "data/tokens.h"
#include <string.h>

enum { BATCH_DOCUMENTS = 512, BATCH_BYTES = 4 << 20 };

typedef struct worker {
  xci_encoder *encoder;
  xcoder_status status; /* of the first document that failed here */
  size_t failed_document;
  xcoder_error error;
} worker;

typedef struct builder {
  const xcoder_tokens_options *options;
  uint32_t end_of_text;
  worker *workers;
  size_t n_workers;
  xci_text texts;                      /* of the batch, one after the other */
  size_t text_end[BATCH_DOCUMENTS];
  xci_ids encoded[BATCH_DOCUMENTS];
  size_t n_documents;
  xci_ids ids;   /* the result */
  size_t *start; /* XCODER_DOCUMENTS */
  size_t n_sequences, start_capacity;
  bool full;     /* max_tokens is reached */
} builder;

static xcoder_status check_options(const xcoder_tokenizer *tokenizer, builder *b, xcoder_error *err) {
  const xcoder_tokens_options *options = b->options;
  bool needs_end = options->layout == XCODER_PACKED || !options->no_prepend;
  if (options->length == 0) return xci_fail(err, XCODER_USAGE, "token sequences of length 0");
  if (options->layout == XCODER_DOCUMENTS && options->min_length > options->length)
    return xci_fail(err, XCODER_USAGE, "the shortest sequence, %zu, is longer than the longest, %zu",
                    options->min_length, options->length);
  if (options->max_tokens && options->max_tokens < options->length && options->layout == XCODER_PACKED)
    return xci_fail(err, XCODER_USAGE, "%llu tokens are less than one sequence of %zu",
                    (unsigned long long)options->max_tokens, options->length);
  if (needs_end && !xcoder_tokenizer_end_of_text(tokenizer, &b->end_of_text))
    return xci_fail(err, XCODER_MISMATCH,
                    "%s: it names no end-of-text token to separate documents (--no-prepend goes without)",
                    tokenizer->path);
  return XCODER_OK;
}

static xcoder_status open_workers(const xcoder_tokenizer *tokenizer, builder *b, xcoder_error *err) {
  size_t n = (size_t)xci_threads();
  xcoder_status status = XCI_ALLOC(&b->workers, n, err);
  for (b->n_workers = 0; b->n_workers < n && !status; b->n_workers++)
    status = xci_encoder_open(tokenizer, true, &b->workers[b->n_workers].encoder, err);
  return status;
}

static void close_builder(builder *b) {
  for (size_t i = 0; i < b->n_workers; i++) xci_encoder_close(b->workers[i].encoder);
  for (size_t i = 0; i < BATCH_DOCUMENTS; i++) xci_free(b->encoded[i].ids);
  xci_free(b->workers);
  xci_text_clear(&b->texts);
  xci_free(b->ids.ids);
  xci_free(b->start);
  xci_free(b);
}

static xcoder_status read_batch(xcoder_corpus *corpus, builder *b, xcoder_error *err) {
  b->texts.n_bytes = b->n_documents = 0;
  while (b->n_documents < BATCH_DOCUMENTS && b->texts.n_bytes < BATCH_BYTES) {
    const char *text = NULL;
    size_t n_bytes = 0;
    xcoder_status status = xcoder_corpus_next(corpus, &text, &n_bytes, err);
    if (status || !text) return status;
    xci_text_append(&b->texts, text, n_bytes);
    status = xci_text_status(&b->texts, err);
    if (status) return status;
    b->text_end[b->n_documents++] = b->texts.n_bytes;
  }
  return XCODER_OK;
}

static void encode_document(builder *b, worker *w, size_t document) {
  size_t from = document ? b->text_end[document - 1] : 0;
  b->encoded[document].n = 0;
  xcoder_error error;
  xcoder_status status =
    xci_encode(w->encoder, b->texts.bytes + from, b->text_end[document] - from, &b->encoded[document], &error);
  if (!status || (w->status && w->failed_document < document)) return;
  w->status = status;
  w->failed_document = document;
  w->error = error;
}

/* The error reported is that of the first document that failed, whichever thread had it. */
static xcoder_status encode_batch(builder *b, xcoder_error *err) {
#pragma omp parallel for num_threads((int)b->n_workers) schedule(dynamic, 1)
  for (size_t document = 0; document < b->n_documents; document++)
    encode_document(b, &b->workers[xci_thread_index()], document);
  const worker *first = NULL;
  for (size_t i = 0; i < b->n_workers; i++)
    if (b->workers[i].status && (!first || b->workers[i].failed_document < first->failed_document))
      first = &b->workers[i];
  if (!first) return XCODER_OK;
  if (err) *err = first->error;
  return first->status;
}

static xcoder_status add_sequence(builder *b, const xci_ids *document, xcoder_error *err) {
  const xcoder_tokens_options *options = b->options;
  size_t extra = options->no_prepend ? 0 : 1;
  size_t n = xci_min_size(document->n, options->length - extra);
  if (n == 0 || n + extra < options->min_length) return XCODER_OK;
  if (options->max_tokens && b->ids.n + n + extra > options->max_tokens) {
    b->full = true;
    return XCODER_OK;
  }
  xcoder_status status = xci_grow((void **)&b->start, &b->start_capacity, b->n_sequences + 2, sizeof *b->start, err);
  if (!status && extra) status = xci_ids_add(&b->ids, &b->end_of_text, 1, err);
  if (!status) status = xci_ids_add(&b->ids, document->ids, n, err);
  if (!status) b->start[++b->n_sequences] = b->ids.n;
  return status;
}

static xcoder_status join_batch(builder *b, xcoder_error *err) {
  xcoder_status status = XCODER_OK;
  for (size_t i = 0; i < b->n_documents && !status && !b->full; i++) {
    const xci_ids *document = &b->encoded[i];
    if (b->options->layout == XCODER_DOCUMENTS) {
      status = add_sequence(b, document, err);
      continue;
    }
    status = xci_ids_add(&b->ids, &b->end_of_text, 1, err);
    if (!status) status = xci_ids_add(&b->ids, document->ids, document->n, err);
    b->full = b->options->max_tokens && b->ids.n >= b->options->max_tokens;
  }
  return status;
}

static xcoder_status report(const builder *b, const xcoder_monitor *monitor, xcoder_error *err) {
  if (!monitor) return XCODER_OK;
  if (monitor->progress) {
    xcoder_progress progress = {"tokenize", "tokens", b->ids.n, b->options->max_tokens, NULL};
    if (progress.total && progress.done > progress.total) progress.done = progress.total;
    monitor->progress(monitor->context, &progress);
  }
  if (monitor->stop && *monitor->stop) return xci_fail(err, XCODER_INTERRUPTED, "interrupted while tokenizing");
  return XCODER_OK;
}

static xcoder_status finish(builder *b, xcoder_tokens **tokens, xcoder_error *err) {
  const xcoder_tokens_options *options = b->options;
  size_t n_tokens = b->ids.n;
  if (options->layout == XCODER_PACKED) {
    if (options->max_tokens && n_tokens > options->max_tokens) n_tokens = (size_t)options->max_tokens;
    b->n_sequences = n_tokens / options->length;
  }
  if (b->n_sequences == 0 && options->layout == XCODER_PACKED)
    return xci_fail(err, XCODER_MISMATCH, "the corpus gives %zu tokens, less than one sequence of %zu", n_tokens,
                    options->length);
  if (b->n_sequences == 0)
    return xci_fail(err, XCODER_MISMATCH, "the corpus gives no sequence: no document has %zu tokens or more",
                    options->min_length ? options->min_length : 1);
  xcoder_status status = xci_tokens_take_equal(&b->ids.ids, b->n_sequences,
                                               options->layout == XCODER_PACKED ? options->length : 0, tokens, err);
  if (!status && b->start) memcpy((*tokens)->start, b->start, (b->n_sequences + 1) * sizeof *b->start);
  return status;
}

xcoder_status xcoder_tokens_build(xcoder_corpus *corpus, const xcoder_tokenizer *tokenizer,
                                  const xcoder_tokens_options *options, const xcoder_monitor *monitor,
                                  xcoder_tokens **tokens, xcoder_error *err) {
  builder *b = NULL;
  *tokens = NULL;
  xcoder_status status = XCI_ALLOC(&b, 1, err);
  if (status) return status;
  b->options = options;
  status = check_options(tokenizer, b, err);
  if (!status) status = open_workers(tokenizer, b, err);
  while (!status && !b->full) {
    status = read_batch(corpus, b, err);
    if (!status && b->n_documents == 0) break;
    if (!status) status = encode_batch(b, err);
    if (!status) status = join_batch(b, err);
    if (!status) status = report(b, monitor, err);
  }
  if (!status) status = finish(b, tokens, err);
  close_builder(b);
  return status;
}
