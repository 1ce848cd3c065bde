/* SPDX-License-Identifier: Apache-2.0 */
/* Dense products: CLBlast on GPUs, where it is tuned; else our own tiled kernel. XCODER_OPENCL_GEMM=own or clblast
 * overrides, for tests. */
#include "config.h"

#include "compute/opencl/opencl.h"

#include "base/size.h"
#if HAVE_CLBLAST
#include <clblast_c.h>
#endif

enum { TILE = 64 }; /* as in cl/gemm.cl */

#if HAVE_CLBLAST
static xcoder_status clblast(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                             xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  xci_cl *cl = xci_cl_of(device);
  xcoder_status status = xci_cl_usable(device, err);
  if (status) return status;
  double began = xci_cl_begin(device);
  CLBlastStatusCode code = CLBlastSgemm(CLBlastLayoutRowMajor, a.transposed ? CLBlastTransposeYes : CLBlastTransposeNo,
                                        b.transposed ? CLBlastTransposeYes : CLBlastTransposeNo, m, n, k, alpha,
                                        a.memory, a.first, a.stride, b.memory, b.first, b.stride, beta, c.memory,
                                        c.first, c.stride, &cl->queue, NULL);
  xci_cl_end(device, began, false);
  device->traffic.n_launches++;
  return code == CLBlastSuccess ? XCODER_OK : xci_cl_fail(device, (cl_int)code, "a product by CLBlast", err);
}
#endif

xcoder_status xci_cl_gemm(xcoder_device *device, size_t m, size_t n, size_t k, float alpha, xci_cl_matrix a,
                          xci_cl_matrix b, float beta, xci_cl_matrix c, xcoder_error *err) {
  if (m == 0 || n == 0) return XCODER_OK;
#if HAVE_CLBLAST
  if (xci_cl_of(device)->use_clblast && k > 0) return clblast(device, m, n, k, alpha, a, b, beta, c, err);
#endif
  /* Offsets in the kernel are 32 bits of rows and of columns each; first is given in two parts for the same reason. */
  return xci_cl_run(device, "gemm", xci_ceil_div(n, TILE), xci_ceil_div(m, TILE), err, "uuufmuuuumuuuufmuuu",
                    (unsigned)m, (unsigned)n, (unsigned)k, (double)alpha,
                    a.memory, (unsigned)(a.first >> 32), (unsigned)a.first, (unsigned)a.stride, (unsigned)a.transposed,
                    b.memory, (unsigned)(b.first >> 32), (unsigned)b.first, (unsigned)b.stride, (unsigned)b.transposed,
                    (double)beta, c.memory, (unsigned)(c.first >> 32), (unsigned)c.first, (unsigned)c.stride);
}
