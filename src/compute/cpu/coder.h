/* SPDX-License-Identifier: Apache-2.0 */
/* The crosscoder on the processor: entries of the backend table, and the state that its files share.
 *
 * The n_checkpoints * d_model columns are cut into tiles of 16 to 64 columns that never cross a checkpoint; everything
 * is tile-major, [n_tiles][rows][width] with rows = samples or latents (W_enc is kept transposed), so that a pass over
 * one tile stays in the second-level cache. Padding columns are 0 and stay 0. A pass over a tile is sequential and the
 * work is cut by shape alone, so results do not depend on the number of threads. */
#ifndef XCI_COMPUTE_CPU_CODER_H
#define XCI_COMPUTE_CPU_CODER_H

#include "compute/compute.h"
#include "compute/cpu/coder_kernels.h"
#include "compute/host_samples.h"

/* A grow-only array. */
typedef struct xci_space {
  void *memory;
  size_t bytes;
} xci_space;

/* Codes by sample, indices ascending. */
typedef struct xci_code_lists {
  xci_space start, index, value; /* size_t, uint32_t, float */
} xci_code_lists;

/* At least count * bytes; the contents are undefined. */
xcoder_status xci_reserve(xci_space *space, size_t count, size_t bytes, xcoder_error *err);
/* One more array per thread: spaces[0 .. xci_threads()-1], each with at least count * bytes. */
xcoder_status xci_reserve_threads(xci_space **spaces, size_t *n_spaces, size_t count, size_t bytes, xcoder_error *err);

struct xci_coder {
  xci_coder_shape shape;
  const xci_coder_kernels *kernels;
  size_t width, tiles_per_checkpoint, n_tiles;
  float *tensor[XCI_N_TENSORS][4]; /* by xci_coder_slot; moments and gradients only when training */
  double *norm;                    /* [n_latents][n_checkpoints] */
  bool norm_valid;
  xci_host_samples samples;

  /* The batch. */
  size_t n_samples, n_rows; /* n_rows: rounded up to whole strips */
  bool has_x;
  xci_space x; /* [n_tiles][n_rows][width] */

  /* Its codes by sample, and (made on demand) by latent. Latents that fire on a large share of the samples are
   * "dense": their codes lie in panels instead, [dense_columns / XCI_DENSE][n_rows][XCI_DENSE]. */
  bool has_codes, has_lists;
  bool has_near; /* gate JUMP: codes of value 0 stand for latents just below their thresholds */
  bool is_ranked; /* by TOPK or BATCH_TOPK */
  xci_space jump; /* of JUMP: its thresholds and margins, [n_latents] each */
  xci_code_lists codes;
  xci_space latent_start, latent_sample, latent_value, latent_df;
  size_t n_dense, dense_columns;                /* the latter rounded up to whole panels */
  xci_space dense_latent, dense_place;          /* column -> latent, latent -> column or XCI_SPARSE (uint32_t) */
  xci_space dense_f, dense_df, residual;
  xci_space rest_start, rest_index, rest_value; /* codes of the other latents by sample */

  /* Gradient. */
  bool has_gradient;
  double gradient_norm;
  uint8_t *active; /* [n_latents]: has codes in the current lists, so its gradient rows were written */
  float *decay;    /* [n_checkpoints][n_latents]: l1 / B * sum of f / norm */
  float *push;     /* [n_latents]: l1 / B * sum of norms */

  /* Work space. */
  xci_space floor, kept_counts, task_place, df_parts, results, fill_counts;
  xci_space auxiliary[12]; /* of coder_auxiliary.c */
  xci_space *arenas, *scratch; /* per thread */
  size_t n_arenas, n_scratch;
};

/* Tile `t` of a tensor with `rows` rows. */
static inline float *xci_coder_tile(const xci_coder *coder, float *base, size_t t, size_t rows) {
  return base + t * rows * coder->width;
}
static inline xci_lists xci_coder_by_sample(const xci_coder *coder) {
  return (xci_lists){coder->codes.start.memory, coder->codes.index.memory, coder->codes.value.memory};
}
static inline xci_lists xci_coder_by_latent(const xci_coder *coder) {
  return (xci_lists){coder->latent_start.memory, coder->latent_sample.memory, coder->latent_value.memory};
}

/* Fills norm[] if parameters have changed. */
void xci_coder_fill_norms(xci_coder *coder);

/* ---- Products of a batch with panels of latents (the encoder, and the gradient of dense features) ---- */

typedef struct xci_panels {
  const float *rows;      /* [n_tiles][n_rows][width] */
  const float *weight;    /* [n_tiles][n_latents][width] */
  const uint32_t *chosen; /* latents, or NULL: all of them in order */
  size_t n_chosen;
  size_t block;           /* samples per block, a multiple of XCI_STRIP */
} xci_panels;

