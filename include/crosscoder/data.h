/* SPDX-License-Identifier: Apache-2.0 */
/* Text and tasks: tokenizers, corpora, token sequences, minimal pairs. */
#ifndef CROSSCODER_DATA_H
#define CROSSCODER_DATA_H

#include <crosscoder/status.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tokenizers: the fast tokenizers' tokenizer.json, byte-level BPE ---- */

typedef struct xcoder_tokenizer xcoder_tokenizer;

/* `path` is a tokenizer.json or a folder that holds one. Threads may share an open tokenizer. */
XCODER_API xcoder_status xcoder_tokenizer_open(const char *path, xcoder_tokenizer **tokenizer, xcoder_error *err);
XCODER_API void xcoder_tokenizer_close(xcoder_tokenizer *tokenizer);

/* Ids of `n_bytes` of UTF-8 (invalid bytes become U+FFFD), no special tokens added. `*ids` is freed with
 * xcoder_free(); it is not NULL even for an empty result. */
XCODER_API xcoder_status xcoder_tokenize(const xcoder_tokenizer *tokenizer, const char *text, size_t n_bytes,
                                         uint32_t **ids, size_t *n_ids, xcoder_error *err);

/* From now on xcoder_tokenize() adds the special tokens that the file's post_processor puts around a single sequence
 * (TemplateProcessing); add_bos_token and add_eos_token of the tokenizer_config.json beside it, if they are there, go
 * before it. Prompts and corpora stay without them. To be called before threads share the tokenizer.
 * Errors: XCODER_UNSUPPORTED (another kind of post_processor), XCODER_FORMAT. */
XCODER_API xcoder_status xcoder_tokenizer_add_special(xcoder_tokenizer *tokenizer, xcoder_error *err);

/* Text of ids, lossy UTF-8, zero-terminated, freed with xcoder_free(). Unknown ids are skipped. */
XCODER_API xcoder_status xcoder_detokenize(const xcoder_tokenizer *tokenizer, const uint32_t *ids, size_t n_ids,
                                           char **text, size_t *n_bytes, xcoder_error *err);

/* Raw bytes that one token stands for (not necessarily valid UTF-8); NULL for an unknown id. Lives as long
 * as the tokenizer. */
XCODER_API const char *xcoder_token_bytes(const xcoder_tokenizer *tokenizer, uint32_t id, size_t *n_bytes);

XCODER_API size_t xcoder_tokenizer_size(const xcoder_tokenizer *tokenizer); /* largest id + 1 */

/* The token that separates documents and starts prompts: end of text, else </s>, else as told by
 * tokenizer_config.json (eos_token). False if there is none. */
XCODER_API bool xcoder_tokenizer_end_of_text(const xcoder_tokenizer *tokenizer, uint32_t *id);

/* The token that whole sentences are scored behind: bos_token of tokenizer_config.json, else its eos_token, else end of
 * text (lm-evaluation-harness's rule). False if there is none. */
XCODER_API bool xcoder_tokenizer_start_of_text(const xcoder_tokenizer *tokenizer, uint32_t *id);

/* ---- Corpora ---- */

typedef struct xcoder_corpus xcoder_corpus;

typedef struct xcoder_corpus_options {
  const char *text_key;    /* JSON key of the text; NULL: "text" */
  bool line_documents;     /* plain text: one document a line instead of one a file */
  size_t max_line_bytes;   /* 0: 64 MiB */
  uint64_t max_bad_lines;  /* 0: fail at the first; UINT64_MAX: skip all (counted) */
  unsigned zstd_window_log; /* largest window of a zstd frame, 2^this bytes, 10 to 31; 0: 27 (128 MiB) */
} xcoder_corpus_options;

/* `paths`: files, comma separated, or "-" for standard input (JSONL). Content decides the form:
 * .txt, .jsonl, either of them compressed with gzip (any number of members) or zstd (any number of frames). */
XCODER_API xcoder_status xcoder_corpus_open(const char *paths, const xcoder_corpus_options *options,
                                            xcoder_corpus **corpus, xcoder_error *err);
XCODER_API void xcoder_corpus_close(xcoder_corpus *corpus);

