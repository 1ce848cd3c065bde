/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenCL backend: what its files share. One in-order queue a device; kernels run in groups of XCI_CL_GROUP. */
#ifndef XCI_COMPUTE_OPENCL_OPENCL_H
#define XCI_COMPUTE_OPENCL_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include "base/text.h"
#include "compute/compute.h"
#include <CL/cl.h>
#include <stdio.h>

/* Work-items of a group, and of a team: kernels cut a group into teams that each reduce one row. As in cl/common.cl. */
enum { XCI_CL_GROUP = 256, XCI_CL_TEAM = 32, XCI_CL_TEAMS = XCI_CL_GROUP / XCI_CL_TEAM, XCI_CL_KERNELS = 96 };

typedef struct xci_cl {
  char name[128];
  cl_device_id id;
  cl_context context;
  cl_command_queue queue;
  cl_program program, tensor; /* tensor: NULL where the device has no tensor cores that we use */
  struct {
    const char *name; /* a literal */
    cl_kernel kernel;
    size_t runs;      /* since xci_cl_profile, and how long they took on the device */
    double seconds;
  } kernels[XCI_CL_KERNELS];
  size_t n_kernels;
  bool profiles; /* XCODER_OPENCL_PROFILE is set: each kernel is waited for, and timed */
  bool is_cpu, use_clblast;
  const char *tensor_fp32; /* its kernel for products in float32 */
  bool tensor_attention; /* its kernels for attention have passed their trial */
  const char *products; /* how dense products are computed, for people */
  bool failed;               /* after any error nothing more is tried: the context may be poisoned */
  size_t max_buffer, memory; /* bytes: of one allocation, of the device */
  size_t used, peak;         /* bytes held, most ever held */
  size_t n_weights;          /* of models; with the last of them goes what they work in */
  bool has_coder;            /* a crosscoder has been made: nothing more is promised to the plan's */
  double last_call;          /* when the driver last returned from a command, and whether it had waited */
  bool last_waited;
  cl_mem scratch[4];         /* grow-only work space, by xci_cl_scratch_use */
  size_t scratch_bytes[4];
  struct xci_cl_transformer *transformer; /* its work space: work.c */
  xcoder_device *host;       /* reads weights from files */
} xci_cl;

static inline xci_cl *xci_cl_of(const xcoder_device *device) { return device->state; }

/* ---- select.c ---- */

typedef struct xci_cl_found {
  cl_platform_id platform;
  cl_device_id device;
  cl_device_type type;
  char name[96], platform_name[96], driver[64], version[64];
} xci_cl_found;
enum { XCI_CL_MAX_DEVICES = 32 };
/* Every device of every platform, in the order of the loader; 0 if there are none. Never fails. */
size_t xci_cl_find(xci_cl_found found[XCI_CL_MAX_DEVICES]);
/* "N", a part of a name (any case), or NULL: the first GPU, else the first device. */
xcoder_status xci_cl_select(const char *which, const xci_cl_found *found, size_t n, size_t *chosen, xcoder_error *err);

/* ---- program.c ---- */

/* Builds the kernels, from the cache of binaries where it has them. */
xcoder_status xci_cl_build(xcoder_device *device, const xci_cl_found *found, xcoder_error *err);
/* The program of tensor cores into cl->tensor; NULL there and no error if the driver does not take it. */
void xci_cl_build_tensor(xcoder_device *device, const xci_cl_found *found, bool emulated);
/* Lines made from cl/ at build time: all kernels but those of cl/tensor.cl; those with cl/common.cl. */
extern const char *const xci_cl_source[], *const xci_cl_tensor_source[];
extern const size_t xci_cl_source_lines, xci_cl_tensor_source_lines;

/* ---- launch.c ---- */

const char *xci_cl_error_name(cl_int code);
/* XCODER_DEVICE in one line, and no further attempts with this device. */
xcoder_status xci_cl_fail(xcoder_device *device, cl_int code, const char *what, xcoder_error *err);
/* Whether an earlier call has failed. */
xcoder_status xci_cl_usable(xcoder_device *device, xcoder_error *err);
/* Every call of the driver that enqueues a command stands between these two, which keep device->traffic. */
double xci_cl_begin(xcoder_device *device);
void xci_cl_end(xcoder_device *device, double began, bool waited);
/* Enqueues groups_x x groups_y groups of XCI_CL_GROUP x 1 items. Letters of `types`: m cl_mem (NULL allowed),
 * u unsigned, f double passed as float. Nothing happens where there are no groups. */
