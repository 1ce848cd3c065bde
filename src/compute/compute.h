/* SPDX-License-Identifier: Apache-2.0 */
/* What a device can do: one const table of operations per backend, every entry mandatory.
 *
 * Entries are phases, not single products, so that a fused or sparse implementation fits. Data stays on the device
 * between calls; uploads and downloads are explicit. Buffers hold float32. Every entry of the cpu and reference
 * backends computes the same function (compute/conformance in the tests compares them); the reference is slow,
 * works in double precision and is the oracle. */
#ifndef XCI_COMPUTE_COMPUTE_H
#define XCI_COMPUTE_COMPUTE_H

#include "base/error.h"
#include <crosscoder/device.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum xci_dtype {
  XCI_F32, XCI_F64, XCI_F16, XCI_BF16, XCI_I64, XCI_I32, XCI_I16, XCI_I8, XCI_U64, XCI_U32, XCI_U16, XCI_U8, XCI_BOOL,
  XCI_OTHER /* known to the format, not to us (float8, complex, ...) */
} xci_dtype;
size_t xci_dtype_bytes(xci_dtype dtype); /* 0 for XCI_OTHER */
const char *xci_dtype_name(xci_dtype dtype); /* "F32" as in safetensors */

typedef struct xci_buffer {
  size_t bytes;
  float *host;  /* cpu and reference: the memory itself; else NULL */
  void *handle; /* devices: theirs */
} xci_buffer;

/* ---- Transformer ---- */

/* A weight on the device: [rows, columns] (a vector has one row), made from file bytes of any float dtype
 * (unaligned, little-endian); the bytes must outlive it because a backend may convert on use. */
typedef struct xci_weight {
  size_t rows, columns;
  xci_dtype dtype;       /* of `source` */
  const void *source;
  const float *host;     /* cpu and reference: float32 values; NULL on the cpu for matrices of other types, which are
                          * converted inside the products */
  void *handle;          /* backend's own */
} xci_weight;

typedef enum xci_norm_kind { XCI_NORM_LAYER, XCI_NORM_RMS } xci_norm_kind;
typedef struct xci_norm { /* LayerNorm (biased variance) or RMSNorm; weight and bias may be NULL (1 and 0) */
  xci_norm_kind kind;
  float epsilon;
  const xci_weight *weight, *bias;
} xci_norm;

typedef struct xci_linear { /* y = x W^T + b, W [out, in], b may be NULL */
  const xci_weight *weight, *bias;
  bool transposed;       /* W is stored as [in, out] (GPT-2) */
} xci_linear;

typedef enum xci_activation {
  XCI_GELU_ERF,
  XCI_GELU_TANH /* sqrt(2/pi) */,
  XCI_GELU_BLOOM /* constant 0.79788456 */,
  XCI_GELU_QUICK,
  XCI_SILU,
  XCI_RELU
} xci_activation;

typedef enum xci_residual {
  XCI_PARALLEL,   /* h' = h + Attn(N1(h)) + MLP(N2(h)) */
  XCI_SEQUENTIAL, /* a = h + Attn(N1(h)); h' = a + MLP(N2(a)) */
  XCI_POST_NORM   /* a = h + N1(Attn(h)); h' = a + N2(MLP(a))  (OLMo-2) */
} xci_residual;

