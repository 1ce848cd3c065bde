/* SPDX-License-Identifier: Apache-2.0 */
/* The transformer on an OpenCL device: what the files of its forward and backward passes share. Arrays are float32,
 * [n_rows, width], in memory of the device; nothing here waits for the device unless it says so. */
#ifndef XCI_COMPUTE_OPENCL_TRANSFORMER_H
#define XCI_COMPUTE_OPENCL_TRANSFORMER_H

#include "compute/opencl/opencl.h"

/* Queries (and keys) of one tile of attention: as in cl/attention.cl, cl/tensor_attention.cl. */
enum { XCI_CL_QUERIES = 64 };

/* ---- weight.c ---- */

typedef struct xci_cl_weight {
  xci_weight *host;   /* the same for the processor */
  xci_cl_type type;   /* vectors and float64 as float32, matrices of 16 bits as in the file */
  cl_mem memory;      /* NULL: a matrix that does not fit; its rows go up when they are used */
} xci_cl_weight;      /* xci_weight.handle */

xcoder_status xci_cl_weight_create(xcoder_device *device, const void *source, xci_dtype dtype, size_t rows,
                                   size_t columns, xci_weight **weight, xcoder_error *err);
void xci_cl_weight_free(xcoder_device *device, xci_weight *weight);
/* A vector's float32 values; NULL for NULL. */
cl_mem xci_cl_vector(const xci_weight *weight);
/* Values [row .. row + n) x columns of a matrix, in *memory from row *first on, of type *type. A matrix that is not on
 * the device goes up in part, into work space that the next call overwrites. */
xcoder_status xci_cl_weight_rows(xcoder_device *device, const xci_weight *weight, size_t row, size_t n, cl_mem *memory,
                                 size_t *first, xci_cl_type *type, xcoder_error *err);
/* Values of a matrix that go through a product at once where it is not there as float32; XCODER_OPENCL_PANEL. */
size_t xci_cl_panel(void);
/* Rows of a matrix by number: the whole matrix, or where it is not on the device (*gathered) the n rows one after the
 * other, in work space that the next call overwrites. */
xcoder_status xci_cl_weight_gather(xcoder_device *device, const xci_weight *weight, const uint32_t *rows, size_t n,
                                   cl_mem *memory, bool *gathered, xci_cl_type *type, xcoder_error *err);

/* ---- work.c: memory that grows and stays until the device closes ---- */

/* One array per use, so that a phase never overwrites what another one still reads. */
typedef enum xci_cl_use {
  XCI_CL_NORMED, XCI_CL_RAW, XCI_CL_Q, XCI_CL_K, XCI_CL_V, XCI_CL_CONTEXT, XCI_CL_STATISTIC, XCI_CL_ATTENTION,
  XCI_CL_UP, XCI_CL_GATE, XCI_CL_ACT, XCI_CL_MLP,
  /* the backward pass */
  XCI_CL_DQ, XCI_CL_DK, XCI_CL_DV, XCI_CL_D_CONTEXT, XCI_CL_D_RAW, XCI_CL_D_ACT, XCI_CL_D_GATE, XCI_CL_D_OUT,
  XCI_CL_D_MID, XCI_CL_D_SUMS,
  /* embedding and head */
  XCI_CL_IDS, XCI_CL_HEAD_ROWS, XCI_CL_TOKENS, XCI_CL_LOGITS, XCI_CL_RESULTS, XCI_CL_HEAD_WEIGHTS, XCI_CL_HEAD_GRADIENT,
  /* weights on their way: as float32, as in the file */
  XCI_CL_PANEL, XCI_CL_STREAMED, XCI_CL_GATHERED,
  /* the plan */
  XCI_CL_POSITIONS, XCI_CL_TASKS, XCI_CL_ANGLES, XCI_CL_SLOPES,
  XCI_CL_N_USES
} xci_cl_use;