xcoder_status xci_cl_run(xcoder_device *device, const char *kernel, size_t groups_x, size_t groups_y,
                         xcoder_error *err, const char *types, ...);

/* Adds what a launch took, which is waited for, to the kernel's sums; `event` is released. Only where cl->profiles. */
cl_int xci_cl_time(xci_cl *cl, const char *kernel, cl_event event);
/* Lines "kernel NAME RUNS SECONDS" of what ran since the last call of this; out may be NULL. */
void xci_cl_profile(xcoder_device *device, FILE *out);

/* ---- memory.c ---- */

xcoder_status xci_cl_alloc(xcoder_device *device, size_t count, size_t bytes, cl_mem *out, xcoder_error *err);
/* The same, but a driver that refuses (*refused) has not failed, and less may be asked for. */
xcoder_status xci_cl_try_alloc(xcoder_device *device, size_t count, size_t bytes, cl_mem *out, bool *refused,
                               xcoder_error *err);
void xci_cl_free(xcoder_device *device, cl_mem *memory); /* NULL allowed; becomes NULL */
xcoder_status xci_cl_write(xcoder_device *device, cl_mem to, size_t offset, const void *from, size_t n_bytes,
                           xcoder_error *err);
/* The same without waiting: `from` must stay as it is until something waits. */
xcoder_status xci_cl_send(xcoder_device *device, cl_mem to, size_t offset, const void *from, size_t n_bytes,
                          xcoder_error *err);
xcoder_status xci_cl_finish(xcoder_device *device, xcoder_error *err); /* waits */
xcoder_status xci_cl_read(xcoder_device *device, cl_mem from, size_t offset, void *to, size_t n_bytes,
                          xcoder_error *err);
xcoder_status xci_cl_zero(xcoder_device *device, cl_mem memory, size_t offset, size_t n_bytes, xcoder_error *err);
xcoder_status xci_cl_copy(xcoder_device *device, cl_mem from, size_t from_offset, cl_mem to, size_t to_offset,
                          size_t n_bytes, xcoder_error *err);
/* At least count * bytes in *memory of *capacity bytes; the contents are lost. */
xcoder_status xci_cl_reserve(xcoder_device *device, cl_mem *memory, size_t *capacity, size_t count, size_t bytes,
                             xcoder_error *err);

xcoder_status xci_cl_buffer_create(xcoder_device *device, size_t bytes, xci_buffer *buffer, xcoder_error *err);
void xci_cl_buffer_free(xcoder_device *device, xci_buffer *buffer);
xcoder_status xci_cl_upload(xcoder_device *device, xci_buffer *buffer, size_t offset_bytes, const void *bytes,
                            size_t n_bytes, xcoder_error *err);
xcoder_status xci_cl_download(xcoder_device *device, const xci_buffer *buffer, size_t offset_bytes, void *bytes,
                              size_t n_bytes, xcoder_error *err);

/* ---- gemm.c ---- */

/* How the numbers of a matrix lie on the device. */
typedef enum xci_cl_type { XCI_CL_F32, XCI_CL_F16, XCI_CL_BF16 } xci_cl_type; /* as in cl/common.cl */

/* A matrix in row-major order, from value `first` of `memory`, rows `stride` values apart; transposed: as read. */
typedef struct xci_cl_matrix {
  cl_mem memory;
  size_t first, stride;
  bool transposed;
} xci_cl_matrix;
/* tensor.c: chooses how products are computed: on NVIDIA's tensor cores if they are there and give what they should,
 * else by CLBlast on GPUs, else by our own kernel. XCODER_OPENCL_GEMM overrides (`ways` in tensor.c). False:
 * trying the tensor cores has failed in a way that the context may not survive; the choice stands without them. */
bool xci_cl_choose_gemm(xcoder_device *device, const xci_cl_found *found);

