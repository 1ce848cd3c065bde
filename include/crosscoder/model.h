/* SPDX-License-Identifier: Apache-2.0 */
/* Language models: one checkpoint in a Hugging Face layout (config.json, safetensors). */
#ifndef CROSSCODER_MODEL_H
#define CROSSCODER_MODEL_H

#include <crosscoder/device.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct xcoder_model xcoder_model;

typedef struct xcoder_model_info {
  char family[32];      /* "gpt_neox" */
  size_t n_layers;      /* blocks, L */
  size_t d_model;       /* width of the residual stream, d */
  size_t n_heads;
  size_t d_head;
  size_t d_mlp;
  size_t n_vocab;       /* rows of the unembedding, padding rows included */
  size_t n_context;     /* longest sequence; 0: no limit */
  uint64_t n_parameters;
  char dtype[8];        /* of the weight files: "F16" */
} xcoder_model_info;

/* Finds the folder of a checkpoint. `spec` is a folder, or ORG/NAME[@REVISION], which is looked up in
 * the local Hugging Face cache and never downloaded. `*path` is freed with xcoder_free().
 * Errors: XCODER_MISSING, naming the folders that were looked at. */
XCODER_API xcoder_status xcoder_checkpoint_find(const char *spec, char **path, xcoder_error *err);

/* Tokens of pretraining that a published revision has seen, for the axis of plots. `model`: ORG/NAME or a path that
 * names it (may be NULL). Pythia: step x 2,097,152 (only where the model's name starts with "pythia-"; main is step
 * 143000); OLMo: what the revision says ("step1000-tokens2B"); BLOOM: "global_stepN", by its batch ramp (192 to 256
 * sequences of 2048 tokens over the first 9,765,625). False where neither says it. */
XCODER_API bool xcoder_tokens_seen(const char *model, const char *revision, double *tokens);
/* The number behind "step" in a name. */
XCODER_API bool xcoder_revision_step(const char *revision, uint64_t *step);

/* Reads config.json and the header of the weight files only (no weights), e.g. for estimates. */
XCODER_API xcoder_status xcoder_model_inspect(const char *path, xcoder_model_info *info, xcoder_error *err);

/* Opens a checkpoint for `device`, which must outlive it. Weights are checked for NaN and infinity;
 * sizes in config.json are checked against the tensors before anything is allocated.
 * With `highest_layer` >= 0 only what is needed to reach that layer's output is loaded (and the
 * model then has no head); -1 loads all.
 * Errors: XCODER_MISSING, XCODER_FORMAT, XCODER_UNSUPPORTED (naming key and value), XCODER_MISMATCH. */
XCODER_API xcoder_status xcoder_model_open(const char *path, xcoder_device *device, long highest_layer,
                                           xcoder_model **model, xcoder_error *err);
XCODER_API void xcoder_model_close(xcoder_model *model);
XCODER_API const xcoder_model_info *xcoder_model_describe(const xcoder_model *model);

/* From here on every call that runs the model ends with XCODER_INTERRUPTED within one block after `*stop` became
 * non-zero; NULL: never. `stop` must outlive the model. */
XCODER_API void xcoder_model_set_stop(xcoder_model *model, const volatile sig_atomic_t *stop);

/* What the weight files of a checkpoint hold, read in full. */
typedef struct xcoder_model_audit {
  xcoder_model_info info;   /* zero where the shapes do not fit */
  char hash[33]; /* of names, shapes and values as float32: equal for the same weights in any type or shards */
  char blob[33]; /* of the names of the cache's blobs that the files link to, "" without links: equal bytes */
  uint64_t n_values, n_bad; /* n_bad: NaN or infinite */
  char bad_tensor[128];     /* the first with bad values, by name */
  char mismatch[XCODER_ERROR_BYTES]; /* the first tensor that does not fit config.json, "" if all do */
} xcoder_model_audit;

/* Reads all weights of the checkpoint folder `path`. Errors only where that is impossible: XCODER_MISSING (also a shard
 * that is not there), XCODER_FORMAT, XCODER_UNSUPPORTED. */
XCODER_API xcoder_status xcoder_model_audit_weights(const char *path, xcoder_model_audit *audit, xcoder_error *err);

/* Residual stream after block `layer` (-1: the embedding output) of `n_sequences` sequences packed
 * one after the other: sequence s is ids[start[s]] .. ids[start[s+1]-1].
 * hidden: [start[n_sequences], d_model]. The last bits of a row may depend on which sequences share the call (never
 * on threads), so equal bits need equal batches. Errors: XCODER_USAGE for a layer that is not there, an id
 * outside the vocabulary, a sequence longer than the context. */
XCODER_API xcoder_status xcoder_model_hidden(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                             size_t n_sequences, long layer, float *hidden, xcoder_error *err);

/* The same at several layers in one pass: hidden[i] [start[n_sequences], d_model] is that of layers[i], bit for bit
 * what xcoder_model_hidden() gives. */
XCODER_API xcoder_status xcoder_model_hidden_layers(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                                    size_t n_sequences, const long *layers, size_t n_layers,
                                                    float *const *hidden, xcoder_error *err);

/* Lets go of memory that the model does without while it is not run: its work space, and the pages of its files,
 * which come back from the file system when it is run again. */
XCODER_API void xcoder_model_idle(xcoder_model *model);

/* Logits of every position of the same packed sequences: [start[n_sequences], n_vocab]. */
XCODER_API xcoder_status xcoder_model_logits(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                             size_t n_sequences, float *logits, xcoder_error *err);

/* Natural log-probability of ids[i] given what stands before it in its sequence, for every position
 * but the first of each sequence (0 there): [start[n_sequences]]. The softmax runs over all n_vocab rows. */
XCODER_API xcoder_status xcoder_model_log_probs(xcoder_model *model, const uint32_t *ids, const size_t *start,
                                                size_t n_sequences, float *log_probs, xcoder_error *err);

/* Runs the blocks above `layer` from the given residual stream `hidden` [rows, d_model] and returns, for
 * sequence s, m_s = logit(wrong[s]) - logit(right[s]) at its last position; with `gradient` not NULL also
 * dm_s/dhidden [rows, d_model]. This is the metric of METHOD section 6. */
XCODER_API xcoder_status xcoder_model_metric(xcoder_model *model, long layer, const float *hidden,
                                             const size_t *start, size_t n_sequences, const uint32_t *right,
                                             const uint32_t *wrong, double *metric, float *gradient,
                                             xcoder_error *err);

/* Log-probabilities as xcoder_model_log_probs(), but from a given residual stream at `layer`. */
XCODER_API xcoder_status xcoder_model_log_probs_from(xcoder_model *model, long layer, const float *hidden,
                                                     const uint32_t *ids, const size_t *start,
                                                     size_t n_sequences, float *log_probs, xcoder_error *err);

/* Logits of chosen tokens at the last position of each sequence, from a given residual stream at `layer`:
 * out[s, k] = logit(tokens[s, k]); also, when `log_normalizer` is not NULL, log sum exp over the vocabulary
 * at that position, so that log p = logit - log_normalizer. */
XCODER_API xcoder_status xcoder_model_logits_from(xcoder_model *model, long layer, const float *hidden,
                                                  const size_t *start, size_t n_sequences, const uint32_t *tokens,
                                                  size_t n_tokens, float *out, float *log_normalizer,
                                                  xcoder_error *err);

/* Projects directions [n, d_model] through the unembedding (no final norm): out [n, n_vocab]. */
XCODER_API xcoder_status xcoder_model_unembed(xcoder_model *model, const float *directions, size_t n, float *out,
                                              xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
