/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder on an OpenCL device: the state that its files share. */
#ifndef XCI_COMPUTE_OPENCL_CODER_H
#define XCI_COMPUTE_OPENCL_CODER_H

#include "compute/opencl/opencl.h"
#include <crosscoder/coder.h>

/* CHUNK in cl/codes.cl, SQUARES * GROUP in cl/coder.cl */
enum { XCI_CL_CHUNK = 128, XCI_CL_SQUARES = 16 * XCI_CL_GROUP };

/* Pairs of results: squared errors by checkpoint, sparsity, squares of the gradients of tensors and of thresholds, of
 * the auxiliary term the squares of what is to be explained and of what is left; the least score; counts. What else is
 * asked for follows: bits of what fired, gradients of thresholds. All comes down in one transfer. */
enum { XCI_CL_SPARSITY = XCODER_MAX_CHECKPOINTS, XCI_CL_TENSOR_SQUARES = XCI_CL_SPARSITY + 1,
       XCI_CL_THRESHOLD_SQUARES = XCI_CL_TENSOR_SQUARES + XCI_N_TENSORS, XCI_CL_VARIANCE, XCI_CL_AUXILIARY,
       XCI_CL_LEAST, XCI_CL_COUNT, XCI_CL_RESULTS };

enum { XCI_CL_SLOTS = 4, XCI_CL_PIECES = 64 }; /* value, moments, gradient; most pieces of a window */
/* More codes than one in so many are treated as a dense matrix; lists have room for a quarter more than the last ones,
 * and some. */
enum { XCI_CL_DENSE_SHARE = 8, XCI_CL_EXTRA_CODES = 256 };
static inline size_t xci_cl_expected_codes(size_t n) { return n + n / 4 + XCI_CL_EXTRA_CODES; }
/* What the auxiliary term works in: coder_auxiliary.c. */
enum { XCI_CL_AUXILIARY_ARRAYS = 9 };

/* Small arrays of the host on their way up: their copies must stay until something waits. */
typedef enum xci_cl_parcel { XCI_CL_ROWS, XCI_CL_THRESHOLDS, XCI_CL_DEAD, XCI_CL_PARCELS } xci_cl_parcel;

/* The weights of latents first .. first + n - 1, [n, columns] (W_enc transposed), by tensor and slot; biases are not
 * cut. They lie on the device, or in the host's memory and go up when they are used. */
typedef struct xci_cl_panel {
  size_t first, n;
  cl_mem memory[XCI_N_TENSORS][XCI_CL_SLOTS];
  float *host[XCI_N_TENSORS][XCI_CL_SLOTS];
} xci_cl_panel;

struct xci_coder {
  xci_coder_shape shape;
  size_t columns;                   /* n_checkpoints * d_model */
  size_t n_values[XCI_N_TENSORS];
  xci_cl_panel *panels;
  size_t n_panels, n_resident;
  cl_mem tensor[XCI_N_TENSORS][XCI_CL_SLOTS]; /* biases; of weights, where panels of the host lie while they are used */
  const xci_cl_panel *there[XCI_N_TENSORS][XCI_CL_SLOTS]; /* the one that does */
  cl_mem norms;                     /* [n_latents, n_checkpoints] */
  bool norms_valid;

  size_t n_samples;
  bool has_x, has_codes, has_gradient;
  bool has_near;                    /* gate JUMP: f is -0, a code of value 0, for what is just below its threshold */
  bool is_ranked;                   /* by TOPK or BATCH_TOPK */
  cl_mem x, f;                      /* [max_batch, columns], [max_batch, n_latents], +0 where there is no code */
  cl_mem row_counts, row_start;     /* [max_batch], + 1 */
  cl_mem column_counts;             /* [chunks of samples, n_latents] */
  cl_mem column_totals, column_start; /* [n_latents], + 1 */
  cl_mem state, histogram, score, threshold, margin; /* of gates */