typedef struct xci_block { /* one transformer block; families are data (METHOD, FORMATS section 1) */
  size_t d_model, n_heads, n_kv_heads, d_head, d_mlp;
  xci_residual residual;
  bool residual_after_norm;  /* BLOOM's apply_residual_connection_post_layernorm */
  xci_norm norm_attention, norm_mlp;
  bool has_qk_norm;
  xci_norm norm_q, norm_k;   /* on whole projections, before heads and rotary (OLMo-2) */
  bool qkv_fused;            /* one product `query` of (n_heads + 2 n_kv_heads) d_head outputs */
  bool qkv_interleaved;      /* fused rows are [head][q,k,v][d_head] (NeoX, BLOOM), else [q | k | v] */
  xci_linear query, key, value, output;
  xci_linear up, gate, down; /* gate.weight NULL: down(act(up(x))); else down(act(gate(x)) * up(x)) */
  xci_activation activation;
  float attention_scale;     /* 1/sqrt(d_head) */
  float clip_qkv;            /* 0: none; else clamp to [-c, c] before heads and rotary */
  size_t rotary_width;       /* first channels of every q and k head that rotate (even); 0: none */
  float rotary_base;         /* angle of pair j at position p: p * base^(-2j/width), half-split pairing */
  const float *alibi_slopes; /* [n_heads] or NULL; score += slope * key position */
} xci_block;

/* Packed sequences: rows start[s] .. start[s+1]-1 of [rows, d] belong to sequence s; positions count from 0. */
typedef struct xci_rows {
  size_t n_sequences;
  const size_t *start; /* [n_sequences + 1], start[0] == 0 */
} xci_rows;

typedef struct xci_embedding { /* h[r] = table[id of r] + positions[position of r], then the norm */
  const xci_weight *table;     /* [n_vocab, d_model] */
  const xci_weight *positions; /* [n_positions, d_model] or NULL */
  const xci_norm *norm;        /* NULL: none */
} xci_embedding;

typedef struct xci_head { /* final norm and unembedding [n_vocab, d_model] */
  size_t d_model, n_vocab;
  xci_norm norm;
  const xci_weight *unembedding;
} xci_head;

typedef struct xci_tape xci_tape; /* what a backward pass needs from the forward pass, of any number of blocks */

/* ---- Crosscoder ---- */

typedef struct xci_coder xci_coder; /* parameters, moments, work space and the codes of the current batch */

typedef struct xci_coder_shape {
  size_t n_checkpoints, d_model, n_latents;
  size_t max_batch;  /* most samples per call */
  bool training;     /* allocate moments and gradients */
  /* What a training is known not to need; a device that plans its memory believes it. */
  size_t max_codes;  /* most codes of a sample, in the mean of a batch, that coder_backward meets; 0: any number */
  bool auxiliary;    /* objectives may have the auxiliary term */
} xci_coder_shape;

static inline xci_coder_shape xci_plan_shape(const xcoder_device_plan *plan) {
  return (xci_coder_shape){plan->n_checkpoints, plan->d_model, plan->n_latents, plan->batch_size, plan->training,
                           plan->max_codes, plan->auxiliary};
}

typedef enum xci_coder_tensor { XCI_W_ENC, XCI_B_ENC, XCI_W_DEC, XCI_B_DEC, XCI_N_TENSORS } xci_coder_tensor;
typedef enum xci_coder_slot { XCI_VALUE, XCI_MOMENT1, XCI_MOMENT2, XCI_GRADIENT /* read only */ } xci_coder_slot;

typedef enum xci_gate_kind {
  XCI_GATE_RELU,        /* f = max(0, pre) */
  XCI_GATE_THRESHOLD,   /* keep f_i if f_i > threshold[i] */
  XCI_GATE_TOPK,        /* keep the k largest scores f_i * norm_i of each sample; ties: lowest index */
  XCI_GATE_BATCH_TOPK,  /* keep the k * n_samples largest scores of the batch; ties: lowest (sample, index) */
  XCI_GATE_JUMP         /* as THRESHOLD, for training the thresholds: coder_backward also sees what is above 0 and at
                         * most margin_i below; among the host's codes it may stand with the value 0. margin_i =
                         * half_bandwidth / norm_i, 0 where that is not finite (a latent of no effect) */
} xci_gate_kind;
typedef struct xci_gate {
  xci_gate_kind kind;
  const float *threshold; /* [n_latents] */
  double half_bandwidth;
  size_t k;
  const float *score; /* [n_latents], instead of norm_i of the gates that rank; NULL: norm_i = sum_c ||W_dec[i,c]|| */
} xci_gate;

