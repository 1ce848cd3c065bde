/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding on an OpenCL device: from lists of codes, or where there are many as a dense product. */
#include "compute/opencl/coder.h"

bool xci_cl_is_dense(const xci_coder *c, size_t n_codes) {
  return n_codes > c->n_samples * c->shape.n_latents / XCI_CL_DENSE_SHARE;
}

static xcoder_status decode_dense(xcoder_device *device, xci_coder *c, bool subtract, cl_mem out, xcoder_error *err) {
  const size_t columns = c->columns, latents = c->shape.n_latents;
  cl_mem w_dec;
  xcoder_status status = xci_cl_run(device, "start_decode", xci_cl_groups(columns), c->n_samples, err, "mmuum",
                                    c->tensor[XCI_B_DEC][XCI_VALUE], c->x, (unsigned)subtract, xci_cl_columns(c), out);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    const xci_cl_panel *p = &c->panels[i];
    status = xci_cl_panel_in(device, c, p, XCI_W_DEC, XCI_VALUE, true, &w_dec, err);
    if (!status)
      status = xci_cl_coder_gemm(device, c->n_samples, columns, p->n, 1,
                                 (xci_cl_matrix){c->f, p->first, latents, false},
                                 (xci_cl_matrix){w_dec, 0, columns, false}, 1,
                                 (xci_cl_matrix){out, 0, columns, false}, err);
  }
  return status;
}

xcoder_status xci_cl_decode_into(xcoder_device *device, xci_coder *c, bool dense, size_t n_codes, bool subtract,
                                 cl_mem out, xcoder_error *err) {
  cl_mem w_dec;
  if (dense) return decode_dense(device, c, subtract, out, err);
  xcoder_status status = xci_cl_list_rows(device, c, n_codes, err);
  for (size_t i = 0; i < c->n_panels && !status; i++) {
    const xci_cl_panel *p = &c->panels[i];
    bool last = i + 1 == c->n_panels;
    status = xci_cl_panel_in(device, c, p, XCI_W_DEC, XCI_VALUE, true, &w_dec, err);
    if (!status)
      status = xci_cl_run(device, "decode", xci_cl_groups(c->columns), c->n_samples, err, "mmmmmmuuuum", c->row_start,
                          c->index, c->value, w_dec, c->tensor[XCI_B_DEC][XCI_VALUE], c->x,
                          (unsigned)(subtract && last), xci_cl_columns(c), (unsigned)p->first, (unsigned)p->n, out);
  }
  return status;
}

xcoder_status xci_cl_coder_decode(xcoder_device *device, xci_coder *c, float *xhat, xcoder_error *err) {
  size_t n_codes;
  xcoder_status status = xci_cl_count_codes(device, c, &n_codes, err);
  if (!status) status = xci_cl_decode_into(device, c, xci_cl_is_dense(c, n_codes), n_codes, false, c->residual, err);
  if (!status) status = xci_cl_read(device, c->residual, 0, xhat, c->n_samples * c->columns * sizeof *xhat, err);
  if (!status && c->n_samples > 0) xci_cl_arrived(c);
  return status;
}