/* At least rows * width values of 4 bytes; the contents are undefined. */
xcoder_status xci_cl_work(xcoder_device *device, xci_cl_use use, size_t rows, size_t width, cl_mem *out,
                          xcoder_error *err);
void xci_cl_transformer_close(xcoder_device *device);

/* What one call needs to know of its rows, on the device. It goes up when it differs from the call before. */
typedef struct xci_cl_plan {
  size_t n_rows, longest, n_tasks;
  cl_mem positions; /* [n_rows] unsigned: of each row in its sequence */
  /* [n_tasks][4] unsigned: first row, number of rows (at most XCI_CL_QUERIES), and the sequence's first row and end.
   * They cover every row once, none crosses a border of sequences, and they ascend. */
  cl_mem tasks;
  cl_mem angles;    /* [longest or more][rotary_width]: cosines, then sines; NULL without rotary */
  cl_mem slopes;    /* [n_heads], or NULL without ALiBi */
} xci_cl_plan;
/* block NULL: without angles and slopes. */
xcoder_status xci_cl_plan_rows(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_cl_plan *plan,
                               xcoder_error *err);

/* ---- tape.c ---- */

/* What block_forward leaves for block_backward, by rows. Products are kept without their bias, which whoever reads
 * them adds, as the forward kernels do; q, k and v come from `raw` again by xci_cl_split_qkv(). */
typedef struct xci_cl_slot {
  cl_mem input;     /* [d_model] the block's input */
  cl_mem raw;       /* [(n_heads + 2 n_kv_heads) d_head] products of query, key, value; fused ones as they come */
  cl_mem context;   /* [n_heads d_head] attention's output before the output product */
  cl_mem statistic; /* [n_heads][2] largest score, and sum of exp(score - largest): p = exp(score - largest) / sum */
  cl_mem mid;       /* [d_model] sequential: stream between the layers; post-norm: attention output with its bias,
                     * before its norm; parallel: NULL */
  cl_mem up, gate;  /* [d_mlp] products; gate NULL if there is none */
  cl_mem mlp;       /* [d_model] post-norm: feed-forward output with its bias, before its norm; else NULL */
} xci_cl_slot;
typedef struct xci_cl_tape { /* xci_tape */
  size_t n_blocks, n_rows;
  xci_cl_slot *slots;
} xci_cl_tape;
xcoder_status xci_cl_tape_create(xcoder_device *device, const xci_block *block, size_t n_blocks, size_t n_rows,
                                 xci_tape **tape, xcoder_error *err);
void xci_cl_tape_free(xcoder_device *device, xci_tape *tape);
/* Slot `index`, checked against the block and the number of rows. */
xcoder_status xci_cl_find_slot(const xci_block *block, xci_tape *tape, size_t index, size_t n_rows, xci_cl_slot *slot,
                               xcoder_error *err);

/* ---- linear.c ---- */

/* c[m, n] = a[m, k] op(w) + beta c, op transposing when asked; a and c from value a_first and c_first on, rows lda and
 * ldc apart. */
xcoder_status xci_cl_product(xcoder_device *device, bool transpose, size_t m, cl_mem a, size_t a_first, size_t lda,
                             const xci_weight *w, float beta, cl_mem c, size_t c_first, size_t ldc, xcoder_error *err);
/* The same with rows row .. row + n of w alone, and factors rounded as `compute` says. */
xcoder_status xci_cl_product_rows(xcoder_device *device, bool transpose, size_t m, cl_mem a, size_t a_first, size_t lda,
                                  const xci_weight *w, size_t row, size_t n, float beta, cl_mem c, size_t c_first,
                                  size_t ldc, xci_compute compute, xcoder_error *err);
/* y = x W^T without the bias, computed as the device is set to; y from value y_first on, rows ldy apart. */
xcoder_status xci_cl_linear(xcoder_device *device, const xci_linear *linear, cl_mem x, size_t n_rows, cl_mem y,
                            size_t y_first, size_t ldy, xcoder_error *err);