/* The next document; *text is NULL at the end. The text (UTF-8, n_bytes, zero-terminated) lives until the
 * next call. */
XCODER_API xcoder_status xcoder_corpus_next(xcoder_corpus *corpus, const char **text, size_t *n_bytes,
                                            xcoder_error *err);
XCODER_API uint64_t xcoder_corpus_bad_lines(const xcoder_corpus *corpus);

/* ---- Token sequences ---- */

typedef struct xcoder_tokens xcoder_tokens;

typedef enum xcoder_layout {
  XCODER_PACKED,   /* documents joined by the end-of-text token, cut into sequences of exactly `length`;
                      the stream starts with end-of-text; the remainder is dropped */
  XCODER_DOCUMENTS /* one document a sequence, starting with end-of-text unless `no_prepend`: longer ones are
                      cut at `length`, those shorter than `min_length` are dropped; sequences may differ in length */
} xcoder_layout;

typedef struct xcoder_tokens_options {
  size_t length;       /* tokens in a sequence, e.g. 1024 */
  size_t min_length;   /* XCODER_DOCUMENTS: the authors use min_length == length */
  xcoder_layout layout;
  bool no_prepend;
  uint64_t max_tokens; /* stop after this many; 0: all */
  unsigned token_bytes; /* files of plain numbers: 2 or 4 bytes each; 0: told by name and content */
} xcoder_tokens_options;

/* Tokenizes a corpus. Errors: XCODER_MISMATCH if it yields less than one sequence. */
XCODER_API xcoder_status xcoder_tokens_build(xcoder_corpus *corpus, const xcoder_tokenizer *tokenizer,
                                             const xcoder_tokens_options *options, const xcoder_monitor *monitor,
                                             xcoder_tokens **tokens, xcoder_error *err);
/* Whether a file holds token ids rather than text: .npy, a bare tensor of torch.save, Megatron's index or the .bin
 * beside it, plain little-endian numbers of 16 or 32 bits. Told by content; where that leaves it open by the endings
 * .u16, .u32, .npy, .bin, .idx (tokens) and .txt, .json, .jsonl, .ndjson, .gz, .zst (text). */
XCODER_API bool xcoder_tokens_recognize(const char *path);
/* Reads such a file: integers of shape [n_sequences, length], or one row of them that is cut by options->length, the
 * remainder dropped. Of a Megatron index, rows of one length are cut each by itself, others as one stream. At most
 * options->max_tokens are read. The languages of PATH.languages.json come along. Errors: XCODER_FORMAT for a file that
 * contradicts itself and for values that are no token ids; XCODER_MISMATCH for rows of another length, or fewer tokens
 * than one sequence. */
XCODER_API xcoder_status xcoder_tokens_read(const char *path, const xcoder_tokens_options *options,
                                            xcoder_tokens **tokens, xcoder_error *err);
/* The same with no option but the length; 0: that of the rows. */
XCODER_API xcoder_status xcoder_tokens_load(const char *path, size_t length, xcoder_tokens **tokens, xcoder_error *err);
/* As .npy [n_sequences, length]; languages, where known, in PATH.languages.json. XCODER_USAGE for unequal lengths. */
XCODER_API xcoder_status xcoder_tokens_save(const xcoder_tokens *tokens, const char *path, xcoder_error *err);
XCODER_API xcoder_status xcoder_tokens_from_array(const uint32_t *ids, const size_t *start, size_t n_sequences,
                                                  xcoder_tokens **tokens, xcoder_error *err);

typedef struct xcoder_mixture_part {
  const xcoder_tokens *tokens;
  double weight;        /* share of the tokens, relative to the other weights */
  const char *language; /* of all its sequences; NULL or "": unknown */
} xcoder_mixture_part;

/* One set of sequences from several: of T tokens in all, part i gives its first sequences up to T w_i / sum(w), where
 * T is what the scarcest part allows, and at most `max_tokens` (0: no limit). Their order is a permutation that
 * depends on seed and their number alone. With all weights 0 the parts follow each other, whole.
 * Errors: XCODER_USAGE for weights that are negative, not finite, or 0 for some parts only; XCODER_MISMATCH for a share
 * of less than one sequence. */