/* Host view of sparse codes, sample-major, indices ascending within a sample. */
typedef struct xci_codes {
  size_t n_samples;
  const size_t *start;   /* [n_samples + 1] */
  const uint32_t *index;
  const float *value;
} xci_codes;

typedef struct xci_objective {
  double l1_coefficient; /* lambda(t) */
  /* The auxiliary term, auxiliary_coefficient * mean_b ||e - sum_j f_j W_dec[j]||^2 / mean_b ||e - mean_b e||^2: of
   * each sample the n_auxiliary largest positive pre-activations f_j of the latents dead[0 .. n_dead-1] (ascending;
   * ties: lowest index) reconstruct the residual e = x - xhat, which is a constant here. n_dead 0: no such term. */
  double auxiliary_coefficient;
  const uint32_t *dead;
  size_t n_dead, n_auxiliary;
  /* The term of gate JUMP, l0_coefficient * mean_b (number of f_i > 0). With respect to a threshold the step at it has
   * the derivative of a ramp from threshold[i] - margin_i to threshold[i] + margin_i, both those of the batch's gate.
   * threshold_gradient [n_latents], host, takes d loss / d log threshold[i], which counts in gradient_norm. NULL: no
   * such gradient. */
  double l0_coefficient;
  float *threshold_gradient;
  uint32_t *fired; /* [(n_latents + 31) / 32], host: bit i % 32 of word i / 32 becomes whether latent i has a code above
                    * 0 in the batch; NULL: nobody asks */
} xci_objective;

typedef struct xci_losses {
  double loss;            /* reconstruction + l1_coefficient * sparsity + auxiliary_coefficient * auxiliary +
                           * l0_coefficient * l0 */
  double reconstruction;  /* mean over samples of sum_c ||x_c - xhat_c||^2 */
  double sparsity;        /* mean over samples of sum_i f_i sum_c ||W_dec[i,c]|| */
  double l0;              /* mean number of f_i > 0 */
  double gradient_norm;   /* global, before clipping */
  double squared_error[32]; /* per checkpoint, mean over samples of ||x_c - xhat_c||^2 */
  double auxiliary;       /* without its coefficient; 0 where e has no variance */
  double least_score;     /* of codes that a gate has ranked (TOPK, BATCH_TOPK): the smallest f_i sum_c ||W_dec[i,c]||
                           * above 0; of others, and where there is none, 0 */
} xci_losses;

typedef struct xci_adam {
  uint64_t step;          /* 1 for the first update */
  double learning_rate, beta1, beta2, epsilon;
  double clip_norm;       /* gradients are scaled by min(1, clip_norm / (gradient_norm + 1e-6)); 0: no clipping */
} xci_adam;

/* ---- The table ---- */

struct xci_backend;

/* Something that keeps a copy on a device between calls. It is asked to leave when the device closes first. */
typedef struct xci_guest {
  struct xci_guest *next;
  void (*leave)(struct xci_guest *guest); /* frees the copy; the device is still open */
} xci_guest;
void xci_device_enter(xcoder_device *device, xci_guest *guest);
void xci_device_leave(xcoder_device *device, xci_guest *guest); /* does not call leave() */

/* How the linear products of forward passes through blocks are computed; with XCI_COMPUTE_BF16_ALL also the dense
 * products of the crosscoder (encoding, and decoding and gradients where they are dense). Everything else (attention,
 * norms, head, backward passes, gathers of the crosscoder) is the same in all. */
typedef enum xci_compute { XCI_COMPUTE_FP32, XCI_COMPUTE_BF16, XCI_COMPUTE_BF16_ALL } xci_compute;

