/* SPDX-License-Identifier: Apache-2.0 */
/* The sparse crosscoder over n checkpoints.
 *
 *   f      = act( sum_c x_c W_enc[c] + b_enc )            x_c = s_c a_c,  f: [D]
 *   xhat_c = f W_dec[:,c] + b_dec[c]
 *
 * Source: Bayazit, Mueller, Bosselut, arXiv 2509.05291; Lindsey et al. 2024 for crosscoders.
 * W_enc [n,d,D], b_enc [D], W_dec [D,n,d], b_dec [n,d], float32, row-major, as in the file. */
#ifndef CROSSCODER_CODER_H
#define CROSSCODER_CODER_H

#include <crosscoder/device.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { XCODER_MAX_CHECKPOINTS = 32 };

typedef struct xcoder xcoder;

typedef enum xcoder_tensor { XCODER_W_ENC, XCODER_B_ENC, XCODER_W_DEC, XCODER_B_DEC } xcoder_tensor;

/* How pre-activations p become features; norm_i = sum_c ||W_dec[i,c]|| of the unfolded decoder. At inference:
 *   relu       f = max(0, p)
 *   batchtopk  f = p where p norm_i > threshold (an average over training; none yet: as relu), else 0
 *   topk       of each sample the k largest p norm_i that are positive, the others 0
 *   jumprelu   f = p where p > theta_i and p > 0, else 0 */
typedef enum xcoder_activation {
  XCODER_RELU, XCODER_BATCH_TOPK, XCODER_TOPK, XCODER_JUMP_RELU
} xcoder_activation;

/* What the mask leaves out, everywhere: norm estimate, training, evaluation, attribution. */
typedef struct xcoder_mask {
  bool keep_first; /* false (default): position 0 of each sequence is excluded */
} xcoder_mask;

typedef struct xcoder_info {
  size_t n_checkpoints, d_model, n_latents;
  long layer;           /* residual stream after this block */
  bool folded;          /* true: reads and writes raw activations, s_c is inside the weights */
  const char *const *labels; /* [n_checkpoints], names of the checkpoints, oldest first */
  const float *scales;  /* [n_checkpoints], s_c */
  float threshold;      /* < 0: none (plain ReLU); else keep f_i where f_i sum_c ||W_dec[i,c]|| > threshold */
  xcoder_mask mask;
  xcoder_activation activation;
  size_t k;             /* topk; batchtopk: features per sample in training, 0: unknown */
} xcoder_info;

/* Makes an untrained crosscoder whose parameters are all 0. `labels`, `scales` may be NULL ("A", "B", ...; 1). */
XCODER_API xcoder_status xcoder_create(size_t n_checkpoints, size_t d_model, size_t n_latents, long layer,
                                       const char *const *labels, const float *scales, xcoder **coder,
                                       xcoder_error *err);
/* Reads crosscoder.safetensors; `path` may also be a run directory, or a checkpoint of one. */
XCODER_API xcoder_status xcoder_load(const char *path, xcoder **coder, xcoder_error *err);
XCODER_API xcoder_status xcoder_save(const xcoder *coder, const char *path, xcoder_error *err);
XCODER_API void xcoder_free_coder(xcoder *coder);

XCODER_API const xcoder_info *xcoder_describe(const xcoder *coder);
/* The parameters in file order; they may be written to (call xcoder_changed() afterwards). */
XCODER_API float *xcoder_weights(xcoder *coder, xcoder_tensor tensor, size_t *n_values);
XCODER_API void xcoder_changed(xcoder *coder);

/* Folds the scales into the weights so that the crosscoder reads and writes raw activations:
 * W_enc[c] *= s_c ; W_dec[:,c] /= s_c ; b_dec[c] /= s_c ; b_enc unchanged. Folding twice is a no-op.
 * The threshold refers to the unfolded decoder and is kept exact in both forms: every feature has its own, in units
 * of f, which folding does not change. */
XCODER_API xcoder_status xcoder_fold(xcoder *coder, xcoder_error *err);

/* The functions that take a device (NULL: the processor) keep a copy of the weights there until the crosscoder is
 * changed, freed or used with another device, or the device is closed. One crosscoder serves one thread at a time.
 *
 * Features of `n_samples` samples. Activations: [n_samples, n_checkpoints, d_model], raw (not yet scaled; an
 * unfolded crosscoder applies s_c itself). features: dense [n_samples, n_latents]. */
XCODER_API xcoder_status xcoder_encode(const xcoder *coder, xcoder_device *device, const float *activations,
                                       size_t n_samples, float *features, xcoder_error *err);

/* The same, sparse: sample b has features index[start[b]] .. index[start[b+1]-1] in ascending order with
 * their values. The three arrays belong to the caller and are freed with xcoder_free(). */
typedef struct xcoder_codes {
  size_t n_samples;
  size_t *start;   /* [n_samples + 1] */
  uint32_t *index; /* [start[n_samples]] */
  float *value;    /* [start[n_samples]] */
} xcoder_codes;
XCODER_API xcoder_status xcoder_encode_sparse(const xcoder *coder, xcoder_device *device, const float *activations,
                                              size_t n_samples, xcoder_codes *codes, xcoder_error *err);
XCODER_API void xcoder_codes_free(xcoder_codes *codes);

/* Reconstruction of raw activations from sparse features: [n_samples, n_checkpoints, d_model]. */
XCODER_API xcoder_status xcoder_decode(const xcoder *coder, xcoder_device *device, const xcoder_codes *codes,
                                       float *activations, xcoder_error *err);

/* ||W_dec[i,c]|| for every latent and checkpoint: [n_latents, n_checkpoints]. */
XCODER_API xcoder_status xcoder_decoder_norms(const xcoder *coder, float *norms, xcoder_error *err);

/* Per-checkpoint share of the pre-activation of chosen latents: out[b, k, c] = x_{b,c} . W_enc[c,:,latents[k]]. */
XCODER_API xcoder_status xcoder_project(const xcoder *coder, const float *activations, size_t n_samples,
                                        const uint32_t *latents, size_t n_chosen, float *out, xcoder_error *err);

#ifdef __cplusplus
}
#endif
#endif