XCODER_API xcoder_status xcoder_tokens_mix(const xcoder_mixture_part *parts, size_t n_parts, uint64_t max_tokens,
                                           uint64_t seed, xcoder_tokens **tokens, xcoder_error *err);
/* The language of a sequence, "" if unknown. Lives as long as the object. */
XCODER_API const char *xcoder_tokens_language(const xcoder_tokens *tokens, size_t sequence);
XCODER_API void xcoder_tokens_free(xcoder_tokens *tokens);
XCODER_API size_t xcoder_tokens_sequences(const xcoder_tokens *tokens);
/* ids: all sequences one after the other; start: [n_sequences + 1]. Live as long as the object. */
XCODER_API const uint32_t *xcoder_tokens_ids(const xcoder_tokens *tokens);
XCODER_API const size_t *xcoder_tokens_start(const xcoder_tokens *tokens);
/* XXH3-128 of lengths and ids as 32 hex digits. */
XCODER_API void xcoder_tokens_hash(const xcoder_tokens *tokens, char hex[33]);

/* ---- Minimal pairs ---- */

typedef struct xcoder_pairs xcoder_pairs;

typedef struct xcoder_pair {
  const uint32_t *prefix; /* ids, starting with end-of-text unless no_prepend */
  size_t n_prefix;
  uint32_t right, wrong;  /* the two next tokens */
  const uint32_t *counterfactual; /* ids of a prefix of equal length that reverses the answer; NULL if none */
  const char *group;      /* construction or paradigm, "" if none */
  const char *language;   /* "" if none */
  const char *text;       /* the prefix as text */
  /* Whole sentences (options.sentences), else NULL: ids with the start token, scored from the second id on. Then there
   * is no prefix (n_prefix 0, right and wrong 0) and `text` is the right sentence. */
  const uint32_t *good, *bad;
  size_t n_good, n_bad;                     /* ids */
  size_t good_bytes, bad_bytes;             /* of the sentences as text, without delimiter */
  size_t good_characters, bad_characters;   /* code points */
} xcoder_pair;

typedef struct xcoder_pairs_options {
  bool no_prepend;           /* prompts as the authors make them */
  bool authors_rule;         /* BLiMP, CLAMS: exactly the authors' preprocessing */
  uint64_t max_pairs;        /* 0: all */
  bool sentences;            /* whole sentences instead of prefix and next token: every paradigm of a data set */
  const char *delimiter;     /* sentences: what stands before each; NULL: " " for BLiMP and CLAMS, else nothing */
} xcoder_pairs_options;

/* `task`: "pairs:PATH", "blimp:PATH", "clams:PATH", "multiblimp:PATH"; PATH is a file or a folder (files in name
 * order; of the last two also a folder of folders named by language). An answer longer than one token after the common
 * prefix is handled by the authors' rule (METHOD, FORMATS 7.1) or skipped, with a count and a reason. */
XCODER_API xcoder_status xcoder_pairs_load(const char *task, const xcoder_tokenizer *tokenizer,
                                           const xcoder_pairs_options *options, xcoder_pairs **pairs,
                                           xcoder_error *err);
XCODER_API void xcoder_pairs_free(xcoder_pairs *pairs);
XCODER_API size_t xcoder_pairs_count(const xcoder_pairs *pairs);
XCODER_API const xcoder_pair *xcoder_pairs_get(const xcoder_pairs *pairs, size_t index);
/* A name for files: "pairs" + base name, e.g. "pairs-en_simple"; lower-case letters, digits, '-', '_', '.'. */
XCODER_API const char *xcoder_pairs_name(const xcoder_pairs *pairs);
/* One line for people: "kept 3477 of 4000: 523 skipped (answer longer than 2 tokens: 500, ...)". */
XCODER_API const char *xcoder_pairs_summary(const xcoder_pairs *pairs);

/* The same for every file, one line each: "NAME: kept 918 of 1000: 82 skipped (...)\n". */
XCODER_API const char *xcoder_pairs_files(const xcoder_pairs *pairs);

#ifdef __cplusplus
}
#endif
#endif
