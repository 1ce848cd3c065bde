/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products: on NVIDIA's tensor cores (tensor.c); CLBlast on other GPUs, where it is tuned; else our own tiled
 * kernel. */
#include "config.h"

#include "compute/opencl/opencl.h"

#include "base/size.h"
#if HAVE_CLBLAST
#include <clblast_c.h>
#endif

enum { TILE = 64, SIDE = 128 }; /* as in cl/gemm.cl, cl/tensor.cl */

#if HAVE_CLBLAST
static xcoder_status clblast(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                             xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  xcoder_status status = xci_cl_usable(device, err);
  if (status) return status;
  double began = xci_cl_begin(device);
  cl_event event = NULL;
  CLBlastStatusCode code = CLBlastSgemm(CLBlastLayoutRowMajor, a.transposed ? CLBlastTransposeYes : CLBlastTransposeNo,
                                        b.transposed ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, alpha,
                                        a.memory, a.first, a.stride, b.memory, b.first, b.stride, beta, c.memory,
                                        c.first, c.stride, &cl->queue, cl->profiles ? &event : NULL);
  if (code == CLBlastSuccess && event != NULL) code = (CLBlastStatusCode)xci_cl_time(cl, "CLBlast", event);
  xci_cl_end(device, began, false);
  device->traffic.n_launches++;
  return code == CLBlastSuccess ? XCODER_OK : xci_cl_fail(device, (cl_int)code, "a product by CLBlast", err);
}
#endif

static bool by_clblast(const xci_cl *cl, xci_compute compute) {
  return cl->tensor == NULL && cl->use_clblast && compute == XCI_COMPUTE_FP32;
}

bool xci_cl_reads(const xcoder_device *device, xci_compute compute, xci_cl_type b_type) {
  return b_type == XCI_CL_F32 || !by_clblast(xci_cl_of(device), compute);
}

/* Offsets in the kernels are 32 bits of rows and of columns each; first is given in two parts for the same reason. */
#define MATRIX "muuu"
#define GIVE(x) (x).memory, (unsigned)((x).first >> 32), (unsigned)(x).first, (unsigned)(x).stride

/* Columns of a tile as in cl/tensor.cl: where a number of b is one part, a group has registers for twice as many. */
static xcoder_status tensor(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                            xci_cl_matrix a, xci_cl_matrix b, xci_cl_type b_type, float beta, xci_cl_matrix c,
                            xcoder_error *err) {
  static const char *const rounded[] = {"gemm_bf16", "gemm_bf16_h16", "gemm_bf16_b16"};
  const char *const exact[] = {xci_cl_of(device)->tensor_fp32, "gemm_bf16x5_h16", "gemm_bf16x3_b16"};
  bool wide = compute != XCI_COMPUTE_FP32 || b_type == XCI_CL_BF16;
  return xci_cl_run(device, (compute != XCI_COMPUTE_FP32 ? rounded : exact)[b_type],
                    xci_ceil_div(n, wide ? 2 * SIDE : SIDE), xci_ceil_div(m, SIDE), err,
                    "uuuf" MATRIX "u" MATRIX "uf" MATRIX, (unsigned)m, (unsigned)n, (unsigned)k, (double)alpha,
                    GIVE(a), (unsigned)a.transposed, GIVE(b), (unsigned)b.transposed, (double)beta, GIVE(c));
}

xcoder_status xci_cl_gemm_of(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                             xci_cl_matrix a, xci_cl_matrix b, xci_cl_type b_type, float beta, xci_cl_matrix c,
                             xcoder_error *err) {
  if (m == 0 || n == 0) return XCODER_OK;
  if (xci_cl_of(device)->tensor != NULL)
    return tensor(device, compute, m, n, k, alpha, a, b, b_type, beta, c, err);
#if HAVE_CLBLAST
  if (by_clblast(xci_cl_of(device), compute) && k > 0) return clblast(device, m, n, k, alpha, a, b, beta, c, err);
#endif
  return xci_cl_run(device, "gemm", xci_ceil_div(n, TILE), xci_ceil_div(m, TILE), err,
                    "uuuuf" MATRIX "u" MATRIX "uuf" MATRIX, (unsigned)(compute != XCI_COMPUTE_FP32), (unsigned)m,
                    (unsigned)n, (unsigned)k, (double)alpha, GIVE(a), (unsigned)a.transposed, GIVE(b),
                    (unsigned)b.transposed, (unsigned)b_type, (double)beta, GIVE(c));
}

xcoder_status xci_cl_gemm_as(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                             xci_cl_matrix a, xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  return xci_cl_gemm_of(device, compute, m, n, k, alpha, a, b, XCI_CL_F32, beta, c, err);
}

xcoder_status xci_cl_gemm(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                          xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  return xci_cl_gemm_as(device, XCI_COMPUTE_FP32, m, n, k, alpha, a, b, beta, c, err);
}