struct xcoder_device {
  const struct xci_backend *ops;
  xci_compute compute;
  void *state;       /* the backend's */
  xci_guest *guests;
  bool replaceable;  /* by the processor, when it fails */
  void (*notice)(void *context, const char *message); /* told of that; NULL: nobody is */
  void *notice_context;
  char name[128];
  char kernels[160];
  bool automatic;    /* opened as "auto": what does not fit is refused, so that the processor takes it */
  bool has_plan;     /* of what else the device will hold: */
  xcoder_device_plan plan;
  char reason[XCODER_ERROR_BYTES]; /* why "auto" chose the processor */
  char remark[XCODER_ERROR_BYTES]; /* of the last coder_create: what makes it slow; "" where nothing does */
  bool has_traffic;  /* the backend keeps the counts below */
  xcoder_traffic traffic;
};

/* Asked with the status of work that did not succeed: whether it should be done again from what the host holds. True
 * only where the device failed (XCODER_DEVICE) and may be replaced: then all guests have left, and the device is the
 * processor, which does not fail so. err: of the failure, or NULL. */
bool xci_device_replace(xcoder_device *device, xcoder_status status, const xcoder_error *err);

typedef struct xci_backend {
  const char *name;
  bool remote; /* its memory is its own: what only lies there is lost when it fails */
  xcoder_status (*open)(const char *which, xcoder_device *device, xcoder_error *err);
  void (*close)(xcoder_device *device);
  /* Whether the device can compute so; else an error that says what is missing (XCODER_DEVICE). */
  xcoder_status (*check_compute)(xcoder_device *device, xci_compute compute, xcoder_error *err);

  /* How a crosscoder (n_latents 0: none) would lie beside what device->plan says of models. Errors: XCODER_DEVICE,
   * with numbers, where what cannot be cut does not fit. */
  xcoder_status (*coder_plan)(xcoder_device *device, const xci_coder_shape *shape, xcoder_device_room *room,
                              xcoder_error *err);

  /* Memory. */
  xcoder_status (*buffer_create)(xcoder_device *device, size_t bytes, xci_buffer *buffer, xcoder_error *err);
  void (*buffer_free)(xcoder_device *device, xci_buffer *buffer); /* zeroed buffer allowed */
  xcoder_status (*upload)(xcoder_device *device, xci_buffer *buffer, size_t offset_bytes, const void *bytes,
                          size_t n_bytes, xcoder_error *err);
  xcoder_status (*download)(xcoder_device *device, const xci_buffer *buffer, size_t offset_bytes, void *bytes,
                            size_t n_bytes, xcoder_error *err);

  /* Transformer weights. */
  xcoder_status (*weight_create)(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                 size_t columns, xci_weight **weight, xcoder_error *err);
  void (*weight_free)(xcoder_device *device, xci_weight *weight);

  /* h: [rows, d_model]; positions count from the start of each sequence. */
  xcoder_status (*embed)(xcoder_device *device, const xci_embedding *embedding, const uint32_t *ids,
                         const xci_rows *rows, xci_buffer *h, xcoder_error *err);

  /* A tape for up to n_blocks blocks like `block` and n_rows rows. */
  xcoder_status (*tape_create)(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                               xci_tape **tape, xcoder_error *err);
  void (*tape_free)(xcoder_device *device, xci_tape *tape);

  /* h <- block(h). With a tape, keeps in its slot `slot` what block_backward needs. */
  xcoder_status (*block_forward)(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_buffer *h,
                                 xci_tape *tape, size_t slot, xcoder_error *err);
  /* gradient [rows, d_model]: of the output on entry, of the input on return. */
  xcoder_status (*block_backward)(xcoder_device *device, const xci_block *block, const xci_rows *rows,
                                  xci_tape *tape, size_t slot, xci_buffer *gradient, xcoder_error *err);

  /* Logits of chosen tokens at chosen rows: out[i, k] = norm(h[row[i]]) . U[token[i, k]]; host output. With
   * log_normalizer not NULL also log sum exp over the whole vocabulary at row[i]. */
  xcoder_status (*head_logits)(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                               size_t n_rows, const uint32_t *token, size_t n_tokens, float *out,
                               float *log_normalizer, xcoder_error *err);
  /* gradient <- d( sum_ik weight[i,k] logit(row[i], token[i,k]) ) / dh, zero in all other rows; [total_rows, d]. */
  xcoder_status (*head_backward)(xcoder_device *device, const xci_head *head, const xci_buffer *h, size_t total_rows,
                                 const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                 const float *weight, xci_buffer *gradient, xcoder_error *err);
  /* log p(target[i] | h[row[i]]), softmax over all n_vocab rows, without storing [n_rows, n_vocab]. Host output. */
  xcoder_status (*head_log_probs)(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                  size_t n_rows, const uint32_t *target, float *out, xcoder_error *err);
  /* All logits: out [n_rows, n_vocab] on the host; apply_norm false: project h as it is. */
  xcoder_status (*head_project)(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                size_t n_rows, bool apply_norm, float *out, xcoder_error *err);

  /* Crosscoder. Host arrays in file order: W_enc [n,d,D], b_enc [D], W_dec [D,n,d], b_dec [n,d]. Where not all of the
   * weights fit, a device may bring them from the host's memory as they are used, and says so in device->remark. */
  xcoder_status (*coder_create)(xcoder_device *device, const xci_coder_shape *shape, xci_coder **coder,
                                xcoder_error *err);
  void (*coder_free)(xcoder_device *device, xci_coder *coder);
  xcoder_status (*coder_write)(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor, xci_coder_slot slot,
                               const float *values, xcoder_error *err);
  xcoder_status (*coder_read)(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                              xci_coder_slot slot, float *values, xcoder_error *err);
  /* norms[i, c] = ||W_dec[i,c]||, [n_latents, n_checkpoints]. */
  xcoder_status (*coder_norms)(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err);
  /* Features of x [n_samples, n_checkpoints, d_model] (already scaled), kept as the current batch and codes. */
  xcoder_status (*coder_encode)(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                const xci_gate *gate, xcoder_error *err);
  /* A window of raw samples, bf16 [n_rows, n_checkpoints, d_model], for coder_encode_rows; scales [n_checkpoints] are
   * copied. The caller's array stays as it is as long as it is used: where memory is the host's, no copy is made.
   * XCODER_MEMORY, and no window, where a device has no room for it beside what else it holds. */
  xcoder_status (*coder_window)(xcoder_device *device, xci_coder *coder, const uint16_t *samples, size_t n_rows,
                                const float *scales, xcoder_error *err);
  /* coder_encode of x[b, c] = scale[c] * window[row[b], c]. */
  xcoder_status (*coder_encode_rows)(xcoder_device *device, xci_coder *coder, const uint32_t *row, size_t n_samples,
                                     const xci_gate *gate, xcoder_error *err);
  /* Remembers `stamp` for every latent with a code above 0 in the batch of the last coder_backward. */
  xcoder_status (*coder_mark)(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err);
  /* marks[i], [n_latents]: the last stamp of latent i; 0 where there was none. */
  xcoder_status (*coder_marks)(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err);
  /* A host view of the current codes, valid until the next call with this coder. */
  xcoder_status (*coder_codes)(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err);
  /* Replaces the current codes (the batch x stays as it is). */
  xcoder_status (*coder_set_codes)(xcoder_device *device, xci_coder *coder, const xci_codes *codes, xcoder_error *err);
  /* xhat of the current codes, [n_samples, n_checkpoints, d_model], host. */
  xcoder_status (*coder_decode)(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err);
  /* Losses and the gradient of the loss of the current batch and codes; the gradient stays on the device. */
  xcoder_status (*coder_backward)(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                  xci_losses *losses, xcoder_error *err);
  /* Adam with clipping on the gradient of the last coder_backward. */
  xcoder_status (*coder_update)(xcoder_device *device, xci_coder *coder, const xci_adam *adam, xcoder_error *err);
} xci_backend;

extern const xci_backend xci_backend_cpu;
extern const xci_backend xci_backend_reference;
extern const xci_backend xci_backend_opencl; /* in builds with OpenCL */

#endif