  cl_mem index, value, latent;      /* lists: latent or sample, value, latent of each code */
  cl_mem df;                        /* of each code; in the dense form [max_batch, n_latents] */
  size_t index_bytes, value_bytes, latent_bytes, df_bytes;
  cl_mem residual;                  /* [max_batch, columns] */
  cl_mem sums, sparsity, push, decay, positive, positive_start;
  cl_mem threshold_gradient;        /* [n_latents], of logarithms */
  cl_mem parts, results;            /* of reductions */
  size_t parts_bytes;
  cl_mem auxiliary[XCI_CL_AUXILIARY_ARRAYS];
  size_t auxiliary_bytes[XCI_CL_AUXILIARY_ARRAYS];
  double gradient_norm;
  size_t expected;                  /* codes that the next batch is taken to have: see coder_train.c */

  cl_mem window[XCI_CL_PIECES];     /* bf16 [window_rows, columns], cut into pieces of piece_rows */
  size_t window_rows, piece_rows;
  cl_mem rows, scales;              /* rows of the batch [max_batch]; [n_checkpoints] */
  void *parcel[XCI_CL_PARCELS];     /* on their way */
  bool sent[XCI_CL_PARCELS];        /* maybe still on it: nothing has waited for the device since */
  cl_mem marks;                     /* [n_latents], or NULL: none yet */

  float *host_results;
  size_t *host_start;               /* host view of the codes, and staging of the way in */
  uint32_t *host_index, *host_start32;
  float *host_value;
  size_t index_capacity, value_capacity;
};

size_t xci_cl_chunks(const xci_coder *coder);

/* Groups and teams for n items; sizes as kernels take them. */
static inline size_t xci_cl_groups(size_t n) { return (n + XCI_CL_GROUP - 1) / XCI_CL_GROUP; }
static inline size_t xci_cl_teams(size_t n) { return (n + XCI_CL_TEAMS - 1) / XCI_CL_TEAMS; }
static inline unsigned xci_cl_latents(const xci_coder *coder) { return (unsigned)coder->shape.n_latents; }
static inline unsigned xci_cl_columns(const xci_coder *coder) { return (unsigned)coder->columns; }

/* ---- coder_state.c ---- */

/* An array of a crosscoder: everything but weights is one. */
typedef struct xci_cl_array {
  cl_mem *memory;
  size_t count;     /* values of 4 bytes */
  size_t *capacity; /* takes the bytes of what grows elsewhere, or NULL */
} xci_cl_array;
enum { XCI_CL_ARRAYS = 64 };
size_t xci_cl_list_arrays(xci_coder *coder, xci_cl_array arrays[XCI_CL_ARRAYS]);
xcoder_status xci_cl_check_shape(const xci_coder_shape *shape, xcoder_error *err);

/* ---- coder_plan.c ---- */

/* The shape and what follows from it. */
void xci_cl_coder_set_shape(xci_coder *coder, const xci_coder_shape *shape);
/* Most codes of a list that gradients are gathered from, and whether they may be taken of more. */
size_t xci_cl_most_listed(const xci_coder *coder);
bool xci_cl_may_be_dense(const xci_coder *coder);

/* Panels of `each` latents, of which n_resident stay on the device. */
typedef struct xci_cl_layout {
  size_t each, n_panels, n_resident;
} xci_cl_layout;
/* From `left` bytes beside `arrays`, the largest of which has `largest` bytes. */
xcoder_status xci_cl_coder_layout(xcoder_device *device, const xci_coder *coder, uint64_t arrays, uint64_t left,
                                  size_t largest, xci_cl_layout *layout, xcoder_error *err);

/* ---- coder_panels.c ---- */

/* Takes the memory for weights, zeroed, beside `arrays` bytes that are taken. */
xcoder_status xci_cl_panels_create(xcoder_device *device, xci_coder *coder, uint64_t arrays, xcoder_error *err);
void xci_cl_panels_free(xcoder_device *device, xci_coder *coder);
/* A tensor of a panel on the device, until another panel's is asked for; fetch: with its values. */
xcoder_status xci_cl_panel_in(xcoder_device *device, xci_coder *coder, const xci_cl_panel *panel,
                              xci_coder_tensor tensor, xci_coder_slot slot, bool fetch, cl_mem *memory,
                              xcoder_error *err);
/* After it was changed there. */
xcoder_status xci_cl_panel_out(xcoder_device *device, xci_coder *coder, const xci_cl_panel *panel,
                               xci_coder_tensor tensor, xci_coder_slot slot, xcoder_error *err);

/* ---- coder_samples.c ---- */