/* dx [n_rows, in] = dy W + beta dx. */
xcoder_status xci_cl_linear_backward(xcoder_device *device, const xci_linear *linear, cl_mem dy, size_t dy_first,
                                     size_t lddy, size_t n_rows, float beta, cl_mem dx, xcoder_error *err);

/* ---- layers.c: one launch each ---- */

/* y[r] = norm(x[row[r]]), row NULL: norm(x[r]), and then y may be x. norm NULL copies. */
xcoder_status xci_cl_norm(xcoder_device *device, const xci_norm *norm, cl_mem x, cl_mem row, size_t n_rows,
                          size_t width, cl_mem y, xcoder_error *err);
/* y = a + b + c + bias + bias2; all but a may be NULL, y may be any of them. */
typedef struct xci_cl_sum {
  cl_mem a, b, c;
  const xci_weight *bias, *bias2;
} xci_cl_sum;
xcoder_status xci_cl_add(xcoder_device *device, const xci_cl_sum *sum, size_t n_rows, size_t width, cl_mem y,
                         xcoder_error *err);
/* act = f(up + bias), gated: f(gate + bias) (up + bias); act may be up. */
xcoder_status xci_cl_activate(xcoder_device *device, const xci_block *block, size_t n_rows, cl_mem up, cl_mem gate,
                              cl_mem act, xcoder_error *err);
/* raw products -> q, k, v with heads side by side: bias, norm, clip, rotary. */
xcoder_status xci_cl_split_qkv(xcoder_device *device, const xci_block *block, const xci_cl_plan *plan, cl_mem raw,
                               cl_mem q, cl_mem k, cl_mem v, xcoder_error *err);
static inline size_t xci_cl_qkv_width(const xci_block *b) { return (b->n_heads + 2 * b->n_kv_heads) * b->d_head; }
static inline bool xci_cl_is_gated(const xci_block *b) { return b->gate.weight != NULL; }

/* ---- attend.c ---- */

/* context [n_rows, n_heads d_head] and statistic [n_rows, n_heads, 2]. */
xcoder_status xci_cl_attend(xcoder_device *device, const xci_block *block, const xci_cl_plan *plan, cl_mem q, cl_mem k,
                            cl_mem v, cl_mem context, cl_mem statistic, xcoder_error *err);

/* ---- head.c ---- */

/* x [n, d_model]: rows of h, normalised if asked; index: their numbers. */
xcoder_status xci_cl_head_rows(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                               size_t n, bool apply_norm, cl_mem *index, cl_mem *x, xcoder_error *err);

/* ---- Entries of the table ---- */

xcoder_status xci_cl_embed(xcoder_device *device, const xci_embedding *embedding, const uint32_t *ids,
                           const xci_rows *rows, xci_buffer *h, xcoder_error *err);
xcoder_status xci_cl_block_forward(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_buffer *h,
                                   xci_tape *tape, size_t index, xcoder_error *err);
xcoder_status xci_cl_block_backward(xcoder_device *device, const xci_block *block, const xci_rows *rows, xci_tape *tape,
                                    size_t index, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_cl_head_backward(xcoder_device *device, const xci_head *head, const xci_buffer *h, size_t total_rows,
                                   const size_t *row, size_t n_rows, const uint32_t *token, size_t n_tokens,
                                   const float *weight, xci_buffer *gradient, xcoder_error *err);
xcoder_status xci_cl_head_logits(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                 size_t n_rows, const uint32_t *token, size_t n_tokens, float *out,
                                 float *log_normalizer, xcoder_error *err);
xcoder_status xci_cl_head_log_probs(xcoder_device *device, const xci_head *head, const xci_buffer *h,
                                    const size_t *row, size_t n_rows, const uint32_t *target, float *out,
                                    xcoder_error *err);
xcoder_status xci_cl_head_project(xcoder_device *device, const xci_head *head, const xci_buffer *h, const size_t *row,
                                  size_t n_rows, bool apply_norm, float *out, xcoder_error *err);

#endif