/* Splits n_rows into equal blocks. */
size_t xci_coder_block(size_t n_rows);
/* Floats of scratch that one product needs. */
size_t xci_coder_panel_scratch(const xci_coder *coder, size_t block);
/* c[row][latent] of block `block` and panel `panel`; the result lies in scratch, [rows][XCI_PANEL]. */
const float *xci_coder_panel(const xci_coder *coder, const xci_panels *panels, size_t block, size_t panel,
                             float *scratch);

/* Keeps every pre-activation of the panels' latents that is not <= its floor; bias and floor, [n_chosen] padded to
 * whole panels, stand one after the other in coder->floor. */
xcoder_status xci_coder_encode_panels(xci_coder *coder, const xci_panels *panels, xci_code_lists *to,
                                      xcoder_error *err);

/* Keeps the k largest values of each sample; ties go to the lower index. */
xcoder_status xci_coder_keep_largest(xci_coder *coder, xci_code_lists *codes, size_t n_samples, size_t k,
                                     xcoder_error *err);

/* Adds the auxiliary term of the objective to the gradient: *loss without its coefficient; square[0 .. 2 n_tiles - 1],
 * the sums of squares of the gradient's tiles, follow. */
xcoder_status xci_coder_auxiliary(xci_coder *coder, const xci_objective *objective, double *square, double *loss,
                                  xcoder_error *err);

/* Keeps the largest scores (gates TOPK and BATCH_TOPK). */
xcoder_status xci_coder_select(xci_coder *coder, const xci_gate *gate, xcoder_error *err);
/* The smallest score above 0 of the current codes, 0 where there is none; norms are to be those of now. */
double xci_coder_least_score(const xci_coder *coder);

/* Gate JUMP: thresholds and margins of the gate, with the norms of now. */
xcoder_status xci_coder_take_thresholds(xci_coder *coder, const xci_gate *gate, xcoder_error *err);
/* Codes at or below their thresholds get the value 0. */
void xci_coder_shut(xci_coder *coder);
/* The objective's threshold_gradient from latent_df, in which codes of value 0 then have none; and b_enc's gradient. */
void xci_coder_jump(xci_coder *coder, const xci_objective *objective);

/* ---- Codes by latent ---- */

enum { XCI_DENSE = 96 }; /* columns of a panel of dense latents: a multiple of XCI_STRIP and of 16 */
#define XCI_SPARSE UINT32_MAX

xcoder_status xci_coder_fill_lists(xci_coder *coder, xcoder_error *err);
/* Floats of scratch that the next functions need. */
size_t xci_coder_dense_scratch(const xci_coder *coder);
/* Sum and number of positive codes of every dense latent, written to sums[latent], positive[latent]. */
void xci_coder_dense_sums(const xci_coder *coder, double *sums, double *positive);
/* r += F W of the dense latents, tile t. */
void xci_coder_dense_decode(const xci_coder *coder, size_t t, float *r, float *scratch);
/* Gradient rows of dense latents in one tile: scale * sum_b values[b, i] rows[b] + decay[i] * weight[i]; `decay` may be
 * NULL (0). Returns their sum of squares. */
double xci_coder_dense_gradient(const xci_coder *coder, const float *values, const float *rows, float scale,
                                const float *decay, const float *weight, float *gradient, float *scratch);
/* dense_df = scale * R W_dec^T + push where f is not 0; adds its sums over samples to b_enc's gradient. */
xcoder_status xci_coder_dense_df(xci_coder *coder, float scale, xcoder_error *err);

/* ---- Entries of the table (compute/compute.h) ---- */

xcoder_status xci_cpu_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **coder,
                                   xcoder_error *err);
void xci_cpu_coder_free(xcoder_device *device, xci_coder *coder);
xcoder_status xci_cpu_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                  xci_coder_slot slot, const float *values, xcoder_error *err);
xcoder_status xci_cpu_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                 xci_coder_slot slot, float *values, xcoder_error *err);
xcoder_status xci_cpu_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err);
xcoder_status xci_cpu_coder_encode(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                   const xci_gate *gate, xcoder_error *err);
xcoder_status xci_cpu_coder_window(xcoder_device *device, xci_coder *coder, const uint16_t *samples, size_t n_rows,
                                   const float *scales, xcoder_error *err);
xcoder_status xci_cpu_coder_encode_rows(xcoder_device *device, xci_coder *coder, const uint32_t *row,
                                        size_t n_samples, const xci_gate *gate, xcoder_error *err);
xcoder_status xci_cpu_coder_mark(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err);
xcoder_status xci_cpu_coder_marks(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err);
xcoder_status xci_cpu_coder_codes(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err);
xcoder_status xci_cpu_coder_set_codes(xcoder_device *device, xci_coder *coder, const xci_codes *codes,
                                      xcoder_error *err);
xcoder_status xci_cpu_coder_decode(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err);
xcoder_status xci_cpu_coder_backward(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                     xci_losses *losses, xcoder_error *err);
xcoder_status xci_cpu_coder_update(xcoder_device *device, xci_coder *coder, const xci_adam *adam, xcoder_error *err);

#endif