/* n_bytes to a device's array, without waiting, through a copy of at most `most` bytes. */
xcoder_status xci_cl_post(xcoder_device *device, xci_coder *coder, xci_cl_parcel parcel, size_t most, cl_mem to,
                          const void *from, size_t n_bytes, xcoder_error *err);
/* After something waited: all has arrived. */
void xci_cl_arrived(xci_coder *coder);

/* ---- The others ---- */

/* The gate over the batch in x, which becomes the current one. */
xcoder_status xci_cl_encode_loaded(xcoder_device *device, xci_coder *coder, size_t n_samples, const xci_gate *gate,
                                   xcoder_error *err);
/* row_start of the current f. */
xcoder_status xci_cl_start_rows(xcoder_device *device, xci_coder *coder, xcoder_error *err);
/* row_start of the current f, and how many codes there are (one small transfer, which waits). */
xcoder_status xci_cl_count_codes(xcoder_device *device, xci_coder *coder, size_t *n_codes, xcoder_error *err);
/* Lists by sample in index, value, which get room for n_codes; nothing is written where row_start says that there are
 * no codes. */
xcoder_status xci_cl_list_rows(xcoder_device *device, xci_coder *coder, size_t n_codes, xcoder_error *err);
/* score = sum_c of norms, which are to be there. */
xcoder_status xci_cl_fill_scores(xcoder_device *device, xci_coder *coder, xcoder_error *err);
xcoder_status xci_cl_fill_norms(xcoder_device *device, xci_coder *coder, xcoder_error *err);
/* Whether so many codes are better treated as a dense matrix; by counts alone. */
bool xci_cl_is_dense(const xci_coder *coder, size_t n_codes);
/* out = xhat - x, or xhat; by a dense product, or lists of at most n_codes. */
xcoder_status xci_cl_decode_into(xcoder_device *device, xci_coder *coder, bool dense, size_t n_codes, bool subtract,
                                 cl_mem out, xcoder_error *err);

/* The crosscoder's dense products, computed as the device was told to. */
static inline xcoder_status xci_cl_coder_gemm(xcoder_device *device, size_t m, size_t n, size_t k, float alpha,
                                              xci_cl_matrix a, xci_cl_matrix b, float beta, xci_cl_matrix c,
                                              xcoder_error *err) {
  xci_compute compute = device->compute == XCI_COMPUTE_BF16_ALL ? XCI_COMPUTE_BF16 : XCI_COMPUTE_FP32;
  return xci_cl_gemm_as(device, compute, m, n, k, alpha, a, b, beta, c, err);
}

/* ---- Reductions of fixed shape ---- */

/* out[k] = scale * sum of rows over the batch. */
xcoder_status xci_cl_sum_columns(xcoder_device *device, xci_coder *coder, cl_mem rows, size_t columns, float scale,
                                 cl_mem out, xcoder_error *err);
/* results[slot] = sum of n values of x as a pair of floats. */
xcoder_status xci_cl_sum_pairs(xcoder_device *device, xci_coder *coder, cl_mem x, size_t first, size_t n,
                               unsigned slot, xcoder_error *err);
/* parts[c, b] = sum of squares of rows, [n_samples, columns]. */
xcoder_status xci_cl_sum_errors(xcoder_device *device, xci_coder *coder, cl_mem rows, xcoder_error *err);
/* results[XCI_CL_TENSOR_SQUARES + tensor] = sum of squares of its gradient. */
xcoder_status xci_cl_sum_squares(xcoder_device *device, xci_coder *coder, int tensor, xcoder_error *err);

/* Values of the arrays that the auxiliary term works in, for n_dead latents, chunks of `each` of them and a batch. */
void xci_cl_auxiliary_counts(const xci_coder *coder, size_t n_dead, size_t each, size_t batch,
                             size_t counts[XCI_CL_AUXILIARY_ARRAYS]);
/* Dead latents of a chunk for which there is room in any case. */
size_t xci_cl_auxiliary_least(const xci_coder *coder);
/* Room for larger chunks, if there is. */
xcoder_status xci_cl_widen_auxiliary(xcoder_device *device, xci_coder *coder, xcoder_error *err);
/* Adds the auxiliary term to the gradients; its sums are in the results. */
xcoder_status xci_cl_add_auxiliary(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                   xcoder_error *err);

#endif
