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

static xcoder_status tensor(xcoder_device *device, const char *kernel, size_t m, size_t n, size_t k, float alpha,
                            xci_cl_matrix a, xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  return xci_cl_run(device, kernel, xci_ceil_div(n, SIDE), xci_ceil_div(m, SIDE), err, "uuufmuuuumuuuufmuuu",
                    (unsigned)m, (unsigned)n, (unsigned)k, (double)alpha,
                    a.memory, (unsigned)(a.first >> 32), (unsigned)a.first, (unsigned)a.stride, (unsigned)a.transposed,
                    b.memory, (unsigned)(b.first >> 32), (unsigned)b.first, (unsigned)b.stride, (unsigned)b.transposed,
                    (double)beta, c.memory, (unsigned)(c.first >> 32), (unsigned)c.first, (unsigned)c.stride);
}

xcoder_status xci_cl_gemm_as(xcoder_device *device, xci_compute compute, size_t m, size_t n, size_t k, float alpha,
                             xci_cl_matrix a, xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  bool rounded = compute != XCI_COMPUTE_FP32;
  if (m == 0 || n == 0) return XCODER_OK;
  if (xci_cl_of(device)->tensor != NULL)
    return tensor(device, rounded ? "gemm_bf16" : xci_cl_of(device)->tensor_fp32, m, n, k, alpha, a, b, beta, c, err);
#if HAVE_CLBLAST
  if (xci_cl_of(device)->use_clblast && k > 0 && !rounded)
    return clblast(device, m, n, k, alpha, a, b, beta, c, err);
#endif
  /* Offsets in the kernel are 32 bits of rows and of columns each; first is given in two parts for the same reason. */
  return xci_cl_run(device, "gemm", xci_ceil_div(n, TILE), xci_ceil_div(m, TILE), err, "uuuufmuuuumuuuufmuuu",
                    (unsigned)rounded, (unsigned)m, (unsigned)n, (unsigned)k, (double)alpha,
                    a.memory, (unsigned)(a.first >> 32), (unsigned)a.first, (unsigned)a.stride, (unsigned)a.transposed,
                    b.memory, (unsigned)(b.first >> 32), (unsigned)b.first, (unsigned)b.stride, (unsigned)b.transposed,
                    (double)beta, c.memory, (unsigned)(c.first >> 32), (unsigned)c.first, (unsigned)c.stride);
}

xcoder_status xci_cl_gemm(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                          xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  return xci_cl_gemm_as(device, XCI_COMPUTE_FP32, m, n, k, alpha, a, b, beta, c, err);
}