/* Other than XCI_COMPUTE_FP32: a and b are rounded to bfloat16 and the products summed in float32. */
xcoder_status xci_cl_gemm_as(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                             xci_cl_matrix a, xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err);
/* The same with b's numbers of a type for which xci_cl_reads(). */
xcoder_status xci_cl_gemm_of(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                             xci_cl_matrix a, xci_cl_matrix b, xci_cl_type b_type, float beta, xci_cl_matrix c,
                             xcoder_error *err);
/* Whether products read such numbers as they are: the others, by CLBlast, want them widened to float32. */
bool xci_cl_reads(const xcoder_device *device, xci_compute compute, xci_cl_type b_type);
/* c[m, n] = alpha a[m, k] b[k, n] + beta c in float32 (or what agrees with it within 2^-15 of sums of magnitudes, by
 * tensor cores); c is not transposed. */
xcoder_status xci_cl_gemm(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                          xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err);

/* ---- attend.c ---- */

/* Whether cl->tensor computes attention as the plain kernels do: cl->tensor_attention. False: it failed in a way that
 * the context may not survive. */
bool xci_cl_try_attention(xcoder_device *device);

/* ---- list.c: for `devices` and for `auto` ---- */

void xci_cl_list(xci_text *json);
/* Whether there is a device other than a processor; *which is its number as text. */
bool xci_cl_has_gpu(char which[24]);

/* ---- weight.c ---- */

/* XCODER_OPENCL_PANEL, for tests: values of a panel of weights, which then stay on the host; 0: not set. */
size_t xci_cl_wished_panel(void);

/* ---- work.c ---- */

/* Bytes that models work in at present. */
size_t xci_cl_work_bytes(const xcoder_device *device);

/* ---- coder_plan.c ---- */

/* Bytes of the memory that weights of models leave: an eighth, or what the plan needs besides. */
size_t xci_cl_weights_leave(xcoder_device *device);

/* ---- Entries: coder_*.c ---- */

xcoder_status xci_cl_coder_plan(xcoder_device *device, const xci_coder_shape *shape, xcoder_device_room *room,
                                xcoder_error *err);
xcoder_status xci_cl_coder_create(xcoder_device *device, const xci_coder_shape *shape, xci_coder **coder,
                                  xcoder_error *err);
void xci_cl_coder_free(xcoder_device *device, xci_coder *coder);
xcoder_status xci_cl_coder_write(xcoder_device *device, xci_coder *coder, xci_coder_tensor tensor,
                                 xci_coder_slot slot, const float *values, xcoder_error *err);
xcoder_status xci_cl_coder_read(xcoder_device *device, const xci_coder *coder, xci_coder_tensor tensor,
                                xci_coder_slot slot, float *values, xcoder_error *err);
xcoder_status xci_cl_coder_norms(xcoder_device *device, xci_coder *coder, float *norms, xcoder_error *err);
xcoder_status xci_cl_coder_encode(xcoder_device *device, xci_coder *coder, const float *x, size_t n_samples,
                                  const xci_gate *gate, xcoder_error *err);
xcoder_status xci_cl_coder_window(xcoder_device *device, xci_coder *coder, const uint16_t *samples, size_t n_rows,
                                  const float *scales, xcoder_error *err);
xcoder_status xci_cl_coder_encode_rows(xcoder_device *device, xci_coder *coder, const uint32_t *row,
                                       size_t n_samples, const xci_gate *gate, xcoder_error *err);
xcoder_status xci_cl_coder_mark(xcoder_device *device, xci_coder *coder, uint32_t stamp, xcoder_error *err);
xcoder_status xci_cl_coder_marks(xcoder_device *device, xci_coder *coder, uint32_t *marks, xcoder_error *err);
xcoder_status xci_cl_coder_codes(xcoder_device *device, xci_coder *coder, xci_codes *codes, xcoder_error *err);
xcoder_status xci_cl_coder_set_codes(xcoder_device *device, xci_coder *coder, const xci_codes *codes,
                                     xcoder_error *err);
xcoder_status xci_cl_coder_decode(xcoder_device *device, xci_coder *coder, float *xhat, xcoder_error *err);
xcoder_status xci_cl_coder_backward(xcoder_device *device, xci_coder *coder, const xci_objective *objective,
                                    xci_losses *losses, xcoder_error *err);
xcoder_status xci_cl_coder_update(xcoder_device *device, xci_coder *coder, const xci_adam *adam, xcoder_error *err);

#endif
